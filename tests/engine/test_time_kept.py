"""Whatever intermediate bounds take, the property's rows have their time: a margin, a word about what is missing, and no proof lost."""

from __future__ import annotations

from math import inf

import pytest
import torch
from convolutional import convolutions

from absint.analyses.verify import ProofSettings, verify
from absint.domains.deeppoly import DeepPoly
from absint.engine.attempts import attempt
from absint.engine.backward.block import BlockWalk
from absint.engine.context import Context
from absint.engine.forward import margins
from absint.model.work import work
from absint.numeric.backend import Budget
from absint.numeric.rounding import Numerics
from absint.problem.problem import robustness
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.names import domain_of
from absint.verdict import Reason, Verdict

GRAPH = convolutions("residual")


def asked():
    """Three boxes around one image, from narrow to wide."""
    center = torch.rand(1, *GRAPH.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1, -1)
    radius = torch.tensor([1e-3, 0.02, 0.1], dtype=torch.float64).reshape(-1, 1, 1, 1)
    return BoxRegion(center - radius, center + radius), Spec.robust(GRAPH(center).argmax(1), 3)


def test_soft_limits():
    assert Budget().keeping(1e30).soft == inf
    assert not Budget().ending


@pytest.mark.parametrize(("left", "products", "kept"), [(100.0, 1.0, 5.0), (100.0, 20.0, 20.0), (100.0, 80.0, 50.0), (-3.0, 1.0, 0.0)])
def test_what_is_kept(left, products, kept, clock):
    budget = Budget(deadline=clock.now + left, rate=1.0).keeping(products)
    assert budget.soft == pytest.approx(budget.deadline - kept)
    assert budget.ending == (left < 0)


@pytest.mark.usefixtures("numerics", "no_grad")
def test_rows_are_bounded_with_what_there_is(clock):
    region, spec = asked()
    loosest = margins(DeepPoly(intermediate="box"), Context(GRAPH, region, Numerics()), spec)[0].lower
    best = margins(DeepPoly(), Context(GRAPH, region, Numerics()), spec)[0].lower
    clock.tick = 0.01
    budget = Budget(deadline=clock.now + 1.0, rate=spec.bias.numel() * work(GRAPH) / 0.4)
    found = attempt(DeepPoly(), Context(GRAPH, region, Numerics(), budget), spec)
    assert clock.now < budget.deadline
    assert found.ctx.hurried
    assert bool((found.interval.lower >= loosest - 1e-9).all())
    assert bool((found.interval.lower <= best + 1e-9).all())
    assert sorted(slot for slot, _ in found.ctx.notes) == [0, 1, 2]


@pytest.mark.usefixtures("numerics", "no_grad")
def test_whatever_was_left_out_is_said(monkeypatch):
    """Time may end before a node, or between two blocks of its rows: wherever it is found to have ended, the walk says so."""
    region, spec = asked()
    asked_at, looks = [], iter(())

    def ending(self):
        asked_at.append(1)
        return next(looks, False)

    monkeypatch.setattr(Budget, "ending", property(ending))
    assert not attempt(DeepPoly(), Context(GRAPH, region, Numerics()), spec).ctx.hurried
    for number in range(len(asked_at)):
        looks = iter([False] * number + [True])
        found = attempt(DeepPoly(), Context(GRAPH, region, Numerics()), spec).ctx
        assert found.hurried
        assert found.notes


@pytest.mark.usefixtures("numerics", "no_grad")
def test_a_search_has_all_of_the_time(clock):
    region, spec = asked()
    budget = Budget(deadline=clock.now + 9.0)
    assert attempt(DeepPoly(), Context(GRAPH, region, Numerics(), budget), spec).ctx.budget is budget


@pytest.mark.usefixtures("numerics", "no_grad")
def test_a_domain_that_stands_alone_is_never_hurried(clock):
    """What it did not bound would be unknown, not a box."""
    region, spec = asked()
    seen = []
    real = Budget.keeping
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget, "keeping", lambda self, products: seen.append(products) or real(self, products))
        attempt(DeepPoly(plain=True), Context(GRAPH, region, Numerics(), Budget(deadline=clock.now + 9.0)), spec)
        assert not seen
        attempt(DeepPoly(), Context(GRAPH, region, Numerics(), Budget(deadline=clock.now + 9.0)), spec)
        assert seen == [spec.bias.numel() * work(GRAPH)]


def test_verify_says_what_there_was_no_time_for(clock, monkeypatch):
    real = BlockWalk.run

    def run(self):
        if self.units is not None:
            clock.sleep(3.0)
        return real(self)

    monkeypatch.setattr(BlockWalk, "run", run)
    region, _ = asked()
    problem = robustness(GRAPH, region.take(torch.tensor([2])), GRAPH(region.center[2:]).argmax(1))
    (found,) = verify(problem, ProofSettings(domain_of("deeppoly"), attack=None, timeout=6.0))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.TIMEOUT)
    assert found.margin is not None
    assert any("no more intermediate bounds" in note for note in found.notes)
