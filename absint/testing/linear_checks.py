"""What the conformance kit asks of a linear operator. Private to `absint.testing`, which names and reports each check."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.op import Shape
from absint.numeric.rounding import gamma, is_power, smallest_normal
from absint.testing.report import KitClaim
from absint.testing.truth import ExactTensor, Failures, dense


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


def _check_patches(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`patch` puts the image of every window, beyond the edges too, where `patch_corner` says, as the dense matrix does."""
    shape, rank = shapes[0], len(shapes[0]) - 1
    out, axes = op.output_shape(*shapes), shapes[0][1:]
    for size in (1, 2) if len(shapes) == 1 and rank else ():
        wide = op.patch_size((size,) * rank, shape)
        if wide is None:
            return
        corner = torch.cartesian_prod(*(torch.arange(1 - size, n) for n in axes)).reshape(-1, rank)
        whole = torch.from_numpy(np.random.default_rng(size).integers(-4, 5, size=(len(corner), *shape))).double()
        for axis, n in enumerate(axes):
            place = torch.arange(n) - corner[:, axis : axis + 1]
            within = ((place >= 0) & (place < size)).reshape(len(corner), 1, *(n if k == axis else 1 for k in range(rank)))
            whole = whole * within
        found = op.patch(_cut(whole, corner, (size,) * rank), corner, shape)
        truth, placed = op.apply(whole), op.patch_corner(corner)
        cut, inside = _cut(truth, placed, wide), _inside(placed, wide, out)
        near = 1e-12 * float(truth.abs().max())
        if tuple(found.shape[2:]) != wide or not torch.allclose(cut * inside, found * inside, rtol=1e-12, atol=near):
            yield f"patch of windows of {size} is not the image of these windows"
        elif not torch.equal((truth != 0).flatten(1).sum(1), (cut != 0).flatten(1).sum(1)):
            yield f"the windows that patch_size and patch_corner name for windows of {size} leave out a part of the image"


def _cut(whole: Tensor, corner: Tensor, size: Shape) -> Tensor:
    """(R, C, *size) from corners (R, rank) on; 0 beyond (R, C, *spatial)."""
    found = whole
    for axis, n in enumerate(size):
        place = corner[:, axis : axis + 1] + torch.arange(n)
        held = place.clamp(0, whole.shape[axis + 2] - 1)
        view = (len(whole), *(n if k == axis + 1 else 1 for k in range(found.dim() - 1)))
        full = (*found.shape[: axis + 2], n, *found.shape[axis + 3 :])
        found = found.gather(axis + 2, held.reshape(view).expand(full)) * (held == place).reshape(view)
    return found


def _inside(corner: Tensor, size: Shape, out: Shape) -> Tensor:
    """(R, 1, *size): 1 within the image, else 0."""
    return _cut(torch.ones(len(corner), 1, *out[1:], dtype=torch.float64), corner, size)


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


def _check_single(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`single` is claimed only where an output is a constant, or one entry times +-2^k and no constant beside it."""
    if not op.single:
        return
    whole = torch.from_numpy(np.concatenate(dense(op, shapes)))
    if not bool(is_power(whole).all()) or int((whole != 0).sum(0).max()) > 1:
        yield "single is claimed, but entries are summed, or scaled by other numbers than powers of two"
    shift = torch.zeros(op.output_shape(*shapes), dtype=torch.float64)
    shift = shift if op.offset is None else shift + op.offset
    if bool(((shift.flatten() != 0) & (whole != 0).any(0)).any()):
        yield "single is claimed, but a constant is added to entries of the input"


def _check_nonnegative(op: Linear, shapes: tuple[Shape, ...]) -> Failures:
    """`nonnegative` is claimed only where no coefficient and no constant is negative."""
    if not op.nonnegative:
        return
    if any((matrix < 0).any() for matrix in dense(op, shapes)):
        yield "claims to be nonnegative with negative coefficients"
    if op.offset is not None and bool((op.offset < 0).any()):
        yield "claims to be nonnegative with a negative offset"


LINEAR: dict[str, KitClaim] = {
    "shape": KitClaim(_check_shape, "`output_shape`"),
    "linearity": KitClaim(_check_linearity, "`apply` and `forward_terms`"),
    "apply_abs": KitClaim(_check_absolute, "`apply_abs`: a missing absolute value makes every radius too small"),
    "adjoint": KitClaim(_check_adjoint, "`adjoint` and `adjoint_terms`; the default, a vector-Jacobian product, is right"),
    "views": KitClaim(_check_views, "the method named; the defaults are right"),
    "patches": KitClaim(_check_patches, "`patch_size`, `patch_corner` and `patch`; the default is to know no window"),
    "terms": KitClaim(_check_terms, "the number named: every rounding bound grows from it"),
    "offset": KitClaim(_check_offset, "`forward`, `offset`, `offset_error` and `offset_magnitude`"),
    "exact": KitClaim(_check_exact, "`exact`"),
    "single": KitClaim(_check_single, "`single`"),
    "nonnegative": KitClaim(_check_nonnegative, "`nonnegative`; the default is to claim nothing"),
}
