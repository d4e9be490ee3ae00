"""ReduceLogSumExp, ReduceLogSum and ReduceProd: of several entries one, by way of other families."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, register_import
from absint.model.ops.assemble import steps
from absint.model.ops.exponential import Log
from absint.model.ops.log_sum_exp import LogSumExp
from absint.model.ops.product import Build, Multiply
from absint.model.ops.reduce import Reduce, linear_reduction_from_onnx
from absint.model.ops.shape import Gather, Reshape, Transpose
from absint.model.shapes import held


@dataclass(frozen=True, eq=False)
class ProductLast(Composite):
    """The product along the last axis, which stays with size 1: of pairs, of pairs of these, and so on."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., n) -> (..., 1)."""
        return (*shapes[0][:-1], 1)

    def forward(self, *xs: Tensor) -> Tensor:
        """The product."""
        return xs[0].prod(-1, keepdim=True)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Both halves multiplied, as long as there are two."""
        (name,), (shape,) = inputs, shapes
        count = shape[-1]
        if count == 1:
            return build(Reshape(shape), (name,))
        half, index = count // 2, torch.arange(prod(shape)).reshape(shape)
        parts = (index[..., :half], index[..., half : 2 * half], *([index[..., 2 * half :]] if count % 2 else []))
        left, right, *odd = (build(Gather.of(part.contiguous()), (name,)) for part in parts)
        rest = build(ProductLast(), (build(Multiply(), (left, right)),))
        return build(Multiply(), (rest, odd[0])) if odd else rest


@register_import("ReduceLogSumExp", "ReduceLogSum", "ReduceProd")
def reduction_from_onnx(node: OnnxNode) -> Op:
    """Axes as of ReduceSum; over none of them the entries themselves, or their logarithms."""
    total = linear_reduction_from_onnx(replace(node, op_type="ReduceSum"))
    if node.op_type == "ReduceLogSum":
        return steps(total, Log())
    if not isinstance(total, Reduce):
        return total
    shape = node.unbatched(0)
    rest = [k for k in range(len(shape)) if k not in total.axes]
    outer = tuple(shape[k] for k in rest) or (1,)
    final = held(tuple(1 if k in total.axes else s for k, s in enumerate(shape) if total.keep or k in rest))
    reduce = LogSumExp(prod(shape[k] for k in total.axes)) if node.op_type == "ReduceLogSumExp" else ProductLast()
    return steps(Transpose((*rest, *total.axes)), Reshape((*outer, prod(shape[k] for k in total.axes))), reduce, Reshape(final))
