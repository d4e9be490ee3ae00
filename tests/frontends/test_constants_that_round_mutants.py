"""Every fault in enclosing and charging constants is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_constants_that_round
import test_constants_with_bounds
from mutants.enclosed_constants import MUTANTS
from mutants.planting import assert_killed


def run(killer):
    """A test of these modules, on networks that are read anew."""
    name, *given = killer
    test_constants_that_round.product.cache_clear()
    next(getattr(m, name) for m in (test_constants_that_round, test_constants_with_bounds) if hasattr(m, name))(*given)


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    test_constants_that_round.product.cache_clear()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    for killer in MUTANTS[name][1]:
        run(killer)
    assert_killed(MUTANTS[name], run, monkeypatch, ("E-IMPORT-MISMATCH",))
