"""Every planted fault of the search over case splits is noticed by the tests named for it."""

from __future__ import annotations

import test_trees
from mutants.case_split_trees import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_trees))
