"""Every wrong way to a radius is noticed by the tests named for it; that these pass without it is test_radius.py's claim."""

from __future__ import annotations

from inspect import signature

import pytest
import test_radius
from mutants.planting import assert_killed
from mutants.radius import MUTANTS

from absint.analyses.radius import bisection


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, killers = MUTANTS[name]

    def planted(patch) -> None:
        function(patch)
        for shared in ("halvings", "steps_to", "radius"):     # names that the tests have taken by themselves
            patch(test_radius, shared, getattr(bisection, shared))

    def run(killer) -> None:
        test = getattr(test_radius, killer[0])
        test(*killer[1:], *([monkeypatch] if "monkeypatch" in signature(test).parameters else []))

    assert_killed((planted, killers), run, monkeypatch, codes=("E-CONTRADICTION", "E-REGION"))
