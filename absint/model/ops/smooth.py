"""Erf, Gelu (exact and by tanh), Swish, Mish, Atan, Asinh, Sinh, Cosh, Softsign."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.model.families.real_function import minus_magnitude
from absint.model.op import OnnxNode, Op, Smoothness, register_import, register_op, unsupported

_TAIL, _CELLS = 40.0, 2048  # beyond 40 derivatives are 0 or 1 to all digits
_S_SHAPE = (Piece(-inf, 0.0, 1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONCAVE))


@register_op("Erf")
@dataclass(frozen=True, eq=False)
class Erf(Elementwise):
    """The error function: increasing, convex below 0, concave above."""

    pieces = _S_SHAPE
    smoothness = Smoothness.SMOOTH
    double = True
    # A rounded x^2 multiplies exp(-x^2) by up to 1 + x^2 u: 32 ulps until x = 4, where 1e-21 takes over.
    error = KernelError(ulps=32, absolute=1e-21)
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (-1.0, 1.0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite everywhere."""
        return torch.erf(x)

    def derivative(self, x: Tensor) -> Tensor:
        """2 / sqrt(pi) exp(-x^2)."""
        return 2 / sqrt(pi) * torch.exp(-x * x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt(-log(s sqrt(pi) / 2))."""
        distance = (-torch.log((slope * (sqrt(pi) / 2)).clamp(1e-300, 1.0))).sqrt()
        return -distance if piece.high == 0.0 else distance


class _Gate(Elementwise):
    """x times a gate that rises from 0 to 1: falls to one lowest point, then rises; concave, convex, concave.

    The derivative cancels at the lowest point: an absolute error. It also covers piece ends that no float holds.
    """

    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16, absolute=1e-15)
    execution = KernelError(ulps=32, absolute=4e-6)

    def touch(self, slope: Tensor, left: Tensor, right: Tensor, piece: Piece) -> Tensor:
        """By a table of f' over the piece, then regula falsi (Illinois) in its cell, cut to [left, right]."""
        return self._in_cell(slope, left, right, piece, 14)

    def near_touch(self, slope: Tensor, left: Tensor, right: Tensor, piece: Piece) -> Tensor:
        """Two steps in the cell, which f' crosses almost straight."""
        return self._in_cell(slope, left, right, piece, 2)

    def _in_cell(self, slope: Tensor, left: Tensor, right: Tensor, piece: Piece, most: int) -> Tensor:
        bend, goal = int(piece.curvature), int(piece.curvature) * slope
        grid = self.derived(("grid", piece), slope, lambda: torch.linspace(
            max(piece.low, -_TAIL), min(piece.high, _TAIL), _CELLS, dtype=slope.dtype, device=slope.device))
        steps = self.derived(("slopes", piece), slope, lambda: (bend * self.derivative(grid)).cummax(0).values)
        cell = torch.searchsorted(steps, goal.contiguous()).clamp(1, _CELLS - 1)
        a, b = (torch.minimum(torch.maximum(grid[k], left), right) for k in (cell - 1, cell))
        below, above = bend * self.derivative(a) - goal, bend * self.derivative(b) - goal
        best, least = torch.where(below.abs() < above.abs(), a, b), torch.minimum(below.abs(), above.abs())
        for _ in range(most):
            rise = above - below
            x = torch.where(rise > 0, a - below * ((b - a) / torch.where(rise > 0, rise, 1.0)), a)
            x = torch.minimum(torch.maximum(x, a), b)
            error = bend * self.derivative(x) - goal
            best, least = torch.where(error.abs() < least, x, best), torch.minimum(error.abs(), least)
            low = error < 0
            below, above = torch.where(low, error, below / 2), torch.where(low, above / 2, error)
            a, b = torch.where(low, x, a), torch.where(low, b, x)
        return torch.minimum(torch.maximum(best, left), right).detach()

def _gate_pieces(left: float, lowest: float, right: float) -> tuple[Piece, ...]:
    return (Piece(-inf, left, -1, Curvature.CONCAVE), Piece(left, lowest, -1, Curvature.CONVEX),
            Piece(lowest, right, 1, Curvature.CONVEX), Piece(right, inf, 1, Curvature.CONCAVE))


@dataclass(frozen=True, eq=False)
class Gelu(_Gate):
    """x Phi(x) with the normal distribution's Phi. f'' = phi(x) (2 - x^2)."""

    pieces = _gate_pieces(-sqrt(2), -0.7517915246935645, sqrt(2))
    codomain = (-0.1699712074799037, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """By erfc: no cancellation on the left. Phi(-40) is less than 1e-300."""
        return x.clamp(min=-40) * (0.5 * torch.erfc(-x / sqrt(2)))

    def derivative(self, x: Tensor) -> Tensor:
        """Phi(x) + x phi(x)."""
        near = x.clamp(-40, 40)
        return 0.5 * torch.erfc(-x / sqrt(2)) + near * torch.exp(-near * near / 2) / sqrt(2 * pi)


@dataclass(frozen=True, eq=False)
class TanhGelu(_Gate):
    """x y(2 g(x)) with the sigmoid y and g(x) = sqrt(2 / pi) (x + 0.044715 x^3); f'' is even, as Gelu's."""

    pieces = _gate_pieces(-1.4185040087908283, -0.7524614220710163, 1.4185040087908283)
    codomain = (-0.1700407505712541, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """The gate is 0 below -40 and 1 above 40 to all digits."""
        near = x.clamp(-40, 40)
        return x.clamp(min=-40) * torch.sigmoid(2 * sqrt(2 / pi) * (near + 0.044715 * near**3))

    def derivative(self, x: Tensor) -> Tensor:
        """y + x 2 g' y (1 - y)."""
        near = x.clamp(-40, 40)
        inner = 2 * sqrt(2 / pi) * (near + 0.044715 * near**3)
        outer = 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * near**2)
        return torch.sigmoid(inner) + near * outer * (torch.sigmoid(inner) * torch.sigmoid(-inner))


@register_import("Gelu")
def gelu_from_onnx(node: OnnxNode) -> Op:
    """approximate: "none" (default) or "tanh"."""
    kind = node.attribute("approximate", "none")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    if kind not in ("none", "tanh"):
        raise unsupported(node, f"approximate = {kind!r} is not known")
    return TanhGelu() if kind == "tanh" else Gelu()


@register_op("Swish")
@dataclass(frozen=True, eq=False)
class Swish(_Gate):
    """x / (1 + exp(-x))."""

    pieces = _gate_pieces(-2.3993572805154677, -1.2784645427610738, 2.3993572805154677)
    codomain = (-0.2784645427610738, inf)

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Swish:
        """alpha must be 1, its default."""
        if float(node.attribute("alpha", 1.0)) != 1:
            raise unsupported(node, "alpha other than 1 is not supported", "multiply by alpha before it and divide behind it")
        return cls()

    def evaluate(self, x: Tensor) -> Tensor:
        """The gate is less than 1e-300 below -800."""
        return x.clamp(min=-800) * torch.sigmoid(x)

    def derivative(self, x: Tensor) -> Tensor:
        """y (1 + x (1 - y)) with the sigmoid y."""
        near = x.clamp(-800, 800)
        return torch.sigmoid(near) * (1 + near * torch.sigmoid(-near))


@register_op("Mish")
@dataclass(frozen=True, eq=False)
class Mish(_Gate):
    """x tanh(log(1 + exp x))."""

    pieces = _gate_pieces(-2.256376396360793, -1.1924312145154952, 1.4905711794854284)
    codomain = (-0.3088434130172505, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """With q = exp(-|x|) the gate is q (q + 2) / (q (q + 2) + 2) below 0 and (1 + 2 q) / (1 + 2 q + 2 q^2) above."""
        return x.clamp(min=-800) * _mish_gate(x)

    def derivative(self, x: Tensor) -> Tensor:
        """gate + x (1 - gate^2) y(x) with the sigmoid y."""
        gate, near = _mish_gate(x), x.clamp(-800, 800)
        q = torch.exp(minus_magnitude(near))
        rest = torch.where(x < 0, 2 / (q * (q + 2) + 2), 2 * q * q / (1 + 2 * q + 2 * q * q))  # 1 - gate
        return gate + near * (rest * (1 + gate)) * torch.sigmoid(near)


def _mish_gate(x: Tensor) -> Tensor:
    q = torch.exp(minus_magnitude(x))
    below, above = q * (q + 2), 1 + 2 * q
    return torch.where(x < 0, below / (below + 2), above / (above + 2 * q * q))


@register_op("Atan")
@dataclass(frozen=True, eq=False)
class Atan(Elementwise):
    """Increasing, convex below 0, concave above."""

    pieces = _S_SHAPE
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=8)
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (-1.5707963267948968, 1.5707963267948968)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite everywhere."""
        return torch.atan(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / (1 + x^2), 0 where x^2 overflows."""
        return 1 / (1 + x * x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt((1 - s) / s)."""
        s = slope.clamp(1e-300, 1.0)
        distance = ((1 - s) / s).sqrt()
        return -distance if piece.high == 0.0 else distance


@register_op("Asinh")
@dataclass(frozen=True, eq=False)
class Asinh(Elementwise):
    """Increasing, convex below 0, concave above."""

    pieces = _S_SHAPE
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=16, absolute=1e-6)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite for every finite x."""
        return torch.asinh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / hypot(1, x)."""
        return 1 / torch.hypot(x, torch.ones_like(x))

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt(1 / s^2 - 1)."""
        s = slope.clamp(1e-150, 1.0)
        distance = ((1 - s) * (1 + s)).sqrt() / s
        return -distance if piece.high == 0.0 else distance


@register_op("Sinh")
@dataclass(frozen=True, eq=False)
class Sinh(Elementwise):
    """Increasing, concave below 0, convex above."""

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONCAVE), Piece(0.0, inf, 1, Curvature.CONVEX))
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=32, absolute=1e-6)

    def evaluate(self, x: Tensor) -> Tensor:
        """Infinite where the format overflows."""
        return torch.sinh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """cosh x."""
        return torch.cosh(x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ acosh s."""
        distance = torch.acosh(slope.clamp(min=1.0))
        return -distance if piece.high == 0.0 else distance


@register_op("Cosh")
@dataclass(frozen=True, eq=False)
class Cosh(Elementwise):
    """Convex, lowest at 0."""

    pieces = (Piece(-inf, 0.0, -1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONVEX))
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=32, absolute=1e-6)
    codomain = (1.0, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """Infinite where the format overflows."""
        return torch.cosh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """sinh x."""
        return torch.sinh(x)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """asinh s."""
        return torch.asinh(slope)


@register_op("Softsign")
@dataclass(frozen=True, eq=False)
class Softsign(Elementwise):
    """x / (1 + |x|): increasing, convex below 0, concave above, with slope 1 at 0, where f'' jumps from 2 to -2."""

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONCAVE))
    # Two roundings in the value; four in the derivative, whose square may underflow, which the floor covers.
    error = KernelError(ulps=6)
    execution = KernelError(ulps=16, absolute=1e-6)
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
