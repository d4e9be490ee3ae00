"""Add and Sub: of two computed tensors (residual branches), or of one and a constant."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Op, Shape, register_import
from absint.model.ops.affine import shift_from_onnx
from absint.model.ops.extremum import spread_each
from absint.model.window import Window


@dataclass(frozen=True, eq=False)
class Sum(Linear):
    """y = x + sign z for two tensors of one shape."""

    sign: float = 1.0
    arity = 2
    forward_terms = 2
    faithful = True

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        if shapes[0] != shapes[1]:
            raise ValueError(f"shapes {shapes[0]} and {shapes[1]} differ")
        return shapes[0]

    def apply(self, *xs: Tensor) -> Tensor:
        """x + sign z."""
        return xs[0] + xs[1] if self.sign > 0 else xs[0] - xs[1]

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """r + q."""
        return rs[0] + rs[1]

    def part(self, position: int, x: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
        """The one summand, signed."""
        return -x if position == 1 and self.sign < 0 else x

    def windows(self, window: Window, shapes: tuple[Shape, ...]) -> tuple[Window, ...]:
        """The same of both."""
        return window, window

    def adjoint_within(self, y: Tensor, window: Window) -> tuple[Tensor, ...]:
        """As everywhere."""
        return self.adjoint(y, ())

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """(y, sign y)."""
        return y, y if self.sign > 0 else -y


@register_import("Add", "Sub")
def sum_from_onnx(node: OnnxNode) -> Op:
    """Of two computed operands, those of a smaller shape are repeated first."""
    if node.constant(0) is not None or node.constant(1) is not None:
        return shift_from_onnx(node)
    return spread_each(node, Sum(1.0 if node.op_type == "Add" else -1.0))
