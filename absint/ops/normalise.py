"""Softmax, LogSoftmax, LayerNormalization, InstanceNormalization and Div of two tensors: composites of other families."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.op import Composite, OnnxNode, Op, Shape, register_import, unsupported
from absint.ops.affine import Affine, div_from_onnx
from absint.ops.assemble import OfImage
from absint.ops.exponential import Exp, Log
from absint.ops.gemm import Gemm
from absint.ops.power import Power
from absint.ops.product import Build, Multiply, Times, broadcast, same_axes, sum_last
from absint.ops.shape import Gather, Reshape, Transpose
from absint.ops.sum import Sum


@dataclass(frozen=True, eq=False)
class Softmax(Composite):
    """exp(x_i) / sum_j exp(x_j) along one axis, as 1 / sum_j exp(x_j - x_i); logarithmic: minus the log of that sum.

    The differences keep what the entries have in common, and the sum is at least 1.
    Source: Wei et al., Convex Bounds on the Softmax Function, AISTATS 2023, section 3 (the exponential-reciprocal form).
    """

    axis: int
    logarithmic: bool = False

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """By torch's stable kernels."""
        function = torch.log_softmax if self.logarithmic else torch.softmax
        return function(xs[0], self.axis + 1)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Differences, Exp, sum, then Reciprocal or minus Log."""
        (shape,) = shapes
        last = len(shape) - 1
        order = (*(k for k in range(len(shape)) if k != self.axis), self.axis)
        name = inputs[0] if self.axis == last else build(Transpose(order), inputs)
        moved = tuple(shape[k] for k in order)
        index = torch.arange(prod(moved)).reshape(moved)
        pairs = (*moved, moved[-1])
        all_j, own_i = index[..., None, :].expand(pairs), index[..., :, None].expand(pairs)
        difference = build(Sum(-1.0), tuple(build(Gather.of(i.contiguous()), (name,)) for i in (all_j, own_i)))
        total = sum_last(build, build(Exp(), (difference,)), pairs)
        if self.logarithmic:
            result = build(Affine(scale=-torch.ones((), dtype=torch.float64)), (build(Log(), (total,)),))
        else:
            result = build(Power(-1.0), (total,))
        inverse = tuple(sorted(range(len(order)), key=lambda k: order[k]))
        return result if self.axis == last else build(Transpose(inverse), (result,))


@register_import("Softmax", "LogSoftmax")
def softmax_from_onnx(node: OnnxNode) -> Op:
    """From opset 13 along one axis; before, over all axes from `axis` on, which must then be the last one."""
    rank = len(node.shapes[0])
    axis = int(node.attribute("axis", -1 if node.opset >= 13 else 1))
    axis = axis + rank if axis < 0 else axis
    if node.opset < 13 and axis != rank - 1:
        raise unsupported(node, f"axis={axis} flattens several axes in opset {node.opset}", "export with opset 13 or later")
    return Softmax(node.axis(axis), node.op_type == "LogSoftmax")


@dataclass(frozen=True, eq=False)
class Normalise(Composite):
    """(x - mean) / sqrt(variance + epsilon) over the last `axes` axes, then scale x + shift (None: not applied)."""

    axes: int
    epsilon: float
    scale: Tensor | None = None
    shift: Tensor | None = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        if not 0 < self.axes <= len(shapes[0]):
            raise ValueError(f"cannot normalise {self.axes} axes of {shapes[0]}")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        over = tuple(range(xs[0].dim() - self.axes, xs[0].dim()))
        centered = xs[0] - xs[0].mean(over, keepdim=True)
        y = centered / (centered.square().mean(over, keepdim=True) + self.epsilon).sqrt()
        y = y if self.scale is None else y * self.constant("scale", y)
        return y if self.shift is None else y + self.constant("shift", y)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Centre (linear), square, mean, power -1/2, product."""
        (shape,) = shapes
        lead, n = shape[: len(shape) - self.axes], prod(shape[len(shape) - self.axes :])
        flat = build(Reshape((*lead, n)), inputs)
        # 1 - 1/n and 1/n are rounded at most twice.
        centering = torch.eye(n, dtype=torch.float64) - 1 / n
        centered = build(Gemm(centering, weight_terms=2), (flat,))
        mean = torch.full((1, n), 1 / n, dtype=torch.float64)
        variance = build(Gemm(mean, weight_terms=1), (build(Power(2.0), (centered,)),))
        shifted = build(Affine(shift=torch.tensor(self.epsilon, dtype=torch.float64)), (variance,))
        spread = broadcast(build, build(Power(-0.5), (shifted,)), (*lead, 1), (*lead, n))
        result = build(Reshape(shape), (build(Times(), (centered, spread)),))
        if self.scale is None and self.shift is None:
            return result
        return build(Affine(scale=self.scale, shift=self.shift), (result,))


@register_import("LayerNormalization")
def layer_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the axes from `axis` on; scale and bias must be constants of the normalised shape."""
    rank = len(node.shapes[0])
    axis = int(node.attribute("axis", -1))
    axis = axis + rank if axis < 0 else axis
    node.axis(axis)
    scale, shift = node.required(1, "the scale").double(), node.constant(2)
    if len(node.shapes) > 2 and shift is None and node.shapes[2]:
        raise unsupported(node, "the bias must be a constant", "export with constant folding")
    return Normalise(rank - axis, float(node.attribute("epsilon", float(torch.tensor(1e-5)))), scale,
                     None if shift is None else shift.double())


@register_import("InstanceNormalization")
def instance_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the spatial axes of each channel."""
    rank = len(node.shapes[0])
    if not node.batched[0] or rank < 3:
        raise unsupported(node, "needs an input (batch, channels, spatial axes)", "keep the batch axis apart")
    view = (-1, *(1,) * (rank - 2))
    scale, shift = (node.required(k, what).double().reshape(view) for k, what in ((1, "the scale"), (2, "the bias")))
    return OfImage(Normalise(rank - 2, float(node.attribute("epsilon", float(torch.tensor(1e-5)))), scale, shift))


@dataclass(frozen=True, eq=False)
class Divide(Composite):
    """x / z with broadcasting: x times the reciprocal of z; unbounded where z may be 0. numerator: a constant x, or None."""

    numerator: Tensor | None = None
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The broadcast shape."""
        constant = () if self.numerator is None else (tuple(self.numerator.shape),)
        return tuple(torch.broadcast_shapes(*constant, *shapes))

    def forward(self, *xs: Tensor) -> Tensor:
        """x / z."""
        if self.numerator is not None:
            return self.constant("numerator", xs[0]) / xs[0]
        return xs[0] / xs[1]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Reciprocal, then a product or a scaling."""
        inverse = build(Power(-1.0), (inputs[-1],))
        if self.numerator is not None:
            return build(Affine(scale=self.numerator), (inverse,))
        return build(Multiply(), (inputs[0], inverse))


@register_import("Div")
def divide_from_onnx(node: OnnxNode) -> Op:
    """By a constant: a scaling. By a computed tensor: through its reciprocal."""
    if node.constant(1) is not None:
        return div_from_onnx(node)
    constant = node.constant(0)
    if constant is None:
        same_axes(node)
        return Divide()
    if constant.numel() != 1:
        raise unsupported(node, "a constant tensor divided by a computed one is not supported", "multiply by a reciprocal")
    return Divide(constant.double().reshape(()))


