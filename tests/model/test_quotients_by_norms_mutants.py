"""Every fault in what is known of entries divided by their norm is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_quotients_by_norms as claims
from mutants.planting import calls, killing
from mutants.quotients import MUTANTS

test_mutant_is_killed = killing(MUTANTS, calls(claims), claims.network.cache_clear)


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    claims.network.cache_clear()
