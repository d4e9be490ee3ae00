"""What the conformance kit asks of the cuts that a function states. Private to `absint.testing`, which names and reports the check."""

from __future__ import annotations

from itertools import combinations
from math import inf

import torch
from torch import Tensor

from absint.model.families.function_pieces import CutPlaces
from absint.model.families.real_function import RealFunction
from absint.numeric.interval import Interval
from absint.numeric.rounding import gamma, smallest_normal
from absint.testing.truth import Failures

_SHARES = (1e-9, 0.01, 0.2, 0.5, 0.77, 0.99, 1 - 1e-9)


def check_cut_places(op: RealFunction, box: Interval) -> Failures:
    """Failures of what `cuts` states over intervals (batch, *shape), in float64 but for the kernel's error, which is trusted."""
    box = box.to(torch.float64)
    found = op.cuts(box)
    if found is None:
        return
    if not op.cuttable:
        yield "there are cuts of what is not `cuttable`"
    if bool((found.at[:, 1:] < found.at[:, :-1]).any()) or bool(found.at.isnan().any()):
        yield "cuts are not ascending"
        return
    fine = box.lower.isfinite() & box.upper.isfinite()
    defined = op.defined(box.lower, box.upper)
    fine = fine if defined is None else fine & defined
    yield from _values(op, box, found, fine)
    for gap in range(found.at.shape[1] + 1):
        yield from _between(op, box, found, fine, gap)


def _values(op: RealFunction, box: Interval, found: CutPlaces, fine: Tensor) -> Failures:
    """f itself at cuts within the interval."""
    for k, at in enumerate(found.at.unbind(1)):
        inside = fine & (box.lower <= at) & (at <= box.upper)
        value = op.evaluate(torch.where(inside, at, box.lower))
        bad = inside & ~((value - found.here[:, k]).abs() <= _error(op, value, found))
        yield from _named(bad, at, box, "is a cut where the function is not what `here` says")


def _between(op: RealFunction, box: Interval, found: CutPlaces, fine: Tensor, gap: int) -> Failures:
    """f on one part lies in the hull of what is stated of it."""
    count = found.at.shape[1]
    before = torch.full_like(box.lower, -inf) if gap == 0 else found.at[:, gap - 1]
    after = torch.full_like(box.lower, inf) if gap == count else found.at[:, gap]
    begin, end = torch.maximum(box.lower, before), torch.minimum(box.upper, after)
    real = fine & (begin < end)
    begin, end = torch.where(real, begin, box.lower), torch.where(real, end, box.upper)
    first, last = op.evaluate(box.lower), op.evaluate(box.upper)
    if gap:
        first = torch.where((before >= box.lower) & (before < box.upper), found.right[:, gap - 1], first)
    if gap < count:
        last = torch.where((after > box.lower) & (after <= box.upper), found.left[:, gap], last)
    points = [(begin, first), (end, last)]
    if found.corners is not None and 0 < gap < count:
        for place, value in zip(*(c[:, gap - 1].unbind(1) for c in found.corners), strict=True):
            inside = (box.lower < place) & (place < box.upper)
            points.append((torch.where(inside, place, begin), torch.where(inside, value, first)))
    for share in _SHARES:
        x = begin + (end - begin) * share
        lower, upper = _hull(points, x)
        value = op.evaluate(x)
        # What interpolation loses is a share of the points, not of what is between.
        error = 2 * _error(op, torch.stack([value.abs(), *(f.abs() for _, f in points)]).amax(0), found)
        inner = real & (begin < x) & (x < end)
        bad = inner & ~((lower - error <= value) & (value <= upper + error))
        yield from _named(bad, x, box, "is where the function leaves what is stated between neighbouring cuts")


def _hull(points: list[tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value over x of the hull of some points, entry by entry."""
    lower, upper = torch.full_like(x, inf), torch.full_like(x, -inf)
    for (a, f), (b, g) in combinations(points, 2):
        # Halved, so that the width of what is huge is a number.
        share = (x / 2 - a / 2) / (b / 2 - a / 2)
        value = torch.where(a == b, f, f + (g - f) * share)
        over = ((a <= x) & (x <= b)) | ((b <= x) & (x <= a))
        lower, upper = torch.where(over, torch.minimum(lower, value), lower), torch.where(over, torch.maximum(upper, value), upper)
    return lower, upper


def _error(op: RealFunction, value: Tensor, found: CutPlaces) -> Tensor:
    stated = gamma(op.error.ulps + 64, torch.float64) * value.abs() + 2 * op.error.absolute + 64 * smallest_normal(torch.float64)
    return stated if found.slack is None else stated + found.slack


def _named(bad: Tensor, x: Tensor, box: Interval, what: str) -> Failures:
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        yield (f"{float(x[where]):.17g} {what}, for example on [{float(box.lower[where]):.17g}, {float(box.upper[where]):.17g}] "
               f"({int(bad.sum())} of {bad.numel()} intervals)")
