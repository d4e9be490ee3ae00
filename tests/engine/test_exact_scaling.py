"""Moving entries and scaling them by powers of two adds no slack where products are normal, and stays sound where they are not."""

from __future__ import annotations

import random
from fractions import Fraction
from math import inf, isfinite

import pytest
import torch

from absint.engine.attained_rows import lower_over
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import analyse, boxes, tensor_bounds
from absint.engine.rows import Rows, Sense
from absint.model.graph import GraphBuilder
from absint.model.op import no_offset
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Concat, Gather, Pad, Reshape, Transpose
from absint.model.passes.fold_affine import fold_affine
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, is_power, smallest_normal
from absint.problem.regions.region import BoxRegion

N = 4
DOUBLE, MIXED, SINGLE = Numerics(), Numerics(torch.float32), Numerics(torch.float32).single()
FORMATS = {"float64": DOUBLE, "float32 matrices": MIXED, "float32": SINGLE}


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad():
        yield


def scale(*factors):
    return Affine(scale=torch.tensor(factors, dtype=torch.float64))


def selection():
    matrix = torch.zeros(5, N, dtype=torch.float64)
    matrix[torch.tensor([0, 1, 2, 4]), torch.tensor([3, 3, 0, 1])] = torch.tensor([1.0, -1.0, 4.0, 2.0**-30], dtype=torch.float64)
    return matrix


SINGLES = {
    "negation": lambda: scale(-1.0),
    "powers": lambda: scale(2.0**-100, -2.0, 0.0, 2.0**90),
    "halves": lambda: scale(0.5),
    "selection": lambda: Gather.of(torch.tensor([3, 1, 1, 0, 3])),
    "padding": lambda: Pad(((1, 2),), torch.tensor([0.1, 0, 0, 0, 0, 0.1, 0.1], dtype=torch.float64)),
    "matrix": lambda: Gemm(selection()),
    "matrix with a zero bias": lambda: Gemm(selection(), torch.zeros(5, dtype=torch.float64)),
}
IMAGES = {
    "transpose": lambda: Transpose((1, 0)), "reshape": lambda: Reshape((4,)),
    "left matrix": lambda: LeftMatMul(-torch.eye(2, dtype=torch.float64)),
    "kernel": lambda: Conv(torch.tensor([[[0.0, -0.25]], [[2.0, 0.0]]], dtype=torch.float64), None, (1,), ((0, 1),), (1,), 2),
}


def magnitudes(rng, num):
    """Numbers around every threshold: zeros, subnormal, normal, where squares under- and overflow, huge."""
    tiny = smallest_normal(num.vector)
    least = 1e-300 if num.vector is torch.float64 else 1e-36
    sizes = (0.0, tiny * 2.0**-rng.randint(1, 20), tiny, tiny * 3, least, 1e-30, 1e-3, 1.0, rng.random(), 1e3, 1e30)
    return rng.choice((-1, 1)) * rng.choice(sizes) * rng.choice((1.0, 1 + rng.random()))


def random_box(rng, num, shape, batch=24):
    count = batch * torch.Size(shape).numel()
    ends = torch.tensor([[magnitudes(rng, num), magnitudes(rng, num)] for _ in range(count)], dtype=torch.float64)
    ends = torch.where(torch.tensor([[rng.random() < 0.3] for _ in range(count)]), ends[:, :1], ends).to(num.vector).double()
    return ends.amin(1).reshape(batch, *shape), ends.amax(1).reshape(batch, *shape)


def dense(op, shape):
    """The operator's matrix and constant, as Fractions: a list of rows."""
    size = torch.Size(shape).numel()
    columns = op.apply(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, -1)
    b = torch.zeros(op.output_shape(shape), dtype=torch.float64)
    b = b if op.offset is None else b + op.offset
    return [[Fraction(v) for v in row] for row in columns.T.tolist()], [Fraction(v) for v in b.flatten().tolist()]


def truth(op, shape, low, high):
    """Exact least and greatest of every entry over one box."""
    rows, constant = dense(op, shape)
    low, high = ([Fraction(v) for v in end.flatten().tolist()] for end in (low, high))
    out = []
    for row, b in zip(rows, constant, strict=True):
        ends = [sum((w * (v if (w > 0) == first else u) for w, u, v in zip(row, low, high, strict=True)), b) for first in (False, True)]
        out.append(tuple(ends))
    return out


def normal(value, num):
    limits = torch.finfo(num.vector)
    return value == 0 or limits.tiny <= abs(value) <= limits.max


def held(value, num):
    return normal(value, num) and Fraction(float(torch.tensor(float(value), dtype=num.vector))) == value


@pytest.mark.parametrize("name", [*SINGLES, *IMAGES])
@pytest.mark.parametrize("form", FORMATS)
def test_boxes_of_moved_and_scaled_entries_are_exact_where_products_are_normal(name, form):
    num, rng = FORMATS[form], random.Random(f"{name} {form}")
    op, shape = (SINGLES[name](), (N,)) if name in SINGLES else (IMAGES[name](), (2, 2))
    build = GraphBuilder("x", shape)
    graph = build.graph(build.add(op, ("x",)))
    low, high = random_box(rng, num, shape)
    found = boxes(Context(graph, BoxRegion(low, high), num)).known[graph.output.name]
    exact = 0
    for k in range(len(low)):
        entries = zip(truth(op, shape, low[k], high[k]), found.lower[k].flatten().tolist(), found.upper[k].flatten().tolist(), strict=True)
        for (least, most), lower, upper in entries:
            assert lower == -inf or Fraction(lower) <= least
            assert upper == inf or Fraction(upper) >= most
            if held(least, num) and held(most, num):
                exact += 1
                assert (Fraction(lower), Fraction(upper)) == (least, most)
    assert exact > 40
    assert op.single


@pytest.mark.parametrize("name", [*SINGLES, *IMAGES])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_domains_are_sound_for_scaled_entries_of_every_magnitude(domain, name, form):
    num, rng = FORMATS[form], random.Random(f"{name} {form}")
    op, shape = (SINGLES[name](), (N,)) if name in SINGLES else (IMAGES[name](), (2, 2))
    build = GraphBuilder("x", shape)
    graph = build.graph(build.add(scale(1.0), (build.add(op, ("x",)),)))
    low, high = random_box(rng, num, shape, 12)
    dom = DOMAINS.get(domain)()
    found = analyse(dom, Context(graph, BoxRegion(low, high), num))
    size = graph.output.size
    weight = torch.tensor([[rng.choice((0.0, 0.0, 1.0, -1.0, 3.0)) for _ in range(size)] for _ in low], dtype=torch.float64)
    rows = Rows(graph.output.name, torch.arange(len(low)), weight.reshape(-1, *graph.output.shape))
    units = Rows.units(graph.output.name, torch.ones(len(low), *graph.output.shape, dtype=torch.bool))
    own = dom.bounds(found.element, rows, found.ctx, Sense.LOWER).lower.tolist()
    entry = dom.bounds(found.element, units, found.ctx, Sense.BOTH)
    matrix, constant = dense(op, shape)
    for k in range(len(low)):
        ends = truth(op, shape, low[k], high[k])
        for j, (least, most) in enumerate(ends):
            lower, upper = float(entry.lower[k * size + j]), float(entry.upper[k * size + j])
            assert lower == -inf or Fraction(lower) <= least
            assert upper == inf or Fraction(upper) >= most
        mixed = [sum(Fraction(w) * row[i] for w, row in zip(weight[k].tolist(), matrix, strict=True)) for i in range(len(matrix[0]))]
        value = sum((Fraction(w) * b for w, b in zip(weight[k].tolist(), constant, strict=True)), Fraction(0))
        for w, u, v in zip(mixed, low[k].flatten().tolist(), high[k].flatten().tolist(), strict=True):
            value += w * Fraction(u if w > 0 else v)
        assert own[k] == -inf or Fraction(own[k]) <= value


def hidden(extra=()):
    """A net whose rows are rounded in float32, and operators after it."""
    build, rng = GraphBuilder("x", (3,)), torch.Generator().manual_seed(5)
    weight = torch.randn(6, 3, generator=rng, dtype=torch.float64).float().double()
    last = build.add(Relu(), (build.add(Gemm(weight, torch.randn(6, generator=rng, dtype=torch.float64)), ("x",)),))
    last = build.add(Gemm(torch.randn(N, 6, generator=rng, dtype=torch.float64).float().double()), (last,))
    for op in extra:
        last = build.add(op, (last,))
    return build.graph(last)


@pytest.mark.parametrize("name", SINGLES)
@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_no_domain_loses_anything_behind_a_net_in_float32(domain, name):
    op = scale(2.0**-9, -2.0, 0.0, 2.0**9) if name == "powers" else SINGLES[name]()  # others meet float32's least numbers
    region = BoxRegion(torch.full((2, 3), -0.7, dtype=torch.float64), torch.tensor([[0.9] * 3, [0.1] * 3], dtype=torch.float64))
    before, after = hidden(), hidden((op, Reshape((op.output_shape((N,))[0], 1))))
    dom = DOMAINS.get(domain)()
    one = tensor_bounds(dom, Context(before, region, MIXED), (before.output.name,))[before.output.name]
    two = tensor_bounds(dom, Context(after, region, MIXED), (after.output.name,))[after.output.name]
    ends = op.forward(one.lower), op.forward(one.upper)
    if name == "padding":  # 0.1 is cast, which is exact in float64
        assert torch.equal(two.lower[:, 0, 0], torch.full((2,), 0.1, dtype=torch.float64))
    for found, best in ((two.lower[..., 0], torch.minimum(*ends)), (two.upper[..., 0], torch.maximum(*ends))):
        # Backward, sums are taken in another order when there are more rows: far below what a float32 rounding is charged.
        error = 0.0 if domain != "deeppoly" else 1e-11
        assert bool(((found - best).abs() <= error * best.abs()).all()), (found - best).abs().max()


def test_weighted_rows_behind_a_negation_lose_nothing_either():
    region = BoxRegion(torch.full((1, 3), -0.7, dtype=torch.float64), torch.full((1, 3), 0.9, dtype=torch.float64))
    weight = torch.tensor([[1.0, -1, 0, 0], [0, 2, 0, -0.5], [1, 1, 1, 1]], dtype=torch.float64)
    for domain in ("zonotope", "deeppoly"):
        bounds = []
        for graph, sign in ((hidden(), -1.0), (hidden((scale(-1.0),)), 1.0)):
            dom = DOMAINS.get(domain)()
            found = analyse(dom, Context(graph, region, MIXED))
            rows = Rows(graph.output.name, torch.zeros(3, dtype=torch.int64), sign * weight)
            bounds.append(dom.bounds(found.element, rows, found.ctx, Sense.LOWER).lower)
        assert torch.allclose(*bounds, rtol=1e-13, atol=0), domain


def test_folding_a_negation_into_a_layer_rounds_nothing():
    graph = hidden((scale(-1.0),))
    folded = fold_affine(graph).output.op
    assert isinstance(folded, Gemm)
    assert folded.weight_terms == 0
    assert no_offset(folded.bias, folded.bias_error)
    assert fold_affine(hidden((scale(3.0),))).output.op.weight_terms == 1


def test_rounded_coefficients_are_no_powers_of_two():
    one = torch.ones(2, dtype=torch.float64)
    assert not Affine(scale=one, weight_terms=3).single  # a normalisation whose quotient came out as 1
    assert not Affine(scale=one, shift=one).single
    assert not scale(3.0).single
    assert not scale(2.0**-1000).single
    assert not Gemm(torch.ones(1, 2, dtype=torch.float64)).single
    assert not Gemm(selection(), weight_terms=1).single
    numbers = torch.tensor([0.0, 1, -2, 0.5, 3, 2.0**-130, 2.0**130, inf, -inf, float("nan")], dtype=torch.float64)
    assert is_power(numbers).tolist() == [True] * 4 + [False] * 6


@pytest.mark.parametrize("seed", range(4))
def test_rows_over_a_box_are_exact_where_they_can_be_and_sound_always(seed):
    rng, hits = random.Random(seed), 0
    for _ in range(150):
        n = rng.choice((1, 1, 2, 3, 5))
        sign = [rng.choice((0.0, 0.0, 1.0, -1.0, 2.0**-70, -4.0, 3.0, 0.1, 1e-200, 1e200)) for _ in range(n)]
        ends = [sorted((magnitudes(rng, DOUBLE), magnitudes(rng, DOUBLE))) for _ in range(n)]
        bias = rng.choice((0.0, 0.0, 1.0, -0.1, magnitudes(rng, DOUBLE), -sign[0] * ends[0][0]))
        box = Interval(*(torch.tensor([[e[k] for e in ends]], dtype=torch.float64) for k in (0, 1)))
        weight, constant = torch.tensor([sign], dtype=torch.float64), torch.tensor([bias], dtype=torch.float64)
        rows = Rows("y", torch.zeros(1, dtype=torch.int64), weight, None, constant)
        found = float(lower_over(rows, box))
        terms = [Fraction(w) * Fraction(e[0] if w > 0 else e[1]) for w, e in zip(sign, ends, strict=True)]
        exact = sum(terms, Fraction(bias))
        assert found == -inf or Fraction(found) <= exact
        simple = sum(t != 0 for t in terms) <= 1 and all(normal(t, DOUBLE) for t in terms) and bool(is_power(weight).all())
        if simple and held(exact, DOUBLE):
            hits += 1
            assert Fraction(found) == exact
        elif isfinite(found) and abs(exact) > Fraction(1, 10**290) and all(abs(t) < 10**200 for t in terms):
            assert exact - Fraction(found) <= Fraction(1, 2**50) * (abs(exact) + sum(map(abs, terms)) / 2**40)
    assert hits > 20


def test_concatenation_of_branches_is_exact():
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Concat(0), ("x", build.add(scale(-1.0), ("x",)))))
    low, high = torch.tensor([[0.1, -3.0]], dtype=torch.float64), torch.tensor([[0.3, 1e-3]], dtype=torch.float64)
    found = boxes(Context(graph, BoxRegion(low, high), DOUBLE)).known[graph.output.name]
    assert torch.equal(found.lower, torch.cat([low, -high], 1))
    assert torch.equal(found.upper, torch.cat([high, -low], 1))
