"""Every unsound variant of safe bounds, sessions and encodings is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_solvers
import test_solvers_encoding
from mutants.solvers import MUTANTS
from mutants.test_mutants import apply


def find(name):
    return getattr(test_solvers, name, None) or getattr(test_solvers_encoding, name)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    function, killers = MUTANTS[name]
    for test, *given in killers:
        find(test)(*given)
    apply(monkeypatch, function)
    for test, *given in killers:
        with pytest.raises(AssertionError):
            find(test)(*given)
