"""Every wrong way to count detections is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from mutants.planting import assert_killed
from mutants.taboo_evaluation import MUTANTS

from absint.analyses.taboo import evaluation_summary, exchangeable

pytest.importorskip("foolbox", reason="the extra `attacks` is not installed")


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function, killers = MUTANTS[name]

    def planted(patch) -> None:
        function(patch)
        tests = import_module("test_taboo_evaluation")
        patch(tests, "rates_of", evaluation_summary.rates_of)       # names that the tests have taken by themselves
        patch(tests, "held_out", exchangeable.held_out)

    def run(killer) -> None:
        module, test, *given = killer
        found = import_module(module)
        function, known = getattr(found, test), {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
        if module == "test_taboo_evaluation":
            known["spread"] = found.spread_inputs()
        wanted = signature(function).parameters
        values = {name: known[name] for name in wanted if name in known}
        function(**values, **dict(zip((name for name in wanted if name not in known), given, strict=True)))

    assert_killed((planted, killers), run, monkeypatch)
