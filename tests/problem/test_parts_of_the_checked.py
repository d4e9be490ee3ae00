"""Parts of what was checked: equal to what a fresh check makes, made without reading a number, and movable as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction as F
from typing import Any

import pytest
import torch
from host_reads import HostReads
from torch import Tensor

from absint.errors import AbsintError
from absint.numeric.interval import Interval
from absint.problem.regions import InstanceRadii, L1Ball, L2Ball, Photometric, ZonotopeRegion
from absint.problem.regions.decimal_box import DecimalBox
from absint.problem.regions.patches import Patch
from absint.problem.regions.region import BoxRegion, LinfBall, Region
from absint.problem.spec import Spec

META = torch.device("meta")    # holds shapes and no numbers: whatever reads one, or mixes it with the host's, fails


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = draw(1, 5, 2, 3) / 2
RADII = InstanceRadii(tuple(F(k, 10) for k in range(5)))
ENTRIES = draw(2, 5, 2, 3) / 9
RAYS = draw(3, 5, 4, 2, 3) - 0.5
MAKE: dict[str, Callable[[Tensor], Region]] = {
    "box": lambda i: BoxRegion(X[i], X[i] + 0.1),
    "float32 box": lambda i: BoxRegion(X[i].float(), X[i].float() + 0.1),
    "patch": lambda i: Patch(X[i], X[i] + 0.25, X[i] + 0.125),
    "linf": lambda i: LinfBall(X[i], F(1, 7)),
    "linf of channels": lambda i: LinfBall(X[i], (F(1, 7), F(1, 9), F(0)), layout="hwc"),
    "linf of entries": lambda i: LinfBall(X[i], ENTRIES[i]),
    "linf of one row": lambda i: LinfBall(X[i], ENTRIES[0]),
    "linf of instances": lambda i: LinfBall(X[i], RADII.take(i)),
    "l2": lambda i: L2Ball(X[i], F(1, 7)),
    "l2 of numbers": lambda i: L2Ball(X[i], ENTRIES[i, 0, 0]),
    "l1 of instances": lambda i: L1Ball(X[i], RADII.take(i)),
    "decimal": lambda i: DecimalBox(X[i], X[i] + 0.1, X[i], X[i] + 0.1),
    "single": lambda i: DecimalBox(X[i], X[i] + 0.1, X[i], X[i] + 0.1, True),
    "zonotope": lambda i: ZonotopeRegion(X[i], RAYS[i], ENTRIES[i]),
    "zonotope without rest": lambda i: ZonotopeRegion(X[i], RAYS[i]),
    "photometric": lambda i: Photometric(X[i], (F(1, 2), F(3, 2)), (F(0), F(1, 5))),
}
ALL = torch.arange(5)
INDICES = [torch.tensor([3, 0, 3]), torch.tensor([], dtype=torch.int64), torch.tensor([True, False, True, True, False]).nonzero().flatten()]


def same(one: object, two: object) -> bool:
    """Bit by bit."""
    if isinstance(one, Interval) and isinstance(two, Interval):
        return torch.equal(one.lower, two.lower) and torch.equal(one.upper, two.upper) and one.proper == two.proper
    return torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else one == two


@pytest.mark.parametrize("index", INDICES, ids=["repeats", "none", "some"])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("kind", MAKE)
def test_a_part_is_what_a_fresh_check_makes(kind: str, warm: bool, index: Tensor) -> None:
    """warm: where the whole knows its hull and radii already, which then go along."""
    whole, fresh = MAKE[kind](ALL), MAKE[kind](index)
    if warm:
        _ = whole.hull, getattr(whole, "radii", None)
    part = whole.take(index)
    assert type(part) is type(fresh)
    assert {f.name for f in fields(part)} <= vars(part).keys(), "every field"  # type: ignore[arg-type]
    names = [f.name for f in fields(part) if f.name != "layout"] + ["hull", "center", "batch", "shape"]  # type: ignore[arg-type]
    for name in names + ["radii"] * hasattr(part, "radii"):
        assert same(getattr(part, name), getattr(fresh, name)), name
    if len(index):
        step = draw(9, len(index), 2, 3)
        assert torch.equal(part.pull(part.center + step), fresh.pull(fresh.center + step))
        assert torch.equal(part.descent(step.float()), fresh.descent(step.float()))
        assert part.contains(0, fresh.center[0].numpy()) == fresh.contains(0, fresh.center[0].numpy())


@pytest.mark.parametrize("kind", MAKE)
def test_no_number_is_read_to_take_or_move_parts(kind: str) -> None:
    whole = MAKE[kind](ALL)
    _ = whole.hull
    with HostReads() as reads:
        whole.take(INDICES[0]).take(torch.tensor([1])).to(META)
    assert reads.total == 0


@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind != "photometric"])
def test_a_region_moves_as_a_whole(kind: str) -> None:
    """On the other device it is taken from, pulled into and stepped across without a number of the host's."""
    there = MAKE[kind](ALL).to(META)
    assert type(there) is type(MAKE[kind](ALL))
    tensors = [v for v in vars(there).values() if isinstance(v, Tensor)] + [there.hull.lower, there.hull.upper, there.center]
    assert {t.device.type for t in tensors} == {"meta"}
    part = there.take(torch.arange(2, device=META)) if "instances" not in kind else there.take(torch.arange(2))
    points = torch.zeros(2, 2, 3, device=META)
    assert part.pull(points).shape == part.descent(points).shape == points.shape
    assert {part.hull.lower.device.type, part.pull(points).device.type, part.descent(points).device.type} == {"meta"}
    assert there.to(META) is there


def test_a_move_leaves_the_numbers_alone() -> None:
    for make in MAKE.values():
        region = make(ALL)
        assert region.to(torch.device("cpu")) is region


class Wrapped(Region):
    """A stranger's set, no dataclass, of a region and a number of its own."""

    def __init__(self, inner: Region) -> None:
        self.inner, self.pair = inner, (inner.hull.lower, 3)

    hull = property(lambda self: self.inner.hull)
    center = property(lambda self: self.inner.center)

    def take(self, index: Tensor) -> Region:
        return Wrapped(self.inner.take(index))

    contains = project = lambda self, instance, point: NotImplemented


def test_a_strangers_set_moves_with_what_it_holds() -> None:
    there: Any = Wrapped(MAKE["linf"](ALL)).to(META)
    assert isinstance(there, Wrapped)
    assert there.hull.lower.device == there.pair[0].device == META
    assert there.pair[1] == 3


# ---- properties --------------------------------------------------------------------------------------------------------


def spec() -> Spec:
    return Spec.rows(draw(4, 5, 3, 2), draw(5, 5, 3), torch.tensor([0, 1, 1]), torch.tensor([True, False, True]))


@pytest.mark.parametrize("index", INDICES, ids=["repeats", "none", "some"])
def test_a_part_of_a_property(index: Tensor) -> None:
    whole, fresh = spec(), Spec(draw(4, 5, 3, 2)[index], draw(5, 5, 3)[index], torch.tensor([0, 1, 1]), torch.tensor([True, False, True]))
    part = whole.take(index)
    for name in ("weight", "bias", "disjunct", "strict", "text", "disjuncts"):
        assert same(getattr(part, name), getattr(fresh, name)), name


def test_a_property_is_counted_once() -> None:
    whole = spec()
    _ = whole.disjuncts
    with HostReads() as reads:
        part = whole.take(torch.tensor([4, 1])).to(META).take(torch.tensor([0], device=META))
        assert part.disjuncts == 2
    assert reads.total == 0
    assert {t.device.type for t in (part.weight, part.bias, part.disjunct, part.strict)} == {"meta"}


def test_what_is_made_anew_is_checked() -> None:
    bad = torch.full_like(X, torch.nan)
    for make in (lambda: BoxRegion(bad, bad), lambda: LinfBall(bad, F(1)), lambda: L2Ball(bad, F(1)), lambda: ZonotopeRegion(bad, RAYS),
                 lambda: DecimalBox(bad, bad, bad, bad), lambda: Photometric(bad), lambda: Patch(X, X + 1, X - 1),
                 lambda: Spec(bad, bad[:, :, 0], torch.tensor([0, 1]), torch.tensor([False, False]))):
        with pytest.raises(AbsintError):
            make()
