"""Bounds of case splits are bounds: over all operators that are cut, for any path of cuts, any hints and any row, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from case_splits import EXACT, Gap, Off, Root, exact, network, padded, paths_of, points, random_hints, region, rows
from solver_contract import build

from absint.engine.frozen.net import Hints, chords
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip, ThresholdedRelu
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.step import Ceil, Compare, Floor, Round, Sign, Truncate
from absint.model.ops.sum import Sum
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

SINGLE, DOUBLE = Numerics(torch.float32), Numerics(torch.float64)
FLOAT32 = Numerics(torch.float64, float32_semantics=True)
NODES, POINTS = 48, 8


class Tally:
    """How much was really looked at: a test of nothing would hold, too."""

    def __init__(self):
        self.compared = self.finite = self.on_cuts = 0


def value_of(weight, bias, output):
    return sum((Fraction(w) * v for w, v in zip(weight, output, strict=True)), Fraction(bias))


def check_bounds(seed, numerics, tally, scale=None, size=1.0):
    """Every point of a node's region has a value of its row that is not below the node's bound."""
    rng = np.random.default_rng(seed)
    graph = network(rng, scale)
    if not graph.fits(numerics.dtype):
        return
    root = Root(graph, region(rng, graph, 3), numerics)
    if not root.net.entries:
        return
    seen = [[(x, exact(graph, x)) for x in points(rng, (root.region.lower[k].tolist(), root.region.upper[k].tolist()), POINTS)]
            for k in range(3)]
    instance = torch.arange(NODES) % 3
    paths = [paths_of(rng, root, k, [values for _, values in seen[k]], 4) for k in instance.tolist()]
    weight = torch.tensor(rng.normal(size=(NODES, graph.output.size)) * size)
    bias = torch.tensor(rng.normal(size=NODES) * size)
    share = torch.ones(NODES, 1)
    with torch.no_grad():
        splits = root.cuts.splits(instance, padded(paths))
        # Any entry's hint may be free, not those on the path alone.
        splits.cut[:] |= torch.tensor(rng.random(splits.cut.shape) < 0.1)
        hints = random_hints(rng, root, instance, share, tame=rng.random() < 0.5)
        found = root.prover().bounds(rows(root, instance, weight, bias), splits, hints)
    for node, (k, path) in enumerate(zip(instance.tolist(), paths, strict=True)):
        bound = float(found[node])
        assert bound < np.inf
        tally.finite += bound > -np.inf
        if bound == -np.inf:
            continue
        for _, values in seen[k]:
            if all(root.holds(code, values, k) for code in path):
                tally.compared += 1
                tally.on_cuts += any(root.on_cut(code, values, k) for code in path)
                assert Fraction(bound) <= value_of(weight[node].tolist(), float(bias[node]), values[graph.output.name])


def check_seeds(seeds, numerics):
    tally = Tally()
    for seed in seeds:
        check_bounds(seed, numerics, tally)
    assert tally.compared > 50 * len(seeds)
    assert tally.finite > 8 * len(seeds)
    assert tally.on_cuts > 2 * len(seeds)


FORMATS = pytest.mark.parametrize("numerics", [SINGLE, DOUBLE, FLOAT32], ids=["float32", "float64", "float32 semantics"])


@FORMATS
def test_no_hint_makes_a_bound_that_a_point_lies_below(numerics):
    check_seeds(range(4, 12), numerics)


@FORMATS
@pytest.mark.slow
def test_no_hint_makes_a_bound_that_a_point_lies_below_over_many_networks(numerics):
    check_seeds(range(1000, 1400), numerics)


@pytest.mark.parametrize(("scale", "size"), [(1e-30, 1.0), (1e30, 1.0), (1e12, 1e-30), (1.0, 1e-30), (1.0, 1e30)])
def test_magnitudes_change_nothing(scale, size):
    """Huge weights before small ones, and rows of any size."""
    tally = Tally()
    for seed in range(100, 103):
        check_bounds(seed, SINGLE, tally, scale, size)
        check_bounds(seed, DOUBLE, tally, scale, size)
    assert tally.compared > 200


# ---- bounds that are attained: nothing but roundings between them and the truth --------------------------------------


CONTINUOUS = (Relu(), LeakyRelu(0.125), LeakyRelu(1 / 3), Clip(-0.5, 0.75), Clip(0.0, 1 / 3), Abs())


def attained(seed, numerics, layers=2, width=6, inputs=3):
    """A node all of whose entries are cut, whose row is least at a corner that lies in it: (root, path, weight, the corner's values)."""
    rng = np.random.default_rng(seed)
    ops = []
    for k in range(layers):
        ops += [Gemm(torch.tensor(rng.normal(size=(width, width if k else inputs))), torch.tensor(rng.normal(size=width) * 0.3)),
                CONTINUOUS[rng.integers(len(CONTINUOUS))]]
    graph = build((inputs,), *ops)
    x = torch.tensor(rng.normal(size=(1, inputs)), requires_grad=True)
    weight = torch.tensor(rng.normal(size=(1, width))).float().double()
    (graph(x) * weight).sum().backward()
    corner, far = x.detach(), x.detach() + torch.tensor(rng.uniform(0.5, 2, (1, inputs))) * x.grad.sign()
    root = Root(graph, BoxRegion(torch.minimum(corner, far), torch.maximum(corner, far)), numerics)
    values = exact(graph, [Fraction(v) for v in corner[0].tolist()])
    path = [int(rng.choice(root.sides(number, values))) for number in root.open(0)]
    return root, path, weight, values


def check_attained(seed, numerics, tolerance, **how):
    """(bound, truth): the bound is not above the truth, and not far below it."""
    root, path, weight, values = attained(seed, numerics, **how)
    if not path:
        return
    instance = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        splits, (_, hints) = root.cuts.splits(instance, padded([path])), root.net.root(instance, 1)
        found = root.prover().bounds(rows(root, instance, weight, torch.zeros(1)), splits, hints)
    truth = value_of(weight[0].tolist(), 0.0, values[root.graph.output.name])
    assert Fraction(float(found)) <= truth
    assert float(found) >= float(truth) - tolerance


@pytest.mark.parametrize(("numerics", "tolerance"), [(SINGLE, 2e-3), (DOUBLE, 1e-11)], ids=["float32", "float64"])
def test_a_bound_of_decided_entries_is_the_truth_less_roundings(numerics, tolerance):
    for seed in range(12):
        check_attained(seed, numerics, tolerance)


def check_cancelling(seed):
    """Many kinks at one place above one input, with a row that no format rounds: A reaches the input as the little that is left of it."""
    rng = np.random.default_rng(seed)
    w, a = (torch.tensor(rng.normal(size=(200, 1))).float().double() for _ in range(2))
    below = w < 0
    first = int(below.flatten().nonzero()[0])
    a[first] += (1e-5 - (a * w)[below].sum()) / w[first]
    a = a.float().double()
    one = torch.ones(1, 1, dtype=torch.float64)
    root = Root(build((1,), Gemm(w, torch.zeros(200, dtype=torch.float64)), Relu()), BoxRegion(-one, one), SINGLE)
    values = exact(root.graph, [Fraction(-1)])
    instance = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        splits = root.cuts.splits(instance, padded([[root.sides(number, values)[0] for number in root.open(0)]]))
        found = root.prover().bounds(rows(root, instance, a.T, torch.zeros(1)), splits, root.net.root(instance, 1)[1])
    truth = value_of(a.flatten().tolist(), 0.0, values[root.graph.output.name])
    assert Fraction(float(found)) <= truth <= float(found) + 0.01


def test_what_adjoints_lose_below_cut_entries_is_charged():
    for seed in range(8):
        check_cancelling(seed)


def check_executions(seed):
    """In float32 semantics, what kernels of cut entries lose is charged, where all of it pulls the same way."""
    rng = np.random.default_rng(seed)
    alpha = float(np.float32(0.3))
    x = torch.tensor(rng.uniform(0.5, 2, 400), dtype=torch.float32).neg()
    lost = (x * torch.tensor(alpha, dtype=torch.float32)).double() - x.double() * alpha
    x = x[lost < 0][:32].double()[None]
    graph = build((x.shape[1],), LeakyRelu(alpha))
    root = Root(graph, BoxRegion(x, -x), FLOAT32)
    instance = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        splits = root.cuts.splits(instance, padded([[2 * number for number in root.open(0)]]))
        found = root.prover().bounds(rows(root, instance, torch.ones(1, x.shape[1]), torch.zeros(1)), splits, root.net.root(instance, 1)[1])
    executed = sum(Fraction(v) for v in torch.nn.functional.leaky_relu(x.float(), alpha)[0].tolist())
    assert Fraction(float(found)) <= executed
    assert float(found) > float(executed) - 1e-4


def test_what_kernels_of_cut_entries_lose_is_charged():
    for seed in range(3):
        check_executions(seed)


def test_sums_of_many_terms_are_charged_their_roundings():
    """Over constant pieces nothing but the minima is summed, and small ones are lost beside large ones."""
    graph = build((400,), Compare(torch.zeros((), dtype=torch.float64), 1.0, 0.0, 0.0))
    ones = torch.ones(1, 400, dtype=torch.float64)
    root = Root(graph, BoxRegion(-ones, ones), DOUBLE)
    instance = torch.zeros(30, dtype=torch.int64)
    rng = np.random.default_rng(5)
    weight = torch.tensor(np.stack([rng.permutation([2.0**54, -(2.0**54)] + [-1.9] * 398) for _ in range(30)]))
    with torch.no_grad():
        splits = root.cuts.splits(instance, padded([[2 * number for number in root.open(0)]] * 30))
        found = root.prover().bounds(rows(root, instance, weight, torch.zeros(30)), splits, root.net.root(instance, 1)[1])
    for bound, row in zip(found.tolist(), weight.tolist(), strict=True):
        assert Fraction(bound) <= sum(map(Fraction, row)) <= bound + 1e5


# ---- jumps and kernels that err -------------------------------------------------------------------------------------


SIGN, GAP, STEP, OFF, RELU = Sign(), Gap(), ThresholdedRelu(0.5), Off(), Relu()
FLOOR, CEIL, ROUND, TRUNCATE = Floor(), Ceil(), Round(), Truncate(-128.0, 127.0)
EACH = Compare(torch.tensor([0.25, 0.7], dtype=torch.float64), 0.0, 0.0, 1.0)
CUT = (SIGN, GAP, STEP, OFF, RELU, EACH, FLOOR, CEIL, ROUND, TRUNCATE, Off(off=-EXACT), ThresholdedRelu(-0.25), Clip(-0.5, 0.75),
       Compare(torch.tensor(0.25, dtype=torch.float64), 1.0, 0.0, 1.0), Compare(torch.tensor(0.25, dtype=torch.float64), 0.0, 1.0, 1.0))


def check_points_on_cuts(op):
    """Of A f(z) - B z over one entry, for many A and B: the sides of a cut hold every point between them, and bound it."""
    places = [Fraction(v) for v in (-1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 0.7, 0.75, 1, 1.5, 2)]
    places += [place + delta for place in places for delta in (Fraction(-1, 10**6), Fraction(1, 10**6)) if -1.5 <= place + delta <= 2]
    for slope in (0.0, 0.5, -0.5, 1.0, -1.0, 4 / 3, -2.0):
        graph = build((2,), op, (Gemm(slope * torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), (0,)),
                      (Sum(), (1, 2)))
        root = Root(graph, BoxRegion(torch.full((1, 2), -1.5, dtype=torch.float64), torch.full((1, 2), 2.0, dtype=torch.float64)), DOUBLE)
        if root.net.entries:
            _check_points(root, slope, places, [[]] + [[2 * number + side] for number in root.open(0) for side in (0, 1)])


def _check_points(root, slope, places, paths):
    graph = root.graph
    # One entry at a time: what the other one has to spare would hide what is missing. B cancels what goes around the operator.
    cases = [case for case in product(paths, range(root.net.entries), (-1.0, 1.0)) if all(root.entry(code) == case[1] for code in case[0])]
    instance, weight = torch.zeros(len(cases), dtype=torch.int64), torch.zeros(len(cases), graph.output.size, dtype=torch.float64)
    with torch.no_grad():
        splits = root.cuts.splits(instance, padded([path for path, *_ in cases]))
        splits.cut[:] = True
        _, hints = root.net.root(instance, 1)
        for node, (_, entry, a) in enumerate(cases):
            weight[node, entry] = a
            hints.hint[node, entry] = -a * slope
        one = next(iter(root.net.split.values()))
        line = chords(one.points.at, one.points.middle, splits.first, splits.last)[2]
        hints = Hints(hints.ratio, hints.hint.double() - weight[:, one.entries] * line, hints.share)
        found = root.prover().bounds(rows(root, instance, weight, torch.zeros(len(cases))), splits, hints).tolist()
    seen = [np.inf] * len(cases)
    for z in places:
        values = exact(graph, [z] * graph.input.size)
        for number in root.open(0):
            root.sides(number, values)
        inside = {tuple(path): all(root.holds(code, values) for code in path) for path in paths}
        for node, (path, entry, a) in enumerate(cases):
            if inside[tuple(path)]:
                value = Fraction(a) * values[graph.output.name][one.entries[entry]]
                assert Fraction(found[node]) <= value
                seen[node] = min(seen[node], float(value))
    assert max(best - bound for best, bound in zip(seen, found, strict=True) if best < np.inf) < 0.1


@pytest.mark.parametrize("op", CUT, ids=lambda op: type(op).__name__)
def test_every_point_is_on_a_side_that_bounds_it(op):
    check_points_on_cuts(op)


def test_entries_that_bend_at_places_of_their_own_are_cut_there():
    """1{x > 1/4} = 1 and 1{y > 7/10} = 0 at (1/2, 1/2): a cut of the second at 1/4 would prove that there is no such point."""
    op = Compare(torch.tensor([0.25, 0.7], dtype=torch.float64), 0.0, 0.0, 1.0)
    root = Root(build((2,), op), BoxRegion(torch.zeros(1, 2).double(), torch.ones(1, 2).double()), DOUBLE)
    assert [root.at(2 * number)[0] for number in root.open(0)] == [Fraction(0.25), Fraction(0.7)]


@pytest.mark.parametrize("op", [FLOOR, CEIL, ROUND, TRUNCATE], ids=lambda op: type(op).__name__)
def test_many_steps_are_bounded_between_the_few_that_are_cut(op):
    """Of 40 steps at most 15 are cut: on either side of these, and between neighbours, the rest is bounded, and well."""
    low, high = torch.full((1, 1), -19.75).double(), torch.full((1, 1), 20.25).double()
    places = [Fraction(k, 2) + Fraction(delta, 10**6) for k in range(-39, 41) for delta in (-1, 0, 1)]
    places = [*places, Fraction(-79, 4), Fraction(81, 4)]
    for slope in (0.0, -1.0, -0.7):
        graph = build((1,), op, (Gemm(slope * torch.ones(1, 1).double(), torch.zeros(1).double()), (0,)), (Sum(), (1, 2)))
        root = Root(graph, BoxRegion(low, high), DOUBLE)
        numbers = root.open(0)
        assert 10 <= len(numbers) <= 15
        _check_points(root, slope, places, [[], *([2 * one + 1, 2 * two] for one, two in pairwise(numbers))])


def test_steps_that_no_number_holds_are_bounded():
    """Beyond 2^53 floor(x) = x for every float x, but not for every real one."""
    low = 2.0**60
    root = Root(build((1,), FLOOR), BoxRegion(*(torch.tensor([[end]], dtype=torch.float64) for end in (low, low + 2.0**20))), DOUBLE)
    ((name, one),) = root.net.split.items()
    z, y = (Fraction(float(root.ctx.reference[node])) for node in ("x", name))
    x = Fraction(low) + 100 + Fraction(1, 2)
    at, least, most = ([Fraction(v) for v in part.flatten().tolist()] for part in (one.points.at, one.points.least, one.points.most))
    share = (x - z - at[0]) / (at[-1] - at[0])
    lower, upper = ((1 - share) * ends[0] + share * ends[-1] + y for ends in (least, most))
    assert lower <= x - Fraction(1, 2) <= upper


def test_the_last_hint_of_an_entry_counts():
    """An entry that a path cuts three times, another one once, and a third one never."""
    one = torch.ones(1, 3).double()
    root = Root(build((3,), Floor()), BoxRegion(0.5 * one, 4.5 * one), DOUBLE)
    path = torch.tensor([[2 * 0, 64 + 1, 2 * 1 + 1, 2 * 2, -1], [-1, -1, -1, -1, -1]], dtype=torch.int32)
    value = torch.tensor([[1.0, 5.0, 2.0, 3.0, 9.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    assert root.cuts.dense(path, value).tolist() == [[3.0, 5.0, 0.0], [0.0, 0.0, 0.0]]
