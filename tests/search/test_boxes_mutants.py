"""Every planted fault of boxes is noticed by the tests named for it."""

from __future__ import annotations

import test_boxes
import test_clips
from mutants.boxes import MUTANTS
from mutants.planting import calls, killing

test_mutant_is_killed = killing(MUTANTS, calls(test_boxes, test_clips))
