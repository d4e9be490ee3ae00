"""Single steps of forward linear bounds on numbers of any size, against the same steps in rational numbers at every vertex.

Each step starts from functions without any remainder but what is given, so that nothing but the step's own charges can pay for its
roundings and underflows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
import torch

from absint.domains import anchors as anchoring
from absint.domains import forward_linear, input_forms
from absint.domains.forward_linear import ForwardLinear
from absint.domains.input_forms import Coordinates, InputForms
from absint.engine.affine_forms import AffineForms
from absint.engine.context import Context
from absint.engine.forward import analyse
from absint.engine.rows import Rows, Sense
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Gather
from absint.numeric.interval import Relaxation
from absint.problem.regions.region import BoxRegion
from absint.testing.kit import FLOAT64, SINGLE

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")

COUNT, SIZE = 2, 3      # coordinates, and entries of an operand
SEEDS = 20


@dataclass(frozen=True)
class Sizes:
    """Powers of two that numbers are about: of coefficients, constants, remainders, the coordinates' reach, and the operator's own.

    None for no such numbers.
    """

    mean: int | None = 0
    center: int = 0
    rest: int | None = None
    reach: int = 0
    weight: int = 0
    bias: int | None = None


def numbers(random, exponent, *shape):
    return torch.from_numpy(np.ldexp(random.normal(size=shape), exponent))


def forms_of(random, sizes):
    rest = torch.zeros(1, SIZE, dtype=torch.float64) if sizes.rest is None else numbers(random, sizes.rest, 1, SIZE).abs()
    center, gap = (numbers(random, sizes.center, 1, SIZE) for _ in range(2))
    if sizes.mean is None:
        return InputForms(center, gap, rest)
    reach = numbers(random, sizes.reach, 1, COUNT).abs()
    mean, wide = (numbers(random, sizes.mean, 1, COUNT, SIZE) for _ in range(2))
    coordinates = Coordinates(reach, torch.zeros(1, COUNT, dtype=torch.float64), torch.arange(COUNT)[None])
    return InputForms(center, gap, rest, mean, wide, coordinates)


def rational(values):
    return [F(value) for value in values.flatten().tolist()]


def vertices(coordinates):
    return [()] if coordinates is None else list(product(*((-reach, reach) for reach in rational(coordinates.reach))))


def size_of(forms, k):
    """How far both parts of an entry's functions reach over all vertices, added."""
    if forms.mean is None:
        return F(0)
    reach = rational(forms.coordinates.reach)
    return sum((abs(F(float(m))) + abs(F(float(w)))) * r for m, w, r in zip(forms.mean[0, :, k], forms.wide[0, :, k], reach, strict=True))


def ends_at(forms, z):
    """Lower and upper function of every entry at z."""
    size = forms.center.numel()
    parts = [[F(0) if one is None else sum(F(float(c)) * v for c, v in zip(one[0, :, k], z, strict=True)) for k in range(size)]
             for one in (forms.mean, forms.wide)]
    middle = [a + b for a, b in zip(parts[0], rational(forms.center), strict=True)]
    reach = [a + b + c for a, b, c in zip(parts[1], rational(forms.gap), rational(forms.rest), strict=True)]
    return [m - r for m, r in zip(middle, reach, strict=True)], [m + r for m, r in zip(middle, reach, strict=True)]


def combined(weights, bias, low, high):
    """The least and greatest of weights . x + bias over low <= x <= high, whichever order these two have."""
    below = above = bias
    for w, one, two in zip(weights, low, high, strict=True):
        below += w * (one if w >= 0 else two)
        above += w * (two if w >= 0 else one)
    return below, above


def context(op):
    build = GraphBuilder("x", (SIZE,))
    graph = build.graph(build.add(op, ("x",)))
    zero = torch.zeros(1, SIZE, dtype=torch.float64)
    return Context(graph, BoxRegion(zero, zero), FLOAT64)


def covers(found, z, truths):
    if not bool(found.rest.isfinite().all()):
        return
    for low, high, (below, above) in zip(*ends_at(found, z), truths, strict=True):
        assert low <= below
        assert above <= high


def linear_holds(sizes, seeds=SEEDS):
    """A dense layer."""
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        forms, weight = forms_of(random, sizes), numbers(random, sizes.weight, 2, SIZE)
        bias = None if sizes.bias is None else numbers(random, sizes.bias, 2)
        ctx = context(Gemm(weight, bias))
        found = ForwardLinear(0).linear(ctx.graph.output, [forms], ctx)
        constants = [F(0)] * 2 if bias is None else rational(bias)
        for z in vertices(forms.coordinates):
            low, high = ends_at(forms, z)
            covers(found, z, [combined(rational(row), b, low, high) for row, b in zip(weight, constants, strict=True)])


def moved_holds(sizes, seeds=SEEDS):
    """Entries times powers of two."""
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        forms, scale = forms_of(random, sizes), torch.tensor([2.0**-3, -(2.0**-5), 2.0**-1], dtype=torch.float64)
        ctx = context(Affine(scale))
        found = ForwardLinear(0).linear(ctx.graph.output, [forms], ctx)
        for z in vertices(forms.coordinates):
            ends = zip(rational(scale), *ends_at(forms, z), strict=True)
            covers(found, z, [combined([s], F(0), [low], [high]) for s, low, high in ends])


def lone_part_moves(part):
    """A point of which the center, the gap or the remainder alone leaves the normal numbers: none of the others' charges pays for it."""
    scale = torch.tensor([2.0**-3, 2.0**-5, 2.0**-1], dtype=torch.float64)
    ctx, odd = context(Affine(scale)), torch.tensor([[9.0, 33, 5]], dtype=torch.float64) * 2.0**-1074
    forms = InputForms(**{name: odd if name == part else torch.zeros_like(odd) for name in ("center", "gap", "rest")})
    found = ForwardLinear(0).linear(ctx.graph.output, [forms], ctx)
    ends = zip(rational(scale), *ends_at(forms, ()), strict=True)
    covers(found, (), [combined([s], F(0), [low], [high]) for s, low, high in ends])


def line_holds(sizes, seeds=SEEDS):
    """One operand between two lines; and what is carried over of the spread is one."""
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        forms = forms_of(random, sizes)
        slopes = [numbers(random, sizes.weight, 1, SIZE) for _ in range(2)]
        exponent = sizes.center + sizes.weight if sizes.bias is None else sizes.bias
        offset = numbers(random, exponent, 1, SIZE)
        lines = Relaxation((slopes[0],), offset, (slopes[1],), offset + numbers(random, exponent, 1, SIZE).abs())
        found = forward_linear._between([forms], lines, forms.coordinates, FLOAT64)
        assert all(size_of(found, k) <= spread for k, spread in enumerate(rational(found.spread(FLOAT64))))
        for z in vertices(forms.coordinates):
            truths = []
            for k, (low, high) in enumerate(zip(*ends_at(forms, z), strict=True)):
                below, _ = combined([F(float(slopes[0][0, k]))], F(float(lines.lower_offset[0, k])), [low], [high])
                _, above = combined([F(float(slopes[1][0, k]))], F(float(lines.upper_offset[0, k])), [low], [high])
                truths.append((below, above))
            covers(found, z, truths)


def rows_hold(sizes, seeds=SEEDS):
    """Rows of a property, over all vertices."""
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        forms, weight = forms_of(random, sizes), numbers(random, sizes.weight, 2, SIZE)
        bias = numbers(random, sizes.weight + sizes.center if sizes.bias is None else sizes.bias, 2)
        ctx = context(Gemm(torch.eye(SIZE, dtype=torch.float64)))
        rows = Rows("x", torch.zeros(2, dtype=torch.int64), weight, None, bias)
        found = ForwardLinear(0).bounds(forms, rows, ctx, Sense.BOTH)
        for k, (row, b) in enumerate(zip(weight, rational(bias), strict=True)):
            ends = [combined(rational(row), b, *ends_at(forms, z)) for z in vertices(forms.coordinates)]
            assert not found.lower[k].isfinite() or F(float(found.lower[k])) <= min(low for low, _ in ends)
            assert not found.upper[k].isfinite() or F(float(found.upper[k])) >= max(high for _, high in ends)


def remainders_add_up():
    """A sum of which every addition loses nearly half a unit in the last place, of remainders alone."""
    rest = torch.full((1, 256), 0.9 * 2.0**-53, dtype=torch.float64)
    rest[0, 0] = 1.0
    zero = torch.zeros_like(rest)
    build = GraphBuilder("x", (256,))
    graph = build.graph(build.add(Gemm(torch.eye(256, dtype=torch.float64)), ("x",)))
    rows = Rows("x", torch.zeros(1, dtype=torch.int64), torch.ones(1, 256, dtype=torch.float64), None, torch.zeros(1, dtype=torch.float64))
    found = ForwardLinear(0).bounds(InputForms(zero, zero, rest), rows, Context(graph, BoxRegion(zero, zero), FLOAT64), Sense.BOTH)
    assert F(float(found.upper)) >= sum(rational(rest))
    assert F(float(found.lower)) <= -sum(rational(rest))


def vanished_products_add_up():
    """Each product is nearly half of the least number there is, and comes out as zero."""
    count, weight = 64, torch.full((1, 64), 2.0**-515, dtype=torch.float64)
    center = torch.full((1, count), 0.9 * 2.0**-560, dtype=torch.float64)
    zero = torch.zeros_like(center)
    build = GraphBuilder("x", (count,))
    graph = build.graph(build.add(Gemm(torch.eye(count, dtype=torch.float64)), ("x",)))
    rows = Rows("x", torch.zeros(1, dtype=torch.int64), weight, None, torch.zeros(1, dtype=torch.float64))
    found = ForwardLinear(0).bounds(InputForms(center, zero, zero), rows, Context(graph, BoxRegion(zero, zero), FLOAT64), Sense.BOTH)
    truth = sum(w * c for w, c in zip(rational(weight), rational(center), strict=True))
    assert F(float(found.lower)) <= truth <= F(float(found.upper))


def symbols_hold(num, sizes):
    """Centre, generators and remainder of a region, in the format of vectors: what the casts moved is charged."""
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        middle, generators = numbers(random, sizes.center, 1, SIZE), numbers(random, sizes.mean, 1, COUNT, SIZE)
        rest = numbers(random, sizes.rest, 1, SIZE).abs()
        found = input_forms.symbols_of((middle, generators, rest), num)
        for z in product((-1, 1), repeat=COUNT):
            parts = [[F(float(c)) * v for c, v in zip(generators[0, :, k], z, strict=True)] for k in range(SIZE)]
            at = [F(float(middle[0, k])) + sum(part) for k, part in enumerate(parts)]
            covers(replace(found, wide=torch.zeros_like(found.mean)), z,
                   [(value - r, value + r) for value, r in zip(at, rational(rest), strict=True)])


def hull_holds(sizes, seeds=SEEDS):
    """Every entry, over all vertices; and the spread."""
    ctx = context(Gemm(torch.eye(SIZE, dtype=torch.float64)))
    for seed in range(seeds):
        forms = forms_of(np.random.default_rng(seed), sizes)
        found = ForwardLinear(0).hull(forms, ctx)
        many = [ends_at(forms, z) for z in vertices(forms.coordinates)]
        for k in range(SIZE):
            assert F(float(found.lower[0, k])) <= min(low[k] for low, _ in many)
            assert F(float(found.upper[0, k])) >= max(high[k] for _, high in many)
            assert size_of(forms, k) <= F(float(forms.spread(FLOAT64)[0, k]))


LINEAR = {
    "plain": Sizes(bias=0), "far-bias": Sizes(mean=-70, center=-8, bias=4),
    "constants": Sizes(mean=-200), "coefficients": Sizes(center=-200),
    "underflow": Sizes(-560, -560, weight=-505, reach=-10), "underflow-times-reach": Sizes(-1065, -1065, weight=-2, reach=70),
    "subnormal-times-huge": Sizes(-1060, -1030, weight=950), "remainders": Sizes(-80, -80, rest=0, weight=0),
    "subnormal-constants-times-huge": Sizes(None, -1030, weight=950),
}
MOVED = {"subnormal": Sizes(-1068, -1068, rest=-1068), "beside-a-remainder": Sizes(-1068, -1068, rest=0),
         "subnormal-center": Sizes(-20, -1070, rest=0, reach=-20), "subnormal-times-reach": Sizes(-1070, -200, reach=100)}
LINES = {"plain": Sizes(), "far-offset": Sizes(-80, -80, bias=0), "underflow": Sizes(-560, -560, weight=-505),
         "subnormal-slopes": Sizes(1000, -200, weight=-1071), "subnormal-times-reach": Sizes(-1068, -300, weight=-2, reach=100),
         "remainders": Sizes(-80, -80, rest=0)}
ROWS = {"plain": Sizes(), "far-bias": Sizes(-80, -52, bias=0), "underflow": Sizes(-560, -560, weight=-510, bias=-1060),
        "subnormal-times-huge": Sizes(-1060, -1030, weight=950), "subnormal-times-reach": Sizes(-1068, -1068, weight=-2, reach=100),
        "subnormal-constants-times-huge": Sizes(None, -1030, weight=950, bias=-300)}
SYMBOLS = {"centre": Sizes(-80, 0, rest=-80), "generators": Sizes(0, -80, rest=-80), "remainder": Sizes(-80, -80, rest=0)}
HULLS = {"plain": Sizes(), "remainders": Sizes(-60, 0, rest=-60), "underflow": Sizes(-560, -1074, reach=-515)}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_steps_hold(name):
    linear_holds(LINEAR[name])


@pytest.mark.parametrize("name", MOVED)
def test_moved_entries_hold(name):
    moved_holds(MOVED[name])


@pytest.mark.parametrize("part", ["center", "gap", "rest"])
def test_each_part_that_is_moved_holds(part):
    lone_part_moves(part)


@pytest.mark.parametrize("name", LINES)
def test_lines_hold(name):
    line_holds(LINES[name])


@pytest.mark.parametrize("name", ROWS)
def test_rows_hold(name):
    rows_hold(ROWS[name])


def test_sums_of_remainders_are_raised():
    remainders_add_up()


def test_products_that_vanish_are_charged():
    vanished_products_add_up()


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_hold_in_every_format(name):
    for num in (FLOAT64, SINGLE):
        symbols_hold(num, SYMBOLS[name])


@pytest.mark.parametrize("name", HULLS)
def test_hulls_hold(name):
    hull_holds(HULLS[name])


def test_no_function_starts_anew_beside_an_entry_that_is_no_coordinate(monkeypatch):
    """Wider than float32 holds: coefficients of it would be left out, whatever substitution finds."""
    build = GraphBuilder("x", (2,))
    bent = build.add(Relu(), ("x",))
    last = build.add(Relu(), (build.add(Gather.of(torch.tensor([1, 0])), (bent,)),))
    graph = build.graph(build.add(Gemm(torch.eye(2, dtype=torch.float64)), (last,)))
    node = graph.nodes[2]
    region = BoxRegion(torch.tensor([[-1.0, -1e39]], dtype=torch.float64), torch.tensor([[1.0, 1e39]], dtype=torch.float64))
    one = torch.ones(2, 2, dtype=torch.float32)
    monkeypatch.setattr(anchoring, "backward_forms_about", lambda *_: AffineForms(one, one[0], one, one[0]))
    found = analyse(ForwardLinear(1 << 40), Context(graph, region, SINGLE), frozenset((node.name,)))
    assert bool((found.kept[node.name].rest == torch.inf).any()), "what nothing is known of stays so"
