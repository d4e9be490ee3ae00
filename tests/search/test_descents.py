"""Falsification within a proof search: what starts are kept, when they are descended from, and that what is found is a candidate alone."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from solver_contract import build, gemm
from torch import Tensor

from absint.analyses.verify import Problem, ProofSettings, verify
from absint.engine.context import Context
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.backend import Budget
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search import descents as module
from absint.search.candidates import Candidates
from absint.search.descents import Descents
from absint.search.promising import Promising
from absint.verdict import Verdict

pytestmark = pytest.mark.usefixtures("numerics")

SIZE = 40
ALL = torch.tensor([True, True, True])


def t(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# ---- starts ---------------------------------------------------------------------------------------------------------------


def kept(store: Promising, batch: int = 3) -> dict[int, list[float]]:
    instance, points, _ = store.taken(torch.ones(batch, dtype=torch.bool))
    return {int(k): some[:, 0].tolist() for k, some in zip(instance, points, strict=True)}


def added(store: Promising, instance: list[int], depth: list[float], focus: list[int] | None = None) -> None:
    points = t(depth).reshape(-1, 1) * 10
    store.add(torch.tensor(instance), torch.tensor(depth, dtype=torch.float64), points,
              None if focus is None else torch.tensor(focus))


def test_the_least_of_each_instance_are_kept_in_order() -> None:
    store = Promising(2)
    added(store, [0, 2, 0, 0], [3.0, 5.0, 1.0, 2.0])
    added(store, [2, 0], [4.0, 9.0])
    assert kept(store) == {0: [10.0, 20.0], 2: [40.0, 50.0]}


def test_equal_ones_count_once_and_few_are_repeated() -> None:
    store = Promising(3)
    added(store, [1, 1, 1], [2.0, 2.0, 2.0])
    added(store, [1, 1], [2.0, inf])
    added(store, [0, 0], [1.0, 7.0])
    assert kept(store) == {0: [10.0, 70.0, 10.0], 1: [20.0, 20.0, 20.0]}


def test_what_is_taken_is_gone_and_others_stay() -> None:
    store = Promising(1)
    added(store, [0, 1], [1.0, 2.0], [3, 5])
    instance, points, focus = store.taken(torch.tensor([True, False, False]))
    assert (instance.tolist(), points.tolist(), focus.tolist()) == ([0], [[[10.0]]], [[3]])
    assert store.waiting(3).tolist() == [False, True, False]
    assert kept(store) == {1: [20.0]}


@pytest.mark.parametrize("waiting", [0, 3, 10_000])
def test_when_points_are_sorted_in_makes_no_difference(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("absint.search.promising._WAITING", waiting)
    store, generator = Promising(4), torch.Generator().manual_seed(7)
    every: dict[int, list[float]] = {}
    for _ in range(20):
        instance = torch.randint(0, 3, (9,), generator=generator).tolist()
        depth = torch.rand(9, generator=generator, dtype=torch.float64).tolist()
        added(store, instance, depth)
        for k, value in zip(instance, depth, strict=True):
            every.setdefault(k, []).append(value)
    assert kept(store) == {k: [value * 10 for value in sorted(values)[:4]] for k, values in every.items()}


# ---- descents -------------------------------------------------------------------------------------------------------------


def spike() -> tuple[Graph, Tensor]:
    """A spike in 40 dimensions, zero where the entries are 2.5 off in sum: gradients are felt near it alone."""
    place = torch.rand(SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    eye = torch.eye(SIZE, dtype=torch.float64)
    build = GraphBuilder("x", (SIZE,))
    sides = build.add(Relu(), (build.add(Gemm(torch.cat([eye, -eye]), torch.cat([-place, place])), ("x",)),))
    hat = build.add(Gemm(torch.full((1, 2 * SIZE), -0.4, dtype=torch.float64), torch.ones(1, dtype=torch.float64)), (sides,))
    return build.graph(build.add(Relu(), (hat,))), place


def begun(deadline: float = inf) -> tuple[Descents, Candidates, Tensor]:
    """Three instances of one property: more than 0.95 nowhere."""
    graph, place = spike()
    ones = torch.ones(3, SIZE, dtype=torch.float64)
    ctx = Context(graph, BoxRegion(-ones, ones), Numerics(), Budget(deadline=deadline))
    spec = Spec.rows(-torch.ones(3, 1, 1, dtype=torch.float64), torch.full((3, 1), 0.95, dtype=torch.float64))
    candidates = Candidates(ctx, spec)
    return Descents(ctx, spec, candidates), candidates, place


def near(place: Tensor, seed: int = 0) -> Tensor:
    """(1, SIZE): where the spike gives about 0.6, no violation."""
    return place[None] + 0.1 * (torch.rand(1, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5)


def count(nodes: int) -> Tensor:
    return torch.full((3,), nodes)


def test_a_descent_from_a_node_s_minimiser_finds_what_it_is_near() -> None:
    descents, candidates, place = begun()
    candidates.inputs(torch.tensor([1]), near(place))
    assert not bool(candidates.violated.any())
    assert descents.step(count(1), ALL, Budget()).tolist() == [False, True, False]
    assert candidates.violated.tolist() == [False, True, False]
    assert float(descents.ctx.graph(candidates.points[1:2])) > 0.95


def test_it_is_no_nearer_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: starts are forgotten."""
    monkeypatch.setattr(module.FromStarts, "__call__", lambda self, graph, region, spec, search: region.center)
    descents, candidates, place = begun()
    candidates.inputs(torch.tensor([1]), near(place))
    descents.step(count(1), ALL, Budget())
    assert not bool(candidates.violated.any())


def turns(descents: Descents, candidates: Candidates, nodes: list[int]) -> list[int]:
    """At which of the counts the only open instance, which is offered a hopeless point each time, had a descent."""
    found = []
    for number, one in enumerate(nodes):
        candidates.inputs(torch.tensor([0]), torch.full((1, SIZE), 0.9 - 0.01 * number, dtype=torch.float64))
        candidates.promising.add(torch.tensor([0]), t(number + 1.0), torch.full((1, SIZE), 0.9, dtype=torch.float64))  # type: ignore[union-attr]
        if bool(descents.step(count(one), ALL, Budget())[0]):
            found.append(one)
    return found


def test_without_a_time_limit_turns_go_by_nodes_alone(clock: Any) -> None:
    descents, candidates, _ = begun()
    clock.tick = 100.0
    assert turns(descents, candidates, [1, 2, 1000, 1024, 1500, 2047, 2048, 3000, 9000, 17_999, 18_000]) == [1, 1024, 2048, 9000, 18_000]


def test_with_one_they_go_by_seconds(clock: Any) -> None:
    descents, candidates, _ = begun(deadline=clock.now + 1000)
    assert turns(descents, candidates, [1, 5000, 9000]) == [1]
    clock.now += 7.0
    assert turns(descents, candidates, [10_000]) == []
    clock.now += 2.0
    assert turns(descents, candidates, [10_001]) == [10_001]


def test_who_is_decided_or_has_no_start_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Descents, "_descend", lambda *given: pytest.fail("nobody's turn"))
    descents, candidates, place = begun()
    assert not bool(descents.step(count(5), ALL, Budget()).any())
    candidates.inputs(torch.tensor([0, 2]), torch.cat([near(place), place[None]]))
    assert candidates.violated.tolist() == [False, False, True]
    assert not bool(descents.step(count(5), torch.tensor([False, True, True]), Budget()).any())


def test_an_instance_s_descent_is_the_same_in_company() -> None:
    alone, mine, place = begun()
    mine.inputs(torch.tensor([1]), near(place))
    alone.step(count(1), ALL, Budget())
    together, ours, _ = begun()
    ours.inputs(torch.tensor([0, 1, 2]), torch.cat([near(place, 5), near(place), near(place, 6)]))
    together.step(count(1), ALL, Budget())
    assert torch.equal(mine.points[1], ours.points[1])


def test_a_disjunct_can_be_gone_after() -> None:
    """The first disjunct is nearer everywhere and nowhere met."""
    graph, place = spike()
    ones = torch.ones(1, SIZE, dtype=torch.float64)
    ctx = Context(graph, BoxRegion(-ones, ones), Numerics(), Budget())
    spec = Spec.rows(t([[0.0], [-1.0]]), t([1e-3, 0.95]))
    for focus, expected in ((None, False), (torch.tensor([1]), True)):
        candidates = Candidates(ctx, spec)
        descents = Descents(ctx, spec, candidates)
        # Near enough to feel the spike; the nearest disjunct by its share of the summands is the constant one, at 1.
        candidates.inputs(torch.tensor([0]), near(place), focus)
        taken = descents.promising.taken(torch.tensor([True]))
        assert taken[2].unique().tolist() == [-1 if focus is None else 1]
        descents._descend(*taken, Budget())
        assert bool(candidates.violated.any()) == expected


def test_a_large_network_has_fewer_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun()[0].promising.kept == 16
    monkeypatch.setattr(module, "_PRODUCTS", 1.0)
    assert begun()[0].promising.kept == 1


# ---- within a search --------------------------------------------------------------------------------------------------------


def barely_false() -> Problem:
    """Two inputs, two layers: the output is not above its least value on a grid, plus very little."""
    rng = np.random.default_rng(3)
    graph = build((2,), gemm(rng, 8, 2), Relu(), gemm(rng, 8, 8), Relu(), gemm(rng, 1, 8))
    axis = torch.linspace(-1, 1, 81, dtype=torch.float64)
    least = graph(torch.cartesian_prod(axis, axis)).amin() + 1e-3
    ones = torch.ones(1, 2, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 1, 1, dtype=torch.float64), -least.reshape(1, 1))
    return Problem(graph, BoxRegion(-ones, ones), spec.take, (0,))


SETTINGS = ProofSettings("exact:nodes=30,boxes=400", attack=None)


def test_what_a_descent_finds_is_proved_and_replayed_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but descents brings candidates: what they say is believed where it is proved, and where they lie it is not."""
    problem, real = barely_false(), Descents._descend
    monkeypatch.setattr(Candidates, "violated", property(lambda self: self.depth < -1e-3))    # nearly blind to boxes' own points
    found: list[float] = []

    def spied(self: Descents, *given: Any) -> None:
        real(self, *given)
        found.append(float(self.candidates.depth))

    monkeypatch.setattr(Descents, "_descend", spied)
    (result,) = verify(problem, SETTINGS)
    assert result.verdict is Verdict.FALSIFIED
    assert result.witness is not None
    assert found

    def lying(self: Descents, instance: Tensor, *given: Any) -> None:
        self.candidates.depth[instance] = -1.0
        self.candidates.points[instance] = self.ctx.region.center[instance]

    monkeypatch.setattr(Descents, "_descend", lying)
    monkeypatch.setattr(Candidates, "record", lambda self, instance, *given: torch.ones(len(instance), dtype=torch.float64))
    (result,) = verify(problem, SETTINGS)
    assert result.verdict is Verdict.UNKNOWN
    assert result.witness is None


def test_descents_come_with_the_first_open_nodes_of_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = Descents._descend

    def spied(self: Descents, instance: Tensor, starts: Tensor, focus: Tensor, budget: Budget) -> None:
        calls.append(int(starts.shape[1]))
        real(self, instance, starts, focus, budget)

    monkeypatch.setattr(Descents, "_descend", spied)
    problem = barely_false()
    true = Problem(problem.graph, problem.region, lambda index: replaced(problem.spec.take(index)), (0,))
    (result,) = verify(true, SETTINGS)
    assert result.verdict is not Verdict.FALSIFIED
    assert calls
    assert len(calls) <= 2, "a short search has no more than a first turn in each number format"


def replaced(spec: Spec) -> Spec:
    """Nearly true: 0.05 less is asked."""
    return Spec.rows(spec.weight, spec.bias + 0.05)
