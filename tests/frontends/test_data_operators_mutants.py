"""Every fault in support vector machines, operators on data and labels is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_data_operators
import test_labels_at_the_end
import test_support_vectors
from mutants.data_operators import MUTANTS
from mutants.planting import assert_killed

from absint.model import node_check

TESTS = (test_support_vectors, test_data_operators, test_labels_at_the_end)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch, tmp_path):
    def run(killer):
        test, *given = killer
        next(getattr(module, test) for module in TESTS if hasattr(module, test))(*given, tmp_path)

    for killer in MUTANTS[name][1]:
        run(killer)
    node_check.forget()
    assert_killed(MUTANTS[name], run, monkeypatch, codes=("E-IMPORT-MISMATCH",))
    node_check.forget()
