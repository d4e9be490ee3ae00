"""x ** p with a constant exponent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.model.op import Smoothness
from absint.numeric.interval import Interval
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics

_LARGEST = 64  # exponent up to which powers of rational numbers are taken


@dataclass(frozen=True, eq=False)
class Power(Elementwise):
    """x ** p for p other than 0 and 1.

    Whole p: all reals (but 0 for p < 0). Other p: x >= 0 (x > 0 for p < 0). Elsewhere undefined: nothing is claimed.
    """

    exponent: float
    double = True
    error = KernelError(ulps=8)
    anchor = 1.0

    @property
    def whole(self) -> bool:
        """Defined for negative x."""
        return self.exponent.is_integer()

    @property
    def smoothness(self) -> Smoothness:
        """At 0, where a power with a fraction ends, f'' is infinite below an exponent of 2."""
        inside = not self.whole and 0 < self.exponent < 2
        return Smoothness.INSIDE if inside else Smoothness.SMOOTH

    @property
    def even(self) -> bool:
        """x ** p = (-x) ** p."""
        return self.whole and self.exponent % 2 == 0

    @property
    def derivative_error(self) -> KernelError:
        """The exponent p - 1 may be rounded, which multiplies by up to 1 + |p - 1| u log x, |log x| < 745."""
        exact = Fraction(self.exponent) - 1 == Fraction(self.exponent - 1)
        return KernelError(ulps=8 if exact else 8 + 760 * max(1.0, abs(self.exponent)))

    @property
    def execution(self) -> KernelError:
        """A float32 power may go through exp(p log x): |p log x| < 90 u more before it overflows."""
        return KernelError(ulps=8 if self.exponent in (2.0, 0.5, -1.0) else 256)

    @property
    def codomain(self) -> tuple[float, float]:  # type: ignore[override]
        """Not negative unless odd."""
        return (-inf, inf) if self.whole and not self.even else (0.0, inf)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Above 0 convex unless 0 < p < 1; below 0 the mirror image."""
        p = self.exponent
        rise, bend = 1 if p > 0 else -1, Curvature.CONCAVE if 0 < p < 1 else Curvature.CONVEX
        right = Piece(0.0, inf, rise, bend)
        if self.even:
            return (Piece(-inf, 0.0, -rise, bend), right)
        return (Piece(-inf, 0.0, rise, Curvature(-bend)), right)

    def defined(self, low: Tensor, high: Tensor) -> Tensor | None:
        """See the class."""
        if self.whole:
            return None if self.exponent > 0 else (low > 0) | (high < 0)
        return low >= 0 if self.exponent > 0 else low > 0

    def evaluate(self, x: Tensor) -> Tensor:
        """Correctly rounded for 2, 1/2 and -1."""
        if self.exponent == 2:
            return x * x
        if self.exponent == 0.5:
            return x.sqrt()
        return 1 / x if self.exponent == -1 else x**self.exponent

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Odd powers keep the sign, which a bound rounded outward would lose at 0."""
        image = super().range(intervals, num)
        if not self.whole or self.even or self.exponent < 0:
            return image
        (operand,) = intervals
        lower = torch.where(operand.lower >= 0, image.lower.clamp(min=0), image.lower)
        return replace(image, lower=lower, upper=torch.where(operand.upper <= 0, image.upper.clamp(max=0), image.upper))

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Whole exponents of a few digits, away from 0 where they are negative."""
        if not self.whole or abs(self.exponent) > _LARGEST or (self.exponent < 0 and not np.all(xs[0].sign())):
            return None
        power = xs[0].power(abs(int(self.exponent)))
        return power if self.exponent > 0 else power.reciprocal()

    def derivative(self, x: Tensor) -> Tensor:
        """p x ** (p - 1); infinite at 0 for p < 1."""
        p = self.exponent
        if p == 0.5:
            return 0.5 / x.sqrt()
        return 2 * x if p == 2 else p * x ** (p - 1)

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """(|s| / |p|) ** (1 / (p - 1)), of the piece's sign."""
        distance = (slope.abs() / abs(self.exponent)) ** (1 / (self.exponent - 1))
        # A slope of the wrong sign is met nowhere: f' is nearest to it where it is nearest to 0.
        falls = (self.exponent < 0) != (self.even and piece.high <= 0)
        wrong = slope > 0 if falls else slope < 0
        distance = torch.where(wrong, torch.full_like(distance, 0.0 if self.exponent > 1 else 1e300), distance)
        return -distance if piece.high <= 0 else distance
