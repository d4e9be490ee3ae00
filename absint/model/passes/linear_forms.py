"""Tensors of a network as affine functions of an earlier one, in exact arithmetic: what merging linear operators computes with.

The columns of the matrix are sent through each operator as a batch of inputs. Operators that move entries do so without rounding;
products and sums are exact by `absint.numeric.expansions`. Only the result is rounded, once an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.graph import Node
from absint.model.op import Op, Shape, unerring
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.sum import Sum
from absint.numeric.expansions import Expansion, product
from absint.numeric.rounding import is_power, unit_roundoff

_UP = 1 + 2.0**-30  # above what sums of products of nonnegative numbers lose, up to 2^20 of them
_TERMS = 1 << 20
_FLOOR = 2.0**-1000     # above what the products of such a sum lose by underflow


@dataclass(frozen=True, eq=False)
class LinearForm:
    """y = sum_j column_j x_j + offset, for the flat entries x_j of another tensor.

    columns: (size of x, *shape).  offset: (1, *shape).  offset_error: of what is not known of the offset, same shape.
    magnitude, offset_magnitude: sums of the magnitudes that the network's own operators meet, in place of the sums themselves; None for
    |columns|.
    terms: an execution errs by gamma_{terms + 2} of these, and by underflow.
    amplified: what these operators multiply an earlier one's error with, at most.
    """

    columns: Expansion
    offset: Expansion
    offset_error: Tensor
    magnitude: Tensor | None
    offset_magnitude: Tensor
    terms: int
    amplified: float


    @property
    def met(self) -> Tensor:
        """`magnitude`."""
        return sum((part.abs() for part in self.columns.parts), torch.zeros(())) if self.magnitude is None else self.magnitude


def start(shape: Shape) -> LinearForm:
    """x itself."""
    size = prod(shape)
    unit, zero = torch.eye(size, dtype=torch.float64).reshape(size, *shape), torch.zeros((1, *shape), dtype=torch.float64)
    return LinearForm(Expansion((unit,)), Expansion((zero,)), zero, None, zero, -2, 1.0)


def composable(op: Op) -> bool:
    """Whether `behind` carries forms through the operator: its coefficients are the network's own, and it is no convolution."""
    if not isinstance(op, Linear) or op.live or op.channel_axis is not None or not op.execution_scale < inf:
        return False
    if any(constant.requires_grad for constant in op.constants()):
        return False
    if isinstance(op, Affine):
        return op.weight_terms == 0 and (op.scale is None or bool(is_power(op.scale).all()))
    if isinstance(op, Gemm):
        return op.weight_terms == 0 and op.weight_magnitude is None
    return op.exact or isinstance(op, (LeftMatMul, Sum))


def first(op: Gemm) -> LinearForm | None:
    """`behind` of a vector's own form: a matrix is its columns."""
    columns = op.weight.T.contiguous()
    zero = columns.new_zeros((1, columns.shape[1]))
    form = LinearForm(Expansion((columns,)), Expansion((zero,)), zero, None, zero, op.forward_terms, op.execution_scale)
    return _shifted(form, op)


def behind(op: Linear, forms: Sequence[LinearForm]) -> LinearForm | None:
    """The form of op(y1, ..., yk) for `composable` operators; None where exact arithmetic gives up."""
    columns, offset = (_image(op, [getattr(form, name) for form in forms]) for name in ("columns", "offset"))
    if columns is None or offset is None:
        return None
    error, offset_magnitude = (_above(op, [getattr(form, name) for form in forms]) for name in ("offset_error", "offset_magnitude"))
    magnitude = None if _one_product_each(op, forms, columns) else _above(op, [form.met for form in forms])
    if bool(error.any()):
        error = error + _FLOOR
    terms = max(form.terms for form in forms) + (0 if op.exact else 2 + op.forward_terms)
    amplified = max(1.0, max(form.amplified for form in forms) * _norm(op)) * op.execution_scale
    return _shifted(LinearForm(columns, offset, error, magnitude, offset_magnitude, terms, amplified), op)


def _image(op: Linear, parts: Sequence[Expansion]) -> Expansion | None:
    """L of sums, without the bias."""
    if isinstance(op, Gemm):
        return parts[0].times(op.weight)
    if isinstance(op, LeftMatMul):
        found = parts[0].moved(lambda t: t.transpose(-1, -2)).times(op.weight)
        return None if found is None else found.moved(lambda t: t.transpose(-1, -2))
    if isinstance(op, Sum):
        one, two = parts
        return one.plus(two.moved(lambda t: t * op.sign))
    if len(parts) == 1:
        found = parts[0].moved(op.apply)
        return found if found.middling else None
    # Entries of several operands that are only moved: the parts of each go by their own, zeros elsewhere.
    empty = [torch.zeros_like(part.parts[0]) for part in parts]
    total: Expansion | None = Expansion((op.apply(*empty),))
    for k, part in enumerate(parts):
        for term in part.parts:
            image = Expansion((op.apply(*(term if j == k else zero for j, zero in enumerate(empty))),))
            total = None if total is None else total.plus(image)
    return total


def _above(op: Linear, parts: Sequence[Tensor]) -> Tensor:
    """|L| r, rounded up."""
    if isinstance(op, Gemm):
        (r,) = parts
        return product(r.reshape(-1, r.shape[-1]), op.weight.abs()).reshape(*r.shape[:-1], op.weight.shape[0]) * _UP
    image: Tensor = op.apply_abs(*parts)
    return image * _UP


def _one_product_each(op: Linear, forms: Sequence[LinearForm], columns: Expansion) -> bool:
    """Whether no coefficient behind the operator is a sum: there are as many products as numbers other than 0."""
    (form, *more), found = forms, len(columns.parts) == 1
    if more or form.magnitude is not None or len(form.columns.parts) > 1 or not found:
        return False
    if not isinstance(op, Gemm):
        return op.exact
    inner, outer = (form.columns.parts[0] != 0).flatten(0, -2).sum(0), (op.weight != 0).sum(0)
    return int((inner * outer).sum()) == int(columns.parts[0].count_nonzero())


def _norm(op: Linear) -> float:
    """The greatest row sum of |L|."""
    if isinstance(op, (Gemm, LeftMatMul)):
        return float(op.weight.abs().sum(1).amax()) * _UP if op.weight.numel() else 0.0
    if isinstance(op, Affine):
        return 1.0 if op.scale is None else float(op.scale.abs().amax())
    return 2.0 if isinstance(op, Sum) else 1.0


def _shifted(form: LinearForm, op: Linear) -> LinearForm | None:
    """With the operator's own constants."""
    if op.offset is None:
        return form
    offset = form.offset.plus(Expansion((op.offset.expand_as(form.offset.parts[0]).double(),)))
    magnitude = op.offset.abs() if op.offset_magnitude is None else op.offset_magnitude
    error = form.offset_error if op.offset_error is None else (form.offset_error + op.offset_error) * _UP
    if offset is None:
        return None
    return LinearForm(form.columns, offset, error, form.magnitude, (form.offset_magnitude + magnitude) * _UP, form.terms, form.amplified)


def gemm_of(form: LinearForm) -> Gemm | None:
    """One matrix for all of it; None where a coefficient would be off by more than its own rounding, or the constants do not fit."""
    columns, lost = (t.flatten(1) for t in form.columns.rounded())
    rounds = len(form.columns.parts) > 1
    offset, unsaid = (t.flatten() for t in form.offset.rounded())
    error = (form.offset_error.flatten() + unsaid) * _UP
    magnitude, reach = None if form.magnitude is None else form.magnitude.flatten(1), form.offset_magnitude.flatten()
    if (rounds and not bool((lost <= unit_roundoff(torch.float64) * columns.abs()).all())) or form.terms > _TERMS:
        return None
    sums = (columns, offset, error, reach, *(() if magnitude is None else (magnitude,)))
    if not all(bool(t.sum().isfinite()) for t in sums) or not form.amplified < inf:
        return None
    if magnitude is not None and not bool((magnitude > columns.abs() * 1.5).any()):
        magnitude = None    # |W| says as much
    plain = unerring(error) and not bool(offset.any() or reach.any())
    return Gemm(
        columns.T.contiguous(), None if plain else offset, int(rounds and bool(lost.any())), None if unerring(error) else error,
        None if plain else reach, form.amplified, None if magnitude is None else magnitude.T.contiguous(), form.terms,
    )


def fits_as(op: Gemm, nodes: Sequence[Node]) -> bool:
    """Whether the matrix goes into float32 where all that it stands for does."""
    return op.fits(torch.float32) or not all(node.op.fits(torch.float32) for node in nodes)

