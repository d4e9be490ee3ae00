"""Every planted fault of the bounds of case splits is noticed by the tests named for it."""

from __future__ import annotations

import test_case_splits
from mutants.case_splits import MUTANTS
from mutants.planting import calls, killing

# Formats and operators by their names in the test.
run = calls(test_case_splits, named=lambda test, one: getattr(test_case_splits, one) if isinstance(one, str) else one)
test_mutant_is_killed = killing(MUTANTS, run)
