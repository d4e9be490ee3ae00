"""Every planted fault of the frontier and of the search over it is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import pytest
import test_branching
import test_frontier
from mutants.planting import assert_killed, calls
from mutants.searches import MUTANTS

_run = calls(test_frontier, test_branching)


def run(killer):
    """Tactics by their names in the test."""
    test, *given = killer
    _run((test, *(getattr(test_branching, one) if one in ("LPS", "HALVES") else one for one in given)))


@cache
def passes_unmutated(killer):
    run(killer)
    return True


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert all(passes_unmutated(killer) for killer in MUTANTS[name][1])
    assert_killed(MUTANTS[name], run, monkeypatch)
