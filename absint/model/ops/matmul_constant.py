"""MatMul with a constant of more than two axes: one matrix for each position along the leading axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Op, Shape, mixes
from absint.model.ops.assemble import steps
from absint.model.ops.shape import Reshape
from absint.model.shapes import held


@dataclass(frozen=True, eq=False)
class Matrices(Linear):
    """y = x W, or W x where `left`; leading axes broadcast. weight: (..., in, out), or (..., out, in) where `left`.

    repeats: result matrices for each matrix of x (more than 1 where W has leading axes that x lacks).
    """

    weight: Tensor
    left: bool
    repeats: int

    @property
    def faithful(self) -> bool:
        """The matrices are the network's own."""
        return True

    @property
    def forward_terms(self) -> int:
        """One product per input, one for casting W."""
        return int(self.weight.shape[-1 if self.left else -2]) + 1

    @property
    def adjoint_terms(self) -> int:
        """One product per output in each repetition, one for casting W."""
        return int(self.weight.shape[-2 if self.left else -1]) * self.repeats + 1

    def output_shape(self, *shapes: Shape) -> Shape:
        """As numpy's matmul."""
        x, w = torch.empty(shapes[0], device="meta"), torch.empty(self.weight.shape, device="meta")
        try:
            return tuple((w @ x if self.left else x @ w).shape)
        except RuntimeError as error:
            raise ValueError(f"{shapes[0]} and matrices of shape {tuple(self.weight.shape)} do not multiply") from error

    def apply(self, *xs: Tensor) -> Tensor:
        """The product."""
        return self._times(xs[0], self.constant("weight", xs[0]))

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """With |W|."""
        return self._times(rs[0], self.constant("weight", rs[0], absolute=True))

    def _times(self, x: Tensor, weight: Tensor) -> Tensor:
        # The batch stays in front of whatever leading axes W adds.
        lead = max(weight.dim() - x.dim() + 1, 0)
        x = x.reshape(len(x), *(1,) * lead, *x.shape[1:])
        return weight @ x if self.left else x @ weight


def matrices_from_onnx(node: OnnxNode, position: int) -> Op:
    """position: of the constant, which is a vector or has more than two axes."""
    weight, other = node.required(position, "one factor").double(), 1 - position
    shape, left = node.unbatched(other), position == 0
    if not shape or (len(shape) == 1 and left and node.batched[other]):
        raise mixes(node, "contracts the batch axis")
    if weight.dim() == 1:
        # A vector on one side: a matrix of one row or column whose axis goes again.
        matrix, gone = (weight[None], -2) if left else (weight[:, None], -1)
        inner = shape if len(shape) > 1 else (*shape, 1) if left else (1, *shape)
        kept = [*inner]
        kept[gone] = 1
        result = tuple(kept[:gone] if gone == -1 else (*kept[:-2], kept[-1])) if len(shape) > 1 else ()
        return steps(Reshape(inner), Matrices(matrix, left, 1), Reshape(held(result)))
    if node.batched[other]:
        if weight.dim() > len(node.shapes[other]) or (weight.dim() == len(node.shapes[other]) and weight.shape[0] != 1):
            raise mixes(node, f"a constant of shape {tuple(weight.shape)} acts along the batch axis")
        if weight.dim() == len(node.shapes[other]):
            weight = weight[0]
    if len(shape) == 1:
        inner, gone = ((*shape, 1), -1) if left else ((1, *shape), -2)
        op = Matrices(weight, left, prod(weight.shape[:-2]))
        full = op.output_shape(inner)
        return steps(Reshape(inner), op, Reshape(tuple(s for k, s in enumerate(full) if k != len(full) + gone)))
    whole = Matrices(weight, left, 1).output_shape(shape)
    return Matrices(weight, left, prod(whole[:-2]) // max(1, prod(shape[:-2])))
