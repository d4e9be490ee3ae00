"""The exact answers that everything else is compared with: attained, never undercut, and the same by another way."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from agreement import faults, undecided, unsafe
from agreement_nets import BATCH, NETWORKS, case, permuted
from exact import minimum, minimum_by_vertices
from exact_cells import Net, box, truth
from solver_contract import build, evaluate, points
from test_margins_below_exact_minimum import problem

from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import Relu
from absint.problem.spec import Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

F = Fraction
SEEDS = range(2 * len(NETWORKS))


def values(rows, bias, outputs):
    return [sum((F(w) * y for w, y in zip(row, outputs, strict=True)), F(b)) for row, b in zip(rows.tolist(), bias.tolist(), strict=True)]


def greatest(case_, k, x):
    """Value of each disjunct at an exact point, by an evaluation that knows nothing of cells."""
    found = values(case_.spec.weight[k], case_.spec.bias[k], evaluate(case_.graph, x)[case_.graph.output.name])
    return [max(v for v, d in zip(found, case_.spec.disjunct.tolist(), strict=True) if d == which) for which in range(case_.spec.disjuncts)]


@pytest.mark.parametrize("seed", [1, 2, 5, 10, 20, 36, 45, 51, 72, 75])
def test_cells_and_vertices_give_the_same_minimum(seed):
    graph, region, spec, least = problem(seed)
    low, high = ([F(v) for v in side[0].tolist()] for side in (region.hull.lower, region.hull.upper))
    row, bias = [F(w) for w in spec.weight[0, 0].tolist()], F(float(spec.bias[0, 0]))
    assert minimum_by_vertices(graph, low, high, row, bias) == least
    assert minimum(graph, low, high, row, bias) == truth(graph, low, high, spec).rows[0] == least


def test_minima_are_attained_in_the_box():
    for seed in SEEDS:
        for k in range(BATCH):
            found, (low, high) = case(seed).truths[k], case(seed).ends(k)
            for which, x in enumerate(found.points):
                assert all(a <= v <= b for a, v, b in zip(low, x, high, strict=True))
                assert greatest(case(seed), k, x)[which] == found.disjuncts[which]


def test_no_point_undercuts_a_minimum_or_leaves_a_range():
    """Corners and random points, exactly. A point is the end of no range but its own."""
    for seed in SEEDS:
        for k in range(BATCH):
            found, one = case(seed).truths[k], case(seed).problem(k).region
            for x in points(one, 12, seed):
                assert all(v >= least for v, least in zip(greatest(case(seed), k, x), found.disjuncts, strict=True))
                for name, here in evaluate(case(seed).graph, x).items():
                    assert all(a <= v <= b for v, (a, b) in zip(here, found.ranges[name], strict=True))


def test_a_row_is_least_where_its_own_minimum_says():
    """The row alone, as a disjunct: the minimum of its cells, against the minimum of all rows at once."""
    for seed in SEEDS:
        one = case(seed)
        rows = one.spec.weight.shape[1]
        alone = Spec.rows(one.spec.weight, one.spec.bias)
        for k in range(BATCH):
            found = truth(one.graph, *one.ends(k), alone, k)
            assert found.rows == found.disjuncts == one.truths[k].rows
            assert len(found.rows) == rows


def test_an_unsafe_point_is_unsafe_and_a_safe_property_has_none():
    for seed in SEEDS:
        for k in range(BATCH):
            found, one = case(seed).truths[k], case(seed)
            strict = bool(one.spec.strict.any())
            if not strict or found.margin != 0:
                assert found.holds is (found.margin > 0)
            if found.margin < 0:
                x = found.points[int(np.argmin(found.disjuncts))]
                assert min(greatest(one, k, x)) < 0
            for x in points(one.problem(k).region, 8, seed):
                floats = [float(v) for v in x]
                if [F(v) for v in floats] == x and unsafe(one, k, floats):
                    assert not found.holds


def line(rows, bias, strict, graph=None):
    """x in [-1, 1], rows on the outputs of (x, |x|)."""
    graph = graph or build((1,), Gemm(torch.tensor([[1.0], [1.0]], dtype=torch.float64), None), Abs())
    spec = Spec.rows(torch.tensor([rows], dtype=torch.float64), torch.tensor([bias], dtype=torch.float64),
                     torch.zeros(len(bias), dtype=torch.int64), torch.tensor(strict))
    return truth(graph, [F(-1)], [F(1)], spec)


def both():
    """(x + 1, 1 - x), from ReLUs that are never off."""
    return build((1,), Gemm(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)), Relu())


@pytest.mark.parametrize(("strict", "unsafe_"), [((False, False), True), ((True, False), False), ((False, True), False)])
def test_ties_count_by_the_strictness_of_their_rows(strict, unsafe_):
    """x <= 0 and -x <= 0: only 0, and not even that where one of them is strict."""
    found = line([[1.0, 0.0], [0.0, 1.0]], [-1.0, -1.0], strict, both())
    assert found.disjuncts == [0]
    assert found.unsafe == [unsafe_]
    assert found.rows == [-1, -1]


def test_a_strict_row_that_is_slack_does_not_forbid_a_tie():
    """|x| <= 0, strictly x - 1 < 0: the greatest is 0 at 0, where the strict row has room."""
    graph = build((1,), Gemm(torch.tensor([[1.0], [0.0]], dtype=torch.float64), torch.tensor([0.0, 1.0])), Abs())
    found = line([[1.0, 0.0], [0.0, -1.0]], [0.0, 0.0], (False, True), graph)
    assert found.disjuncts == [0]
    assert found.unsafe == [True]


def test_known_answers():
    graph = build((1,), Clip(-0.5, 0.75))
    assert minimum(graph, [F(-1)], [F(2)], [F(1)], F(0)) == F(-1, 2)
    assert minimum(graph, [F(-1)], [F(2)], [F(-1)], F(1, 3)) == F(1, 3) - F(3, 4)
    assert minimum(build((1,), Clip(1.0, 0.0)), [F(-1)], [F(2)], [F(1)], F(0)) == 0
    assert minimum(build((1,), Clip(-inf, 0.0)), [F(-1)], [F(2)], [F(-1)], F(0)) == 0
    peak = build((2,), Gemm(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), None), Relu())
    assert minimum(peak, [F(-1)] * 2, [F(1)] * 2, [F(-1), F(1)], F(0)) == -2
    assert minimum(peak, [F(1, 3)] * 2, [F(1, 3)] * 2, [F(-1), F(1)], F(0)) == F(-2, 3)


def test_a_cut_keeps_every_vertex_and_makes_those_on_the_cut():
    """A cube cut by x + y + z >= 3/2: a hexagon on the cut, and four corners on either side."""
    cube = box([F(0)] * 3, [F(1)] * 3)
    (_, values_), = Net(build((3,), Gemm(torch.ones(1, 3, dtype=torch.float64), torch.tensor([-1.5])))).cells([F(0)] * 3, [F(1)] * 3)
    (cut,) = next(iter(reversed(values_.values())))
    parts = {above: part for part, above in cube.split(cut)}
    assert [len(part.points) for part in parts.values()] == [10, 10]
    assert sum(cut.at(p) == 0 for p in parts[True].points) == 6


def test_the_seeds_provoke_what_they_are_for():
    """Otherwise the agreement of everything would say little."""
    found = Counter()
    for seed in range(36):
        for k in range(BATCH):
            one, answer = case(seed), case(seed).truths[k]
            low, high = one.ends(k)
            found["zero width"] += any(a == b for a, b in zip(low, high, strict=True))
            found["cells"] += answer.cells > 4
            found["exact tie"] += answer.margin == 0
            found["exact tie that holds"] += answer.margin == 0 and answer.holds
            found["near tie"] += answer.margin != 0 and not one.clear(k)
            found["clear"] += one.clear(k)
            found["clear by a hair"] += one.clear(k) and abs(answer.margin) < one.scales[k] / 10000
            found["holds"] += one.clear(k) and answer.holds
            found["unsafe"] += one.clear(k) and not answer.holds
            found["no row alone"] += answer.holds and min(answer.disjuncts) > 0 and any(
                max(r for r, d in zip(answer.rows, one.spec.disjunct.tolist(), strict=True) if d == which) <= 0
                for which in range(one.spec.disjuncts))
            found["dead"] += any(a == b and len(ends) > 1 for ends in answer.ranges.values() for a, b in ends)
            weights = [abs(w) for node in one.graph.nodes if isinstance(node.op, Gemm) for w in node.op.weight.reshape(-1).tolist()]
            found["below 1e-9"] += any(0 < w < 1e-9 for w in weights)
            found["steep"] += max(weights) > 100
    least = {"zero width": 12, "cells": 18, "exact tie": 6, "exact tie that holds": 2, "near tie": 6, "clear": 30, "clear by a hair": 4,
             "holds": 10, "unsafe": 12, "no row alone": 3, "dead": 6, "below 1e-9": 3, "steep": 3}
    assert {name: found[name] for name, count in least.items() if found[name] < count} == {}


def test_permuted_neurons_compute_the_same():
    moved = 0
    for seed in SEEDS:
        one = case(seed)
        other = permuted(one.graph, seed)
        moved += any(a.op is not b.op for a, b in zip(one.graph.nodes, other.nodes, strict=True))
        for x in points(one.problem(0).region, 3, seed):
            assert evaluate(one.graph, x)[one.graph.output.name] == evaluate(other, x)[other.output.name]
    assert moved > len(SEEDS) // 2


def claimed(one, k, verdict, **given):
    return InstanceResult(k, verdict, **{"assurance": Assurance.SOUND, **given})


def test_false_claims_are_told():
    """The judge itself: every kind of false claim about some problem is told, and true ones are not."""
    seen = Counter()
    for seed in SEEDS:
        one = case(seed)
        for k in range(BATCH):
            answer = one.truths[k]
            margin = float(answer.margin)
            inside = [float(v) for v in one.region.center[k].reshape(-1)]
            seen["verified"] += not answer.holds
            assert bool(faults(one, claimed(one, k, Verdict.VERIFIED))) is not answer.holds
            if answer.holds or not unsafe(one, k, inside):
                seen["witness"] += 1
                assert faults(one, claimed(one, k, Verdict.FALSIFIED, witness=inside))
            outside = [v + 1 + 2 * float(one.scales[k]) for v in one.region.upper[k].reshape(-1).tolist()]
            assert faults(one, claimed(one, k, Verdict.FALSIFIED, witness=outside))
            assert faults(one, claimed(one, k, Verdict.FALSIFIED))
            assert faults(one, claimed(one, k, Verdict.UNKNOWN, margin=float(np.nextafter(margin, inf))))
            assert not faults(one, claimed(one, k, Verdict.UNKNOWN, margin=float(np.nextafter(margin, -inf))))
            assert bool(undecided(one, claimed(one, k, Verdict.UNKNOWN, reason=Reason.IMPRECISE))) is one.clear(k)
            assert faults(one, claimed(one, k, Verdict.LIKELY))
            if one.clear(k) and not answer.holds:
                seen["believed"] += 1
                assert faults(one, claimed(one, k, Verdict.VERIFIED, assurance=Assurance.SOLVER))
    assert min(seen.values()) >= 5
