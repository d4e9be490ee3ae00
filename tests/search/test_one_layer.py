"""Trees over one layer: what is proved holds in rationals, what is unsafe stays open and is found, hints move no bound above the truth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_cells import truth
from solver_contract import build, gemm

from absint.domains.box import Box
from absint.encode.one_layer import one_layer
from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.sigmoid import Sigmoid
from absint.model.ops.sum import Sum
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.balls import L2Ball
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.bounders.layers import Layers
from absint.search.branchers.layer_bounds import LayerBounds, Phased, combined
from absint.search.choice import shallow
from absint.search.names import strategy_of

TURNS = (Relu(), LeakyRelu(0.1), Abs(), LeakyRelu(1.5))
DISJUNCT = torch.tensor([0, 1, 0])


def net(seed, skip=False, scale=1.0):
    rng = np.random.default_rng(seed)
    first, last = gemm(rng, 5, 2), gemm(rng, 3, 5)
    first = Gemm(first.weight * scale, first.bias * scale)
    if not skip:
        return build((2,), first, TURNS[seed % 4], last)
    return build((2,), (first, (0,)), (TURNS[seed % 4], (1,)), (last, (2,)), (gemm(rng, 3, 2), (0,)), (Sum(), (3, 4)))


def asked(graph, seed, gap, batch=2, side=1.0):
    """Phased and a property of a conjunction and a single row, whose exact least values are about `gap` times the rows' size."""
    rng = np.random.default_rng(1000 + seed)
    low = torch.tensor(rng.uniform(-1, 0.2, (batch, 2)))
    region = BoxRegion(low, low + torch.tensor(rng.uniform(0.3, 1.2, (batch, 2))) * side)
    weight = torch.tensor(rng.normal(size=(batch, 3, 3)))
    plain = Spec(weight, torch.zeros(batch, 3, dtype=torch.float64), DISJUNCT, torch.tensor([False, False, False]))
    bias = torch.zeros(batch, 3, dtype=torch.float64)
    for k in range(batch):
        least = exactly(graph, region, plain, k).disjuncts
        size = float(max(abs(v) for v in least)) + 1.0
        bias[k] = torch.tensor([gap * size - float(least[d]) for d in DISJUNCT.tolist()], dtype=torch.float64)
    return region, Spec(weight, bias, DISJUNCT, plain.strict)


def exactly(graph, region, spec, k):
    low, high = ([Fraction(v) for v in end[k].tolist()] for end in (region.lower, region.upper))
    return truth(graph, low, high, spec, k)


def search(graph, region, spec, steps=40, nodes=3000):
    """The search, run out."""
    with numeric_mode(), torch.no_grad():
        found = attempt(Box(), Context(graph, region, Numerics()), spec)
        nothing = torch.full((len(spec.weight), spec.disjuncts), -torch.inf, dtype=torch.float64)
        made = Layers(nodes)(found.ctx, spec, nothing)
        if made is None:
            return None, None
        for _ in range(steps):
            if not bool(made.open.any()):
                break
            told = made.step(Budget())
    return made, told


def check_the_truth(seed, gap, scale=1.0, skip=False, steps=40):
    """Bounds are of every leaf; refuted where nothing is unsafe, and nowhere else; where something is, a point shows it."""
    graph = net(seed, skip, scale)
    region, spec = asked(graph, seed, gap)
    made, told = search(graph, region, spec, steps)
    for k in range(2):
        exact = exactly(graph, region, spec, k)
        for d in range(2):
            assert Fraction(float(told.lower[k, d])) <= exact.disjuncts[d]
            assert not (bool(told.lower[k, d] > 0) and exact.unsafe[d])
            if gap >= 1e-6:
                assert bool(told.lower[k, d] > 0)
        if gap <= -1e-6:
            assert bool(made.candidates.violated[k])


@pytest.mark.parametrize("gap", [1e-3, -1e-3, 1e-7, -1e-12])
@pytest.mark.parametrize("seed", range(8))
def test_the_truth_in_rationals(seed, gap):
    check_the_truth(seed, gap, skip=seed % 3 == 1)


@pytest.mark.parametrize("scale", [1e-30, 1e12])
@pytest.mark.parametrize("seed", range(4))
def test_the_truth_at_any_scale(seed, scale):
    graph = net(seed, scale=scale)
    for gap in (1e-9, -1e-15):
        region, spec = asked(graph, seed, gap)
        _, told = search(graph, region, spec, steps=3)
        for k in range(2):
            exact = exactly(graph, region, spec, k)
            assert all(Fraction(float(told.lower[k, d])) <= exact.disjuncts[d] for d in range(2))


def check_any_hint(seed):
    """Bounds hold whatever numbers the ascent comes up with."""
    graph = net(seed)
    region, spec = asked(graph, seed, 0.0)
    random = torch.Generator().manual_seed(seed)

    def wild(self, of, boxes, low, high):
        size = 10.0 ** torch.randint(-3, 2, (1,), generator=random).item()
        return torch.randn(of.layer.shape, generator=random) * size, boxes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LayerBounds, "_ascended", wild)
        _, told = search(graph, region, spec, steps=2, nodes=400)
    for k in range(2):
        exact = exactly(graph, region, spec, k)
        assert all(Fraction(float(told.lower[k, d])) <= exact.disjuncts[d] for d in range(2))


@pytest.mark.parametrize("seed", range(8))
def test_any_hint_proves_a_bound(seed):
    check_any_hint(seed)


def check_a_tie(seed):
    """A row that cancels: its exact least value is 0, computed ones are noise of either sign, and nothing above 0 is proved."""
    rng = np.random.default_rng(seed)
    weight = torch.tensor(rng.normal(size=(6, 2)))
    first = Gemm(torch.cat([weight, weight]), torch.tensor(np.tile(rng.normal(size=6), 2)))
    last = torch.tensor(rng.normal(size=(1, 6)) * 10.0 ** rng.integers(-8, 8, (1, 6)))
    graph = build((2,), first, Relu(), Gemm(torch.cat([last, -last], 1), torch.zeros(1, dtype=torch.float64)))
    spec = Spec(torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0]), torch.tensor([False]))
    low = torch.tensor(rng.uniform(-1, 1, (1, 2)))
    _, told = search(graph, BoxRegion(low, low + 1e-13), spec, steps=1, nodes=1)
    assert not bool(told.lower[0, 0] > 0)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_proved_of_a_tie(seed):
    check_a_tie(seed)


def exact(tensor):
    return [Fraction(v) for v in tensor.flatten().tolist()]


def times(one, two):
    return sum((a * b for a, b in zip(one, two, strict=True)), Fraction(0))


def numbers(seed):
    """A network as matrices, with numbers that cancel to the last place, and boxes around points where all of it does."""
    graph = net(seed)
    region, spec = asked(graph, seed, 0.0)
    low = region.lower.double()
    return one_layer(graph, low.amin(0), low.amax(0) + 1e-9, Budget()), low, spec


def check_ends(seed):
    """Ends of z enclose what its row comes to in rationals, at a box's corners."""
    made, low, _ = numbers(seed)
    ends = made.before(low, low)
    for k, x in enumerate(low):
        for j, row in enumerate(made.inner):
            value = times(exact(row), exact(x))
            assert Fraction(float(ends[0][k, j])) <= value + Fraction(float(made.z_low[j]))
            assert Fraction(float(ends[1][k, j])) >= value + Fraction(float(made.z_high[j]))


def check_rows(seed):
    """Rows of the property from below, at any x and y within reach."""
    made, low, spec = numbers(seed)
    rng = np.random.default_rng(seed)
    weight, constant = made.rows(spec.weight, spec.bias)
    for sign in np.sign(rng.normal(size=(8, made.outer.shape[1]))):
        at = exact(torch.tensor(sign) * torch.cat([made.reach, made.height]))
        for k in range(len(low)):
            for r in range(3):
                out = [times(exact(row), at) for row in made.outer]
                w = exact(spec.weight[k, r])
                ends = zip(w, exact(made.out_low), exact(made.out_high), strict=True)
                least = times(w, out) + sum(min(a * low, a * high) for a, low, high in ends) + exact(spec.bias[k, r])[0]
                assert times(exact(weight[k, r]), at) + exact(constant[k, r])[0] <= least


def check_proofs(seed, shared):
    """A bound is not above its formula in rationals, taken at the very floats, over a box of one point; rows may share it."""
    made, low, spec = numbers(seed)
    rng = np.random.default_rng(seed)
    weight, constant = made.rows(spec.weight, spec.bias)
    pick = [0, 2] if shared else [1]
    share = torch.tensor(rng.dirichlet(np.ones(len(pick)), len(low)))
    unit = torch.ones(len(low), len(made.knot))
    of = combined(weight[:, pick, :2], weight[:, pick, 2:], constant[:, pick], share, unit, made)
    nothing = torch.zeros(len(low), len(made.knot))
    boxes = Phased(low, low, nothing.to(torch.int8), nothing, nothing)
    for _ in range(6):
        hint = torch.tensor(rng.normal(size=nothing.shape) * 10.0 ** rng.uniform(0, 6), dtype=torch.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LayerBounds, "_ascended", lambda self, of, boxes, low, high, hint=hint: (hint, boxes))
            found, _ = LayerBounds(made).proved(of, boxes)
        for k, x in enumerate(low):
            total = Fraction(0)
            for j, b in enumerate(exact(hint[k])):
                a = sum(Fraction(float(s)) * Fraction(float(weight[k, r, 2 + j])) for s, r in zip(share[k], pick, strict=True))
                knot, left, right = (Fraction(float(t[j])) for t in (made.knot, made.left, made.right))
                ends = [Fraction(float(t[k, j])) for t in (found.z_low, found.z_high)]
                places = ends + ([knot] if ends[0] < knot < ends[1] else [])
                total += min(a * (left * min(z - knot, 0) + right * max(z - knot, 0)) - b * z for z in places)
                total += min(a * Fraction(float(made.y_low[j])), a * Fraction(float(made.y_high[j])))
                total += b * times(exact(made.inner[j]), exact(x))
                total += min(b * exact(made.z_low[j])[0], b * exact(made.z_high[j])[0])
            for s, r in zip(share[k], pick, strict=True):
                total += Fraction(float(s)) * (times(exact(weight[k, r, :2]), exact(x)) + Fraction(float(constant[k, r])))
            assert Fraction(float(found.bound[k])) <= total / sum(exact(share[k]))


@pytest.mark.parametrize("seed", range(4))
def test_every_sum_is_charged_for_its_rounding(seed):
    check_ends(seed)
    check_rows(seed)
    check_proofs(seed, False)
    check_proofs(seed, True)


def test_what_it_is_not_for():
    """Two layers, curved functions, two kinks in one entry, balls, float32 semantics, evidence: all left to others."""
    rng = np.random.default_rng(0)
    two = build((2,), gemm(rng, 3, 2), Relu(), gemm(rng, 3, 3), Relu(), gemm(rng, 3, 3))
    curved = build((2,), gemm(rng, 3, 2), Sigmoid(), gemm(rng, 3, 3))
    assert not shallow(two)
    assert not shallow(curved)
    clip = build((2,), gemm(rng, 5, 2), Clip(-0.1, 0.1), gemm(rng, 3, 5))
    graph = net(0)
    region, spec = asked(graph, 0, 0.1)
    assert search(clip, region, spec) == (None, None)
    with numeric_mode(), torch.no_grad():
        for ctx in (Context(graph, region, Numerics(float32_semantics=True)),
                    Context(graph, L2Ball(torch.full((2, 2), 0.5, dtype=torch.float64), Fraction(1, 10)), Numerics())):
            assert Layers()(attempt(Box(), ctx, spec).ctx, spec, torch.full((2, 2), -1.0, dtype=torch.float64)) is None


def test_a_limit_of_nodes_leaves_a_bound():
    graph = net(2)
    region, spec = asked(graph, 2, 1e-4)
    made, told = search(graph, region, spec, nodes=1)
    assert int(made.brancher.solved.max()) <= 2
    assert bool(told.lower.isfinite().all())


def test_the_answer_hangs_on_no_batch():
    """Instances alone and together are refuted alike."""
    graph = net(5)
    region, spec = asked(graph, 5, 1e-4, batch=4)
    _, together = search(graph, region, spec)
    for k in range(4):
        at = torch.tensor([k])
        _, alone = search(graph, region.take(at), spec.take(at))
        assert torch.equal(alone.lower > 0, together.lower[k : k + 1] > 0)


def test_auto_takes_it_for_networks_of_one_layer_alone():
    rng = np.random.default_rng(0)
    stage = next(s for s in strategy_of("auto").stages() if s.label == "layers")
    region = BoxRegion(torch.zeros(1, 2), torch.ones(1, 2))
    assert bool(stage.takes(net(0), region).all())
    assert not bool(stage.takes(build((2,), gemm(rng, 3, 2), Relu(), gemm(rng, 3, 3), Relu(), gemm(rng, 3, 3)), region).any())
    assert not any(s.label == "layers" for s in strategy_of("auto:layers=0").stages())
