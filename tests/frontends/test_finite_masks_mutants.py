"""A mask of finite numbers that is read as one of -inf is noticed."""

from __future__ import annotations

import pytest
import test_finite_masks as claims
from mutants.log_sum_exp import MASKS
from mutants.planting import assert_killed, calls


@pytest.mark.parametrize("name", MASKS)
def test_mutant_is_killed(name, monkeypatch):
    claims.network.cache_clear()
    assert_killed(MASKS[name], calls(claims), monkeypatch, ("E-IMPORT-MISMATCH",))
    claims.network.cache_clear()
