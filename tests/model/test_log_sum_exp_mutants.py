"""Every fault in the logarithm of a sum of exponentials is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_log_sum_exp as claims
import torch
from mpmath import mp
from mutants.log_sum_exp import MUTANTS
from mutants.planting import calls, killing

from absint.numeric.backend import numeric_mode


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad(), mp.workdps(60):
        yield


test_mutant_is_killed = killing(MUTANTS, calls(claims))
