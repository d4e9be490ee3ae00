"""Every unsound variant of windowed and of coarse zonotopes is noticed by the tests that are named for it."""

from __future__ import annotations

import pytest
import test_windowed_symbols
from mutants.planting import calls, killing
from mutants.windowed_symbols import WINDOWED

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")

test_mutant_is_killed = killing(WINDOWED, calls(test_windowed_symbols))
