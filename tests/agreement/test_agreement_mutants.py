"""Every planted fault, of the exact answers or of what is compared with them, is noticed by the tests named for it."""

from __future__ import annotations

import agreement
import agreement_nets
import pytest
import test_agreement
import test_agreement_truth
from mutants.exact import ANSWERS, ENGINE
from mutants.planting import calls, killing

run = calls(test_agreement, test_agreement_truth)


@pytest.fixture
def _fresh_answers(monkeypatch):
    """None found under a fault may stay. The tests know the judge by their own names."""
    for module in (test_agreement, test_agreement_truth):
        for name in ("faults", "unsafe", "undecided"):
            monkeypatch.setattr(module, name, lambda *given, _name=name: getattr(agreement, _name)(*given), raising=False)
    yield
    agreement_nets.case.cache_clear()


test_a_false_answer_is_noticed = pytest.mark.usefixtures("_fresh_answers")(killing(ANSWERS, run, agreement_nets.case.cache_clear))
test_a_false_proof_is_noticed = killing(ENGINE, run)
