"""Every fault in masks of -inf is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_masks_of_infinity as claims
from mutants.masks import MUTANTS
from mutants.planting import assert_killed

from absint.model.node_check import forget


def run(killer):
    """A test of the module, on networks that are read anew."""
    name, *given = killer
    claims.network.cache_clear()
    getattr(claims, name)(*given)


@pytest.fixture(autouse=True)
def _nothing_kept():
    yield
    claims.network.cache_clear()
    forget()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    for killer in MUTANTS[name][1]:
        run(killer)
    forget()
    assert_killed(MUTANTS[name], run, monkeypatch, ("E-IMPORT-MISMATCH",))
