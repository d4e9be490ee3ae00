"""Every planted fault of the searches, of proofs and words, and of halved boxes is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_refinement
import test_refinement_faults
from mutants.planting import calls, killing
from mutants.refinement import MUTANTS, rewritten
from test_refinement_faults import _solvers  # noqa: F401  # a fixture that the killers rely on

from absint.search.branchers.phases import Phases

test_mutant_is_killed = killing(MUTANTS, calls(test_refinement_faults, test_refinement))


def test_a_mutant_that_does_not_apply_is_an_error():
    with pytest.raises(LookupError):
        rewritten(Phases.branch, ("no such text", ""))
