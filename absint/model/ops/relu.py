"""Relu and LeakyRelu: exact kernels, one knot at 0."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Knot, Piece
from absint.model.op import OnnxNode, register_op
from absint.numeric.rational import Rationals, constant
from absint.numeric.rounding import unit_roundoff


@register_op("Relu")
@dataclass(frozen=True, eq=False)
class Relu(Elementwise):
    """max(x, 0): increasing, convex, affine on both sides of 0."""

    pieces = (Piece(-inf, inf, 1, Curvature.CONVEX),)
    knots = (Knot(0.0, 0.0, 1.0),)
    piecewise_linear = True
    slope_by_image = True
    codomain = (0.0, inf)
    lipschitz = 1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.relu(x)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """max(x, 0)."""
        return xs[0].where(xs[0].sign() > 0, constant(0.0))

    def derivative(self, x: Tensor) -> Tensor:
        """0 or 1."""
        return (x > 0).to(x.dtype)


@register_op("LeakyRelu")
@dataclass(frozen=True, eq=False)
class LeakyRelu(Elementwise):
    """x above 0, alpha x below. Convex for alpha <= 1, concave for alpha >= 1, not monotone for alpha < 0."""

    alpha: float = 0.01
    piecewise_linear = True
    error = KernelError(ulps=2)
    execution = KernelError(ulps=2)

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> LeakyRelu:
        """alpha defaults to 0.01, as float32."""
        return cls(float(node.attribute("alpha", float(torch.tensor(0.01)))))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Two affine pieces."""
        left = (self.alpha > 0) - (self.alpha < 0)
        return (Piece(-inf, 0.0, left, Curvature.LINEAR), Piece(0.0, inf, 1, Curvature.LINEAR))

    @property
    def knots(self) -> tuple[Knot, ...]:
        """The kink at 0."""
        return (Knot(0.0, self.alpha, 1.0),)

    @property
    def lipschitz(self) -> float:
        """The steeper side."""
        return max(1.0, abs(self.alpha))

    def fits(self, dtype: torch.dtype) -> bool:
        """`evaluate` rounds alpha to the format of x: a relative error of u, unless alpha is lost by underflow."""
        cast = float(torch.tensor(self.alpha, dtype=dtype))
        return abs(cast - self.alpha) <= unit_roundoff(dtype) * abs(self.alpha)

    def evaluate(self, x: Tensor) -> Tensor:
        """One rounding below 0."""
        return torch.where(x > 0, x, x * self.alpha)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """alpha is the float that the file holds."""
        return xs[0].where(xs[0].sign() > 0, xs[0] * constant(self.alpha))

    def derivative(self, x: Tensor) -> Tensor:
        """alpha or 1."""
        return torch.where(x > 0, torch.ones_like(x), torch.full_like(x, self.alpha))
