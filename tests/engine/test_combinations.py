"""Combinations of a disjunct's rows: they refute what no single row refutes, and never what holds somewhere."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import exact
import numpy as np
import pytest
import torch
from test_slopes import boxes, network

from absint.domains.alpha import Alpha
from absint.domains.deeppoly import DeepPoly
from absint.engine.attempts import attempt
from absint.engine.backward import combinations
from absint.engine.backward.combinations import Conjunctions, conjunctions
from absint.engine.context import Context
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Tanh
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64, MIXED

ZERO = torch.zeros(1, dtype=torch.float64)


pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


def identity(size):
    build = GraphBuilder("x", (size,))
    return build.graph(build.add(Gemm(torch.eye(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)), ("x",)))


def unit_box(size):
    return BoxRegion(-torch.ones(1, size, dtype=torch.float64), torch.ones(1, size, dtype=torch.float64))


def refuted(graph, region, spec, num=FLOAT64, **options):
    return attempt(Alpha(goal=inf, **options), Context(graph, region, num), spec).refuted


@pytest.mark.parametrize("num", [FLOAT64, MIXED], ids=["float64", "mixed"])
def test_a_sum_refutes_what_no_row_refutes(num):
    """y + 0.25 <= 0 and -y + 0.25 <= 0 at once: never, but each for some y in [-1, 1]."""
    spec = Spec.rows(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0.25, 0.25]]), torch.tensor([0, 0]))
    found = attempt(Alpha(), Context(identity(1), unit_box(1), num), spec)
    assert float(spec.margin(found.interval.lower)) < 0
    assert found.refuted.shape == (1, 1)
    assert 0.24 < float(found.refuted) <= 0.25


def test_uneven_weights_are_found():
    """3 y + 0.25 <= 0 and -y + 0.25 <= 0: the weights must be about 1 to 3, far from equal."""
    spec = Spec.rows(torch.tensor([[[30.0], [-1.0]]]), torch.tensor([[0.25, 0.25]]), torch.tensor([0, 0]))
    assert float(refuted(identity(1), unit_box(1), spec)) > 0


def test_only_open_disjuncts_of_several_rows_are_tried():
    weight = torch.tensor([[[1.0], [-1.0], [1.0], [1.0], [1.0]]])
    spec = Spec.rows(weight, torch.tensor([[0.25, 0.25, 0.0, 2.0, 0.0]]), torch.tensor([0, 0, 1, 2, 2]))
    found = attempt(Alpha(), Context(identity(1), unit_box(1), FLOAT64), spec).refuted
    assert float(found[0, 0]) > 0
    assert found[0, 1:].tolist() == [-inf, -inf]
    assert attempt(DeepPoly(), Context(identity(1), unit_box(1), FLOAT64), spec).refuted is None


def test_members_of_interleaved_and_uneven_disjuncts():
    spec = Spec.rows(torch.arange(12.0).reshape(2, 6, 1), torch.arange(12.0).reshape(2, 6), torch.tensor([1, 0, 1, 2, 1, 0]))
    open_ = torch.tensor([[True, True, True], [False, True, False]])
    found, which = conjunctions(spec, open_)
    assert found.instance.tolist() == [0, 0, 1]
    assert which.tolist() == [0, 1, 1]
    assert [b[i].tolist() for b, i in zip(found.bias, found.inside, strict=True)] == [[1, 5], [0, 2, 4], [6, 8, 10]]
    assert bool((found.weight[~found.inside] == 0).all())


def disjuncts(random, batch, rows, size):
    weight, bias = (torch.from_numpy(random.normal(size=shape)) for shape in ((batch, rows, size), (batch, rows)))
    return Spec.rows(weight, bias + 0.3, torch.arange(rows) // 3)


def excess(graph, region, spec, found, count=300):
    """How far the refuted bounds exceed the best row of their disjunct at samples: > 0 is unsound."""
    worst = -inf
    for share in np.random.default_rng(5).random(size=(count, 1, *graph.input.shape)).round():
        x = region.lower + (region.upper - region.lower) * torch.from_numpy(share)
        worst = max(worst, float((found - spec.refutation(spec.values(graph(x)))).max()))
    return worst


@pytest.mark.parametrize("activation", [Relu(), Tanh()], ids=["relu", "tanh"])
def test_combinations_are_sound_and_of_use(activation):
    graph, region = network(activation), boxes(6, 3, 0.4)
    spec = disjuncts(np.random.default_rng(3), 6, 9, 4)
    found = attempt(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)
    assert excess(graph, region, spec, found.refuted) <= 1e-12
    gain = found.refuted - spec.refutation(found.interval.lower)
    assert float(gain.max()) > 0.05
    alone = [refuted(graph, region.take(torch.tensor([k])), spec.take(torch.tensor([k]))) for k in range(6)]
    assert torch.allclose(torch.cat(alone), found.refuted, atol=1e-8)


def test_negative_shares_are_seen(monkeypatch):
    """The fault: weights that need not be >= 0."""
    monkeypatch.setattr(combinations, "_shifted", lambda share, each, value, rate: share + rate * torch.sign(each - value[:, None]))
    graph, region = network(Relu()), boxes(6, 3, 0.4)
    spec = disjuncts(np.random.default_rng(3), 6, 9, 4)
    found = attempt(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)
    assert excess(graph, region, spec, found.refuted) > 1e-3


def exact_sum(todo, share, y):
    """sum_i share_i (weight_i . y + bias_i) in Fractions, one number a conjunction."""
    return [sum(Fraction(float(s)) * (sum((Fraction(float(w)) * v for w, v in zip(ws, y, strict=True)), Fraction(0)) + Fraction(float(b)))
                for s, ws, b in zip(shares, weights, biases, strict=True))
            for shares, weights, biases in zip(share, todo.weight, todo.bias, strict=True)]


def uncovered():
    """Of 200 sums of rows of very different sizes, how many the rounding of `mix` changes by more than `mixing_error`."""
    random = np.random.default_rng(0)
    scale = torch.from_numpy(10.0 ** random.integers(-9, 9, size=(200, 4, 3)))
    todo = Conjunctions(torch.zeros(200, dtype=torch.int64), torch.from_numpy(random.normal(size=(200, 4, 3))) * scale,
                        torch.from_numpy(random.normal(size=(200, 4))),
                        torch.ones(200, 4, dtype=torch.bool), torch.zeros(200, 4, dtype=torch.bool))
    share = torch.from_numpy(random.random(size=(200, 4)))
    weight, bias = todo.mix(share)
    y = [Fraction(1), Fraction(-3, 7), Fraction(10) ** 6]
    reach = torch.tensor([[1.0, 3 / 7 + 1e-9, 1e6]], dtype=torch.float64).expand(200, -1)
    error = todo.mixing_error(share, reach)
    one = Conjunctions(todo.instance, weight[:, None], bias[:, None], todo.inside[:, :1], todo.strict[:, :1])
    gaps = [abs(a - b) for a, b in zip(exact_sum(one, torch.ones(200, 1), y), exact_sum(todo, share, y), strict=True)]
    return sum(gap > Fraction(float(e)) for gap, e in zip(gaps, error, strict=True))


def test_the_error_of_mixing_is_covered(monkeypatch):
    assert uncovered() == 0
    monkeypatch.setattr(combinations, "gamma", lambda terms, dtype: 0.0)
    assert uncovered() > 100, "the fault, a forgotten error of mixing, is not seen"


def test_against_the_exact_minimum_of_a_net():
    """|x| as a ReLU net: |x| - 0.5 <= 0 and 0.3 - x <= 0 and 0.3 + x <= 0 never hold together; exact values of the sums."""
    build = GraphBuilder("x", (1,))
    hidden = build.add(Relu(), (build.add(Gemm(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)),
                                          ("x",)),))
    graph = build.graph(build.add(Gemm(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64),
                                       torch.zeros(2, dtype=torch.float64)), (hidden,)))
    weight = torch.tensor([[[1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]], dtype=torch.float64)
    spec = Spec.rows(weight, torch.tensor([[-0.5, 0.3, 0.3]]), torch.zeros(3, dtype=torch.int64))
    found = float(refuted(graph, unit_box(1), spec))
    least = exact.minimum(graph, [Fraction(-1)], [Fraction(1)], [Fraction(0), Fraction(0)], Fraction(float(spec.bias[0, 1])))
    assert 0 < found <= least + Fraction(1, 10**12)


def test_deadline_leaves_no_claim():
    from absint.engine.backward.combinations import mixed_bounds
    from absint.engine.backward.slopes import Ascent, Slopes, SlopeSearch
    from absint.engine.forward import analyse
    from absint.numeric.backend import Budget

    spec = Spec.rows(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0.25, 0.25]]), torch.tensor([0, 0]))
    ctx = analyse(DeepPoly(), Context(identity(1), unit_box(1), FLOAT64)).ctx
    late = Context(ctx.graph, ctx.region, ctx.numerics, Budget(deadline=0.0), known=ctx.known, reference=ctx.reference, drift=ctx.drift)
    slopes = Slopes(DeepPoly().relax, DeepPoly().parameters)
    assert SlopeSearch(ctx.graph.output.name, late, slopes, Ascent()).late
    assert mixed_bounds(spec, torch.full((1, 1), -1.0), late, slopes, Ascent()).tolist() == [[-inf]]
