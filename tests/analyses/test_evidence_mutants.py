"""Every planted fault of what is recorded is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import pytest
import test_evidence
import test_evidence_of_verdicts
from mutants.evidence import MUTANTS
from mutants.planting import assert_killed, calls

from absint.domains.alpha import Alpha
from absint.testing.kit import FLOAT64

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")

_called = calls(test_evidence, test_evidence_of_verdicts)
# What parameters of tests are called here.
NAMED = {"alpha": (Alpha(goal=float("inf")),), "float64": FLOAT64}


def run(killer):
    test, *given = killer
    named = NAMED if test == "test_rows_are_followed_in_rationals" else {}
    _called((test, *(named.get(one, one) for one in given)))


@cache
def passes_unmutated(killer):
    run(killer)
    return True


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert all(passes_unmutated(killer) for killer in MUTANTS[name][1])
    assert_killed(MUTANTS[name], run, monkeypatch)
