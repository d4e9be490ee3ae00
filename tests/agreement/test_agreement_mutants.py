"""Every planted fault, of the exact answers or of what is compared with them, is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import agreement
import agreement_nets
import pytest
import test_agreement
import test_agreement_truth
from mutants.exact import ANSWERS, ENGINE
from mutants.planting import assert_killed, calls

run = calls(test_agreement, test_agreement_truth)


@cache
def passes_unmutated(killer):
    run(killer)
    return True


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
    assert all(passes_unmutated(killer) for killer in ANSWERS[name][1])
    agreement_nets.case.cache_clear()
    assert_killed(ANSWERS[name], run, monkeypatch)


@pytest.mark.parametrize("name", ENGINE)
def test_a_false_proof_is_noticed(name, monkeypatch):
    assert all(passes_unmutated(killer) for killer in ENGINE[name][1])
    assert_killed(ENGINE[name], run, monkeypatch)
