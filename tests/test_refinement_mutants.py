"""Every planted fault of the searches, of proofs and words, and of halved boxes is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_refinement
import test_refinement_faults
from mutants.refinement import MUTANTS, rewritten
from mutants.test_mutants import apply
from test_refinement_faults import _solvers  # noqa: F401  # a fixture that the killers rely on

from absint.errors import PluginError
from absint.solvers.phases import Phases


def find(name):
    return getattr(test_refinement_faults, name, None) or getattr(test_refinement, name)


def noticed(test, *given):
    """Whether the test fails. Bounds that the engine itself finds contradictory count; a crash does not."""
    try:
        find(test)(*given)
    except AssertionError:
        return True
    except PluginError as error:
        return error.code == "E-CONTRADICTION"
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    function, killers = MUTANTS[name]
    for test, *given in killers:
        find(test)(*given)
    apply(monkeypatch, function)
    assert [killer for killer in killers if not noticed(*killer)] == []


def test_a_mutant_that_does_not_apply_is_an_error():
    with pytest.raises(LookupError):
        rewritten(Phases.branch, ("no such text", ""))
