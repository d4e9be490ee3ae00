"""Every planted fault of the frontier and of the search over it is noticed by the tests named for it."""

from __future__ import annotations

import test_branching
import test_frontier
from mutants.planting import calls, killing
from mutants.searches import MUTANTS

_run = calls(test_frontier, test_branching)


def run(killer):
    """Tactics by their names in the test."""
    test, *given = killer
    _run((test, *(getattr(test_branching, one) if one in ("LPS", "HALVES") else one for one in given)))


test_mutant_is_killed = killing(MUTANTS, run)
