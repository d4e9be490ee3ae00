"""Boxes: what is proved holds, what is unsafe stays open, clips are sound in exact arithmetic, and no leaf answers for another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, nextafter

import numpy as np
import pytest
import torch
from box_search import OneKind, branched, put, walked
from exact_cells import truth
from solver_contract import build, gemm

from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.engine.product import Product
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.numeric.backend import Budget, DeadlineError
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.balls import L2Ball
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import ATTAINED, Spec
from absint.search.branchers.boxes import ByBoxes, Splitting
from absint.search.branchers.brancher import Trees
from absint.search.names import domain_of

TURNS = {"relu": Relu, "sigmoid": Sigmoid, "tanh": Tanh}
# Disjuncts of one, of three and of two rows.
DISJUNCT = (0, 1, 2, 1, 1, 2)
SINGLE = Numerics(torch.float32)


def net(seed, turn="relu", inputs=2):
    rng = np.random.default_rng(seed)
    act = TURNS[turn]()
    return build((inputs,), gemm(rng, 4, inputs), act, gemm(rng, 4, 4), act, gemm(rng, 2, 4))


@dataclass
class Asked:
    """Regions, property and points (instance, point, input) with each disjunct's greatest row (instance, point, disjunct)."""

    graph: object
    region: BoxRegion
    spec: Spec
    points: torch.Tensor
    greatest: torch.Tensor


def asked(seed, gap, turn="relu", inputs=2, batch=2, side=41):
    """The greatest row of every disjunct is `gap` at the least point seen: unsafe where that is negative."""
    rng = np.random.default_rng(seed + 1000)
    graph = net(seed, turn, inputs)
    low = torch.from_numpy(rng.uniform(-1, 0, (batch, inputs)))
    region = BoxRegion(low, low + torch.from_numpy(rng.uniform(0.5, 1.5, (batch, inputs))))
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, side if inputs == 2 else 17, dtype=torch.float64)] * inputs)
    points = region.lower[:, None] + grid * (region.upper - region.lower)[:, None]
    weight = torch.from_numpy(rng.normal(size=(batch, len(DISJUNCT), 2)))
    disjunct = torch.tensor(DISJUNCT)
    rows = weight @ graph(points.flatten(0, 1)).reshape(*points.shape[:2], 2).transpose(1, 2)
    best = torch.stack([rows[:, disjunct == d].amax(1) for d in range(3)], 2)
    shift = gap - best.amin(1)
    return Asked(graph, region, Spec.rows(weight, shift[:, disjunct], disjunct), points, best + shift[:, None])


def run(case, domain=None, inputs=8, numerics=None, budget=None, **how):
    domain = DeepPoly() if domain is None else domain
    ctx, best = walked(case.graph, case.region, case.spec, domain, numerics, budget)
    return branched(ctx, case.spec, torch.full_like(best, -inf), Splitting(domain, inputs), **how)


def inside(nodes, tree, points):
    """(P,) bool: points in an open box of the tree."""
    if nodes is None or not bool((nodes.tree == tree).any()):
        return torch.zeros(len(points), dtype=torch.bool)
    mine = nodes.take(nodes.tree == tree)
    low, high = mine.columns["lower"], mine.columns["upper"]
    return ((points[:, None] >= low) & (points[:, None] <= high)).all(2).any(1)


# ---- what is proved holds -------------------------------------------------------------------------------------------


def check_unsafe_points_stay_open(seed, turn="relu", domain=None, numerics=None, inputs=2):
    """Whatever was closed, clipped or halved: an input of the unsafe set lies in an open box of its tree, and bounds say so."""
    case = asked(seed, -0.05, turn, inputs)
    found = run(case, domain, numerics=numerics, nodes=20)
    trees = found.boxes.trees
    assert not bool(found.refuted.any())
    assert not any(kind == "held" for kind, *_ in found.leaves)
    assert float(found.frontier.lower.max()) <= -0.05 + 1e-9
    assert len(found.leaves) > len(trees)
    for tree, (k, d) in enumerate(zip(trees.instance.tolist(), trees.disjunct.tolist(), strict=True)):
        unsafe = case.points[k][case.greatest[k, :, d] < -1e-9]
        assert len(unsafe)
        assert bool(inside(found.frontier.open, tree, unsafe).all())


@pytest.mark.parametrize(("seed", "turn"), [(0, "relu"), (1, "relu"), (2, "sigmoid")])
def test_unsafe_points_stay_open(seed, turn):
    check_unsafe_points_stay_open(seed, turn)


def test_unsafe_points_stay_open_without_room_for_what_is_known_of_boxes():
    case = asked(1, -0.05)
    found = run(case, nodes=20, budget=Budget(memory=1 << 20))
    assert sorted(found.frontier.open.columns) == ["axis", "lower", "upper"]
    assert len(run(case, nodes=20).frontier.open.columns) > 3
    for tree in range(len(found.boxes.trees)):
        k, d = found.boxes.trees.instance[tree], found.boxes.trees.disjunct[tree]
        assert bool(inside(found.frontier.open, tree, case.points[k][case.greatest[k, :, d] < -1e-9]).all())


@pytest.mark.parametrize("domain", [Box(), Zonotope(), Product(Zonotope(), DeepPoly())], ids=["box", "zonotope", "product"])
def test_unsafe_points_stay_open_whatever_bounds_the_boxes(domain):
    check_unsafe_points_stay_open(5, domain=domain)


def test_unsafe_points_stay_open_in_float32_and_three_inputs():
    check_unsafe_points_stay_open(6, numerics=SINGLE)
    check_unsafe_points_stay_open(8, inputs=3)


def check_bounds_are_of_every_leaf(seed, turn="relu"):
    """What is proved in the end is not above what is seen of the greatest row anywhere, clipped corners included."""
    case = asked(seed, 0.02, turn)
    found = run(case, nodes=1000)
    assert bool(found.refuted.all())
    trees = found.boxes.trees
    seen = case.greatest[trees.instance, :, trees.disjunct].amin(1)
    assert bool((found.frontier.lower <= seen + 1e-9).all())


@pytest.mark.parametrize(("seed", "turn"), [(0, "relu"), (1, "relu"), (2, "sigmoid"), (0, "tanh")])
def test_what_holds_is_proved_and_bounds_are_of_every_leaf(seed, turn):
    check_bounds_are_of_every_leaf(seed, turn)


@pytest.mark.parametrize("seed", range(3))
def test_the_truth_in_rationals(seed):
    """Disjuncts of several rows, refuted where they are empty and nowhere else, by the exact minimum over cells."""
    gap = 0.01 if seed % 2 else -1e-4
    case = asked(seed + 20, gap, batch=1, side=31)
    found = run(case, nodes=250)
    lower, upper = ([Fraction(v) for v in end[0].tolist()] for end in (case.region.lower, case.region.upper))
    exact = truth(case.graph, lower, upper, case.spec)
    for tree, d in enumerate(found.boxes.trees.disjunct.tolist()):
        assert Fraction(float(found.frontier.lower[tree])) <= exact.disjuncts[d]
        assert bool(found.refuted[tree]) <= (not exact.unsafe[d])
        assert bool(found.refuted[tree]) == (gap > 0)


def test_a_bound_never_falls_below_that_of_the_box_it_was_cut_from():
    """Nor does a word of before: a child starts from its parent's bound."""
    case = asked(3, -0.05)
    ctx, _ = walked(case.graph, case.region, case.spec, DeepPoly())
    boxes = ByBoxes(ctx, case.spec, Trees.of(torch.ones(2, 3, dtype=torch.bool)), Splitting(DeepPoly(), 2), lambda *told: None)
    given = torch.full((6,), -1e-3, dtype=torch.float64)
    grown = boxes.expand(boxes.roots(torch.arange(6), given), Budget())
    assert bool((grown.open.bound >= -1e-3).all())
    again = boxes.expand(grown.open, Budget())
    assert bool((again.open.bound >= grown.open.bound.min()).all())


# ---- strict rows, subnormal widths, what is counted -----------------------------------------------------------------


def corner():
    """x -> (relu(x1), relu(x2)) over [0, 1]^2, whose first output is least 0, exactly there."""
    return build((2,), Relu()), BoxRegion(torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))


def test_a_bound_of_zero_refutes_strict_rows_alone():
    """Two disjuncts over one pair of outputs: y1 < 0 holds nowhere, y1 <= 0 does; what one is must not rub off on the other."""
    graph, region = corner()
    weight = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]])
    spec = Spec.rows(weight, torch.zeros(1, 4), torch.tensor([0, 1, 0, 1]), torch.tensor([True, False, True, False]))
    ctx, best = walked(graph, region, spec, DeepPoly())
    found = branched(ctx, spec, torch.full_like(best, -inf), Splitting(DeepPoly(), 2), nodes=200)
    assert found.boxes.trees.disjunct.tolist() == [0, 1]
    assert found.refuted.tolist() == [True, False]
    assert float(found.frontier.lower[0]) == ATTAINED
    assert float(found.frontier.lower[1]) <= 0


def test_boxes_that_cannot_be_halved_are_held():
    """Neighbouring numbers, and subnormal ones: the search ends, and nothing is proved of what holds nowhere."""
    graph = build((2,), Relu(), Gemm(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))
    ends = [((1.0, 1.0), (nextafter(1.0, 2), nextafter(1.0, 2))), ((0.0, 0.0), (1e-323, 5e-324))]
    for low, high in ends:
        region = BoxRegion(*(torch.tensor([end], dtype=torch.float64) for end in (low, high)))
        spec = Spec.rows(torch.ones(1, 1, 1), -graph(region.upper))
        ctx, best = walked(graph, region, spec, DeepPoly())
        found = branched(ctx, spec, best, Splitting(DeepPoly(), 2), nodes=500)
        assert len(found.frontier) == 0
        assert not bool(found.refuted.any())
        assert any(kind == "held" for kind, *_ in found.leaves)


def able(low, high, inputs, **changes):
    graph = build((len(low[0]),), Relu())
    region = changes.pop("region", None) or BoxRegion(*(torch.tensor(end, dtype=torch.float64) for end in (low, high)))
    spec = Spec.rows(torch.ones(len(low), 1, len(low[0])), torch.zeros(len(low), 1))
    ctx, _ = walked(graph, region, spec, DeepPoly())
    trees = Trees.of(torch.ones(len(low), 1, dtype=torch.bool))
    return ByBoxes(replace(ctx, **changes), spec, trees, Splitting(DeepPoly(), inputs), lambda *told: None).able().tolist()


def test_an_empty_property_has_no_tree():
    spec = Spec(torch.zeros(1, 0, 2), torch.zeros(1, 0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))
    graph, region = corner()
    ctx, best = walked(graph, region, spec, DeepPoly())
    assert len(branched(ctx, spec, best, Splitting(DeepPoly(), 2)).frontier) == 0


def test_narrow_entries_are_not_counted():
    """Widths up to 1e-6; where all are, those far below the widest."""
    zero = [[0.0] * 5] * 5
    high = [[1.0, 1.0, 1e-7, 1e-7, 1e-7], [1.0, 1.0, 1.0, 0.0, 0.0], [1e-7, 1e-8, 1e-15, 0.0, 0.0], [1e-7, 1e-7, 1e-8, 0.0, 0.0], [0.0] * 5]
    assert able(zero, high, 2) == [True, False, True, False, False]
    assert able(zero, high, 0) == [False] * 5


def test_who_may_not_be_halved():
    """Sets inside their hull, what is assumed, void bounds and solvers' words."""
    low, high = [[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]
    assert able(low, high, 2) == [True, True]
    x = Interval(torch.zeros(2, 2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64))
    assert able(low, high, 2, assumed={"x": x}) == [False, False]
    assert able(low, high, 2, known={"x": replace(x, solver=torch.tensor([True, False]))}) == [False, True]
    assert able(low, high, 2, known={"x": Interval(x.lower + torch.tensor([[2.0], [0.0]]), x.upper)}) == [False, True]
    assert able(low, high, 2, region=L2Ball(torch.zeros(2, 2, dtype=torch.float64), Fraction(1, 2), None)) == [False, False]


# ---- words ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word(DeepPoly):
    """Bounds of hidden neurons that are a solver's word, and wrong, on whole regions alone: boxes of area 1."""

    def bounds(self, element, rows, ctx, sense):
        found = super().bounds(element, rows, ctx, sense)
        if rows.index is None:
            return found
        mine = (ctx.region.hull.upper - ctx.region.hull.lower).prod(1)[rows.instance] == 1
        lowered = found.upper - 0.9 * (found.upper - found.lower)
        return Interval(found.lower, torch.where(mine, lowered, found.upper), mine)


@pytest.mark.parametrize("seed", [7, 13])
def test_a_word_closes_and_clips_nothing(seed):
    """Of a region whose neurons rest on a wrong word nothing is proved; its halves, where nobody tells one, prove what holds."""
    rng, gap = np.random.default_rng(seed), 0.01
    graph = build((2,), gemm(rng, 4, 2), Relu(), gemm(rng, 1, 4))
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    region = BoxRegion(-half, half)
    points = torch.cartesian_prod(*[torch.linspace(-0.5, 0.5, 41, dtype=torch.float64)] * 2)
    for sign in (-1.0, 1.0):
        values = (sign * graph(points)).flatten()
        spec = Spec.rows(torch.full((1, 1, 1), sign), -values.min().reshape(1, 1) - gap)
        ctx, best = walked(graph, region, spec, DeepPoly())
        found = branched(ctx, spec, torch.full_like(best, -inf), Splitting(Word(), 2), nodes=100)
        assert not bool(found.refuted.any())
        assert bool(inside(found.frontier.open, 0, points[values - values.min() < gap - 1e-9]).all())
        assert float(found.frontier.lower[0]) <= -gap + 1e-9


# ---- batches, time and candidates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "nodes"), [(0.02, 150), (0.02, 5), (-0.02, 9)])
def test_a_tree_answers_alone_as_in_company(gap, nodes):
    """As many boxes and the same bounds beside other instances and disjuncts, under a limit of nodes as well."""
    case = asked(11, gap, batch=2)
    ctx, best = walked(case.graph, case.region, case.spec, DeepPoly())
    how, nothing = Splitting(DeepPoly(), 2), torch.full_like(best, -inf)
    together = branched(ctx, case.spec, nothing, how, nodes=nodes, one_each=True)
    assert bool(together.refuted.all()) == (nodes == 150)
    for tree, (k, d) in enumerate(zip(together.boxes.trees.instance, together.boxes.trees.disjunct, strict=True)):
        trees = Trees(torch.zeros(1, dtype=torch.int64), d[None])
        alone = branched(ctx.take(k[None]), case.spec.take(k[None]), nothing[:1], how, nodes=nodes, trees=trees, one_each=True)
        for name in ("visited", "counts"):
            assert int(getattr(alone.frontier, name)) == int(getattr(together.frontier, name)[tree])
        for name in ("lower", "closed"):
            assert float(getattr(alone.frontier, name)) == pytest.approx(float(getattr(together.frontier, name)[tree]), abs=1e-9)


def test_time_leaves_the_nodes_as_they_were():
    case = asked(2, -0.05)
    ctx, best = walked(case.graph, case.region, case.spec, DeepPoly())
    trees = Trees.of(torch.ones_like(best, dtype=torch.bool))
    boxes, frontier = ByBoxes(ctx, case.spec, trees, Splitting(DeepPoly(), 2), lambda *told: None), OneKind(len(trees))
    roots = boxes.roots(torch.arange(len(trees)), torch.full((len(trees),), -inf))
    before = {name: column.clone() for name, column in roots.columns.items()}
    with pytest.raises(DeadlineError):
        boxes.expand(roots, Budget(deadline=-inf))
    assert all(torch.equal(roots.columns[name], column) for name, column in before.items())
    put(frontier, boxes.expand(roots, Budget()), [])
    assert len(frontier) >= len(trees)


def test_candidates_are_points_of_open_boxes():
    """Told with their instance and the network's own outputs; a violation that lies in a corner is among them."""
    case = asked(9, -0.05)
    found = run(case, nodes=40)
    hull = case.region.hull
    best = torch.full((2,), inf, dtype=torch.float64)
    for instance, points, outputs in found.seen:
        assert bool(((points >= hull.lower[instance]) & (points <= hull.upper[instance])).all())
        assert torch.allclose(case.graph(points), outputs)
        rows = case.spec.take(instance).values(outputs)
        greatest = torch.stack([rows[:, case.spec.disjunct == d].amax(1) for d in range(3)], 1).amin(1)
        best = best.scatter_reduce(0, instance, greatest, "amin")
    assert bool((best < -0.02).all())


def test_an_ascent_counts_combinations_of_rows():
    """A base with optimised slopes refutes a disjunct by a sum of its rows where no single row does."""
    graph = build((2,), Gemm(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), Relu())
    one = torch.ones(1, 2, dtype=torch.float64)
    region = BoxRegion(-one, one)
    spec = Spec.rows(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), torch.tensor([[-0.9, 1.0]]), torch.tensor([0, 0]))
    nodes = {}
    for name in ("deeppoly", "alpha"):
        domain = domain_of(name)
        ctx, best = walked(graph, region, spec, domain)
        found = branched(ctx, spec, torch.full_like(best, -inf), Splitting(domain, 2), nodes=300)
        assert bool(found.refuted.all())
        nodes[name] = int(found.frontier.visited[0])
    assert nodes["alpha"] == 1 < nodes["deeppoly"]
