"""Closed forms of Softmax, LogSoftmax and normalisations beside their expansions: sound, finite, and known to every domain."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import inf

import pytest
import torch
from mpmath import mp, mpf

from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import boxes, tensor_bounds
from absint.model.graph import GraphBuilder, chain
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.normalise import Normalise, Softmax, Standardise
from absint.model.ops.product import MatMul
from absint.model.ops.recurrent_cells import Blend
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.passes import apply_passes
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

DOUBLE, MIXED, SINGLE = Numerics(), Numerics(torch.float32), Numerics(torch.float32).single()
WALKERS = ["box", "zonotope", "deeppoly", "alpha"]


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad(), mp.workdps(60):
        yield


def softmax(x, *, logarithmic):
    out = []
    for value in x:
        total = mp.fsum(mp.exp(other - value) for other in x)
        out.append(-mp.log(total) if logarithmic else 1 / total)
    return out


def standardised(x, epsilon):
    mean = mp.fsum(x) / len(x)
    deviation = mp.sqrt(mp.fsum((v - mean) ** 2 for v in x) / len(x) + mpf(epsilon))
    return [(v - mean) / deviation for v in x]


def random_boxes(seed, n, sizes=(1e-30, 1e-3, 1.0, 40.0, 1e3, 1e4, 1e200), count=12):
    rng = torch.Generator().manual_seed(seed)
    size = torch.tensor(sizes, dtype=torch.float64)[torch.randint(len(sizes), (count, 1), generator=rng)]
    one, two = (torch.randn(count, n, generator=rng, dtype=torch.float64) * size for _ in range(2))
    point = torch.rand(count, n, generator=rng) < 0.3
    two = torch.where(point, one, two)
    return torch.minimum(one, two), torch.maximum(one, two)


def corners(low, high):
    """Every vertex of one box, and its middle, as mpmath numbers."""
    yield from product(*([mpf(a), mpf(b)] for a, b in zip(low.tolist(), high.tolist(), strict=True)))
    yield tuple((mpf(a) + mpf(b)) / 2 for a, b in zip(low.tolist(), high.tolist(), strict=True))


def holds(found, low, high, exact, attained=None):
    """Every vertex's value lies inside; with `attained`, that is how far beyond the extreme vertex a bound may be."""
    for k in range(len(low)):
        values = [exact(x) for x in corners(low[k], high[k])]
        for i, (lower, upper) in enumerate(zip(found.lower[k].tolist(), found.upper[k].tolist(), strict=True)):
            least, most = (pick(v[i] for v in values) for pick in (min, max))
            assert mpf(lower) <= least
            assert most <= mpf(upper)
            if attained is not None:
                assert least - mpf(lower) <= attained(least)
                assert mpf(upper) - most <= attained(most)


@pytest.mark.parametrize("logarithmic", [False, True], ids=["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("seed", range(2))
def test_softmax_is_bounded_by_its_extreme_vertices(seed, logarithmic):
    for num, precision in ((DOUBLE, 1e-13), (SINGLE, 3e-7)):
        low, high = (end.to(num.vector).double() for end in random_boxes(seed, 4, (1e-30, 1e-3, 1.0, 40.0, 1e3, 1e4)))
        low, high = torch.minimum(low, high), torch.maximum(low, high)
        found = Softmax(0, logarithmic).enclosure((Interval(low, high).to(num.vector),), num)
        assert found.lower.dtype == num.vector
        assert bool(found.lower.isfinite().all() & found.upper.isfinite().all())

        def beyond(v, p=precision):
            """An exponent's own rounding counts relative to the result, a logarithm's absolutely."""
            return p * (1 + abs(v)) if logarithmic else p * (v * (1 + abs(mp.log(v + mpf(10) ** -400))) + p)

        holds(found, low, high, lambda x: softmax(x, logarithmic=logarithmic), beyond)
        if not logarithmic:
            assert float(found.lower.min()) >= 0
            assert float(found.upper.max()) <= 1


def test_softmax_where_nothing_or_little_is_known():
    low = torch.tensor([[-inf, -inf, 0.0], [-1e4, -1e4, 1e4]], dtype=torch.float64)
    high = torch.tensor([[inf, 0.0, 0.0], [1e4, 0.0, 1e4]], dtype=torch.float64)
    found = Softmax(0).enclosure((Interval(low, high),), DOUBLE)
    assert torch.equal(found.lower[0], torch.zeros(3, dtype=torch.float64))
    assert bool((found.upper[0] <= 1).all())
    assert float(found.upper[0, 1]) < 0.5 + 1e-12  # beside an entry that is 0 for certain, one that is at most 0
    assert float(found.lower[1, 2]) > 0.4999
    logs = Softmax(0, logarithmic=True).enclosure((Interval(low, high),), DOUBLE)
    assert bool((logs.upper <= 0).all())
    assert float(logs.lower[1].min()) > -2.1e4
    assert not bool(logs.lower.isnan().any())


def test_one_class_is_certain():
    box = Interval(torch.tensor([[-3.0]], dtype=torch.float64), torch.tensor([[5.0]], dtype=torch.float64))
    found = Softmax(0).enclosure((box,), DOUBLE)
    assert float(found.upper) == 1
    assert float(found.lower) > 1 - 1e-14
    still = Standardise(1e-5).enclosure((box,), DOUBLE)
    assert float(still.lower) == float(still.upper) == 0


@pytest.mark.parametrize("epsilon", [1e-5, 1.0, 1e-12])
def test_standardised_entries_hold_and_stay_below_the_root(epsilon):
    for num in (DOUBLE, SINGLE):
        sizes = (1e-30, 1e-3, 1.0, 1e4, 1e200) if num is DOUBLE else (1e-30, 1e-3, 1.0, 1e4)
        for n in (2, 4):
            low, high = (end.to(num.vector).double() for end in random_boxes(7, n, sizes))
            low, high = torch.minimum(low, high), torch.maximum(low, high)
            found = Standardise(epsilon).enclosure((Interval(low, high).to(num.vector),), num)
            holds(found, low, high, lambda x: standardised(x, epsilon))
            assert float(found.upper.max()) <= (n - 1) ** 0.5 * (1 + 1e-6)
    # One entry apart from all others comes as near the root as epsilon lets it.
    box = Interval(torch.tensor([[0.0, 0, 0, 0]], dtype=torch.float64), torch.tensor([[100.0, 0, 0, 0]], dtype=torch.float64))
    upper = Standardise(epsilon).enclosure((box,), DOUBLE).upper[0, 0]
    assert 0 <= mpf(float(upper)) - standardised([mpf(100), 0, 0, 0], epsilon)[0] < 1e-9


def test_a_normalisation_that_may_be_undefined_claims_nothing():
    box = Interval(torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64))
    found = Standardise(0.0).enclosure((box,), DOUBLE)
    assert float(found.lower.max()) == -inf
    assert float(found.upper.min()) == inf


def net(*ops, size=3):
    build, last = GraphBuilder("x", (size,)), "x"
    for op in ops:
        last = build.add(op, (last,), tensors=(f"t{len(build.nodes)}",))
    return build.graph(last)


def logits(n=3, size=1e4):
    return Gemm(torch.randn(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * size)


def unit(batch=1, size=3):
    return BoxRegion(torch.zeros(batch, size, dtype=torch.float64), torch.ones(batch, size, dtype=torch.float64))


NETS = {
    "softmax": lambda: net(logits(), Softmax(0)),
    "softmax along the first axis": lambda: net(logits(6), Reshape((2, 3)), Softmax(0), Reshape((6,))),
    "softmax inside": lambda: net(logits(), Softmax(0), Gemm(torch.eye(3, dtype=torch.float64)), Relu()),
}


@pytest.mark.parametrize("domain", WALKERS)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("num", [DOUBLE, MIXED], ids=["float64", "float32"])
def test_every_domain_knows_that_probabilities_lie_between_0_and_1(domain, name, num):
    graph = apply_passes(NETS[name]())
    ctx = Context(graph, unit(), num if domain != "box" else num.single())
    found = tensor_bounds(DOMAINS.get(domain)(), ctx, (graph.output.name,))[graph.output.name]
    assert float(found.lower.min()) >= -1e-5
    assert float(found.upper.max()) <= 1 + 1e-5
    if "inside" not in name:
        assert float(found.lower.min()) >= 0
        assert float(found.upper.max()) <= 1
    size = graph.output.size
    spec = Spec.rows(-torch.eye(size, dtype=torch.float64)[None], torch.full((1, size), 2.0, dtype=torch.float64))
    assert float(spec.margin(attempt(DOMAINS.get(domain)(), ctx, spec).interval.lower)) > 0.99  # y_i >= 2 holds nowhere


@pytest.mark.parametrize("domain", WALKERS)
def test_a_zonotope_or_line_behind_an_overflow_recovers(domain):
    """What follows a softmax whose exponentials overflow is bounded by what is known of its result."""
    values = Gemm(torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64))
    graph = net(logits(), Softmax(0), values, Relu(), Gemm(torch.tensor([[-1.0]], dtype=torch.float64)))
    ctx = Context(graph, unit(), DOUBLE)
    found = tensor_bounds(DOMAINS.get(domain)(), ctx, (graph.output.name,))[graph.output.name]
    assert float(found.lower) >= -1.5 - 1e-9
    assert float(found.upper) <= 0


@pytest.mark.parametrize("domain", WALKERS)
def test_layer_norm_stays_below_the_root_in_every_domain(domain):
    scale, shift = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64), torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64)
    graph = net(logits(), Normalise(1, 1e-5, scale, shift))
    found = tensor_bounds(DOMAINS.get(domain)(), Context(graph, unit(), DOUBLE), (graph.output.name,))[graph.output.name]
    root = 2**0.5 * (1 + 1e-12)
    assert bool((found.upper[0] <= torch.tensor([root, 2 * root, 5 + root], dtype=torch.float64)).all())
    assert bool((found.lower[0] >= torch.tensor([-root, -2 * root, 5 - root], dtype=torch.float64)).all())


def test_closed_forms_survive_renaming_and_never_loosen():
    graph = NETS["softmax inside"]()
    again = chain(net(Affine(scale=torch.tensor(0.5, dtype=torch.float64))), graph)
    again = apply_passes(again)
    closed = [node for node in again.nodes if node.closed is not None]
    assert len(closed) == 1
    assert all(name in again.by_name for name in closed[0].closed.inputs)
    region = unit(3)
    for one in (graph, again):
        found = boxes(Context(one, region, DOUBLE)).known
        bare = type(one)(tuple(type(n)(n.name, n.op, n.inputs, n.shape, n.tensors) for n in one.nodes), one.source)
        plain = boxes(Context(bare, region, DOUBLE)).known
        assert all(bool((found[k].lower >= plain[k].lower).all() & (found[k].upper <= plain[k].upper).all()) for k in plain)
        assert float(plain[one.output.name].upper.max()) > 1 or not bool(plain[one.output.name].upper.isfinite().all()) or one is again


def test_float32_executions_are_not_held_to_the_closed_form():
    graph = NETS["softmax"]()
    ctx = boxes(Context(graph, unit(), Numerics(float32_semantics=True)))
    assert float(ctx.known[graph.output.name].upper.max()) > 1


def test_attention_keeps_its_values_average():
    build = GraphBuilder("x", (2, 3))
    scores = build.add(Softmax(1), (build.add(Gemm(torch.eye(3, dtype=torch.float64)[:2] * 1e4), ("x",)),))
    graph = build.graph(build.add(MatMul(), (scores, "x")))
    found = boxes(Context(graph, BoxRegion(-torch.ones(1, 2, 3).double(), torch.ones(1, 2, 3).double()), DOUBLE)).known[graph.output.name]
    assert float(found.upper.max()) <= 2 + 1e-9
    assert float(found.lower.min()) >= -2 - 1e-9


@pytest.mark.parametrize("num", [DOUBLE, SINGLE], ids=["float64", "float32"])
def test_a_blend_is_enclosed_at_every_vertex(num):
    """(1 - z) x + z y in rationals: shares, and z of any size."""
    boxes_of = [random_boxes(seed, 3, sizes=(1e-30, 1e-3, 1.0, 1e3, 1e30)) for seed in (1, 2, 3)]
    low, high = boxes_of[0]
    shares = (low > -2) & (high < 2)
    boxes_of[0] = (torch.where(shares, low.clamp(0, 1), low), torch.where(shares, high.clamp(0, 1), high))
    intervals = [Interval(*(end.to(num.vector).double() for end in ends)).to(num.vector) for ends in boxes_of]
    found = Blend().enclosure(tuple(intervals), num)
    for choice in product(*[(i.lower, i.upper) for i in intervals]):
        for z, x, y, lower, upper in zip(*(t.flatten().tolist() for t in (*choice, found.lower, found.upper)), strict=True):
            exact = (1 - Fraction(z)) * Fraction(x) + Fraction(z) * Fraction(y)
            assert lower == -inf or Fraction(lower) <= exact
            assert upper == inf or exact <= Fraction(upper)


def test_a_blend_of_shares_is_between_its_operands():
    ends = [(0.0, 1.0), (-1.0, 0.5), (-0.25, 2.0)]
    found = Blend().enclosure(tuple(Interval(*(torch.full((1, 1), e, dtype=torch.float64) for e in pair)) for pair in ends), DOUBLE)
    assert -1.0 - 1e-12 < float(found.lower) <= -1.0
    assert 2.0 <= float(found.upper) < 2.0 + 1e-12
