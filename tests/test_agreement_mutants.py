"""Every planted fault, of the exact answers or of what is compared with them, is noticed by the tests named for it."""

from __future__ import annotations

import agreement
import agreement_nets
import pytest
import test_agreement
import test_agreement_truth
from mutants.exact import MUTANTS
from mutants.test_mutants import apply


def find(name):
    return getattr(test_agreement, name, None) or getattr(test_agreement_truth, name)


@pytest.fixture(autouse=True)
def _fresh_answers(monkeypatch):
    """Answers are kept from test to test: none found under a fault may stay. The tests know the judge by their own names."""
    agreement_nets.case.cache_clear()
    for module in (test_agreement, test_agreement_truth):
        for name in ("faults", "unsafe", "undecided"):
            monkeypatch.setattr(module, name, lambda *given, _name=name: getattr(agreement, _name)(*given), raising=False)
    yield
    agreement_nets.case.cache_clear()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    function, killers = MUTANTS[name]
    for test, *given in killers:
        find(test)(*given)
    agreement_nets.case.cache_clear()
    apply(monkeypatch, function)
    for test, *given in killers:
        with pytest.raises(AssertionError):
            find(test)(*given)
