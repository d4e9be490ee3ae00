"""One claim per line of docs/soundness.md: crafted numbers that an omitted error term gets visibly wrong.

Random samples do not notice deleted rounding; these do: vertices, cancellation, float32, biased roundings. Each claim is a
function that raises; tests/mutants deletes each error term and expects a claim to fail. Fresh graphs in every call, because
operators keep converted constants.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import torch

from absint.engine.context import Context
from absint.engine.forward import analyse, margins, tensor_bounds
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Concat, Reshape
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, cast_down, cast_up
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec
from absint.search.names import walker_of
from absint.testing.kit import FLOAT64, MIXED, SINGLE
from absint.testing.truth import ExactTensor, evaluate, outside

CLAIMS = {}
U32 = 2.0**-24


def claim(function):
    CLAIMS[function.__name__] = function
    return function


def domain(name):
    return walker_of(name)


def chain(shape, *ops):
    build, last = GraphBuilder("x", shape), "x"
    for op in ops:
        last = build.add(op, (last,) if not isinstance(op, Concat) else (last,) * op_copies(op))
    return build.graph(last)


def op_copies(op):
    return COPIES


COPIES = 256


def rows(*weights):
    weight = torch.tensor([weights], dtype=torch.float64)
    return Spec.rows(weight, torch.zeros(1, len(weights), dtype=torch.float64))


def encloses(subject, graph, region, spec, points, num, truth_graph=None):
    """Margins and all node bounds of instance 0 against exact values at `points` (points, n)."""
    with numeric_mode(), torch.no_grad():
        values = evaluate(truth_graph or graph, points)
        ctx = Context(graph, region, num)
        found, _ = margins(subject, ctx, spec)
        row = (values[graph.output.name] @ ExactTensor.of(spec.weight[0].T) + ExactTensor.of(spec.bias[0].reshape(1, -1))).reduce("min", 0)
        assert outside(found.lower, found.upper, row, row) is None, outside(found.lower, found.upper, row, row)
        names = tuple(n.name for n in graph.nodes)
        for name, box in tensor_bounds(subject, ctx, names).items():
            wrong = outside(box.lower, box.upper, values[name].reduce("min", 0), values[name].reduce("max", 0))
            assert wrong is None, f"{name}: {wrong}"


def box_region(lower, upper):
    low, high = (torch.as_tensor(np.asarray(v), dtype=torch.float64)[None] for v in (lower, upper))
    return BoxRegion(low, high), np.stack([np.asarray(lower, dtype=float).ravel(), np.asarray(upper, dtype=float).ravel()])


# ---- region and outward rounding ----------------------------------------------------------------------------------------


@claim
def region_rounds_outward():
    for eps in ("0.01", "0.1", "2/255", "1/3", "0.7", "1e-9", "0.3"):
        exact = parse_eps(eps)
        center = torch.tensor([[0.0, 0.09, 0.1, 0.3, 0.5, 0.69999, 0.99, 1.0, 1e-12, float(exact) * 0.99]], dtype=torch.float64).clamp(0, 1)
        for clip in (None, (0.0, 1.0)):
            hull = LinfBall(center, exact, clip).hull
            for c, low, high in zip(center[0].tolist(), hull.lower[0].tolist(), hull.upper[0].tolist(), strict=True):
                true_low, true_high = Fraction(c) - exact, Fraction(c) + exact
                if clip:
                    true_low, true_high = max(true_low, Fraction(0)), min(true_high, Fraction(1))
                assert Fraction(low) <= true_low, (eps, c)
                assert Fraction(high) >= true_high, (eps, c)
    tensor = LinfBall(torch.tensor([[0.1, 0.7]], dtype=torch.float64), torch.tensor([0.3, 1e-17], dtype=torch.float64), None)
    for k, (c, e) in enumerate(((0.1, 0.3), (0.7, 1e-17))):
        assert Fraction(float(tensor.hull.lower[0, k])) <= Fraction(c) - Fraction(e)
        assert Fraction(float(tensor.hull.upper[0, k])) >= Fraction(c) + Fraction(e)


@claim
def radius_keeps_the_decimals():
    assert parse_eps("0.01") == Fraction(1, 100)
    assert parse_eps(0.1) == Fraction(1, 10)
    point = np.array([0.5 + 0.1])
    assert not LinfBall(torch.tensor([[0.5]], dtype=torch.float64), parse_eps("0.09999999999999997"), None).contains(0, point)


@claim
def outward_of_overflow_is_infinite():
    for dtype in (torch.float32, torch.float64):
        num = Numerics(dtype, dtype)
        top = torch.finfo(dtype).max
        x = torch.tensor([inf, -inf, torch.nan, top, -top, 0.0, 1.0], dtype=dtype)
        assert num.down(x)[:3].tolist() == [-inf] * 3
        assert num.up(x)[:3].tolist() == [inf] * 3
        assert bool((num.down(x)[3:] < x[3:]).all())
        assert bool((num.up(x)[3:] > x[3:]).all())


@claim
def casts_round_outward():
    x = torch.tensor([0.1, -0.1, 1e-300, -1e-300, 1e300, -1e300, 1 + 2.0**-40, 3.0], dtype=torch.float64)
    assert bool((cast_up(x, torch.float32).double() >= x).all())
    assert bool((cast_down(x, torch.float32).double() <= x).all())
    narrow = Interval(x[None], x[None]).to(torch.float32)
    assert bool((narrow.lower.double() <= x).all() and (narrow.upper.double() >= x).all())


@claim
def nan_never_narrows():
    known = Interval(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    nothing = Interval(torch.tensor([[torch.nan]]), torch.tensor([[torch.nan]]))
    for met in (known.meet(nothing), nothing.meet(known)):
        assert (met.lower.item(), met.upper.item()) == (0.0, 1.0)


# ---- dot products -------------------------------------------------------------------------------------------------------


def point_dot(name, num, floor_only=False):
    """A long cancelling sum at a point: any omitted gamma is visible."""
    random = np.random.default_rng(1)
    n = 128
    half = torch.from_numpy(random.normal(size=(2, n)) * 1e6)
    weight = torch.cat([half, -half * (1 + 1e-9)], 1)
    x = np.concatenate([random.normal(size=n)] * 2).astype(np.float32).astype(float)
    region, points = box_region(x, x)
    graph = chain((2 * n,), Gemm(weight, torch.tensor([1e6, -3e5], dtype=torch.float64)))
    encloses(domain(name), graph, region, rows([1.0, 0.3], [-1e3, 1.0]), points, num)


def wide_dot(name, num):
    """The same over a box, at the vertices that attain the bound."""
    random = np.random.default_rng(2)
    n = 256
    weight = torch.from_numpy(random.normal(size=(1, n)) * 10.0 ** random.integers(-3, 4, size=(1, n)))
    x = random.normal(size=n) * 1e3
    region, _ = box_region(x - 0.1, x + 0.1)
    up = weight[0].numpy() > 0
    points = np.stack([np.where(up, x - 0.1, x + 0.1), np.where(up, x + 0.1, x - 0.1)])
    encloses(domain(name), chain((n,), Gemm(weight)), region, rows([1.0], [-1.0]), points, num)


def spec_dot(name, num):
    """A property of many cancelling terms over the last layer, at a point."""
    random = np.random.default_rng(3)
    half = random.normal(size=(8, 100)) * 1e5
    weight = np.concatenate([half, -half * (1 + 1e-9)], 1)
    x = np.concatenate([random.random(size=100) + 1] * 2).astype(np.float32).astype(float)
    region, points = box_region(x[:, None], x[:, None])
    encloses(domain(name), chain((200, 1), Reshape((200,))), region, rows(*weight.tolist()), points, num)


def underflow(name, num):
    """Products that are subnormal, magnified by 1e30 (or 1e290) afterwards."""
    small, magnify = (1e-22, 1e36) if num.vector == torch.float32 or num.dtype == torch.float32 else (1e-160, 1e290)
    random = np.random.default_rng(4)
    first = torch.from_numpy(random.normal(size=(6, 4)) * small)
    second = torch.from_numpy(random.normal(size=(2, 6)) * magnify)
    x = random.normal(size=4) * small
    region, points = box_region(x, x * (1 + 1e-12 * np.sign(x)))
    encloses(domain(name), chain((4,), Gemm(first), Gemm(second)), region, rows([1.0, 1.0], [1.0, -1.0]), points, num)


def huge_weight_on_subnormals(name, num):
    weight = torch.tensor([[1.1e300, -0.7e300, 1.3e300]], dtype=torch.float64)
    x = np.array([1.1e-310, 2.3e-310, 0.9e-310])
    region, points = box_region(x, x)
    if num.dtype == torch.float64:  # float32 cannot hold the weights
        encloses(domain(name), chain((3,), Gemm(weight)), region, rows([1.0], [-1.0]), points, num)


def slope_chain(name, num):
    """50 products that all round the same way: only the scaling term covers them."""
    graph = chain((1,), *(LeakyRelu(1 - 2.0**-24) for _ in range(50)))
    radius = 1 + 100 * 2.0**-23
    region, points = box_region([-8 - radius], [-8 + radius])
    encloses(domain(name), graph, region, rows([1.0], [-1.0], [radius], [-radius]), points, num)


def tie(name, num):
    """A property that holds with equality is not proved."""
    weight = torch.tensor([[0.3], [0.3]], dtype=torch.float64)
    for low, high in ((0.0, 0.0), (0.1, 0.1), (-1.0, 1.0)):
        region, _ = box_region([low], [high])
        with numeric_mode():
            found, _ = margins(domain(name), Context(chain((1,), Gemm(weight), Relu()), region, num), rows([1.0, -1.0]))
        assert float(rows([1.0, -1.0]).margin(found.lower)[0]) <= 0


PER_DOMAIN = {f.__name__: f for f in (point_dot, wide_dot, spec_dot, underflow, huge_weight_on_subnormals, slope_chain, tie)}


def settings(name):
    return {"float64": FLOAT64} | ({"mixed": MIXED} if domain(name).traits.mixed else {"float32": SINGLE})


# ---- backward substitution ----------------------------------------------------------------------------------------------


@claim
def fan_out_is_charged():
    """256 adjoints meet; every addition after the first loses nearly half an ulp."""
    weight = torch.full((1, COPIES), 0.9 * U32, dtype=torch.float64).float().double()
    weight[0, 0] = 1.0
    region, points = box_region([-1.0], [1.0])
    encloses(domain("deeppoly"), chain((1,), Concat(0), Gemm(weight)), region, rows([1.0], [-1.0]), points, MIXED)


def biased(random, count=40000):
    """float64 w, r such that float32(w), float32(r) and their float32 product all round towards zero by nearly u."""
    w, r = 1 + random.random(count), 1 + random.random(count)
    w32, r32 = w.astype(np.float32), r.astype(np.float32)
    lost = 1 - (w32 * r32).astype(np.float64) / (w * r)
    best = int(lost.argmax())
    return float(w[best]), float(r[best])


@claim
def concretising_is_charged():
    """One product at the input whose weight, radius and product are all rounded towards zero."""
    w, r = biased(np.random.default_rng(5))
    region, points = box_region([8.0 - r], [8.0 + r])
    lower, upper = Fraction(points[0, 0]), Fraction(points[1, 0])
    assert upper - lower > 0
    encloses(domain("deeppoly"), chain((1,), Relu()), region, rows([w], [-w]), points, MIXED)


@claim
def relaxation_offsets_are_charged():
    """|x| between -r and r lies below the constant r: weight, offset and product are all rounded towards zero."""
    w, r = biased(np.random.default_rng(6))
    region, points = box_region([-r], [r])
    encloses(domain("deeppoly"), chain((1,), LeakyRelu(-1.0)), region, rows([-w]), points, MIXED)


@claim
def backward_linear_term_is_charged():
    """Rows through a tall matrix: float32 sums of 600 cancelling products."""
    random = np.random.default_rng(8)
    half = random.normal(size=(300, 1)) * 1e4
    tall = torch.from_numpy(np.concatenate([half, half * (1 + 1e-6)]))
    signs = random.normal(size=(8, 300))
    last = torch.from_numpy(np.concatenate([signs, -signs], 1))
    region, points = box_region([-1.0], [1.0])
    encloses(domain("deeppoly"), chain((1,), Gemm(tall), Gemm(last)), region, rows(*np.eye(8).tolist()), points, MIXED)


@claim
def drift_of_the_reference_is_charged():
    """The reference trajectory is itself computed with rounding: a point far out, cancelling."""
    point_dot("deeppoly", FLOAT64)
    point_dot("deeppoly", MIXED)


# ---- zonotope -----------------------------------------------------------------------------------------------------------


@claim
def zonotope_concretisation_adds_gamma_m():
    """hull contains centre -+ (exact sum of |generators| + remainder), although float32 sums lose small generators."""
    n = 4096
    weight = torch.full((1, n), 0.9 * U32, dtype=torch.float64).float().double()
    weight[:, :64] = 1.0
    region, _ = box_region(-np.ones(n), np.ones(n))
    subject = domain("zonotope")
    with numeric_mode(), torch.no_grad():
        result = analyse(subject, Context(chain((n,), Gemm(weight)), region, MIXED))
        element, hull = result.element, subject.hull(result.element, result.ctx)
    total = sum((Fraction(float(g)) for b in element.blocks.values() for g in b.dense().abs().reshape(-1)), Fraction(0))
    total += Fraction(float(element.rest[0, 0]))
    assert Fraction(float(hull.upper[0, 0])) >= Fraction(float(element.center[0, 0])) + total
    assert Fraction(float(hull.lower[0, 0])) <= Fraction(float(element.center[0, 0])) - total
