"""An attack asks its device for little, and nothing depends on when it asks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from itertools import chain
from typing import Any

import pytest
import torch
from host_reads import HostReads
from torch import Tensor

from absint.attacks import Search
from absint.attacks.pgd import Pgd
from absint.attacks.starts import StartWork
from absint.attacks.walk import Walk, chunks
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs
from absint.model.ops.relu import Relu
from absint.model.ops.step import Sign
from absint.problem.regions import InstanceRadii, L1Ball, L2Ball, ZonotopeRegion
from absint.problem.regions.decimal_box import DecimalBox
from absint.problem.regions.region import BoxRegion, LinfBall, Region
from absint.problem.spec import Spec

pytestmark = pytest.mark.usefixtures("numerics")

MANY, BATCH = 40, 4        # more inputs than are sampled
HERE = Search(torch.device("cpu"))


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(bend: Relu | Sign, size: int = MANY) -> Graph:
    """Two dense layers."""
    build = GraphBuilder("x", (size,))
    first = build.add(Gemm(draw(1, 16, size), draw(2, 16)), ("x",))
    return build.graph(build.add(Gemm(draw(3, 5, 16), draw(4, 5)), (build.add(bend, (first,)),)))


CENTER = draw(5, BATCH, MANY) / 8
REGIONS = {
    "linf": lambda: LinfBall(CENTER, F(1, 5), None),
    "radii": lambda: LinfBall(CENTER, InstanceRadii(tuple(F(k + 1, 9) for k in range(BATCH))), None),
    "l2": lambda: L2Ball(CENTER, F(1, 2), None),
    "l1": lambda: L1Ball(CENTER, F(3), None),
    "box": lambda: BoxRegion(CENTER - 0.1, CENTER + 0.2),
    "decimal": lambda: DecimalBox(CENTER - 0.1, CENTER + 0.1, CENTER - 0.1, CENTER + 0.1, True),
    "zonotope": lambda: ZonotopeRegion(CENTER, draw(6, BATCH, 3, MANY) / 9),
}


def never() -> Spec:
    """Two disjuncts of two rows that no output meets."""
    rows = draw(9, 4, 5).expand(BATCH, 4, 5)
    return Spec.rows(rows, torch.full((BATCH, 4), 1e4, dtype=torch.float64), torch.tensor([0, 0, 1, 1]))


def reads(region: Region, effort: float, bend: Relu | Sign = Relu()) -> tuple[int, int]:  # noqa: B008 - immutable
    """Of an attack that fails: numbers asked for, and evaluations."""
    graph, spec = net(bend), never()
    steps, looks, walk_on, look = [], [], Graph.evaluate, Walk.look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "evaluate", lambda self, *given, **how: (steps.append(1), walk_on(self, *given, **how))[1])
        # What a copy from a device to the host is, is none on the host: it is counted here.
        patch.setattr(Walk, "look", lambda self, step: (looks.append(1), look(self, step))[1])
        with HostReads() as found:
            Pgd()(graph, region, spec, replace(HERE, effort=effort))
    return found.total + len(looks), len(steps)


@pytest.mark.parametrize("kind", REGIONS)
def test_a_failing_attack_asks_less_than_once_a_step(kind: str) -> None:
    asked, steps = reads(REGIONS[kind](), 1.0)
    assert steps >= 60
    assert asked < steps, "twelve times a step where parts were validated, counted and looked for"


def test_a_long_attack_asks_less_than_200_times() -> None:
    asked, steps = reads(REGIONS["linf"](), 4.0)
    assert steps > 350
    assert asked <= 200


def test_so_does_one_that_feels_no_gradient() -> None:
    asked, steps = reads(REGIONS["linf"](), 1.0, Sign())
    assert asked < steps


def test_a_look_every_step_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the tests above."""
    at_every_step(monkeypatch)
    asked, steps = reads(REGIONS["linf"](), 1.0)
    assert asked > steps


# ---- when it asks ------------------------------------------------------------------------------------------------------


def at_every_step(patch: pytest.MonkeyPatch) -> None:
    real = Walk.look

    def look(self: Walk, step: int) -> None:
        real(self, step)
        self.following = step + 1

    patch.setattr(Walk, "look", look)


def at_no_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Walk, "look", lambda self, step: setattr(self, "following", step + 1))


def valley(size: int = MANY, bend: Abs | Sign = Abs()) -> Graph:  # noqa: B008 - immutable
    """|x|, or its sign, entry by entry: no sum, so that not a bit depends on how many points are evaluated together."""
    build = GraphBuilder("x", (size,))
    return build.graph(build.add(bend, ("x",)))


def mixed(size: int = MANY) -> tuple[Region, Spec]:
    """|x_0| is at most a number, of 24: met at once, after a few steps, after many, and never. Steps go on towards 0."""
    center = draw(7, 24, size) / 16
    weight = torch.zeros(24, 1, size, dtype=torch.float64)
    weight[:, 0, 0] = 1.0
    most = torch.cat([0.1 * 0.3 ** torch.arange(20, dtype=torch.float64), torch.full((4,), -1.1, dtype=torch.float64)])
    return LinfBall(center, F(1, 5), None), Spec.rows(weight, -most[torch.arange(24) * 7 % 24, None])


@pytest.mark.parametrize("bend", [Abs(), Sign()])
@pytest.mark.parametrize("looks", [at_every_step, at_no_step])
def test_nothing_depends_on_when_it_looks(looks: Any, bend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (region, spec), graph = mixed(), valley(MANY, bend)
    before = Pgd()(graph, region, spec, HERE)
    assert 4 <= int((spec.values(graph(before)) <= 0).all(1).sum()) <= 22
    looks(monkeypatch)
    assert torch.equal(Pgd()(graph, region, spec, HERE), before)


def test_what_is_recorded_after_a_find_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: points of decided instances are recorded."""
    region, spec = mixed()
    before, real = Pgd()(valley(), region, spec, HERE), StartWork.evaluate

    def forgetful(self: StartWork, instance: Tensor, points: Tensor, *, spec: Spec | None = None, counted: object = None) -> Tensor:
        return real(self, instance, points, spec=spec)

    monkeypatch.setattr(StartWork, "evaluate", forgetful)
    at_no_step(monkeypatch)
    assert not torch.equal(Pgd()(valley(), region, spec, HERE), before)


@pytest.mark.parametrize("size", [3, MANY])
@pytest.mark.parametrize("bend", [Abs(), Sign()])
def test_a_point_is_the_same_alone_and_in_company(size: int, bend: Any) -> None:
    (region, spec), graph = mixed(size), valley(size, bend)
    together = Pgd()(graph, region, spec, HERE)
    for k in (0, 4, 5, 11, 18, 20):
        one = torch.tensor([k])
        assert torch.equal(Pgd()(graph, region.take(one), spec.take(one), HERE)[0], together[k]), k


@pytest.mark.parametrize("number", [1, 50])
def test_draws_of_several_steps_are_those_of_one_after_the_other(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (region, spec), graph = mixed(), valley(MANY, Sign())
    before = Pgd()(graph, region, spec, HERE)
    monkeypatch.setattr(Walk, "_draws", lambda self, step: number)
    assert torch.equal(Pgd()(graph, region, spec, HERE), before)


@pytest.mark.parametrize(("count", "copies", "room"), [(12, 3, 99), (12, 3, 12), (12, 3, 7), (12, 3, 2), (12, 12, 5), (0, 2, 4), (6, 1, 1)])
def test_chunks_hold_whole_instances_or_equal_parts_of_one(count: int, copies: int, room: int) -> None:
    parts = [list(range(count))[part] for part in chunks(count, copies, room)]
    assert list(chain(*parts)) == list(range(count))
    assert all(len(part) <= room for part in parts)
    if copies <= room:
        assert all(part[0] % copies == 0 and len(part) % copies == 0 for part in parts)
        assert len(parts) == -(-count // (room // copies * copies))
    else:
        assert all(part[0] // copies == part[-1] // copies for part in parts)
