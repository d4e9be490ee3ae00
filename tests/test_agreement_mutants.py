"""Every planted fault, of the exact answers or of what is compared with them, is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import agreement
import agreement_nets
import pytest
import test_agreement
import test_agreement_truth
from mutants.exact import ANSWERS, ENGINE
from mutants.test_mutants import apply

from absint.errors import PluginError


def find(name):
    return getattr(test_agreement, name, None) or getattr(test_agreement_truth, name)


@cache
def passes_unmutated(killer):
    test, *given = killer
    find(test)(*given)
    return True


def fails(killer):
    """The engine's own check may be the first to speak; any other error would be a mutant that is merely broken."""
    test, *given = killer
    try:
        find(test)(*given)
    except AssertionError:
        return True
    except PluginError as error:
        return error.code == "E-CONTRADICTION"
    return False


@pytest.fixture
def _fresh_answers(monkeypatch):
    """None found under a fault may stay. The tests know the judge by their own names."""
    for module in (test_agreement, test_agreement_truth):
        for name in ("faults", "unsafe", "undecided"):
            monkeypatch.setattr(module, name, lambda *given, _name=name: getattr(agreement, _name)(*given), raising=False)
    yield
    agreement_nets.case.cache_clear()


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.usefixtures("_fresh_answers")
def test_a_false_answer_is_noticed(name, monkeypatch):
    function, killers = ANSWERS[name]
    assert all(passes_unmutated(killer) for killer in killers)
    agreement_nets.case.cache_clear()
    apply(monkeypatch, function)
    assert [killer for killer in killers if not fails(killer)] == []


@pytest.mark.parametrize("name", ENGINE)
def test_a_false_proof_is_noticed(name, monkeypatch):
    function, killers = ENGINE[name]
    assert all(passes_unmutated(killer) for killer in killers)
    apply(monkeypatch, function)
    assert [killer for killer in killers if not fails(killer)] == []
