"""Optimised slopes: sound, never worse, exact gradients, independent of chunks, on time, and of use to any backward domain."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
import pytest
import torch
from test_margins_below_exact_minimum import problem

from absint.domains.alpha import Alpha
from absint.domains.deeppoly import DeepPoly
from absint.engine.attempts import attempt
from absint.engine.backward import slopes as module
from absint.engine.backward.slopes import Ascent, Slopes, SlopeSearch, improved
from absint.engine.backward.surrogate import UnroundedNet, UnroundedRows, functionals
from absint.engine.backward.walk import substitute
from absint.engine.context import Context
from absint.engine.domain import BackwardDomain, Interval, Relaxation
from absint.engine.forward import analyse, margins
from absint.engine.rows import Rows
from absint.errors import UsageError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.sum import Sum
from absint.numeric.backend import Budget, DeadlineError
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64, MIXED

EXACT = Numerics(torch.float64, rounding=False)


pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


def dense(random, *shape):
    return torch.from_numpy(random.normal(size=shape) / np.sqrt(shape[-1]))


def network(activation, seed=0, sizes=(3, 8, 8, 4), residual=True, scale=1.0):
    """A small net with a residual connection around its last hidden layer."""
    random = np.random.default_rng(seed)
    build = GraphBuilder("x", (sizes[0],))
    last = "x"
    for fan_in, fan_out in pairwise(sizes[:-1]):
        before = last
        last = build.add(activation, (build.add(Gemm(scale * dense(random, fan_out, fan_in), 0.1 * dense(random, fan_out)), (last,)),))
        if residual and fan_in == fan_out:
            last = build.add(Sum(1.0), (last, before))
    return build.graph(build.add(Gemm(dense(random, sizes[-1], sizes[-2]), dense(random, sizes[-1])), (last,)))


def boxes(count, size, radius=0.7, seed=1):
    center = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, size)))
    return BoxRegion(center - radius, center + radius)


def robust(graph, region):
    return Spec.robust(graph(region.center).flatten(1).argmax(1), graph.output.size)


def pair(domain):
    """What `improved` needs of a domain."""
    return Slopes(domain.relax, domain.parameters)


def analysed(graph, region, num=FLOAT64, domain=None):
    return analyse(domain or DeepPoly(every_layer=False), Context(graph, region, num)).ctx


# ---- soundness and use ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [FLOAT64, MIXED], ids=["float64", "mixed"])
def test_exact_minima_are_never_exceeded_and_often_approached(num):
    """Also where the ascent runs on rows that are proved already."""
    better = worse = 0
    for seed in range(30):
        graph, region, spec, truth = problem(seed)
        found = float(margins(Alpha(goal=inf, steps=10, inner=5), Context(graph, region, num), spec)[0].lower[0, 0])
        plain = float(margins(DeepPoly(), Context(graph, region, num), spec)[0].lower[0, 0])
        assert found == -inf or Fraction(found) <= truth, f"net {seed}: {found!r} > {float(truth)!r}"
        better += found > plain + 1e-3
        worse += found < plain - 1e-6 * (1 + abs(plain))
    assert better >= 5
    assert worse == 0


def test_a_bound_without_a_proof_is_seen(monkeypatch):
    """The fault: the search's own estimate is taken for the bound."""
    graph = network(Relu(), residual=False)
    region = boxes(6, 3)
    spec = robust(graph, region)

    def unproved(self, rows, chosen, sign):
        return torch.full((len(rows),), 1e6, dtype=torch.float64)

    monkeypatch.setattr(SlopeSearch, "proved", unproved)
    lower = margins(Alpha(goal=inf, inner=0), Context(graph, region, FLOAT64), spec)[0].lower
    assert bool((lower > spec.values(graph(region.center))).any())


@pytest.mark.parametrize("activation", [Relu(), Sigmoid(), Tanh()], ids=["relu", "sigmoid", "tanh"])
def test_margins_lie_between_plain_bounds_and_samples(activation):
    for residual in (False, True):
        graph = network(activation, residual=residual, scale=3.0)  # so steep that sigmoids bend
        region = boxes(5, 3)
        spec = robust(graph, region)
        plain = margins(DeepPoly(), Context(graph, region, FLOAT64), spec)[0].lower
        contexts = [Context(graph, region, FLOAT64, inner_slopes=inner) for inner in (False, True)]
        stages = [margins(Alpha(goal=inf), ctx, spec)[0].lower for ctx in contexts]
        assert bool((stages[0] >= plain).all())  # later ones need not be better everywhere: tighter bounds choose other lines
        found = torch.maximum(*stages)
        assert float((found - plain).mean()) > 1e-3
        for share in np.random.default_rng(2).random(size=(200, 1, 3)):
            x = region.lower + (region.upper - region.lower) * torch.from_numpy(share)
            assert bool((found <= spec.values(graph(x)) + 1e-12).all())


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_improved_never_loses_what_was_proved(side, monkeypatch):
    graph = network(Relu())
    ctx = analysed(graph, boxes(4, 3))
    rows = Rows.units(graph.output.name, torch.ones(4, 4, dtype=torch.bool))
    lower = substitute(rows, DeepPoly().relax, ctx)
    upper = -substitute(rows, DeepPoly().relax, ctx, -1.0)
    monkeypatch.setattr(SlopeSearch, "bounds", lambda self, part, sign: torch.full((len(part),), -side * 1e9 if side > 0 else torch.nan,
                                                                              dtype=torch.float64))
    found = improved(rows, Interval(lower, upper), ctx, pair(DeepPoly()), Ascent())
    assert torch.equal(found.lower, lower)
    assert torch.equal(found.upper, upper)


def test_a_row_above_the_goal_is_left_alone():
    graph = network(Relu())
    region = boxes(6, 3, 0.3)
    spec = robust(graph, region)
    plain = margins(Alpha(steps=0, inner=0), Context(graph, region, FLOAT64), spec)[0].lower
    found = margins(Alpha(inner=0), Context(graph, region, FLOAT64), spec)[0].lower
    done = plain > 0
    assert 0 < int(done.sum()) < done.numel()
    assert torch.equal(found[done], plain[done])
    assert bool((found[~done] > plain[~done]).any())


def test_inner_steps_tighten_what_is_known():
    graph = network(Relu(), sizes=(3, 8, 8, 8, 4))
    region = boxes(4, 3)
    width = {}
    for inner in (0, 10):
        ctx = analysed(graph, region, domain=Alpha(inner=inner))
        name = graph[graph.output.inputs[0]].inputs[0]
        width[inner] = sum(float((ctx.known[n.name].upper - ctx.known[n.name].lower).sum()) for n in graph.nodes if n.name != name)
    assert width[10] < 0.99 * width[0]


# ---- the search -----------------------------------------------------------------------------------------------------


def search_rows(graph, region, num=EXACT):
    ctx = analysed(graph, region, num)
    rows = Rows.of_spec(graph.output.name, robust(graph, region), graph.output.shape)
    net = UnroundedNet(graph.output.name, ctx, DeepPoly().relax, DeepPoly().parameters)
    return ctx, rows, UnroundedRows(net, rows.node, rows.instance, functionals(net, rows, 1.0))


@pytest.mark.parametrize("activation", [Relu(), Sigmoid()], ids=["relu", "sigmoid"])
def test_gradient_matches_finite_differences(activation):
    _, _, rows = search_rows(network(activation), boxes(3, 3))
    random = torch.Generator().manual_seed(0)
    free = torch.rand(len(rows.start), generator=random, dtype=torch.float64) * 0.9 + 0.05
    _, gradient, _ = rows.step(free)
    direction = torch.rand(len(free), generator=random, dtype=torch.float64) - 0.5
    step = 1e-6
    ahead, behind = rows.step(free + step * direction)[0], rows.step(free - step * direction)[0]
    slope = torch.zeros(len(rows.instance), dtype=torch.float64).index_add(0, rows.row, gradient * direction)
    assert torch.allclose((ahead - behind) / (2 * step), slope, rtol=1e-4, atol=1e-6)
    assert float(gradient.abs().max()) > 1e-2


def test_the_search_bounds_what_the_proof_bounds():
    """Its values differ from those of `substitute` with the same slopes by a constant of the row."""
    graph, region = network(Relu()), boxes(3, 3)
    ctx, rows, relaxed = search_rows(graph, region)
    search = SlopeSearch(graph.output.name, ctx, Slopes(DeepPoly().relax, DeepPoly().parameters), Ascent())
    random = torch.Generator().manual_seed(1)
    gaps = []
    for _ in range(3):
        free = torch.rand(len(relaxed.start), generator=random, dtype=torch.float64)
        gaps.append(search.proved(rows, relaxed.dense(free), 1.0) - relaxed.step(free)[0])
    assert torch.allclose(gaps[0], gaps[1], atol=1e-9)
    assert torch.allclose(gaps[0], gaps[2], atol=1e-9)


def test_the_best_slopes_seen_are_kept(monkeypatch):
    """Steps that lead downhill: what counts is the start."""
    graph, region = network(Relu()), boxes(3, 3)
    ctx, _, rows = search_rows(graph, region)

    def downhill(self, free, gradient):
        self.count += 1
        return (free - gradient.sign()).clamp(0, 1)

    monkeypatch.setattr(module.Steps, "__call__", downhill)
    best = SlopeSearch(graph.output.name, ctx, pair(DeepPoly()), Ascent(steps=4))._climb(rows)
    start, last = rows.step(rows.start)[0], rows.step(downhill(module.Steps(Ascent(), rows.start), rows.start, rows.step(rows.start)[1]))[0]
    assert bool((rows.step(best)[0] >= start).all())
    assert bool((last < start).any())


def test_bounds_do_not_depend_on_chunks(monkeypatch):
    graph, region = network(Relu(), sizes=(3, 8, 8, 8, 4)), boxes(4, 3)
    spec = robust(graph, region)
    whole = margins(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)[0].lower
    monkeypatch.setattr(module, "_ROWS", 3)
    parts = margins(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)[0].lower
    assert torch.allclose(whole, parts, rtol=0, atol=1e-9)
    alone = [margins(Alpha(goal=inf), Context(graph, region.take(torch.tensor([k])), FLOAT64), spec.take(torch.tensor([k])))[0].lower
             for k in range(4)]
    assert torch.allclose(whole, torch.cat(alone), rtol=0, atol=1e-9)


@pytest.mark.parametrize("broken", ["gradient", "value", "both"])
def test_nan_in_the_search_does_no_harm(broken, monkeypatch):
    graph, region = network(Relu()), boxes(4, 3)
    spec = robust(graph, region)
    plain = margins(DeepPoly(), Context(graph, region, FLOAT64), spec)[0].lower
    step = UnroundedRows.step

    def spoiled(self, free):
        value, gradient, values = step(self, free)
        return (value if broken == "gradient" else value * torch.nan), (gradient if broken == "value" else gradient * torch.nan), values

    monkeypatch.setattr(UnroundedRows, "step", spoiled)
    found = margins(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)[0].lower
    assert bool((found >= plain - 1e-9).all())
    assert not bool(found.isnan().any())


def test_infinite_bounds_stay_sound():
    huge = torch.full((1, 3), 1e300, dtype=torch.float64)
    graph, region = network(Relu()), BoxRegion(-huge, huge)
    spec = Spec.robust(torch.tensor([0]), 4)
    found = margins(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)[0].lower
    assert not bool(found.isnan().any())
    assert bool((found < 0).all())


# ---- time -----------------------------------------------------------------------------------------------------------


def test_the_deadline_ends_the_search_and_keeps_its_bounds(clock):
    graph, region = network(Relu(), sizes=(8, 60, 60, 60, 5)), boxes(8, 8, 0.2)
    spec = robust(graph, region)
    plain = margins(DeepPoly(), Context(graph, region, FLOAT64), spec)[0].lower
    clock.tick = 0.01
    budget = Budget(deadline=clock.now + 1.0)
    found = attempt(Alpha(goal=inf, steps=10**9, inner=10**9, decay=1.0), Context(graph, region, FLOAT64, budget), spec).interval.lower
    assert clock.now < budget.deadline + 10 * clock.tick
    assert float((found - plain).mean()) > 0


def test_nothing_is_begun_when_time_is_over():
    graph, region = network(Relu()), boxes(3, 3)
    search = SlopeSearch(graph.output.name, analysed(graph, region), pair(DeepPoly()), Ascent())
    assert search.in_time(lambda: torch.ones(2), 2).tolist() == [1, 1]
    search.end = 0.0
    assert search.in_time(lambda: torch.ones(2), 2).tolist() == [-inf, -inf]


def test_a_proof_that_the_deadline_ends_leaves_the_plain_bounds(monkeypatch):
    graph, region = network(Relu()), boxes(4, 3)
    ctx = analysed(graph, region)
    spec = robust(graph, region)
    rows = Rows.of_spec(graph.output.name, spec, graph.output.shape)
    lower = substitute(rows, DeepPoly().relax, ctx)

    def late(*args, **kwargs):
        raise DeadlineError

    monkeypatch.setattr(module, "substitute", late)
    found = improved(rows, Interval(lower, torch.full_like(lower, inf)), ctx, pair(DeepPoly()), Ascent(goal=inf))
    assert torch.equal(found.lower, lower)


# ---- any domain, any options ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stranger(BackwardDomain):
    """A plug-in's: lines of ReLU nets from two corners, with a parameter of its own making, and an ascent."""

    climbs: bool = True

    @property
    def traits(self):
        return super().traits.ascending(Ascent(goal=inf)) if self.climbs else super().traits

    def relax(self, node, inputs, ctx):
        low, high = inputs[0].lower, inputs[0].upper
        free = ctx.slopes.get(node.name)
        share = torch.zeros_like(low) if free is None else free
        one, zero = torch.ones_like(low), torch.zeros_like(low)
        below = torch.where(low >= 0, one, torch.where(high <= 0, zero, share))
        return Relaxation((below,), zero, (torch.where(high <= 0, zero, one),), torch.where((low < 0) & (high > 0), -low, zero))

    def parameters(self, node, ctx):
        return torch.zeros_like(ctx.known[node.inputs[0]].lower)


def test_a_strangers_backward_domain_is_improved_too():
    graph, region = network(Relu()), boxes(5, 3)
    spec = robust(graph, region)
    plain = margins(Stranger(False), Context(graph, region, FLOAT64), spec)[0].lower
    found = margins(Stranger(), Context(graph, region, FLOAT64), spec)[0].lower
    assert bool((found >= plain - 1e-9).all())
    assert float((found - plain).mean()) > 1e-2
    assert bool((found <= spec.values(graph(region.center)) + 1e-12).all())


WRONG = [("steps", -1), ("inner", -1), ("rate", 0.0), ("rate", 1.5), ("rate", torch.nan), ("decay", 0.0), ("goal", -1.0)]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(UsageError, match=f"{option} is"):
        Alpha(**{option: value})


def test_a_domain_without_steps_is_the_plain_one():
    graph, region = network(Relu()), boxes(3, 3)
    spec = robust(graph, region)
    plain, none = (margins(d, Context(graph, region, FLOAT64), spec)[0].lower for d in (DeepPoly(), Alpha(steps=0, inner=0)))
    assert torch.equal(plain, none)


def test_without_inner_slopes_it_is_the_domain_without_inner_steps():
    graph, region = network(Relu()), boxes(3, 3)
    spec = robust(graph, region)
    light = margins(Alpha(), Context(graph, region, FLOAT64, inner_slopes=False), spec)[0].lower
    assert torch.equal(light, margins(Alpha(inner=0), Context(graph, region, FLOAT64), spec)[0].lower)
    assert not torch.equal(light, margins(Alpha(), Context(graph, region, FLOAT64), spec)[0].lower)
