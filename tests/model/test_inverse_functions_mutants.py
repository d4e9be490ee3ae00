"""Every fault in Tan and the inverse functions is noticed by the claims named for it."""

from __future__ import annotations

import pytest
import test_inverse_functions as claims
from mutants.inverse_functions import MUTANTS
from mutants.planting import assert_killed


def run(killer):
    """One claim."""
    name, *given = killer
    getattr(claims, name)(*given)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert_killed(MUTANTS[name], run, monkeypatch)
