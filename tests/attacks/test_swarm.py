"""Regions of few inputs are searched evenly, whatever the seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from absint.attacks import Search, falsify
from absint.attacks import pgd as pgd_module
from absint.attacks import swarm as swarm_module
from absint.attacks.best import Best
from absint.attacks.pgd import Pgd
from absint.attacks.starts import StartWork
from absint.attacks.swarm import swarm
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.backend import Budget, DeadlineError
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

pytestmark = pytest.mark.usefixtures("numerics")

CPU = torch.device("cpu")
LONG = Search(CPU, effort=1.0)
DIM = 6


def two_hats(place: Tensor, steep: float = 0.8) -> Graph:
    """A wide hat at the centre of height 0.9, a narrow one at `place` of height 1: samples and their descents end in the wide one."""
    build = GraphBuilder("x", (DIM,))
    eye = torch.eye(DIM, dtype=torch.float64)
    first = build.add(Gemm(torch.cat([eye, -eye, eye, -eye]),
                           torch.cat([torch.zeros(2 * DIM, dtype=torch.float64), -place, place])), ("x",))
    sides = build.add(Relu(), (first,))
    weight = torch.zeros(2, 4 * DIM, dtype=torch.float64)
    weight[0, : 2 * DIM], weight[1, 2 * DIM :] = -0.1, -steep
    hats = build.add(Relu(), (build.add(Gemm(weight, torch.tensor([0.9, 1.0], dtype=torch.float64)), (sides,)),))
    return build.graph(build.add(Gemm(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)), (hats,)))


PLACE = torch.tensor([0.8, -0.75, 0.7, 0.8, -0.8, 0.72], dtype=torch.float64)


def asked(batch: int = 1) -> tuple[Graph, BoxRegion, Spec]:
    """More than 1.3: near the top of the narrow hat alone, where the wide one still gives about 0.45."""
    ones = torch.ones(batch, DIM, dtype=torch.float64)
    spec = Spec.rows(-torch.ones(batch, 1, 1, dtype=torch.float64), torch.full((batch, 1), 1.3, dtype=torch.float64))
    return two_hats(PLACE), BoxRegion(-ones, ones), spec


def swarmed(graph: Graph, region: BoxRegion, spec: Spec, search: Search = LONG) -> Best:
    work = StartWork(graph, region, spec, search, torch.float64, Best(region, spec, CPU))
    with torch.enable_grad():
        swarm(work)
    return work.best


def test_a_small_basin_far_from_the_wide_one_is_found_with_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("corners", "coordinates"):
        monkeypatch.setattr(pgd_module, other, lambda work: None)
    for seed in range(5):
        assert falsify(*asked(), Pgd(seed=seed), LONG).witnesses, seed
    monkeypatch.setattr(pgd_module, "swarm", lambda work: None)
    assert not all(bool(falsify(*asked(), Pgd(seed=seed), LONG).witnesses) for seed in range(5))


def test_only_the_lowest_of_each_descent_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    real = swarm_module.descend

    def counted(work: StartWork, particles: object, steps: int) -> object:
        counts.append(len(particles.instance))  # type: ignore[attr-defined]
        return real(work, particles, steps)  # type: ignore[arg-type]

    monkeypatch.setattr(swarm_module, "descend", counted)
    graph, region, spec = asked()
    swarmed(graph, region, Spec.rows(spec.weight, spec.bias + 9))
    assert counts == [count for count, _ in swarm_module._ROUNDS]


def test_every_disjunct_is_gone_after() -> None:
    """Two disjuncts: the first is the nearest nearly everywhere and nowhere met, the second is the narrow hat."""
    graph, region = two_hats(PLACE, steep=0.45), asked()[1]
    weight = torch.tensor([[[0.0], [-1.0]]], dtype=torch.float64)
    spec = Spec.rows(weight, torch.tensor([[0.05, 1.3]], dtype=torch.float64))
    assert bool(swarmed(graph, region, spec).done.all())


def test_an_instance_is_searched_alike_alone_and_in_company() -> None:
    graph, _, spec = asked(4)
    generator = torch.Generator().manual_seed(5)
    half = 0.3 + 0.7 * torch.rand(4, DIM, generator=generator, dtype=torch.float64)
    half[1, 2] = 0.0                                # an entry that does not vary
    half[3] = 1.0
    region = BoxRegion(-half, half)
    together = swarmed(graph, region, spec)
    assert together.done.tolist() == [False, False, False, True]
    for k in range(4):
        alone = swarmed(graph, region.take(torch.tensor([k])), spec.take(torch.tensor([k])))
        assert torch.equal(alone.points[0], together.points[k])


def test_little_memory_costs_nothing() -> None:
    assert bool(swarmed(*asked(), Search(CPU, Budget(memory=1 << 20))).done.all())


def test_a_costly_network_gets_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarm_module, "_PRODUCTS", 1.0)
    graph, region, spec = asked()
    best = swarmed(graph, region, Spec.rows(spec.weight, spec.bias + 9))
    assert not bool(best.done.any())


def test_the_deadline_ends_it() -> None:
    with pytest.raises(DeadlineError):
        swarmed(*asked(), Search(CPU, Budget(deadline=0.0)))


def test_many_inputs_are_not_for_it() -> None:
    build = GraphBuilder("x", (40,))
    graph = build.graph(build.add(Gemm(torch.ones(1, 40, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)), ("x",)))
    ones = torch.ones(1, 40, dtype=torch.float64)
    spec = Spec.rows(-torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1), 39.0, dtype=torch.float64))
    assert not bool(swarmed(graph, BoxRegion(-ones, ones), spec).done.any())
