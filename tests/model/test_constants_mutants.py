"""Every fault of what operators keep of their constants is noticed by the tests named for it."""

from __future__ import annotations

import test_bounds_of_parameters
import test_constants_that_change
from mutants.constants import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_constants_that_change, test_bounds_of_parameters))
