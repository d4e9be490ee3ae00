"""Asin, Acos, Atanh and Acosh: defined on a part of the reals, and steep at its ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.model.op import Smoothness, register_op

_BELOW_ONE = 1 - 2.0**-53   # the largest number below 1 in float64: f' is finite there


class _Steep(Elementwise):
    """A function that gets infinitely steep where its domain ends: slopes are looked for between what is not."""

    def _bracket(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes between which the best one lies: that at the flattest point, and the steeper of the chord and the middle's.

        A line that touches f right of the middle and meets it at an end is flatter than the chord, as f bends away from it from there on;
        else it touches f in the middle.
        """
        flattest = self.derivative(torch.minimum(torch.maximum(torch.zeros_like(low), low), high))
        middle, chord = self.derivative(low / 2 + high / 2), self._chord(low, high)
        ends = torch.stack([torch.nan_to_num(slope, nan=0.0) for slope in (flattest, middle, chord)])
        return ends.amin(0), ends.amax(0)


@register_op("Asin")
@dataclass(frozen=True, eq=False)
class Asin(_Steep):
    """Increasing on [-1, 1], concave below 0, convex above, infinitely steep at the ends; undefined elsewhere."""

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONCAVE), Piece(0.0, inf, 1, Curvature.CONVEX))
    smoothness = Smoothness.INSIDE
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (-1.5707963267948968, 1.5707963267948968)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """-1 <= x <= 1."""
        return (low >= -1) & (high <= 1)

    def evaluate(self, x: Tensor) -> Tensor:
        """NaN where it is undefined."""
        return torch.asin(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / sqrt((1 - x) (1 + x)): no difference cancels but exactly."""
        return ((1 - x) * (1 + x)).rsqrt()

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt(1 - 1 / s^2)."""
        flat = 1 / slope.clamp(min=1.0)
        distance = ((1 - flat) * (1 + flat)).sqrt().clamp(max=_BELOW_ONE)
        return -distance if piece.high == 0.0 else distance


@register_op("Acos")
@dataclass(frozen=True, eq=False)
class Acos(_Steep):
    """Decreasing on [-1, 1], convex below 0, concave above, infinitely steep at the ends; undefined elsewhere."""

    pieces = (Piece(-inf, 0.0, -1, Curvature.CONVEX), Piece(0.0, inf, -1, Curvature.CONCAVE))
    smoothness = Smoothness.INSIDE
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (0.0, 3.1415926535897936)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """-1 <= x <= 1."""
        return (low >= -1) & (high <= 1)

    def evaluate(self, x: Tensor) -> Tensor:
        """NaN where it is undefined."""
        return torch.acos(x)

    def derivative(self, x: Tensor) -> Tensor:
        """-1 / sqrt((1 - x) (1 + x))."""
        return -((1 - x) * (1 + x)).rsqrt()

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt(1 - 1 / s^2)."""
        flat = 1 / (-slope).clamp(min=1.0)
        distance = ((1 - flat) * (1 + flat)).sqrt().clamp(max=_BELOW_ONE)
        return -distance if piece.high == 0.0 else distance


@register_op("Atanh")
@dataclass(frozen=True, eq=False)
class Atanh(_Steep):
    """Increasing on -1 < x < 1, concave below 0, convex above; undefined elsewhere."""

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONCAVE), Piece(0.0, inf, 1, Curvature.CONVEX))
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=32, absolute=1e-6)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """-1 < x < 1."""
        return (low > -1) & (high < 1)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite wherever it is defined."""
        return torch.atanh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / ((1 - x) (1 + x))."""
        return 1 / ((1 - x) * (1 + x))

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """-+ sqrt(1 - 1 / s)."""
        distance = (1 - 1 / slope.clamp(min=1.0)).sqrt().clamp(max=_BELOW_ONE)
        return -distance if piece.high == 0.0 else distance


@register_op("Acosh")
@dataclass(frozen=True, eq=False)
class Acosh(Elementwise):
    """Increasing and concave on x >= 1, infinitely steep at 1; undefined elsewhere."""

    pieces = (Piece(-inf, inf, 1, Curvature.CONCAVE),)
    smoothness = Smoothness.INSIDE
    double = True
    error = KernelError(ulps=16)
    execution = KernelError(ulps=32, absolute=1e-6)
    codomain = (0.0, inf)
    anchor = 2.0

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """x >= 1."""
        return low >= 1

    def evaluate(self, x: Tensor) -> Tensor:
        """NaN where it is undefined."""
        return torch.acosh(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 / sqrt((x - 1) (x + 1)), 0 where that overflows."""
        return (x - 1).rsqrt() * (x + 1).rsqrt()

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """sqrt(1 + 1 / s^2)."""
        return torch.hypot(torch.ones_like(slope), 1 / slope.clamp(min=1e-300))
