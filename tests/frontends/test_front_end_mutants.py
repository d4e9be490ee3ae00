"""Every front end that reads another network than the file's is noticed: by the checks of an import, or by numbers worked out apart."""

from __future__ import annotations

import pytest
import test_chosen_outputs
import test_nnet_files
import test_scikit_learn_operators
import test_several_inputs
from mutants.fronts import FRONT_MUTANTS
from mutants.planting import assert_killed

from absint.model import node_check

TESTS = (test_nnet_files, test_several_inputs, test_chosen_outputs, test_scikit_learn_operators)


@pytest.mark.parametrize("name", FRONT_MUTANTS)
def test_mutant_is_killed(name, monkeypatch, tmp_path):
    def run(killer):
        next(getattr(module, killer) for module in TESTS if hasattr(module, killer))(tmp_path)

    for killer in FRONT_MUTANTS[name][1]:
        run(killer)
    node_check.forget()
    assert_killed(FRONT_MUTANTS[name], run, monkeypatch, codes=("E-IMPORT-MISMATCH",))
    node_check.forget()
