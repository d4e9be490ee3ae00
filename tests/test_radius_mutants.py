"""Every wrong way to a radius is noticed by the tests named for it; that these pass without it is test_radius.py's claim."""

from __future__ import annotations

import pytest
import test_radius
from mutants.radius import MUTANTS
from mutants.test_mutants import apply

from absint.analyses import radius
from absint.errors import AbsintError

_FIXTURES = ("monkeypatch",)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, killers = MUTANTS[name]
    apply(monkeypatch, function)
    for shared in ("halvings", "steps_to", "radius"):     # names that the tests have taken by themselves
        monkeypatch.setattr(test_radius, shared, getattr(radius, shared))
    for test, *arguments in killers:
        run = getattr(test_radius, test)
        fixtures = [monkeypatch] if any(f in run.__code__.co_varnames[:run.__code__.co_argcount] for f in _FIXTURES) else []
        with pytest.raises((AssertionError, AbsintError, pytest.fail.Exception)) as error:
            run(*arguments, *fixtures)
        assert not isinstance(error.value, AbsintError) or error.value.code in ("E-CONTRADICTION", "E-REGION")
