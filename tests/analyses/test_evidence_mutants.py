"""Every planted fault of what is recorded is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_evidence
import test_evidence_of_trees
import test_evidence_of_verdicts
from mutants.evidence import MUTANTS
from mutants.planting import calls, killing

from absint.domains.alpha import Alpha
from absint.testing.kit import FLOAT64

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")

# What parameters of tests are called here.
NAMED = {"alpha": (Alpha(goal=float("inf")),), "float64": FLOAT64}


def named(test, one):
    return NAMED.get(one, one) if test == "test_rows_are_followed_in_rationals" else one


test_mutant_is_killed = killing(MUTANTS, calls(test_evidence, test_evidence_of_trees, test_evidence_of_verdicts, named=named))
