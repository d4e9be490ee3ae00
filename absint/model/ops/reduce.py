"""Reductions over axes: sums and means are linear, ReduceMax and ReduceMin move entries to a Maximum. Also CumSum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from absint.model.constants import kept
from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.families.rational_linear import image, reciprocals
from absint.model.op import OnnxNode, Op, Shape, one_by_one, register_import
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import OfImage, steps
from absint.model.ops.piecewise import Abs
from absint.model.ops.power import Power
from absint.model.ops.shape import Identity, Reshape, Transpose, axes_of
from absint.model.shapes import held
from absint.numeric.rational import Rationals


@dataclass(frozen=True, eq=False)
class Reduce(Linear):
    """y = weight * (sum of x over `axes`, batch not counted); the axes stay with size 1 where `keep` says so.

    count: entries in a sum.  weight: 1 / count in float64 for a mean, None for a sum.
    """

    axes: tuple[int, ...]
    count: int
    keep: bool
    weight: Tensor | None = None
    nonnegative = True

    @property
    def execution_scale(self) -> float:
        """A mean is a sum before it is divided."""
        return 1.0 if self.weight is None else float(self.count)

    @property
    def forward_terms(self) -> int:
        """The sum; for a mean one product with a reciprocal that was rounded, then cast."""
        return self.count if self.weight is None else self.count + 3

    @property
    def adjoint_terms(self) -> int:
        """An entry enters one sum; a mean multiplies it by a reciprocal that was rounded, then cast."""
        return 1 if self.weight is None else 3

    def output_shape(self, *shapes: Shape) -> Shape:
        """Reduced axes gone, or of size 1."""
        (shape,) = shapes
        if any(a >= len(shape) for a in self.axes) or prod(shape[a] for a in self.axes) != self.count:
            raise ValueError(f"axes {self.axes} of {shape} do not have {self.count} entries together")
        return held(tuple(1 if k in self.axes else s for k, s in enumerate(shape) if self.keep or k not in self.axes))

    def apply(self, *xs: Tensor) -> Tensor:
        """The (weighted) sum."""
        # Of all axes one is left, of size 1: every value has axes.
        total = xs[0].sum([a + 1 for a in self.axes], keepdim=self.keep)
        total = total if total.dim() > 1 else total[:, None]
        return total if self.weight is None else total * self.constant("weight", total)

    apply_abs = apply

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The sum; a mean divides by the very count."""
        return image(self, xs) if self.weight is None else image(self, xs, reciprocals)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Every entry of a sum gets its row's weight."""
        kept = [1 if k in self.axes else s for k, s in enumerate(shapes[0])]
        y = y if self.weight is None else y * self.constant("weight", y)
        return (y.reshape(len(y), *kept).expand(len(y), *shapes[0]).contiguous(),)


@dataclass(frozen=True, eq=False)
class AxisMap(Linear):
    """y = W x along one axis, batch not counted. weight: (out, in).

    weight_terms: roundings in computing a coefficient. Zeros of W cost no rounding in any order of summation.
    scale_inside: see `Linear.execution_scale`; infinite where executions compute their coefficients less precisely.
    """

    axis: int
    weight: Tensor
    weight_terms: int = 0
    scale_inside: float = 1.0

    @property
    def execution_scale(self) -> float:
        """As given."""
        return self.scale_inside

    @property
    def faithful(self) -> bool:
        """Unless a coefficient was rounded."""
        return self.weight_terms == 0

    @property
    @kept
    def nonnegative(self) -> bool:
        """As the matrix is, where it was not rounded."""
        return self.weight_terms == 0 and bool((self.weight >= 0).all())

    @property
    def forward_terms(self) -> int:
        """The nonzeros of a row, one for casting W."""
        return int((self.weight != 0).sum(1).max()) + 1 + self.weight_terms

    @property
    def adjoint_terms(self) -> int:
        """The nonzeros of a column, one for casting W."""
        return int((self.weight != 0).sum(0).max()) + 1 + self.weight_terms

    def output_shape(self, *shapes: Shape) -> Shape:
        """The axis gets the matrix's number of rows."""
        (shape,) = shapes
        if self.axis >= len(shape) or shape[self.axis] != self.weight.shape[1]:
            raise ValueError(f"a matrix of shape {tuple(self.weight.shape)} cannot act along axis {self.axis} of {shape}")
        return (*shape[: self.axis], int(self.weight.shape[0]), *shape[self.axis + 1 :])

    def apply(self, *xs: Tensor) -> Tensor:
        """W x."""
        return self._along(xs[0], self.constant("weight", xs[0]))

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """|W| r."""
        return self._along(rs[0], self.constant("weight", rs[0], absolute=True))

    def _along(self, x: Tensor, weight: Tensor) -> Tensor:
        return (x.movedim(self.axis + 1, -1) @ weight.T).movedim(-1, self.axis + 1)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """W^T y."""
        return (self._along(y, self.constant("weight", y).T),)


def _reduced(node: OnnxNode) -> tuple[int, ...] | None:
    """Axes to reduce, batch not counted; None where there are none."""
    rank = len(node.shapes[0])
    given = axes_of(node)
    if not given:
        if node.attribute("noop_with_empty_axes", 0):
            return None
        given = list(range(rank))
    return tuple(sorted({node.axis(a) for a in given})) or None


def mean_of(axes: tuple[int, ...], shape: Shape, *, keep: bool) -> Reduce:
    """The mean over some axes of a tensor of that shape."""
    count = prod(shape[a] for a in axes)
    return Reduce(axes, count, keep, torch.tensor(1 / count, dtype=torch.float64))


@register_import("ReduceSum", "ReduceMean")
def linear_reduction_from_onnx(node: OnnxNode) -> Op:
    """Axes as attribute or input, keepdims, noop_with_empty_axes; never over the batch axis."""
    axes, shape, keep = _reduced(node), node.unbatched(0), bool(node.attribute("keepdims", 1))
    if axes is None:
        return Identity()
    if node.op_type == "ReduceMean":
        return mean_of(axes, shape, keep=keep)
    return Reduce(axes, prod(shape[a] for a in axes), keep)


@register_import("ReduceL1", "ReduceL2", "ReduceSumSquare")
def norm_from_onnx(node: OnnxNode) -> Op:
    """The sum of |x|, or of squares, or its root; axes as of ReduceSum."""
    total = linear_reduction_from_onnx(replace(node, op_type="ReduceSum"))
    if node.op_type == "ReduceL1":
        return steps(Abs(), total)
    return steps(Power(2.0), total, *([Power(0.5)] if node.op_type == "ReduceL2" else []))


def maximum_over(axes: tuple[int, ...], shape: Shape, *, keep: bool, negate: bool = False) -> Op:
    """The maximum over some axes, or the minimum as -max(-x)."""
    rest = [k for k in range(len(shape)) if k not in axes]
    order = (*rest, *axes)
    moves: list[Op] = [] if order == tuple(range(len(shape))) else [Transpose(order)]
    outer = tuple(shape[k] for k in rest) or (1,)
    flip: list[Op] = [Affine(-torch.ones((), dtype=torch.float64))] if negate else []
    final = held(tuple(1 if k in axes else s for k, s in enumerate(shape) if keep or k in rest))
    return steps(*flip, *moves, Reshape((*outer, prod(shape[k] for k in axes))), Maximum(), *flip, Reshape(final))


@register_import("ReduceMax", "ReduceMin")
def extreme_reduction_from_onnx(node: OnnxNode) -> Op:
    """As ReduceSum."""
    axes, shape = _reduced(node), node.unbatched(0)
    if axes is None:
        return Identity()
    return maximum_over(axes, shape, keep=bool(node.attribute("keepdims", 1)), negate=node.op_type == "ReduceMin")


@register_import("GlobalAveragePool", "GlobalMaxPool")
def global_pool_from_onnx(node: OnnxNode) -> Op:
    """Over all axes behind the channels."""
    if not node.batched[0] or len(node.shapes[0]) < 3:
        raise one_by_one(node, "batch, channels, spatial axes", max(3, len(node.shapes[0])))
    shape = node.unbatched(0)
    axes = tuple(range(1, len(shape)))
    return OfImage(mean_of(axes, shape, keep=True) if node.op_type == "GlobalAveragePool" else maximum_over(axes, shape, keep=True))


@register_import("CumSum")
def cumulative_sum_from_onnx(node: OnnxNode) -> Op:
    """A triangle of ones along a feature axis; exclusive and reverse."""
    axis = node.axis(int(node.required(1, "the axis").reshape(-1)[0]))
    size = node.unbatched(0)[axis]
    ones, shift = torch.ones(size, size, dtype=torch.float64), -1 if node.attribute("exclusive", 0) else 0
    return AxisMap(axis, ones.triu(-shift) if node.attribute("reverse", 0) else ones.tril(shift))
