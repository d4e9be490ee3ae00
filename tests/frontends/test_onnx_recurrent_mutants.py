"""Every fault in writing recurrent layers of layout 1 with layout 0 is noticed by the tests named for it."""

import test_onnx_recurrent
from mutants.batch_first import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_onnx_recurrent))
