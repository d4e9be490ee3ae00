"""Affine bounds in terms of the input hold for the very numbers returned, in exact arithmetic; what is dropped from them is noticed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from regional import MAGNITUDES, dot, fractions, randn

from absint.engine import affine_forms
from absint.engine.affine_forms import AffineForms, from_zero
from absint.engine.backward import block, walk
from absint.engine.backward.charges import Charges
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import analyse
from absint.engine.from_relaxations import forms_at_input
from absint.engine.product import Product
from absint.engine.rows import Rows
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import no_lower
from absint.problem.regions import ball
from absint.testing.affine_checks import false_forms
from absint.testing.networks import case, network
from absint.testing.truth import FLOAT64, MIXED, evaluate

F = Fraction
DEEPPOLY = DOMAINS.get("deeppoly")


def forms_of(domain, ctx, name):
    with numeric_mode(), torch.no_grad():
        result = analyse(domain, ctx)
        rows = Rows.units(name, torch.ones((ctx.batch, *ctx.graph[name].shape), dtype=torch.bool))
        return forms_at_input(domain.traits, rows, result.ctx), rows


def failures(name, num=MIXED, scale=1.0, domain=None):
    """What is false about the forms of a network's output on the kit's boxes."""
    graph, boxes = network(name, scale), case(name, scale)
    forms, rows = forms_of(domain or DEEPPOLY(), Context(graph, boxes.region, num), graph.output.name)
    values = [evaluate(graph, points)[graph.output.name] for points in boxes.points]
    return list(false_forms(forms, rows, boxes.points, values))


# ---- from the reference to the origin -------------------------------------------------------------------------------


def numbers(count, n, magnitude, seed):
    """Weights, offsets and origins of mixed sizes around a magnitude, some of them zero."""
    weight, origin = randn(count, n, seed=seed), randn(count, n, seed=seed + 1) * magnitude
    weight[:, ::3] *= 2.0**40
    origin[:, 1::4] *= 2.0**-40
    weight[::5, 0] = 0.0
    return weight, randn(count, seed=seed + 2) * magnitude, origin


def above_exact(seed=0):
    """How many constants exceed the exact d - A c."""
    found = 0
    for k, magnitude in enumerate(MAGNITUDES):
        weight, offset, origin = numbers(40, 17, magnitude, seed + 10 * k)
        _, bias = from_zero(weight, offset, origin)
        assert bool(bias.isfinite().all())
        for row in range(len(weight)):
            found += F(float(bias[row])) > F(float(offset[row])) - dot(fractions(weight[row]), fractions(origin[row]))
    return found


def test_the_constant_is_never_above_the_exact_one():
    assert above_exact() == 0


def test_the_constant_is_close_to_the_exact_one():
    weight, offset, origin = numbers(40, 17, 1.0, 3)
    _, bias = from_zero(weight, offset, origin)
    size = offset.abs() + (weight * origin).abs().sum(1)
    exact = torch.tensor([float(F(float(d)) - dot(fractions(a), fractions(c))) for a, d, c in zip(weight, offset, origin, strict=True)],
                         dtype=torch.float64)
    assert bool((exact - bias <= 1e-13 * size).all())


@pytest.mark.parametrize(("name", "value"), [
    ("box_below", lambda rows, low, high: (rows * low).sum(1)),
    ("box_below", lambda rows, low, high: -(rows * low).sum(1)),
])
def test_a_dot_product_without_its_error_is_noticed(name, value, monkeypatch):
    monkeypatch.setattr(affine_forms, name, value)
    assert above_exact() > 0


def test_a_last_sum_without_its_rounding_is_noticed(monkeypatch):
    """Where the dot product is exactly 0, only the sum's own step is left, and it is the offset that must come out below."""
    monkeypatch.setattr(affine_forms, "box_below", lambda rows, low, high: torch.full((len(rows),), -1 / 3, dtype=torch.float64))
    offset = torch.tensor([1e16, 3.0, 1 / 7], dtype=torch.float64)
    zero = torch.zeros(3, 2, dtype=torch.float64)

    def high():
        return sum(F(float(b)) > F(float(d)) + F(-1 / 3) for b, d in zip(from_zero(zero, offset, zero)[1], offset, strict=True))

    assert high() == 0
    monkeypatch.setattr(affine_forms, "down", lambda x: x)
    assert high() > 0


@pytest.mark.parametrize(("weight", "offset", "origin"), [
    (float("nan"), 0.0, 1.0), (float("inf"), 0.0, 1.0), (1.0, float("nan"), 1.0), (1.0, float("-inf"), 1.0),
    (1e200, 0.0, 1e200), (1.0, float("inf"), 0.0),
])
def test_what_is_not_finite_is_no_bound(weight, offset, origin):
    one = torch.ones(1, 2, dtype=torch.float64)
    found, bias = from_zero(one * weight, torch.tensor([offset], dtype=torch.float64), one * origin)
    assert found.tolist() == [[0.0, 0.0]]
    assert bias.tolist() == [-torch.inf]


# ---- whole networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv", "average-pool", "concat-gather", "shapes", "fan-out", "leaky-negative"])
@pytest.mark.parametrize("num", [FLOAT64, MIXED], ids=["float64", "mixed"])
def test_forms_hold_at_vertices_and_samples(name, num):
    assert failures(name, num) == []


def test_optimised_slopes_give_forms_that_hold_and_are_no_looser():
    alpha = DOMAINS.get("alpha")(steps=8, inner=0, goal=float("inf"))
    for name in ("relu", "residual"):
        assert failures(name, domain=alpha) == []
        graph, boxes = network(name, 1.0), case(name, 1.0)
        ctx = Context(graph, boxes.region, FLOAT64)
        hull = boxes.region.hull

        def least(forms, rows, hull=hull):
            low, high = hull.lower.flatten(1)[rows.instance], hull.upper.flatten(1)[rows.instance]
            weight = forms.lower.flatten(1)
            return (weight.clamp(min=0) * low + weight.clamp(max=0) * high).sum(1) + forms.lower_bias

        best, plain = least(*forms_of(alpha, ctx, graph.output.name)), least(*forms_of(DEEPPOLY(), ctx, graph.output.name))
        assert bool((best >= plain - 1e-9).all())
        assert bool((best > plain + 1e-6).any())


def test_forms_hold_over_balls_that_are_smaller_than_their_hull():
    graph = network("residual", 1.0)
    center = randn(3, 3, seed=4)
    for norm in ("l2", "l1"):
        region = ball(norm, center, F(1, 2), None)
        forms, rows = forms_of(DEEPPOLY(), Context(graph, region, MIXED), graph.output.name)
        points = [np.stack([region.project(k, (center[k] + randn(3, seed=20 * k + j)).numpy()) for j in range(12)]) for k in range(3)]
        assert list(false_forms(forms, rows, points, [evaluate(graph, many)[graph.output.name] for many in points])) == []


def test_forms_of_the_input_are_the_input():
    graph = network("residual", 1.0)
    region = case("residual", 1.0).region
    forms, _ = forms_of(DEEPPOLY(), Context(graph, region, FLOAT64), graph.input.name)
    eye = torch.eye(3, dtype=torch.float64).repeat(region.batch, 1)
    assert torch.equal(forms.lower, eye)
    assert torch.equal(forms.upper, eye)
    assert float(forms.lower_bias.abs().max()) < 1e-14


def test_a_product_takes_the_forms_of_the_first_that_has_them_and_box_has_none():
    graph, boxes = network("relu", 1.0), case("relu", 1.0)
    ctx = Context(graph, boxes.region, FLOAT64)
    box, deeppoly = DOMAINS.get("box")(), DEEPPOLY()
    assert forms_of(box, ctx, graph.output.name)[0] is None
    assert forms_of(Product(box, box), ctx, graph.output.name)[0] is None
    both = forms_of(Product(box, deeppoly), ctx, graph.output.name)[0]
    assert torch.equal(both.lower, forms_of(deeppoly, ctx, graph.output.name)[0].lower)


def test_forms_do_not_depend_on_the_batch():
    graph, boxes = network("residual", 1.0), case("residual", 1.0)
    whole, rows = forms_of(DEEPPOLY(), Context(graph, boxes.region, FLOAT64), graph.output.name)
    for k in range(boxes.region.batch):
        one, _ = forms_of(DEEPPOLY(), Context(graph, boxes.region.take(torch.tensor([k])), FLOAT64), graph.output.name)
        assert torch.allclose(one.lower, whole.lower[rows.instance == k], rtol=1e-12, atol=1e-14)
        assert torch.allclose(one.lower_bias, whole.lower_bias[rows.instance == k], rtol=1e-12, atol=1e-12)


# ---- what must be noticed -------------------------------------------------------------------------------------------


def uncharged(self):
    return no_lower(self.d)


def crossed(below, above):
    return AffineForms(*below, above[0], above[1])


def elsewhere(*arguments, to_input=False, **options):
    return Charges(*arguments, **options)


def from_nowhere(weight, offset, origin):
    return from_zero(weight, offset, origin * 0)


MUTANTS = {
    "the charges of the walk": lambda patch: patch(block.BlockWalk, "constant", property(uncharged)),
    "the sign of the upper side": lambda patch: patch(AffineForms, "of_sides", staticmethod(crossed)),
    "the charges in the offsets": lambda patch: patch(Charges, "_paid", lambda self, cost, node: cost * 0),
    "the way from the chain's end to the input": lambda patch: patch(walk, "Charges", elsewhere),
    "the reference": lambda patch: patch(affine_forms, "from_zero", from_nowhere),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_dropped_part_is_noticed(mutant, monkeypatch):
    MUTANTS[mutant](monkeypatch.setattr)
    found = []
    for name in ("gemm", "affine", "residual", "cancelling", "maximum"):
        for scale in (1.0, 1e6):
            try:
                found += failures(name, MIXED, scale)
            except RuntimeError:    # coefficients of another node's shape
                found.append("shape")
    assert found
