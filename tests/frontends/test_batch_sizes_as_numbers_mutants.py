"""Every fault in telling of values made of an open batch's size is noticed by the tests named for it."""

import test_batch_sizes_as_numbers
from mutants.batch_sizes import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_batch_sizes_as_numbers))
