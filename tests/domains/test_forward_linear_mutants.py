"""Every unsound variant of forward linear bounds is noticed by the tests that are named for it."""

from __future__ import annotations

import pytest
import test_forward_linear
import test_forward_linear_in_rationals
import test_forward_linear_steps_in_rationals
from mutants.forward_linear import FORWARD
from mutants.planting import calls, killing

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")

test_mutant_is_killed = killing(
    FORWARD, calls(test_forward_linear, test_forward_linear_in_rationals, test_forward_linear_steps_in_rationals))
