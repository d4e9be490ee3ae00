"""The search for counterexamples: what it reaches, what it must survive, and what becomes of its candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_models as models
import pytest
import torch
from torch import Tensor

from absint.attacks import Search, falsify, prove_witness
from absint.attacks import pgd as pgd_module
from absint.attacks import starts as starts_module
from absint.attacks import walk as walk_module
from absint.attacks.loss import objective, row_values, violates
from absint.attacks.pgd import Pgd
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.step import Sign
from absint.numeric.backend import Budget
from absint.numeric.decimal import parse_eps
from absint.problem.regions import L2Ball
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec

CPU = torch.device("cpu")
MANY = 40        # more free inputs than are sampled
HERE = Search(CPU)


pytestmark = pytest.mark.usefixtures("numerics")


def t(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def net(*layers: tuple[Tensor, Tensor] | object) -> Graph:
    """Dense layers (weight, bias) and operators, one after another."""
    size = layers[0][0].shape[1]  # type: ignore[index]
    build = GraphBuilder("x", (size,))
    last = "x"
    for layer in layers:
        last = build.add(Gemm(*layer) if isinstance(layer, tuple) else layer, (last,))  # type: ignore[arg-type]
    return build.graph(last)


def box(low: float, high: float, size: int = MANY, batch: int = 1) -> BoxRegion:
    return BoxRegion(torch.full((batch, size), low, dtype=torch.float64), torch.full((batch, size), high, dtype=torch.float64))


def unsafe(weight: Tensor, bias: Tensor, disjunct: list[int] | None = None, strict: list[bool] | None = None, batch: int = 1) -> Spec:
    return Spec.rows(weight.expand(batch, *weight.shape), bias.expand(batch, *bias.shape),
                     None if disjunct is None else torch.tensor(disjunct), None if strict is None else torch.tensor(strict))


def found(graph: Graph, region: BoxRegion, spec: Spec, search: Search = HERE) -> bool:
    return bool(falsify(graph, region, spec, Pgd(), search).witnesses)


# ---- reach: each of these needs one part of the search ------------------------------------------------------------------


def hidden_disjunct() -> tuple[Graph, BoxRegion, Spec]:
    """The first disjunct stays at 0.1 and is the nearest nearly everywhere; the second is reached only by going after it."""
    graph = net((torch.full((1, MANY), 0.2, dtype=torch.float64), t(0.0)))
    return graph, box(-1, 1), unsafe(t([0.0], [-1.0]), t(0.1, 5.0))


def dead_at_the_center() -> tuple[Graph, BoxRegion, Spec]:
    """y = relu(w . x - 30) with |w . x| <= 40: no gradient near the centre or at random corners."""
    signs = torch.ones(1, MANY, dtype=torch.float64)
    signs[0, ::3] = -1
    return net((signs, t(-30.0)), Relu()), box(-1, 1), unsafe(t([-1.0]), t(5.0))


def narrow_basin() -> tuple[Graph, BoxRegion, Spec]:
    """A hat of width 0.1 at (0.7, -0.6) in a box of width 2, on a slope that leads away from it: one point in 400."""
    place = t(0.7, -0.6)
    first = torch.eye(2, dtype=torch.float64).repeat(2, 1)
    first[2:] *= -1
    bias = torch.cat([-place, place])
    hat = (torch.cat([torch.full((1, 4), -20.0, dtype=torch.float64)], 1), t(1.0))
    return net((first, bias), Relu(), hat, Relu()), box(-1, 1, 2), unsafe(t([-1.0]), t(0.1))


def test_a_disjunct_that_the_nearest_one_hides_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(*hidden_disjunct())
    monkeypatch.setattr(walk_module, "objective", lambda values, spec, focus, soft: objective(values, spec, 0 * focus - 1, soft))
    assert not found(*hidden_disjunct())


def test_starts_pushed_along_hidden_nodes_leave_dead_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(*dead_at_the_center())
    monkeypatch.setattr(pgd_module, "pushed", lambda work, instance, points, copies, number: points)
    assert not found(*dead_at_the_center())


def test_few_inputs_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("corners", "swarm", "coordinates"):
        monkeypatch.setattr(pgd_module, other, lambda work: None)  # they reach the basin, too
    assert found(*narrow_basin())
    monkeypatch.setattr(starts_module, "FEW_INPUTS", -1)
    assert not found(*narrow_basin())


def test_given_starts_are_used() -> None:
    """A spike of radius 1/400 in 40 dimensions: nothing finds it, unless it is told where it is."""
    generator = torch.Generator().manual_seed(1)
    place = torch.rand(MANY, generator=generator, dtype=torch.float64) - 0.5
    eye = torch.eye(MANY, dtype=torch.float64)
    spike = torch.full((1, 2 * MANY), -400.0, dtype=torch.float64)
    graph = net((torch.cat([eye, -eye]), torch.cat([-place, place])), Relu(), (spike, t(1.0)), Relu())
    spec = unsafe(t([-1.0]), t(0.5))
    assert not found(graph, box(-1, 1), spec)
    assert found(graph, box(-1, 1), spec, replace(HERE, starts=place[None, None]))


def test_the_search_stays_in_the_set() -> None:
    """Beyond the corner (sum 40) the first disjunct starts; the second is a slab inside."""
    graph = net((torch.ones(1, MANY, dtype=torch.float64), t(0.0)))
    spec = unsafe(t([-1.0], [-1.0], [1.0]), t(42.0, 29.0, -30.0), [0, 1, 1])
    assert found(graph, box(-1, 1), spec)


def test_conjunctions_need_all_rows() -> None:
    """-0.3 <= sum x / 40 - 0.5 <= -0.2 as two rows: the sign steps overshoot a slab, the shrinking ones land in it."""
    graph = net((torch.full((1, MANY), 1 / MANY, dtype=torch.float64), t(-0.5)))
    rows, bias = t([1.0], [-1.0]), t(0.2, -0.3)
    assert found(graph, box(-1, 1), unsafe(rows, bias, [0, 0]))
    assert not found(graph, box(-1, 1), unsafe(rows, t(0.2, 0.1), [0, 0]))      # at most -0.2 and at least 0.1
    assert found(graph, box(-1, 1), unsafe(rows, t(0.2, 0.1), [0, 1]))


def test_plateaus_are_searched_at_random() -> None:
    """Signs of ten inputs, all to be right: no gradient anywhere, but every right one counts."""
    weight = torch.zeros(10, MANY, dtype=torch.float64)
    weight[torch.arange(10), torch.arange(0, 40, 4)] = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(5)
    graph = net((weight, torch.full((10,), -0.1, dtype=torch.float64)), Sign(), (torch.ones(1, 10, dtype=torch.float64), t(0.0)))
    assert found(graph, box(-1, 1), unsafe(t([-1.0]), t(9.5)), replace(HERE, effort=4))


def test_narrow_boxes_are_searched_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last tenth of a box of width 1e-9 around 1 is unsafe: float32 sees a single point there."""
    graph = net((torch.eye(1, dtype=torch.float64), t(-1.0)))
    region, spec = box(1.0, 1 + 1e-9, 1), unsafe(t([-1.0]), t(0.9e-9))
    assert found(graph, region, spec)
    monkeypatch.setattr(pgd_module, "corners", lambda work: None)
    assert found(graph, region, spec)
    monkeypatch.setattr(pgd_module, "_ROUGH", 0.0)
    monkeypatch.setattr(pgd_module, "_polished", lambda work: work.best.points)
    assert not found(graph, region, spec)


def test_balls_are_searched_inside_the_ball() -> None:
    """The diagonal point of an l2 ball; the box around it would allow ten times as much."""
    graph = net((torch.full((1, 100), 1.0, dtype=torch.float64), t(0.0)))
    ball = L2Ball(torch.full((1, 100), 0.5, dtype=torch.float64), parse_eps("0.1"), None)
    assert falsify(graph, ball, unsafe(t([1.0]), t(-49.1)), Pgd(), HERE).witnesses
    assert not falsify(graph, ball, unsafe(t([1.0]), t(-48.9)), Pgd(), HERE).witnesses


# ---- shapes and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, MANY])
def test_a_single_point_is_decided_by_evaluation(size: int) -> None:
    graph = net((torch.ones(1, size, dtype=torch.float64), t(0.0)))
    here = box(0.5, 0.5, size)
    assert found(graph, here, unsafe(t([1.0]), t(-0.5 * size - 1)))
    assert not found(graph, here, unsafe(t([1.0]), t(-0.5 * size + 1)))


def test_entries_without_width_stay() -> None:
    graph = net((torch.ones(1, 3, dtype=torch.float64), t(0.0)))
    region = BoxRegion(t([0.0, 0.1, 0.0]), t([1.0, 0.1, 1.0]))
    witness = falsify(graph, region, unsafe(t([-1.0]), t(2.0)), Pgd(), HERE).witnesses[0]
    assert witness.point[1] == 0.1
    assert not found(graph, region, unsafe(t([-1.0]), t(2.2)))


def test_one_input() -> None:
    graph = net((t([1.0], [-1.0]), t(-0.3, 0.3)), Relu(), (t([-1.0, -1.0]), t(0.001)))
    assert found(graph, box(-1, 1, 1), unsafe(t([-1.0]), t(0.0)))


def test_an_empty_unsafe_set_is_never_entered() -> None:
    none = Spec.rows(torch.zeros(1, 0, 1, dtype=torch.float64), torch.zeros(1, 0, dtype=torch.float64))
    assert not found(hidden_disjunct()[0], box(-1, 1), none)


def test_the_deadline_returns_the_best_so_far(clock: Any) -> None:
    graph, region, spec = hidden_disjunct()
    late = replace(HERE, budget=Budget(deadline=clock.now - 1))
    assert torch.equal(Pgd()(graph, region, spec, late), region.center)
    assert not falsify(graph, region, spec, Pgd(), late).witnesses
    clock.tick, deadline = 0.01, clock.now + 0.2
    falsify(graph, region, unsafe(t([0.0]), t(1.0)), Pgd(), replace(HERE, effort=1e6, budget=Budget(deadline=deadline)))
    assert clock.now < deadline + 5 * clock.tick    # who asks and is late ends


@pytest.mark.parametrize("problem", [hidden_disjunct, dead_at_the_center, narrow_basin])
def test_little_memory_costs_no_witness(problem: object) -> None:
    graph, region, spec = problem()  # type: ignore[operator]
    assert found(graph, region, spec, replace(HERE, budget=Budget(memory=1 << 16)))


def test_an_instance_is_searched_alike_alone_and_in_company() -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(8, MANY, generator=generator, dtype=torch.float64)
    graph = net((weight, torch.zeros(8, dtype=torch.float64)), Relu(),
                (torch.randn(4, 8, generator=generator, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)))
    center = torch.randn(12, MANY, generator=generator, dtype=torch.float64)
    labels = graph(center).argmax(1)
    region, spec = LinfBall(center, parse_eps("0.18"), None), Spec.robust(labels, 4)
    together = falsify(graph, region, spec, Pgd(), HERE).witnesses.keys()
    assert 0 < len(together) < 12
    order = torch.randperm(12, generator=generator)
    shuffled = falsify(graph, region.take(order), spec.take(order), Pgd(), HERE).witnesses.keys()
    assert {int(order[k]) for k in shuffled} == together
    for k in range(12):
        one = torch.tensor([k])
        assert bool(falsify(graph, region.take(one), spec.take(one), Pgd(), HERE).witnesses) == (k in together)


def test_a_decided_instance_ends_no_other_search() -> None:
    graph, _, hard = hidden_disjunct()
    easy = unsafe(t([0.0], [-1.0]), t(-0.1, 5.0))
    both = Spec.rows(torch.cat([easy.weight, hard.weight, easy.weight]), torch.cat([easy.bias, hard.bias, easy.bias]))
    assert falsify(graph, box(-1, 1, batch=3), both, Pgd(), HERE).witnesses.keys() == {0, 1, 2}


# ---- losses --------------------------------------------------------------------------------------------------------------


def test_violations_of_strict_rows_ties_and_nan() -> None:
    spec = unsafe(t([1.0], [1.0], [1.0]), t(0.0, 0.0, 0.0), [0, 1, 1], [True, False, False], batch=5)
    values = t([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 1.0], [float("inf"), -1.0, float("inf")], [1.0, -1.0, 1.0])
    assert violates(values, spec).tolist() == [False, True, True, False, False]
    nothing = unsafe(t([1.0]), t(0.0))
    assert not violates(row_values(t([float("nan")]), nothing), nothing).any()


def test_the_soft_objective_adds_what_is_still_positive() -> None:
    spec = unsafe(t([1.0], [1.0], [1.0], [1.0]), t(0.0, 0.0, 0.0, 0.0), [0, 0, 0, 1], batch=4)
    values = t([2.0, 1.0, -1.0, 5.0]).repeat(4, 1)
    values[3, 3] = 1.5
    focus, soft = torch.tensor([0, 0, 1, -1]), torch.tensor([False, True, True, False])
    assert objective(values, spec, focus, soft).tolist() == [2.0, 5.0, 10.0, 1.5]


@pytest.mark.parametrize(("disjunct", "expected"), [([0, 0], {False, True}), ([0, 1], {False})])
def test_conjunctions_are_attacked_in_both_ways(disjunct: list[int], expected: set[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[bool] = set()

    def spy(values: Tensor, spec: Spec, focus: Tensor, soft: Tensor) -> Tensor:
        seen.update(soft.tolist())
        return objective(values, spec, focus, soft)

    monkeypatch.setattr(walk_module, "objective", spy)
    graph = net((torch.ones(1, MANY, dtype=torch.float64), t(0.0)))
    assert not found(graph, box(-1, 1), unsafe(t([1.0], [-1.0]), t(50.0, 50.0), disjunct))
    assert seen == expected


def test_depth_is_relative_to_what_is_added() -> None:
    spec = unsafe(t([1.0, -1.0]), t(0.0))
    assert float(row_values(t([1000.0, 1000.5]), spec)) == -0.5
    assert float(row_values(t([1000.0, 1000.5]), spec, 1e-3)) == pytest.approx(-0.5 + 2.0005)


# ---- from candidates to witnesses ----------------------------------------------------------------------------------------


def there_and_back() -> Graph:
    """x + 1 - 1: exact in floats at a rounding's size, but intervals are wider, and a coefficient counts as rounded."""
    return net((t([1.0]), t(1.0)), Gemm(t([1.0]), t(-1.0), weight_terms=1))


class Shallow:
    """Finds one rounding below zero, which no proof shows; deeper only where it is asked to."""

    def __init__(self, deepens: bool) -> None:
        self.deepens, self.asked = deepens, list[Search]()

    def __call__(self, graph: Graph, region: BoxRegion, spec: Spec, search: Search) -> Tensor:
        self.asked.append(search)
        deep = self.deepens and search.depth > 0
        return torch.full((region.batch, 1), 0.5 if deep else 2.0**-52, dtype=torch.float64)


def test_a_candidate_that_cannot_be_proved_is_deepened() -> None:
    region, spec = box(0.0, 1.0, 1, batch=2), unsafe(t([-1.0]), t(0.0), strict=[True], batch=2)
    attack = Shallow(deepens=True)
    outcome = falsify(there_and_back(), region, spec, attack, HERE)
    assert outcome.witnesses[0].point == outcome.witnesses[1].point == (0.5,)
    assert not outcome.ambiguous
    assert [s.depth > 0 for s in attack.asked] == [False, True]
    assert attack.asked[1].starts is not None
    assert attack.asked[1].starts.shape == (2, 1, 1)


def test_a_tie_that_is_not_proved_hides_no_violation() -> None:
    """Both outputs vanish on most of the box, a tie of rounded coefficients; beyond sum x = 30 the second one leads."""
    build = GraphBuilder("x", (MANY,))
    above = build.add(Relu(), (build.add(Gemm(torch.ones(1, MANY, dtype=torch.float64), t(-30.0)), ("x",)),))
    graph = build.graph(build.add(Gemm(t([1.0], [2.0]), t(0.0, 0.0), weight_terms=1), (above,)))
    outcome = falsify(graph, box(-1, 1), unsafe(t([1.0, -1.0]), t(0.0)), Pgd(), HERE)
    assert outcome.witnesses.keys() == {0}
    assert sum(outcome.witnesses[0].point) > 30


def test_what_stays_unproved_is_ambiguous_never_a_witness() -> None:
    region, spec = box(0.0, 1.0, 1), unsafe(t([-1.0]), t(0.0), strict=[True])
    outcome = falsify(there_and_back(), region, spec, Shallow(deepens=False), HERE)
    assert not outcome.witnesses
    assert outcome.ambiguous == {0}


def test_points_outside_are_moved_inside_or_refused() -> None:
    graph = net((t([1.0]), t(0.0)))
    spec = unsafe(t([-1.0]), t(0.5))
    witness = prove_witness(graph, box(0.0, 0.75, 1), spec, 0, np.array([9.0]))
    assert witness is not None
    assert witness.point == (0.75,)
    assert prove_witness(graph, box(0.0, 0.25, 1), spec, 0, np.array([9.0])) is None
    assert prove_witness(graph, box(0.0, 0.75, 1), spec, 0, np.array([float("nan")])) is None


def test_a_witness_is_one_that_the_model_can_be_fed_where_there_is_one(tmp_path: object) -> None:
    graph = models.imported(tmp_path, [models.node("MatMul", "x w", "y")], [1, 1], {"w": np.ones((1, 1), np.float32)})
    spec = unsafe(t([-1.0]), t(0.1))
    ball = LinfBall(t([0.5]), parse_eps("0.1"), None)
    witness = prove_witness(graph, ball, spec, 0, np.array([0.6000001]))
    assert witness is not None
    assert witness.distance == 0
    assert np.float32(witness.point[0]) == witness.point[0]
    assert ball.contains(0, np.array(witness.point))
    # A box without a float32 point: the witness is a float64 point of it, fed at its nearest neighbour.
    narrow = box(0.1, 0.1, 1)
    witness = prove_witness(graph, narrow, unsafe(t([-1.0]), t(0.05)), 0, np.array([0.1]))
    assert witness is not None
    assert witness.point == (0.1,)
    assert 0 < witness.distance < 1e-8
