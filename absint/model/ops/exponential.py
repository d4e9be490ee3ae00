"""Exp, Log, Softplus, and the units with an exponential branch: Elu, Selu, Celu."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Knot, Piece
from absint.model.families.real_function import minus_magnitude
from absint.model.op import OnnxNode, Smoothness, register_import, register_op, unsupported


@register_op("Exp")
@dataclass(frozen=True, eq=False)
class Exp(Elementwise):
    """Increasing and convex."""

    pieces = (Piece(-inf, inf, 1, Curvature.CONVEX),)
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=4)
    execution = KernelError(ulps=32)
    codomain = (0.0, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """Infinite where the format overflows."""
        return torch.exp(x)

    def derivative(self, x: Tensor) -> Tensor:
        """exp x."""
        return torch.exp(x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """log s."""
        return torch.log(slope)


@register_op("Log")
@dataclass(frozen=True, eq=False)
class Log(Elementwise):
    """Increasing and concave on x > 0, undefined elsewhere."""

    pieces = (Piece(-inf, inf, 1, Curvature.CONCAVE),)
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=4)
    execution = KernelError(ulps=16, absolute=1e-6)
    anchor = 1.0

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """x > 0."""
        return low > 0

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite for every x > 0."""
        return torch.log(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / x."""
        return 1 / x

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """1 / s."""
        return 1 / slope


@register_op("Softplus")
@dataclass(frozen=True, eq=False)
class Softplus(Elementwise):
    """log(1 + exp x): increasing and convex."""

    pieces = (Piece(-inf, inf, 1, Curvature.CONVEX),)
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=8)
    # Runtimes compute log(1 + exp x) as it stands, or cut it off far left.
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (0.0, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """max(x, 0) + log(1 + exp(-|x|)): finite for every finite x; libraries' thresholds overflow or cut off."""
        return x.clamp(min=0) + torch.log1p(torch.exp(minus_magnitude(x)))

    def derivative(self, x: Tensor) -> Tensor:
        """The sigmoid."""
        return torch.sigmoid(x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """log(s / (1 - s))."""
        return torch.logit(slope.clamp(1e-300, 1 - 1e-16))


@dataclass(frozen=True, eq=False)
class ExponentialUnit(Elementwise):
    """scale x above 0, scale alpha (exp(x / beta) - 1) below; scale, beta > 0.

    Elu is (alpha, 1, 1), Selu (alpha, 1, gamma), Celu (alpha, alpha, 1).
    """

    alpha: float
    beta: float = 1.0
    scale: float = 1.0
    double = True
    error = KernelError(ulps=12)

    @property
    def steep(self) -> float:
        """Slope just left of 0."""
        return self.scale * self.alpha / self.beta

    @property
    def derivative_error(self) -> KernelError:
        """An error of d in x / beta multiplies exp(x / beta) by up to 1 + 745 d before it underflows; d is 2 u where CUDA multiplies
        by the rounded 1 / beta.
        """
        return KernelError(ulps=12 if self.beta == 1 else 1520)

    @property
    def execution(self) -> KernelError:
        """exp(t) - 1 cancels near 0."""
        return KernelError(ulps=16, absolute=1e-6 * self.scale * abs(self.alpha))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Bent below 0 as the sign of alpha says, affine above."""
        bend = Curvature((self.alpha > 0) - (self.alpha < 0))
        return (Piece(-inf, 0.0, int(bend), bend), Piece(0.0, inf, 1, Curvature.LINEAR))

    @property
    def knots(self) -> tuple[Knot, ...]:
        """A kink at 0 unless the slopes agree."""
        return () if self.steep == self.scale else (Knot(0.0, self.steep, self.scale),)

    def evaluate(self, x: Tensor) -> Tensor:
        """By expm1: no cancellation."""
        return torch.where(x > 0, self.scale * x, self.scale * self.alpha * torch.expm1(x.clamp(max=0) / self.beta))

    def derivative(self, x: Tensor) -> Tensor:
        """scale, or scale alpha / beta exp(x / beta)."""
        below = self.steep * torch.exp(x.clamp(max=0) / self.beta)
        return torch.where(x > 0, torch.full_like(x, self.scale), below)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """beta log(s / steep)."""
        return self.beta * torch.log((slope / self.steep).clamp(min=1e-300)) if self.steep else torch.zeros_like(slope)


def _float32(value: float) -> float:
    return float(torch.tensor(value))


@register_import("Elu")
def elu_from_onnx(node: OnnxNode) -> ExponentialUnit:
    """alpha defaults to 1."""
    return ExponentialUnit(float(node.attribute("alpha", 1.0)))


@register_import("Selu")
def selu_from_onnx(node: OnnxNode) -> ExponentialUnit:
    """Defaults of the standard, as float32. Opset 1 had others (1.6732, 1.0507)."""
    alpha, gamma = (1.6732632423543772, 1.0507009873554805) if node.opset >= 6 else (1.6732, 1.0507)
    scale = float(node.attribute("gamma", _float32(gamma)))
    if scale <= 0:
        raise unsupported(node, f"gamma = {scale:g} is not positive")
    return ExponentialUnit(float(node.attribute("alpha", _float32(alpha))), 1.0, scale)


@register_import("Celu")
def celu_from_onnx(node: OnnxNode) -> ExponentialUnit:
    """alpha defaults to 1."""
    alpha = float(node.attribute("alpha", 1.0))
    if alpha <= 0:
        raise unsupported(node, f"alpha = {alpha:g} is not positive")
    return ExponentialUnit(alpha, alpha)
