"""Sigmoid and Tanh: increasing, convex below 0, concave above, with closed-form inverse derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.model.op import Smoothness, register_op

_S_SHAPE = (Piece(-inf, 0.0, 1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONCAVE))


@register_op("Sigmoid")
@dataclass(frozen=True, eq=False)
class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    pieces = _S_SHAPE
    smoothness = Smoothness.SMOOTH
    # exp within 2 ulps, a sum and a quotient; 16 leaves room for vectorised kernels. Checked in tests/ against mpmath.
    error = KernelError(ulps=16, absolute=1e-300)
    # onnxruntime's rational approximation errs by 4.4e-8 near -18, where the value is 2e-8.
    execution = KernelError(ulps=16, absolute=2.0**-20)
    codomain = (0.0, 1.0)
    lipschitz = 0.25

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite everywhere."""
        return torch.sigmoid(x)

    def derivative(self, x: Tensor) -> Tensor:
        """y(x) y(-x): no cancellation in 1 - y."""
        return torch.sigmoid(x) * torch.sigmoid(-x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """y (1 - y) = s has the root y = (1 - sqrt(1 - 4 s)) / 2 on the left; x = log(y / (1 - y))."""
        s = slope.clamp(1e-300, 0.25)
        left = torch.log(2 * s / (1 + (1 - 4 * s).sqrt())) * 2 - torch.log(s)
        return left if piece.high == 0.0 else -left


@register_op("Tanh")
@dataclass(frozen=True, eq=False)
class Tanh(Elementwise):
    """Hyperbolic tangent."""

    pieces = _S_SHAPE
    smoothness = Smoothness.SMOOTH
    error = KernelError(ulps=16, absolute=1e-300)
    execution = KernelError(ulps=16, absolute=2.0**-20)
    codomain = (-1.0, 1.0)
    lipschitz = 1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite everywhere."""
        return torch.tanh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """4 y(2x) y(-2x) with the sigmoid y: no cancellation in 1 - tanh^2."""
        return 4 * torch.sigmoid(2 * x) * torch.sigmoid(-2 * x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """1 - t^2 = s; x = -asinh(sqrt((1 - s) / s)) on the left."""
        s = slope.clamp(1e-300, 1.0)
        left = -torch.asinh(((1 - s) / s).sqrt())
        return left if piece.high == 0.0 else -left
