"""A stage asks beyond its domain by a search, by an answer that is there at once, or not at all; anything else is refused by name."""

from dataclasses import dataclass
from math import inf

import pytest
import torch
from costly import images

from absint.analyses.verify import ProofSettings, verify
from absint.analyses.verify.portfolio import Portfolio
from absint.domains.box import Box
from absint.errors import PluginError
from absint.problem.spec import Refutation
from absint.search.search import Said, begin
from absint.search.strategy import Falsification, Stage, Strategy
from absint.verdict import Reason, Verdict


@dataclass(frozen=True)
class Saying(Strategy):
    """One stage, and what `say` returns beyond it."""

    say: object

    def stages(self):
        return (Stage(Box(), self.say, "saying"),)


@dataclass(frozen=True)
class Quiet(Saying):
    """Proofs alone."""

    def plan(self):
        return self.stages()


def answered(say, count=2, **more):
    return verify(images(count, "0.05"), ProofSettings(Saying(say), attack=None, **more))


def test_an_answer_that_is_there_counts_at_once():
    found = answered(lambda ctx, spec, refuted: Refutation(torch.ones_like(refuted, dtype=torch.float64) / 1e9))
    assert [(one.verdict, one.stage) for one in found] == [(Verdict.VERIFIED, "saying float32")] * 2


def test_what_an_answer_says_of_time_is_the_reason():
    def say(ctx, spec, refuted):
        return Refutation(torch.full(refuted.shape, -inf, dtype=torch.float64), late=torch.tensor([True, False]))

    assert [one.reason for one in answered(say)] == [Reason.TIMEOUT, Reason.IMPRECISE]


def test_something_else_is_refused_by_name():
    with pytest.raises(PluginError, match="returned a list") as caught:
        answered(lambda ctx, spec, refuted: [1.0])
    assert caught.value.code == "E-PLUGIN-CONTRACT"


def test_nothing_is_nothing():
    assert begin(None, None, None, None) is None
    assert begin(lambda *asked: None, None, None, None) is None


def test_an_answer_is_given_once():
    said = Said(Refutation(torch.zeros(3, 1)))
    said.keep(torch.tensor([True, False, True]))
    assert said.open.tolist() == [True, False, True]
    assert said.step(None) is said.answer
    assert not said.open.any()


def test_a_plan_is_the_strategys_own(monkeypatch):
    """By default a search for counterexamples comes first and last; a strategy that wants none has none."""
    asked = []
    real = Portfolio._search
    monkeypatch.setattr(Portfolio, "_search", lambda self, work, budget, effort: asked.append(effort) or real(self, work, budget, effort))
    problem = images(1, "0.05")
    verify(problem, ProofSettings(Saying(None)))
    assert asked == [0.25, 4.0] == [step.effort for step in Saying(None).plan() if isinstance(step, Falsification)]
    verify(problem, ProofSettings(Quiet(None)))
    assert asked == [0.25, 4.0]


def test_the_bundled_network_is_open_for_the_box():
    """What the other tests rest on."""
    assert [one.verdict for one in answered(None)] == [Verdict.UNKNOWN] * 2
