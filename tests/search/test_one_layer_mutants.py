"""Every planted fault of trees over one layer is noticed by the tests named for it."""

from __future__ import annotations

import test_one_layer
from mutants.one_layer import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_one_layer))
