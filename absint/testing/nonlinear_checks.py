"""What the conformance kit asks of an operator. Private to `absint.testing`, which names and reports each check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.model.families.elementwise import Elementwise
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Shape
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics, gamma, smallest_normal
from absint.testing.cut_checks import check_cut_places
from absint.testing.report import KitClaim
from absint.testing.truth import ExactTensor, Failures, Reference, image, outside, reference_of

# ---- linear -----------------------------------------------------------------------------------------------------------


# ---- nonlinear --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Intervals (batch, *shape) in the vector format, with their points (points, batch, *shape).

    memory: the exact values and points, computed once and shared by every copy with the same points.
    """

    num: Numerics
    shapes: tuple[Shape, ...]
    intervals: tuple[Interval, ...]
    points: tuple[Tensor, ...]
    reference: Reference | None
    memory: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(op: Nonlinear, shapes: tuple[Shape, ...] | None, num: Numerics, reference: Reference | None) -> IntervalTable:
        """Points and intervals that suit the operator."""
        if isinstance(op, Elementwise):
            return _elementwise_table(op, num, reference)
        shapes = ((2, 3),) if shapes is None else shapes
        pairs = [_boxes(num, k, s) for k, s in enumerate(shapes)]
        intervals = tuple(Interval(low, high) for low, high in pairs)
        pick = np.random.default_rng(17)
        points = []
        for low, high in pairs:
            share = torch.from_numpy(pick.choice([0.0, 0.0, 1.0, 1.0, 0.3], size=(24, *low.shape))).to(low.dtype)
            points.append(torch.minimum(torch.maximum(low + (high - low) * share, low), high))
        return IntervalTable(num, shapes, intervals, tuple(points), reference)


def _thinned(table: IntervalTable) -> IntervalTable:
    """Every third interval, with its points; made once for every copy with the same points."""
    if "thin" not in table.memory:
        intervals = tuple(Interval(i.lower[::3], i.upper[::3]) for i in table.intervals)
        table.memory["thin"] = replace(table, intervals=intervals, points=tuple(p[:, ::3] for p in table.points), memory={})
    thin: IntervalTable = table.memory["thin"]
    return replace(thin, num=table.num)


def _boxes(num: Numerics, seed: int, shape: Shape) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(30 + seed)
    scale = np.repeat(10.0 ** np.array([-30, -10, -1, 0, 1, 10, 30]), 12).reshape(-1, *(1,) * len(shape))
    center = random.normal(size=(len(scale), *shape)) * scale
    radius = scale * random.choice([0.0, 1e-12, 0.1, 1.0], size=(len(scale), *shape)) * random.random(size=(len(scale), *shape))
    low = torch.from_numpy(center - radius).to(num.vector)
    return low, torch.maximum(torch.from_numpy(center + radius).to(num.vector), low)


def _elementwise_table(op: Elementwise, num: Numerics, reference: Reference | None) -> IntervalTable:
    """Widths 0 and 1e-30 to 1e3 (absolute and relative) at magnitudes 1e-30 to 1e30 on both sides of every knot."""
    cuts = sorted({0.0, *(k.x for k in op.knots), *(x for p in op.pieces for x in (p.low, p.high) if abs(x) < inf)})
    sizes = [0.0, 1e-30, 1e-20, 1e-10, 1e-5, 1e-2, 0.1, 0.7, 1.3, 4.0, 15.0, 40.0, 1e3, 1e10, 1e30]
    ends: set[tuple[float, float]] = set()
    for cut, side, start, width in product(cuts, (-1, 1), sizes, [*sizes[:13], None]):
        away = start * 1e-12 if width is None else width
        near, far = cut + side * start, cut + side * (start + away)
        ends.add((min(near, far), max(near, far)))
    ends |= {(cut - a, cut + b) for cut, a, b in product(cuts, sizes, sizes)}
    pairs = torch.tensor(sorted(ends), dtype=torch.float64).to(num.vector)
    low, high = pairs[:, 0], torch.maximum(pairs[:, 0], pairs[:, 1])
    share = torch.tensor([0.0, 1e-6, 0.05, 0.3, 0.5, 0.8, 0.97, 1.0], dtype=num.vector)[:, None]
    points = [low + (high - low) * share, torch.stack([low.double().where(low.double() > c, torch.tensor(c)) for c in cuts]).to(low.dtype)]
    whole = torch.minimum(torch.maximum(torch.cat(points), low), high)
    return IntervalTable(num, ((),), (Interval(low, high),), (whole,), reference)


def _truth(op: Nonlinear, table: IntervalTable) -> tuple[ExactTensor, ExactTensor]:
    if "truth" not in table.memory:
        table.memory["truth"] = _values(op, table)
    truth: tuple[ExactTensor, ExactTensor] = table.memory["truth"]
    return truth


def _places(table: IntervalTable) -> tuple[ExactTensor, ...]:
    if "points" not in table.memory:
        table.memory["points"] = tuple(map(ExactTensor.of, table.points))
    places: tuple[ExactTensor, ...] = table.memory["points"]
    return places


def _values(op: Nonlinear, table: IntervalTable) -> tuple[ExactTensor, ExactTensor]:
    """Exact bounds of f at the points: equal with a reference, apart by the stated kernel error without one."""
    points = table.points
    function = table.reference or (reference_of(op) if isinstance(op, Elementwise) else None)
    if len(points) == 1 and (function is not None or not isinstance(op, Elementwise)):
        flat = ExactTensor.of(points[0]).reshape(points[0].shape[0] * points[0].shape[1], -1)
        try:
            value = image(op, flat, table.shapes[0], table.reference)
        except LookupError:
            pass
        else:
            return value.reshape(-1), value.reshape(-1)
    flats = [p.double().flatten(0, 1) for p in points]
    value64 = op.forward(*flats).reshape(-1)
    ulps, absolute = (op.error.ulps, op.error.absolute) if isinstance(op, Elementwise) else (4.0, 0.0)
    floor = ExactTensor.of(absolute + smallest_normal(torch.float64))
    error = ExactTensor.of(value64.abs()) * ExactTensor.of(gamma(ulps + 1, torch.float64)) + floor
    return ExactTensor.of(value64) - error, ExactTensor.of(value64) + error


def _best_planes(op: Nonlinear, table: IntervalTable) -> Relaxation:
    """`planes` without a free slope: what takes longest is asked for once by the checks of a table."""
    held = table.memory.get("planes")
    if held is None or held[0] is not table.intervals or held[1] != table.num:
        held = table.memory["planes"] = (table.intervals, table.num, op.planes(table.intervals, table.num, None))
    found: Relaxation = held[2]
    return found


def _lines(slopes: tuple[Tensor, ...], offset: Tensor, table: IntervalTable) -> ExactTensor:
    """Exact values of an affine function at all points, flattened."""
    first = ExactTensor.of(offset.reshape(-1))
    total = ExactTensor(np.tile(first.value, table.points[0].shape[0]), first.exponent)
    for slope, places in zip(slopes, _places(table), strict=True):
        part = places * ExactTensor.of(slope[None])
        total = total + part.reshape(len(total.value), -1).reduce("sum", 1)
    return total


def _finite_planes(relaxation: Relaxation) -> Failures:
    tensors = (*relaxation.lower, *relaxation.upper, relaxation.lower_offset, relaxation.upper_offset)
    if any(bool(t.isnan().any()) for t in tensors):
        yield "NaN on a finite interval"


def _wrong(bad: Any, what: str, table: IntervalTable) -> Failures:
    if bad.any():
        batch = len(table.intervals[0].lower)
        entry = int(np.flatnonzero(bad)[0]) // (len(bad) // table.points[0].shape[0] // batch) % batch
        box = [(i.lower[entry].tolist(), i.upper[entry].tolist()) for i in table.intervals]
        yield f"{what} at {int(bad.sum())} of {len(bad)} points, for example on {box}"


def _check_planes(op: Nonlinear, table: IntervalTable) -> Failures:
    """`planes` lie below and above the function on the interval, for every free slope."""
    low, high = _truth(op, table)
    free = op.free_slope(table.intervals)
    for choice in (None,) if free is None else (None, 0.0, 0.35, 1.0):
        chosen = None if choice is None or free is None else torch.full_like(free, choice)
        found = _best_planes(op, table) if chosen is None else op.planes(table.intervals, table.num, chosen)
        problems = list(_finite_planes(found))
        yield from problems
        if problems:
            continue
        yield from _representable((*found.lower, *found.upper), table.num)
        for slopes, offset, side in ((found.lower, found.lower_offset, "lower"), (found.upper, found.upper_offset, "upper")):
            known = offset.isfinite()
            line = _lines(slopes, torch.where(known, offset, 0.0), table)
            holds = line.at_most(high) if side == "lower" else low.at_most(line)
            everywhere = known.expand(table.points[0].shape[0], *known.shape).reshape(-1).numpy()
            yield from _wrong(~holds & everywhere, f"the {side} plane (free slope {choice}) cuts the function", table)


def _representable(slopes: tuple[Tensor, ...], num: Numerics) -> Failures:
    for slope in slopes:
        if slope.dtype != num.vector:
            yield f"slopes are {slope.dtype}, not the vector format {num.vector}"
        elif not torch.equal(slope.to(num.dtype).to(slope.dtype), slope):
            yield f"slopes are not numbers of the matrix format {num.dtype}, so that offsets hold for other slopes"


def _check_band(op: Nonlinear, table: IntervalTable) -> Failures:
    """`band` contains the function on the interval."""
    low, high = _truth(op, table)
    found: Band = op.band(table.intervals, table.num)
    if any(bool(t.isnan().any()) for t in (*found.slope, found.offset)) or not bool((found.radius >= 0).all()):
        yield "NaN, or a negative radius, on a finite interval"
        return
    yield from _representable(found.slope, table.num)
    known = found.radius.isfinite()
    line = _lines(found.slope, found.offset, table)
    radius = ExactTensor.of(torch.where(known, found.radius, 0.0).expand(table.points[0].shape[0], *known.shape).reshape(-1))
    holds = (line - radius).at_most(low) & high.at_most(line + radius)
    if low is not high and table.reference is None and not np.array_equal(low.value, high.value):
        holds = (line - radius).at_most(high) & low.at_most(line + radius)
    everywhere = known.expand(table.points[0].shape[0], *known.shape).reshape(-1).numpy()
    yield from _wrong(~holds & everywhere, "the band misses the function", table)


def _check_range(op: Nonlinear, table: IntervalTable) -> Failures:
    """`range` contains every value of the function on the interval."""
    low, high = _truth(op, table)
    count = table.points[0].shape[0]
    found = op.range(table.intervals, table.num)
    problem = outside(found.lower, found.upper, high.reshape(count, -1).reduce("min", 0), low.reshape(count, -1).reduce("max", 0))
    if problem is not None:
        yield problem


def _check_infinite(op: Nonlinear, table: IntervalTable) -> Failures:
    """An interval with infinite ends gives bounds that are not NaN and still contain the function on finite parts."""
    table = _thinned(table)
    for lose_low, lose_high in ((True, False), (False, True), (True, True)):
        intervals = tuple(
            Interval(torch.full_like(i.lower, -inf) if lose_low else i.lower, torch.full_like(i.upper, inf) if lose_high else i.upper)
            for i in table.intervals
        )
        wide = replace(table, intervals=intervals)
        yield from (f"with an infinite end: {line}" for check in (_check_range, _check_planes, _check_band) for line in check(op, wide))
        if not all(bool(mask.all()) for mask in op.undecided(intervals)) and isinstance(op, Elementwise) and not op.piecewise_linear:
            yield "an infinite interval is called decided"


def _check_defined(op: Nonlinear, table: IntervalTable) -> Failures:
    """The function has a value wherever `defined` says so."""
    if not isinstance(op, Elementwise):
        return
    interval, points = table.intervals[0], table.points[0]
    mask = op.defined(interval.lower, interval.upper)
    inside = torch.ones_like(interval.lower, dtype=torch.bool) if mask is None else mask
    bad = (op.evaluate(points).isnan() & inside).any(0)
    if bool(bad.any()):
        k = int(bad.nonzero()[0][0])
        box = (interval.lower[k].tolist(), interval.upper[k].tolist())
        yield f"`evaluate` is NaN at points of {int(bad.sum())} of {len(bad)} intervals on which it is said to be defined, such as {box}"


def _check_cuts(op: Nonlinear, table: IntervalTable) -> Failures:
    """Between neighbouring cuts the function lies on the line, or in the hull of corners, that is stated there, at cuts it is as stated."""
    if isinstance(op, Elementwise):
        yield from check_cut_places(op, table.intervals[0])


def _check_undecided(op: Nonlinear, table: IntervalTable) -> Failures:
    """Where no entry is undecided the function is affine, so that planes coincide up to rounding."""
    masks = op.undecided(table.intervals)
    if len(masks) != len(table.intervals) or any(m.shape != i.lower.shape for m, i in zip(masks, table.intervals, strict=True)):
        yield "undecided must give one mask per input, of the input's shape"
        return
    found = _best_planes(op, table)
    open_ = torch.zeros(found.lower_offset.shape, dtype=torch.bool)
    size = torch.zeros_like(found.lower_offset)
    for mask, interval, slope in zip(masks, table.intervals, found.upper, strict=True):
        extra = mask.dim() - open_.dim()
        open_ = open_ | (mask if extra == 0 else mask.flatten(open_.dim()).any(-1))
        product_ = (slope.abs() * interval.magnitude)
        size = size + (product_ if extra == 0 else product_.flatten(open_.dim()).sum(-1))
    value = op.range(table.intervals, table.num).magnitude
    roundoff = max(gamma(64, table.num.dtype), gamma(256, table.num.vector))
    allowed = roundoff * (size + value) + 64 * smallest_normal(table.num.dtype)
    if isinstance(op, Elementwise):
        allowed = allowed + 64 * op.error.absolute
    for point in zip(*table.points, strict=True):
        below, above = (_plane_at(s, o, point) for s, o in ((found.lower, found.lower_offset), (found.upper, found.upper_offset)))
        bad = ~open_ & ((above - below) > allowed)
        if bool(bad.any()):
            k = int(bad.nonzero()[0][0])
            box = table.intervals[0].lower[k].tolist(), table.intervals[0].upper[k].tolist()
            yield f"{int(bad.sum())} entries are called decided although the planes differ, for example on {box}"
            return


def _plane_at(slopes: tuple[Tensor, ...], offset: Tensor, point: tuple[Tensor, ...]) -> Tensor:
    total = offset
    for slope, x in zip(slopes, point, strict=True):
        part = slope * x
        total = total + (part if part.dim() == offset.dim() else part.flatten(offset.dim()).sum(-1))
    return total


_TRAITS = "`pieces` (monotony, curvature, where they end), `knots`, `jumps`, `defined`, `codomain` and `error`"
NONLINEAR: dict[str, KitClaim] = {
    "range": KitClaim(_check_range, f"{_TRAITS}, and `evaluate`"),
    "planes": KitClaim(_check_planes, f"{_TRAITS}, and `derivative`"),
    "band": KitClaim(_check_band, f"{_TRAITS}, and `derivative`"),
    "defined": KitClaim(_check_defined, "`defined`, and `evaluate` at the ends of where the function is defined"),
    "undecided": KitClaim(_check_undecided, "`undecided`, or `piecewise_linear` and `knots`"),
    "cuts": KitClaim(_check_cuts, "`cuts`, or `piecewise_linear`, `knots` and `jumps`"),
    "infinite": KitClaim(_check_infinite, "`defined` and `codomain`, and whether `evaluate` is finite wherever the function is"),
}
