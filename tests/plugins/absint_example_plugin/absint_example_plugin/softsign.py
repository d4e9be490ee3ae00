"""Softsign: an operator that absint does not have. Its mathematics, once; every domain follows."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from torch import Tensor

from absint.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.op import register_op


@register_op("Softsign")
@dataclass(frozen=True, eq=False)
class Softsign(Elementwise):
    """x / (1 + |x|): increasing, convex below 0, concave above, with slope 1 at 0."""

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONCAVE))
    # Two roundings in the value; four in the derivative, whose square may underflow, which absint's floor covers.
    error = KernelError(ulps=6)
    codomain = (-1.0, 1.0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite for every finite x."""
        return x / (1 + x.abs())

    def derivative(self, x: Tensor) -> Tensor:
        """1 / (1 + |x|)^2, squared last so that it underflows instead of overflowing."""
        return (1 / (1 + x.abs())).square()

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """|x| = 1 / sqrt(s) - 1."""
        distance = slope.clamp(1e-30, 1.0).rsqrt() - 1
        return -distance if piece.high == 0.0 else distance
