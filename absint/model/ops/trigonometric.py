"""Sin, Cos and Tan: periodic, bent one way between neighbouring zeros."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf, pi

import torch
from torch import Tensor

from absint.model.families.elementwise import Candidate, Curvature, Elementwise, KernelError, Piece, Span
from absint.model.op import Smoothness, register_op
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

_FAR = 1e5  # beyond, zeros are not known well enough in float64: the range is [-1, 1]
_POLE = 1e-9  # of an operand and 1: nothing is claimed nearer to a pole of Tan, which is known within 4e-11 up to `_FAR`
_WIDE = 4 * pi  # beyond, no line through the middle beats the constants -1 and 1


class _Wave(Elementwise):
    """sin(x + phase pi). Its zeros, which are its inflections, are (k - phase) pi; concave after even k, convex after odd.

    A zero computed in float64 is off by less than 4e-11 up to `_FAR`; f'' is at most that between it and the true one, so
    that a line errs by less than 1e-20 there: `error.absolute`.
    """

    phase: float
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=4, absolute=1e-18)
    execution = KernelError(ulps=16, absolute=1e-6)
    codomain = (-1.0, 1.0)

    def _outside(self, low: Tensor, high: Tensor) -> Tensor:
        return ~((low >= -_FAR) & (high <= _FAR) & (high - low <= _WIDE))

    def _finite(self, interval: Interval) -> tuple[Tensor, Tensor, Tensor]:
        low, high = interval.lower, interval.upper
        bad = self._outside(low, high)
        return torch.where(bad, torch.zeros_like(low), low), torch.where(bad, torch.zeros_like(high), high), bad

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        return (low == high) & ~self._outside(low, high)

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Extremes of f(x) - 0 x; [-1, 1] far out and on wide intervals."""
        if self._narrow(intervals):
            return self.range(*self._widened(intervals, num)).to(torch.float32)
        low, high, bad = self._finite(intervals[0])
        flat = torch.zeros_like(low)
        lower, upper = self.gap(flat, low, high, 1, num).clamp(min=-1), self.gap(flat, low, high, -1, num).clamp(max=1)
        return Interval(torch.where(bad, -1.0, lower), torch.where(bad, 1.0, upper))

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        first, last = (torch.floor(x / pi + self.phase) for x in (low, high))
        return (first == last) & (torch.remainder(first, 2) == (0 if curvature == Curvature.CONCAVE else 1))

    def _bracket(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(low), torch.ones_like(low)

    def _places(self, low: Tensor, high: Tensor, side: int, *, near: bool = False) -> list[Candidate | Span]:
        """The ends, and each span [k, k + 1] - phase of that curvature: their ends are the others' too."""
        found: list[Candidate | Span] = [Candidate(x, self.evaluate(x), 0.0) for x in (low, high)]
        odd = 1 if side > 0 else 0
        # The first span starts at most two periods before l; four of them reach past l + 4 pi.
        first = 2 * torch.floor((low / pi + self.phase - odd) / 2) + odd
        for step in (0, 2, 4, 6):
            k = first - self.phase + step
            left, right = (torch.minimum(torch.maximum(x * pi, low), high) for x in (k, k + 1))
            found.append(Span(left, right, partial(_touch, k=k, odd=odd, left=left, right=right)))
        return found


def _touch(slope: Tensor, *, k: Tensor, odd: int, left: Tensor, right: Tensor) -> Tensor:
    turn = torch.acos((slope if odd == 0 else -slope).clamp(-1, 1))
    return torch.minimum(torch.maximum(k * pi + turn, left), right).detach()


@register_op("Sin")
@dataclass(frozen=True, eq=False)
class Sin(_Wave):
    """The sine."""

    phase = 0.0
    pieces = (  # one period
        Piece(-inf, -pi / 2, -1, Curvature.CONVEX), Piece(-pi / 2, 0.0, 1, Curvature.CONVEX),
        Piece(0.0, pi / 2, 1, Curvature.CONCAVE), Piece(pi / 2, inf, -1, Curvature.CONCAVE),
    )

    def evaluate(self, x: Tensor) -> Tensor:
        """NaN at infinity only, where the range does not ask for it."""
        return torch.sin(x)

    def derivative(self, x: Tensor) -> Tensor:
        """cos x."""
        return torch.cos(x)


@register_op("Cos")
@dataclass(frozen=True, eq=False)
class Cos(_Wave):
    """The cosine."""

    phase = 0.5
    pieces = (  # one period
        Piece(-inf, -pi / 2, 1, Curvature.CONVEX), Piece(-pi / 2, 0.0, 1, Curvature.CONCAVE),
        Piece(0.0, pi / 2, -1, Curvature.CONCAVE), Piece(pi / 2, inf, -1, Curvature.CONVEX),
    )

    def evaluate(self, x: Tensor) -> Tensor:
        """NaN at infinity only, where the range does not ask for it."""
        return torch.cos(x)

    def derivative(self, x: Tensor) -> Tensor:
        """-sin x."""
        return -torch.sin(x)


@register_op("Tan")
@dataclass(frozen=True, eq=False)
class Tan(Elementwise):
    """The tangent between two neighbouring poles (k +- 1/2) pi: increasing, concave below k pi, convex above. Undefined across a pole.

    k pi computed in float64 is off by less than 4e-11 up to `_FAR`; f'' is at most three times that between it and the true one, so that
    a line errs by less than 1e-20 there: `error.absolute`.
    """

    pieces = (Piece(-inf, 0.0, 1, Curvature.CONCAVE), Piece(0.0, inf, 1, Curvature.CONVEX))  # one period
    smoothness = Smoothness.SMOOTH
    double = True
    error = KernelError(ulps=16, absolute=1e-18)
    execution = KernelError(ulps=64, absolute=1e-6)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """No pole in [l, u], nor just beside it; not far out."""
        branch, rim = torch.round(low / pi), _POLE * (1 + torch.maximum(low.abs(), high.abs()))
        inside = (low > (branch - 0.5) * pi + rim) & (high < (branch + 0.5) * pi - rim)
        return inside & (low >= -_FAR) & (high <= _FAR)

    def evaluate(self, x: Tensor) -> Tensor:
        """Finite for every finite x: no float is a pole."""
        return torch.tan(x)

    def derivative(self, x: Tensor) -> Tensor:
        """1 + tan^2 x."""
        return 1 + torch.tan(x).square()

    def _zero(self, low: Tensor, high: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(torch.round(low / pi) * pi, low), high)

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        zero = torch.round(low / pi) * pi
        return high <= zero if curvature == Curvature.CONCAVE else low >= zero

    def _bracket(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Of the point nearest to the zero, and of the steeper end."""
        return self.derivative(self._zero(low, high)), torch.maximum(self.derivative(low), self.derivative(high))

    def _places(self, low: Tensor, high: Tensor, side: int, *, near: bool = False) -> list[Candidate | Span]:
        """The ends, the zero, and the part of that curvature."""
        zero = self._zero(low, high)
        left, right = (zero, high) if side > 0 else (low, zero)
        found: list[Candidate | Span] = [Candidate(x, self.evaluate(x), 0.0) for x in (low, high, zero)]
        found.append(Span(left, right, partial(_steep, zero=torch.round(low / pi) * pi, side=side, left=left, right=right)))
        return found


def _steep(slope: Tensor, *, zero: Tensor, side: int, left: Tensor, right: Tensor) -> Tensor:
    point = zero + side * torch.atan((slope - 1).clamp(min=0).sqrt())
    return torch.minimum(torch.maximum(point, left), right).detach()
