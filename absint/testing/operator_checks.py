"""What the conformance kit asks of an operator. Private to `absint.testing.kit`, which names and reports each check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from math import inf, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Shape
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics, gamma, smallest_normal
from absint.testing.report import KitClaim
from absint.testing.truth import ExactTensor, Failures, Reference, dense, image, outside, reference_of

# ---- linear -----------------------------------------------------------------------------------------------------------


def _units(shape: Shape, dtype: torch.dtype = torch.float64) -> Tensor:
    n = prod(shape)
    return torch.eye(n, dtype=dtype).reshape(n, *shape)


def _same(found: Tensor, truth: Any, what: str) -> Failures:
    """Bitwise agreement with a dense matrix (unit vectors round nothing)."""
    flat = found.reshape(len(found), -1)
    expected = truth if isinstance(truth, Tensor) else torch.from_numpy(np.array(truth))
    if flat.shape != expected.shape:
        yield f"{what} has shape {tuple(flat.shape)}, the dense matrix {tuple(expected.shape)}"
    elif not torch.equal(flat, expected):
        yield f"{what} differs from the dense matrix in {int((flat != expected).sum())} entries"


def _numbers(seed: int, *shape: int) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=shape) * 10.0 ** random.integers(-3, 4, size=shape))


def _check_shape(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`output_shape` is the shape that `apply` gives."""
    stated = op.output_shape(*shapes)
    actual = tuple(op.apply(*(torch.zeros(2, *s, dtype=torch.float64) for s in shapes)).shape)
    if actual != (2, *stated):
        yield f"output_shape says {stated}, apply gives {actual[1:]} for a batch of {actual[0]} (2 expected)"


def _check_linearity(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`apply` is the linear map of its own unit images, within gamma of the stated number of terms, in both formats."""
    matrices = [ExactTensor.of(m) for m in dense(op, shapes)]
    xs = [_numbers(k, 4, *s) for k, s in enumerate(shapes)]
    for x in xs:
        x[2:] = x[2:] * 1e-30
    for dtype in (torch.float64, torch.float32):
        given = [x.to(dtype) for x in xs]
        found = op.apply(*given)
        flats = [ExactTensor.of(x).reshape(len(x), -1) for x in given]
        truth, size = flats[0] @ matrices[0], flats[0].abs() @ matrices[0].abs()
        for flat, matrix in zip(flats[1:], matrices[1:], strict=True):
            truth, size = truth + flat @ matrix, size + flat.abs() @ matrix.abs()
        terms = op.forward_terms + 1
        bound = size * ExactTensor.of(gamma(terms, dtype)) + ExactTensor.of(terms * smallest_normal(dtype))
        if not (ExactTensor.of(found).reshape(len(found), -1) - truth).abs().at_most(bound).all():
            yield f"apply in {dtype} is not the linear map of its own unit images within gamma of forward_terms + 1 = {terms}"


def _check_absolute(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`apply_abs` is the map of the absolute coefficients |L|."""
    for position, matrix in enumerate(dense(op, shapes)):
        inputs = [torch.zeros(prod(shapes[position]), *s, dtype=torch.float64) for s in shapes]
        inputs[position] = _units(shapes[position])
        yield from _same(op.apply_abs(*inputs), np.abs(matrix), f"apply_abs on unit vectors of input {position}")
    xs = [torch.rand(3, *s, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) for s in shapes]
    found, whole = op.apply_abs(*xs).reshape(3, -1), torch.zeros(())
    for x, matrix in zip(xs, dense(op, shapes), strict=True):
        whole = whole + x.reshape(3, -1) @ torch.from_numpy(np.abs(matrix))
    if not torch.allclose(found, whole, rtol=1e-12, atol=0):
        yield "apply_abs of several inputs is not the sum of the absolute maps"


def _check_adjoint(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`adjoint` is the transposed map, within gamma of the stated number of terms, in both formats."""
    out = op.output_shape(*shapes)
    matrices = dense(op, shapes)
    for dtype in (torch.float64, torch.float32):
        for position, (part, matrix) in enumerate(zip(op.adjoint(_units(out, dtype), shapes), matrices, strict=True)):
            if tuple(part.shape[1:]) != shapes[position]:
                yield f"adjoint gives shape {tuple(part.shape[1:])} for an input of shape {shapes[position]}"
            yield from _same(part, torch.from_numpy(np.array(matrix.T)).to(dtype), f"adjoint for input {position} in {dtype}")
        y = _numbers(9, 3, *out).to(dtype)
        terms = op.adjoint_terms + 1
        for position, (part, matrix) in enumerate(zip(op.adjoint(y, shapes), matrices, strict=True)):
            flat, exact = ExactTensor.of(y).reshape(3, -1), ExactTensor.of(matrix.T)
            bound = (flat.abs() @ exact.abs()) * ExactTensor.of(gamma(terms, dtype)) + ExactTensor.of(terms * smallest_normal(dtype))
            if not (ExactTensor.of(part).reshape(3, -1) - flat @ exact).abs().at_most(bound).all():
                yield f"adjoint for input {position} in {dtype} errs by more than gamma of adjoint_terms + 1 = {terms}"


def _check_views(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`columns`, `unit_rows`, `part` and `monomial` say what the dense matrix says."""
    matrices = dense(op, shapes)
    out = op.output_shape(*shapes)
    like = torch.zeros((), dtype=torch.float64)
    some = torch.from_numpy(np.random.default_rng(5).permutation(prod(out)))
    rows = op.unit_rows(some, out, shapes, like)
    for position, (part, matrix) in enumerate(zip(rows, matrices, strict=True)):
        yield from _same(part, matrix.T[some.numpy()], f"unit_rows for input {position}")
    for position, (shape, matrix) in enumerate(zip(shapes, matrices, strict=True)):
        yield from _same(op.part(position, _units(shape), shapes), matrix, f"part {position}")
    if len(shapes) == 1:
        index = torch.from_numpy(np.random.default_rng(6).permutation(prod(shapes[0])))
        yield from _same(op.columns(index, shapes[0], like), matrices[0][index.numpy()], "columns")
        move = op.monomial(shapes[0])
        if move is not None:
            full = np.zeros_like(matrices[0])
            full[np.arange(len(full)), move.target.numpy()] = 1.0 if move.scale is None else move.scale.double().numpy()
            yield from _same(torch.from_numpy(full), matrices[0], "monomial")


def _check_terms(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`forward_terms` and `adjoint_terms` count every product summed, and one more where a coefficient must be cast."""
    matrices = dense(op, shapes)
    whole = np.concatenate(matrices)
    cast = int(bool((whole.astype(np.float32).astype(np.float64) != whole).any()))
    multiplies = int(not np.isin(whole, (-1.0, 0.0, 1.0)).all())
    forward = int((whole != 0).sum(0).max(initial=0))
    adjoint = max(int((m != 0).sum(1).max(initial=0)) for m in matrices)
    for name, stated, true in (("forward_terms", op.forward_terms, forward), ("adjoint_terms", op.adjoint_terms, adjoint)):
        if (true > 1 or multiplies) and stated < true + cast:
            yield f"{name} is {stated}, but {true} products are summed{' with coefficients that must be rounded' * cast}"


def _check_offset(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`forward` is `apply` plus `offset`, and what is said of the offset's error is a magnitude."""
    zeros = tuple(torch.zeros(2, *s, dtype=torch.float64) for s in shapes)
    at_zero = op.forward(*zeros)
    b = torch.zeros_like(at_zero) if op.offset is None else op.offset.double().expand(at_zero.shape)
    if not torch.equal(at_zero, b):
        yield "forward(0) is not the offset"
    xs = [_numbers(20 + k, 3, *s) for k, s in enumerate(shapes)]
    size = op.apply_abs(*(x.abs() for x in xs)) + b[:1].abs()
    bound = gamma(2 * op.forward_terms + 4, torch.float64) * size + smallest_normal(torch.float64)
    if not bool(((op.forward(*xs) - (op.apply(*xs) + b[:1])).abs() <= bound).all()):
        yield "forward is not apply + offset"
    for name in ("offset_error", "offset_magnitude"):
        bound_ = getattr(op, name)
        if bound_ is not None and not bool((bound_.expand(at_zero.shape[1:]) >= 0).all()):
            yield f"{name} is negative or NaN somewhere"


def _check_exact(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`exact` is claimed only where `apply` alone maps lower bounds to lower bounds without rounding."""
    if not op.exact:
        return
    whole = np.concatenate(dense(op, shapes))
    if op.offset is not None or not np.isin(whole, (0.0, 1.0)).all() or int((whole != 0).sum(0).max(initial=0)) > 1:
        yield "exact is claimed, but entries are scaled, summed or shifted"


LINEAR: dict[str, KitClaim] = {
    "shape": KitClaim(_check_shape, "`output_shape`"),
    "linearity": KitClaim(_check_linearity, "`apply` and `forward_terms`"),
    "apply_abs": KitClaim(_check_absolute, "`apply_abs`: a missing absolute value makes every radius too small"),
    "adjoint": KitClaim(_check_adjoint, "`adjoint` and `adjoint_terms`; the default, a vector-Jacobian product, is right"),
    "views": KitClaim(_check_views, "the method named; the defaults are right"),
    "terms": KitClaim(_check_terms, "the number named: every rounding bound grows from it"),
    "offset": KitClaim(_check_offset, "`forward`, `offset`, `offset_error` and `offset_magnitude`"),
    "exact": KitClaim(_check_exact, "`exact`"),
}


# ---- nonlinear --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Table:
    """Intervals (batch, *shape) in the vector format, with their points (points, batch, *shape).

    memory: the exact values at the points, computed once and shared by every copy with the same points.
    """

    num: Numerics
    shapes: tuple[Shape, ...]
    intervals: tuple[Interval, ...]
    points: tuple[Tensor, ...]
    reference: Reference | None
    memory: dict[str, tuple[ExactTensor, ExactTensor]] = field(default_factory=dict)

    @staticmethod
    def of(op: Nonlinear, shapes: tuple[Shape, ...] | None, num: Numerics, reference: Reference | None) -> Table:
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
        return Table(num, shapes, intervals, tuple(points), reference)


def _boxes(num: Numerics, seed: int, shape: Shape) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(30 + seed)
    scale = np.repeat(10.0 ** np.array([-30, -10, -1, 0, 1, 10, 30]), 12).reshape(-1, *(1,) * len(shape))
    center = random.normal(size=(len(scale), *shape)) * scale
    radius = scale * random.choice([0.0, 1e-12, 0.1, 1.0], size=(len(scale), *shape)) * random.random(size=(len(scale), *shape))
    low = torch.from_numpy(center - radius).to(num.vector)
    return low, torch.maximum(torch.from_numpy(center + radius).to(num.vector), low)


def _elementwise_table(op: Elementwise, num: Numerics, reference: Reference | None) -> Table:
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
    return Table(num, ((),), (Interval(low, high),), (whole,), reference)


def _truth(op: Nonlinear, table: Table) -> tuple[ExactTensor, ExactTensor]:
    if "truth" not in table.memory:
        table.memory["truth"] = _values(op, table)
    return table.memory["truth"]


def _values(op: Nonlinear, table: Table) -> tuple[ExactTensor, ExactTensor]:
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
    error = ExactTensor.of(value64.abs()) * ExactTensor.of(gamma(ulps + 1, torch.float64)) + ExactTensor.of(absolute + smallest_normal(torch.float64))
    return ExactTensor.of(value64) - error, ExactTensor.of(value64) + error


def _lines(slopes: tuple[Tensor, ...], offset: Tensor, table: Table) -> ExactTensor:
    """Exact values of an affine function at all points, flattened."""
    total = ExactTensor.of(offset.expand(table.points[0].shape[0], *offset.shape).reshape(-1))
    for slope, points in zip(slopes, table.points, strict=True):
        part = ExactTensor.of(points) * ExactTensor.of(slope[None])
        total = total + part.reshape(len(total.value), -1).reduce("sum", 1)
    return total


def _finite_planes(relaxation: Relaxation) -> Failures:
    tensors = (*relaxation.lower, *relaxation.upper, relaxation.lower_offset, relaxation.upper_offset)
    if any(bool(t.isnan().any()) for t in tensors):
        yield "NaN on a finite interval"


def _wrong(bad: Any, what: str, table: Table) -> Failures:
    if bad.any():
        batch = len(table.intervals[0].lower)
        entry = int(np.flatnonzero(bad)[0]) // (len(bad) // table.points[0].shape[0] // batch) % batch
        box = [(i.lower[entry].tolist(), i.upper[entry].tolist()) for i in table.intervals]
        yield f"{what} at {int(bad.sum())} of {len(bad)} points, for example on {box}"


def _check_planes(op: Nonlinear, table: Table) -> Failures:
    """`planes` lie below and above the function on the interval, for every free slope."""
    low, high = _truth(op, table)
    free = op.free_slope(table.intervals)
    for choice in (None,) if free is None else (None, 0.0, 0.35, 1.0):
        chosen = None if choice is None or free is None else torch.full_like(free, choice)
        found = op.planes(table.intervals, table.num, chosen)
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


def _check_band(op: Nonlinear, table: Table) -> Failures:
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


def _check_range(op: Nonlinear, table: Table) -> Failures:
    """`range` contains every value of the function on the interval."""
    low, high = _truth(op, table)
    count = table.points[0].shape[0]
    found = op.range(table.intervals, table.num)
    problem = outside(found.lower, found.upper, high.reshape(count, -1).reduce("min", 0), low.reshape(count, -1).reduce("max", 0))
    if problem is not None:
        yield problem


def _check_infinite(op: Nonlinear, table: Table) -> Failures:
    """An interval with infinite ends gives bounds that are not NaN and still contain the function on finite parts."""
    for lose_low, lose_high in ((True, False), (False, True), (True, True)):
        intervals = tuple(
            Interval(torch.full_like(i.lower, -inf) if lose_low else i.lower, torch.full_like(i.upper, inf) if lose_high else i.upper)
            for i in table.intervals
        )
        wide = replace(table, intervals=intervals)
        yield from (f"with an infinite end: {line}" for check in (_check_range, _check_planes, _check_band) for line in check(op, wide))
        if not all(bool(mask.all()) for mask in op.undecided(intervals)) and isinstance(op, Elementwise) and not op.piecewise_linear:
            yield "an infinite interval is called decided"


def _check_defined(op: Nonlinear, table: Table) -> Failures:
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


def _check_undecided(op: Nonlinear, table: Table) -> Failures:
    """Where no entry is undecided the function is affine, so that planes coincide up to rounding."""
    masks = op.undecided(table.intervals)
    if len(masks) != len(table.intervals) or any(m.shape != i.lower.shape for m, i in zip(masks, table.intervals, strict=True)):
        yield "undecided must give one mask per input, of the input's shape"
        return
    found = op.planes(table.intervals, table.num)
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
    "infinite": KitClaim(_check_infinite, "`defined` and `codomain`, and whether `evaluate` is finite wherever the function is"),
}
