"""Counterexamples of sign and step networks: gradients are zero almost everywhere there, so searches follow slopes of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from absint.attacks import Search, falsify
from absint.attacks import pgd as pgd_module
from absint.attacks.best import Best
from absint.attacks.coordinates import coordinates
from absint.attacks.pgd import Pgd
from absint.attacks.starts import StartWork
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.compare import Select
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import ThresholdedRelu
from absint.model.ops.relu import Relu
from absint.model.ops.step import Ceil, Compare, Floor, Round, Sign, Truncate
from absint.model.straight_through import spread
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

pytestmark = pytest.mark.usefixtures("numerics")

CPU = torch.device("cpu")
QUICK, LONG = Search(CPU, effort=0.25), Search(CPU, effort=4.0)
SIZE = 200


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stacked(bend: Op, seed: int, *sizes: int) -> Graph:
    """Layers of weights +-1, the first real; `bend` between them."""
    build = GraphBuilder("x", (sizes[0],))
    last = "x"
    for number, (n, m) in enumerate(pairwise(sizes)):
        weight = draw(seed + number, m, n)
        last = build.add(Gemm(weight.sign() if number else weight / n**0.5, 0.1 * draw(seed + 50 + number, m)), (last,))
        if number < len(sizes) - 2:
            last = build.add(bend, (last,))
    return build.graph(last)


def problem(bend: Op, seed: int) -> tuple[Graph, BoxRegion, Spec]:
    """The network must not reach what it gives at a hidden point far from the centre: a witness is known."""
    graph = stacked(bend, seed, SIZE, 48, 48, 1)
    region = BoxRegion(torch.full((1, SIZE), -0.25, dtype=torch.float64), torch.full((1, SIZE), 0.25, dtype=torch.float64))
    hidden = 0.25 * draw(seed + 99, 4096, SIZE).sign()
    least = graph(hidden).amin()
    assert float(least) < float(graph(region.center))
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    return graph, region, Spec.rows(ones, -least.reshape(1, 1))


@pytest.mark.parametrize("bend", [Sign(), Round(), Floor(), Ceil()], ids=lambda bend: type(bend).__name__)
def test_a_quick_search_beats_the_best_of_4096_corners(bend: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = (1, 2, 3, 4, 5, 6)
    asked = [problem(bend, 1000 * seed) for seed in seeds]
    hits = [bool(falsify(*one, Pgd(), QUICK).witnesses) for one in asked]
    assert all(hits), hits
    # The planted fault: without surrogate slopes.
    monkeypatch.setattr(type(bend), "surrogate", lambda self, x: torch.zeros_like(x))
    assert sum(bool(falsify(*one, Pgd(), QUICK).witnesses) for one in asked) < 5


def test_what_is_found_hangs_on_no_seed() -> None:
    for seed in range(5):
        for asked in (problem(Sign(), 1000), problem(Round(), 2000)):
            assert falsify(*asked, Pgd(seed=seed), QUICK).witnesses


def steps_and_where() -> Graph:
    """x >= 0.9 on four of 40 inputs, each worth 1 by a selection, and everything else worth 0."""
    build = GraphBuilder("x", (40,))
    weight = torch.zeros(4, 40, dtype=torch.float64)
    weight[torch.arange(4), torch.tensor([3, 11, 20, 39])] = 1.0
    here = build.add(Gemm(weight, torch.zeros(4, dtype=torch.float64)), ("x",))
    truth = build.add(Compare(torch.tensor(0.9, dtype=torch.float64), 0.0, 1.0, 1.0), (here,))
    one, none = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    chosen = build.add(Select(one, none), (truth,))
    return build.graph(build.add(Gemm(torch.ones(1, 4, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)), (chosen,)))


def test_comparisons_and_selections_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    region = BoxRegion(torch.full((1, 40), -1.0, dtype=torch.float64), torch.full((1, 40), 1.0, dtype=torch.float64))
    spec = Spec.rows(torch.full((1, 1, 1), -1.0, dtype=torch.float64), torch.full((1, 1), 3.5, dtype=torch.float64))
    witness = falsify(steps_and_where(), region, spec, Pgd(), QUICK).witnesses[0]
    assert all(witness.point[k] >= 0.9 for k in (3, 11, 20, 39))
    monkeypatch.setattr(Compare, "surrogate", lambda self, x: torch.zeros_like(x))
    assert not falsify(steps_and_where(), region, spec, Pgd(), QUICK).witnesses


# ---- entry by entry -------------------------------------------------------------------------------------------------------


def combination(size: int) -> tuple[Graph, BoxRegion, Spec]:
    """Signs of the inputs beyond 0.6, all to be right: slopes of their mean lead nowhere, since they cancel."""
    build = GraphBuilder("x", (size,))
    eye = torch.eye(size, dtype=torch.float64)
    shifted = build.add(Gemm(eye, torch.full((size,), -0.6, dtype=torch.float64)), ("x",))
    sign = build.add(Sign(), (shifted,))
    code = torch.where(torch.arange(size) % 3 == 0, 1.0, -1.0).double()
    graph = build.graph(build.add(Gemm(code[None], torch.zeros(1, dtype=torch.float64)), (sign,)))
    region = BoxRegion(torch.full((1, size), -1.0, dtype=torch.float64), torch.full((1, size), 1.0, dtype=torch.float64))
    return graph, region, Spec.rows(torch.full((1, 1, 1), -1.0, dtype=torch.float64), torch.full((1, 1), size - 0.5, dtype=torch.float64))


def climbed(graph: Graph, region: BoxRegion, spec: Spec, search: Search = LONG) -> Best:
    """`coordinates` alone, from the centre."""
    work = StartWork(graph, region, spec, search, torch.float64, Best(region, spec, CPU))
    every = torch.arange(region.batch)
    work.evaluate(every, region.center)
    coordinates(work)
    return work.best


@pytest.mark.parametrize("size", [3, 12, 32, 100])
def test_entries_are_set_one_by_one_and_together(size: int) -> None:
    """100 inputs are more than are few: blocks of them are moved, ever smaller ones."""
    assert bool(climbed(*combination(size)).done.all())


def test_many_inputs_are_left_to_gradients_where_they_are_felt() -> None:
    build = GraphBuilder("x", (40,))
    ones = torch.ones(1, 40, dtype=torch.float64)
    graph = build.graph(build.add(Relu(), (build.add(Gemm(ones, torch.zeros(1, dtype=torch.float64)), ("x",)),)))
    region = BoxRegion(-ones, ones)
    spec = Spec.rows(torch.full((1, 1, 1), -1.0, dtype=torch.float64), torch.full((1, 1), 39.0, dtype=torch.float64))
    assert not bool(climbed(graph, region, spec).done.any())
    small = BoxRegion(torch.where(torch.arange(40) < 30, -ones, ones), ones)
    assert bool(climbed(graph, small, spec).done.all())


def test_fixed_entries_stay_and_a_point_is_the_same_in_company() -> None:
    graph, region, spec = combination(9)
    lower = region.lower.repeat(3, 1)
    lower[1, 4:] = 0.5                                # all free, narrower
    upper = region.upper.repeat(3, 1)
    lower[2, 2], upper[2, 2] = 0.25, 0.25             # one is fixed
    several = BoxRegion(lower, upper)
    together = climbed(graph, several, spec.take(torch.zeros(3, dtype=torch.int64)))
    assert float(together.points[2, 2]) == 0.25
    for k in range(3):
        alone = climbed(graph, several.take(torch.tensor([k])), spec)
        assert torch.equal(alone.points[0], together.points[k])
        assert torch.equal(alone.values[0], together.values[k])


def test_a_large_network_has_fewer_rounds_and_a_huge_one_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import absint.attacks.coordinates as module

    monkeypatch.setattr(module, "_PRODUCTS", 0.0)
    assert not bool(climbed(*combination(12)).done.any())


# ---- slopes -----------------------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Any] = {
    "sign": Sign(), "floor": Floor(), "ceil": Ceil(), "round": Round(), "truncate": Truncate(-100.0, 100.0),
    "thresholded": ThresholdedRelu(0.5), "equal": Compare(torch.tensor(0.5, dtype=torch.float64), 0.0, 1.0, 0.0),
    "greater": Compare(torch.tensor(0.5, dtype=torch.float64), 0.0, 0.0, 1.0),
    "select": Select(torch.full((7,), 2.0, dtype=torch.float64), torch.full((7,), -1.0, dtype=torch.float64)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_guided_values_are_those_of_forward_and_slopes_are_felt(name: str) -> None:
    op, x = FUNCTIONS[name], draw(11, 5, 7).requires_grad_()
    guided = op.guided(x)
    assert op.jumps_somewhere
    assert torch.equal(guided, op.forward(x))
    (slope,) = torch.autograd.grad(guided.sum(), x)
    assert bool((slope != 0).all())
    rising = slope > 0
    if name == "equal":
        assert torch.equal(rising, x.detach() < 0.5)
    else:
        assert bool(rising.all())


def test_a_kink_needs_no_guidance() -> None:
    x = draw(12, 3, 4).requires_grad_()
    assert not Relu().jumps_somewhere
    guided, plain = (torch.autograd.grad(run(x).sum(), x)[0] for run in (Relu().guided, Relu().forward))
    assert torch.equal(guided, plain)


def test_numbers_beyond_all_bounds_have_no_slope() -> None:
    x = torch.tensor([[torch.inf, -torch.inf, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Sign().guided(x).sum(), x)
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_jump_is_felt_alike_at_any_scale(scale: float) -> None:
    x = draw(13, 2, 50)
    assert torch.allclose(spread(scale * x, 2.0) * scale, spread(x, 2.0))


def test_bounds_and_plain_evaluation_know_nothing_of_it() -> None:
    graph = stacked(Sign(), 3, 5, 6, 2)
    x = draw(14, 2, 5).requires_grad_()
    (slope,) = torch.autograd.grad(graph(x).sum(), x, allow_unused=True)
    assert slope is None or not bool(slope.any())
    (felt,) = torch.autograd.grad(graph.evaluate(x, guided=True)[graph.output.name].sum(), x)
    assert bool(felt.any())
    assert torch.equal(graph.evaluate(x, guided=True)[graph.output.name], graph(x))


def test_the_module_is_asked_only_where_a_search_is_thorough(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("swarm", "coordinates"):
        monkeypatch.setattr(pgd_module, name, lambda work, name=name: calls.append(name))
    graph, region, spec = combination(5)
    never = Spec.rows(spec.weight, spec.bias + 100)
    Pgd()(graph, region, never, QUICK)
    Pgd()(graph, region, never, replace(QUICK, effort=1.0, depth=1e-6))
    assert not calls
    Pgd()(graph, region, never, replace(QUICK, effort=1.0))
    assert calls == ["swarm", "coordinates"]
