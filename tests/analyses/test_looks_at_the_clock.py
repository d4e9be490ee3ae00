"""Between two looks at the clock no more work is done than a slow machine does in a few seconds, and verdicts do not depend on it."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
import torch
from bundled import digits, mnist
from costly import images
from scipy import sparse
from torch import Tensor

from absint.analyses.bounds import widths
from absint.analyses.radius.bisection import BisectionSettings, radius
from absint.analyses.verify import ProofSettings, verify
from absint.analyses.verify.portfolio import Portfolio
from absint.attacks import ATTACKS, Search
from absint.domains.generators import Dense, Pace
from absint.encode.expressions import product
from absint.engine.domain import DOMAINS
from absint.model.ops.gemm import Gemm
from absint.model.work import heaviest, work
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError
from absint.search.names import domain_of

VECTORS = 40  # of the costliest node, in one step


class Meter:
    """Products asked of fully connected layers since the last look at the clock, and the most there ever were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.since, self.most, self.looks = 0.0, 0.0, 0
        real = time.monotonic

        def look() -> float:
            self.since, self.looks = 0.0, self.looks + 1
            return real()

        monkeypatch.setattr(time, "monotonic", look)
        for name in ("forward", "apply", "apply_abs", "adjoint"):
            monkeypatch.setattr(Gemm, name, self.counted(getattr(Gemm, name)))

    def counted(self, method: Any) -> Any:
        def run(op: Gemm, first: Tensor, *rest: Any) -> Any:
            self.since += len(first) * op.weight.numel()
            self.most = max(self.most, self.since)
            return method(op, first, *rest)

        return run


def slowed(monkeypatch: pytest.MonkeyPatch) -> float:
    """A machine on which one step holds VECTORS vectors of the costliest node; returns its products a step."""
    step = VECTORS * heaviest(mnist().nodes)
    monkeypatch.setattr(Budget, "pieces", lambda self, products: max(1, int(step / max(1.0, products))))
    return step


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> float:
    return slowed(monkeypatch)


@pytest.mark.parametrize(("domain", "attack"), [*((name, None) for name in ("box", "zonotope", "deeppoly", "alpha")), ("deeppoly", "pgd")])
def test_no_step_is_longer_than_one_look(domain, attack, slow, monkeypatch):
    """A few operators may run in one step; none of them, nor all together, exceed a small multiple of it."""
    meter = Meter(monkeypatch)
    found = verify(images(12, "0.03"), ProofSettings(domain_of(domain), attack=attack))
    assert len(found) == 12
    assert meter.most <= 4 * slow
    assert meter.looks > 10


def test_no_step_of_an_attack_is_longer_than_one_look(slow, monkeypatch):
    meter, problem = Meter(monkeypatch), images(30, "0.03")
    ATTACKS.get("pgd")()(problem.graph, problem.region, problem.spec, Search(torch.device("cpu"), effort=0.25))
    assert 0 < meter.most <= slow


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly", "alpha", "refine:solver=highs,neurons=3", "exact:solver=highs,nodes=10"])
def test_verdicts_do_not_depend_on_the_cuts(domain, monkeypatch):
    attack = "pgd" if domain == "deeppoly" else None
    problem, settings = images(8, "0.025"), ProofSettings(domain_of(domain), attack=attack)
    whole = verify(problem, settings)
    slowed(monkeypatch)
    cut = verify(problem, settings)
    assert [(r.verdict, r.stage, r.reason) for r in cut] == [(r.verdict, r.stage, r.reason) for r in whole]
    for one, two in zip(cut, whole, strict=True):
        assert one.margin == two.margin or one.margin == pytest.approx(two.margin, rel=1e-4, abs=1e-4)


def test_radii_do_not_depend_on_the_cuts(slow, monkeypatch):
    search = BisectionSettings(Fraction("0.256"), Fraction("0.01"), ProofSettings("zonotope", attack=None))
    cut = radius(mnist(), digits(6)[0], search)
    monkeypatch.undo()
    whole = radius(mnist(), digits(6)[0], search)
    assert [(r.certified, r.refuted, r.calls) for r in cut] == [(r.certified, r.refuted, r.calls) for r in whole]


def test_a_batch_asked_for_is_no_more_than_one_step_holds(slow):
    run = Portfolio(images(4), ProofSettings("box", batch=100_000))
    assert run._batch_size() == Budget().pieces(work(mnist())) < 100


def test_a_zonotope_stops_between_two_pieces_of_one_layer(slow, clock):
    """Its generators go through a layer some at a time: the deadline is felt inside the layer."""
    op, shape = next((n.op, mnist().shapes_of(n)[0]) for n in mnist().nodes if isinstance(n.op, Gemm))
    seen: list[int] = []
    vectors = torch.ones(1, 100, *shape, dtype=torch.float64)
    clock.tick = 1.0

    def apply(x: Tensor) -> Tensor:
        seen.append(len(x))
        return Gemm.apply(op, x)

    pace = Pace(Budget(deadline=clock.now + 2.5), 30)
    with pytest.raises(DeadlineError):
        pace.apply(apply, vectors[0])
    assert seen == [30, 30]
    whole = Dense(vectors).through(op, shape, Pace(Budget(), 30)).generators
    assert torch.allclose(whole, Dense(vectors).through(op, shape, Pace(Budget(), 1000)).generators, rtol=1e-12)


def test_sparse_products_are_cut_by_their_terms(clock):
    rng = torch.Generator().manual_seed(5)
    some = torch.rand(2, 60, 60, generator=rng) * (torch.rand(2, 60, 60, generator=rng) < 0.4)
    rows, matrix = (sparse.csr_array(part.numpy()) for part in some)
    terms = float((rows != 0).astype(float).sum(0) @ (matrix != 0).astype(float).sum(1))
    few = Budget(deadline=clock.now + 1e9, rate=20 * terms / 7 / backend._STEP)
    clock.tick = 1.0
    begin = clock.now
    found = product(rows, matrix, few)
    assert 7 <= clock.now - begin <= 9
    assert abs(found - rows @ matrix).max() == 0
    assert found.shape == (60, 60)
    with pytest.raises(DeadlineError):
        product(rows, matrix, Budget(deadline=clock.now + 2.5, rate=few.rate))
    empty = sparse.csr_array((5, 60))
    assert product(empty, matrix, few).shape == (5, 60)


def test_bounds_look_at_the_clock_too(slow, monkeypatch):
    meter = Meter(monkeypatch)
    region = images(20, "0.03").region
    found = widths.bounds(mnist(), region, [mnist().output.name], widths.BoundingSettings(DOMAINS.get("zonotope")()))
    assert len(found) == 1
    assert meter.most <= 4 * slow
