"""Shrink, which absint takes apart as ONNX defines it, into comparisons. Its mathematics, once; every domain follows."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from torch import Tensor

from absint.elementwise import Curvature, Elementwise, KernelError, Knot, Piece
from absint.op import OnnxNode, register_op, unsupported

ABSINT_CONTRACT = 1


@register_op("Shrink")
@dataclass(frozen=True, eq=False)
class Shrink(Elementwise):
    """Soft thresholding: 0 on [-lambd, lambd], beyond it x moved towards 0 by lambd. Affine between its two kinks."""

    lambd: float = 0.5

    piecewise_linear = True
    error = KernelError(ulps=2)  # one subtraction
    execution = KernelError(ulps=2)

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Shrink:
        """Only with bias = lambd > 0: any other bias makes the function jump."""
        lambd, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))
        if bias != lambd or not lambd > 0:
            raise unsupported(node, f"lambd={lambd:g} and bias={bias:g} differ or are not positive", "use soft thresholding")
        return cls(lambd)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Rising, flat, rising."""
        ends = (-inf, -self.lambd, self.lambd, inf)
        return tuple(Piece(a, b, rising, Curvature.LINEAR) for a, b, rising in zip(ends, ends[1:], (1, 0, 1), strict=False))

    @property
    def knots(self) -> tuple[Knot, ...]:
        """The two kinks."""
        return (Knot(-self.lambd, 1.0, 0.0), Knot(self.lambd, 0.0, 1.0))

    def evaluate(self, x: Tensor) -> Tensor:
        """One of the two summands is 0."""
        return (x - self.lambd).clamp(min=0) + (x + self.lambd).clamp(max=0)

    def derivative(self, x: Tensor) -> Tensor:
        """0 or 1."""
        return (x.abs() > self.lambd).to(x.dtype)
