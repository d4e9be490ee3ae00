"""Every planted fault of the frontier and of the search over it is noticed by the tests named for it."""

from __future__ import annotations

import test_branching
import test_frontier
from mutants.planting import calls, killing
from mutants.searches import MUTANTS

# Tactics by their names in the test.
run = calls(test_frontier, test_branching, named=lambda test, one: getattr(test_branching, one) if one in ("LPS", "HALVES") else one)
test_mutant_is_killed = killing(MUTANTS, run)
