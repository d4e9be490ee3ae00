"""Every planted fault of the searches, of proofs and words, and of halved boxes is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import pytest
import test_refinement
import test_refinement_faults
from mutants.planting import assert_killed, calls
from mutants.refinement import MUTANTS, rewritten
from test_refinement_faults import _solvers  # noqa: F401  # a fixture that the killers rely on

from absint.search.branchers.phases import Phases

run = calls(test_refinement_faults, test_refinement)


@cache
def passes_unmutated(killer):
    run(killer)
    return True


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert all(passes_unmutated(killer) for killer in MUTANTS[name][1])
    assert_killed(MUTANTS[name], run, monkeypatch)


def test_a_mutant_that_does_not_apply_is_an_error():
    with pytest.raises(LookupError):
        rewritten(Phases.branch, ("no such text", ""))
