"""Every wrong way to a CLEVER score is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest
from mutants.clever import MUTANTS
from mutants.planting import assert_killed

from absint.analyses.clever import estimates


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, killers = MUTANTS[name]

    def planted(patch) -> None:
        function(patch)
        scores = import_module("test_clever_scores")
        for shared in ("first_order", "second_order"):     # names that the tests have taken by themselves
            patch(scores, shared, getattr(estimates, shared))

    def run(killer) -> None:
        module, test, *given = killer
        found = getattr(import_module(module), test)
        found(*given, *([monkeypatch] if "monkeypatch" in signature(found).parameters else []))

    assert_killed((planted, killers), run, monkeypatch, codes=("E-CONTRADICTION", "E-GRADIENT-MASKED"))
