"""The elementwise family: y_i = f(x_i). Ranges, bands and lines all follow from pieces, knots and derivatives.

A sound line of any given float slope s below f on [l, u] needs only the minimum of f(x) - s x there (section "Lines" of
docs/soundness.md): on a convex piece it is taken at the touch point of slope s, elsewhere at the ends of the piece.
The area-optimal line below f is the supporting line of f's convex envelope at the midpoint: for a convex f the tangent
there, which for ReLU is DeepPoly's adaptive rule (Singh et al., POPL 2019, section 4.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from math import inf

import torch
from torch import Tensor

from absint.interval import Band, Interval, Relaxation
from absint.op import Nonlinear, OnnxNode, Shape, middle_radius
from absint.rounding import Numerics, gamma, no_lower, no_upper, smallest_normal, unit_roundoff

_STEPS = 48


class Curvature(IntEnum):
    """Sign of the second derivative on a piece."""

    CONCAVE = -1
    LINEAR = 0
    CONVEX = 1


@dataclass(frozen=True)
class Piece:
    """f on [low, high]: monotone (direction +1 or -1, 0 for constant) and of one curvature."""

    low: float
    high: float
    direction: int
    curvature: Curvature


@dataclass(frozen=True)
class Knot:
    """A kink at x: one-sided derivatives `left` and `right`. f is continuous there."""

    x: float
    left: float
    right: float


@dataclass(frozen=True)
class KernelError:
    """|computed - exact| <= ulps u |computed| + absolute, for `evaluate` and `derivative` alike."""

    ulps: float = 0.0
    absolute: float = 0.0


class Elementwise(Nonlinear):
    """y_i = f(x_i).

    A member states `evaluate` (finite wherever f is), `derivative` (any one-sided value at a knot), `pieces` (covering
    the reals, from left to right), `knots`, the kernel error, and `codomain`, the exact image of the reals.
    piecewise_linear: f is affine between neighbouring knots.
    execution: error of other libraries' float32 kernels, which may be much larger than `error`; None where it is not known
    (float32 semantics then knows nothing of the value), not needed where `error` is zero.
    """

    piecewise_linear: bool = False
    error: KernelError = KernelError()
    execution: KernelError | None = None
    codomain: tuple[float, float] = (-inf, inf)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """See the class; a member states a class attribute, or a property where parameters decide."""
        raise NotImplementedError

    @property
    def knots(self) -> tuple[Knot, ...]:
        """Kinks, from left to right."""
        return ()

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Elementwise:
        """A member without parameters needs no import rule of its own."""
        return cls()

    def evaluate(self, x: Tensor) -> Tensor:
        """f(x), within `error`."""
        raise NotImplementedError

    def derivative(self, x: Tensor) -> Tensor:
        """f'(x), within `error`."""
        raise NotImplementedError

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor | None:
        """An x on the piece where f' is about `slope` (closed form), or None: found by bisection then."""
        return None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """f entry by entry."""
        return self.evaluate(xs[0])

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """A float32 kernel within `execution`; exact operators add nothing, unknown kernels anything."""
        if self.execution is None:
            return None if self.error == KernelError() else torch.full_like(image.lower, inf)
        floor = self.execution.absolute + smallest_normal(torch.float32)
        return gamma(self.execution.ulps, torch.float32) * image.magnitude + floor

    # ---- where f is affine -------------------------------------------------------------------------------------

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """True where f is not affine on [l, u]; a NaN or infinite bound is undecided."""
        low, high = intervals[0].lower, intervals[0].upper
        return (~self._affine(low, high),)

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        decided = low == high
        if self.piecewise_linear:
            cuts = [-inf, *(k.x for k in self.knots), inf]
            for left, right in pairwise(cuts):
                decided = decided | ((low >= left) & (high <= right))
        return decided

    # ---- range -------------------------------------------------------------------------------------------------

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Image of [l, u]: the extremes lie at the ends of the monotone pieces."""
        low, high = intervals[0].lower, intervals[0].upper
        if all(p.direction > 0 for p in self.pieces):
            lower, upper = self.evaluate(low), self.evaluate(high)
        else:
            values = [self.evaluate(x) for x in self._ends(low, high)]
            lower, upper = values[0], values[0]
            for value in values[1:]:
                lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
        if not (self.error.ulps or self.error.absolute):
            return Interval(lower, upper, proper=intervals[0].proper)
        if num.rounding:
            lower, upper = lower - self._kernel_error(lower, num), upper + self._kernel_error(upper, num)
            lower, upper = num.down(lower), num.up(upper)
        return Interval(no_lower(lower).clamp(min=self.codomain[0]), no_upper(upper).clamp(max=self.codomain[1]))

    def _ends(self, low: Tensor, high: Tensor) -> list[Tensor]:
        """l, u and every turning point between them (clamped into [l, u], where it is harmless)."""
        turns = {p.high for p, q in pairwise(self.pieces) if p.direction != q.direction}
        return [low, high, *(torch.minimum(torch.maximum(low, torch.full_like(low, t)), high) for t in sorted(turns))]

    def _kernel_error(self, value: Tensor, num: Numerics) -> Tensor:
        if not num.rounding:
            return torch.zeros_like(value)
        scale = gamma(self.error.ulps + 1, value.dtype)
        return value.detach().abs() * scale + (self.error.absolute + 2 * smallest_normal(value.dtype))

    # ---- extremes of f(x) - s x --------------------------------------------------------------------------------

    def gap(self, slope: Tensor, low: Tensor, high: Tensor, side: int, num: Numerics) -> Tensor:
        """side +1: a number <= f(x) - s x on [l, u];  side -1: one >= it. Finite l, u; rounded outward."""
        best: Tensor | None = None
        for point, slack in self._candidates(slope, low, high, side, num):
            value, product = self.evaluate(point), slope * point
            cost = slack + self._product_error(value, product, slope, num)
            candidate = side * (value - product) - cost
            best = candidate if best is None else torch.minimum(best, candidate)
        assert best is not None
        return side * best

    def _candidates(
        self, slope: Tensor, low: Tensor, high: Tensor, side: int, num: Numerics
    ) -> list[tuple[Tensor, Tensor | float]]:
        """Points among which the extreme of f - s x lies, each with how far below its value the true one may be."""
        if self.piecewise_linear:
            inner = [torch.minimum(torch.maximum(low, torch.full_like(low, k.x)), high) for k in self.knots]
            return [(point, 0.0) for point in (low, high, *inner)]
        found: list[tuple[Tensor, Tensor | float]] = [(low, 0.0), (high, 0.0)]
        for piece in self.pieces:
            left = torch.minimum(torch.maximum(low, torch.full_like(low, piece.low)), high)
            right = torch.minimum(torch.maximum(low, torch.full_like(low, piece.high)), high)
            if piece.low > -inf:
                found.append((left, 0.0))
            if int(piece.curvature) == side:
                touch = self.touch(slope.detach(), left, right, piece)
                wide = torch.maximum(right - touch, touch - left)
                away = self._slope_distance(touch, slope.detach(), num)
                found.append((touch, torch.where(wide > 0, away * wide * (1 + 4 * unit_roundoff(wide.dtype)), 0.0)))
        return found

    def touch(self, slope: Tensor, left: Tensor, right: Tensor, piece: Piece) -> Tensor:
        """A point of [left, right] where f' is about `slope`, or the end nearest to it. Any point there is sound."""
        guess = self.inverse_derivative(slope, piece)
        if guess is None:
            a, b = left, right
            for _ in range(_STEPS):
                middle = a / 2 + b / 2
                below = int(piece.curvature) * (self.derivative(middle) - slope) < 0
                a, b = torch.where(below, middle, a), torch.where(below, b, middle)
            guess = a / 2 + b / 2
        point = torch.minimum(torch.maximum(torch.nan_to_num(guess, nan=0.0), left), right).detach()
        for knot in self.knots:
            inside = (left <= knot.x) & (right >= knot.x)
            holds = (slope - knot.left) * (slope - knot.right) <= 0
            point = torch.where(inside & holds, torch.full_like(point, knot.x), point)
        return point

    def _slope_distance(self, point: Tensor, slope: Tensor, num: Numerics) -> Tensor:
        derivative = self.derivative(point)
        distance = (derivative - slope).abs()
        for knot in self.knots:
            small, large = min(knot.left, knot.right), max(knot.left, knot.right)
            at_knot = (slope - large).clamp(min=0) + (small - slope).clamp(min=0)
            distance = torch.where(point == knot.x, at_knot, distance)
        return distance + self._kernel_error(derivative, num)

    def _product_error(self, value: Tensor, product: Tensor, slope: Tensor, num: Numerics) -> Tensor:
        """Rounding of f(x) - s x: kernel error, product, difference; exactly 0 where nothing rounds."""
        if not num.rounding:
            return torch.zeros_like(value)
        size = value.detach().abs() + product.detach().abs()
        rounding = 4 * unit_roundoff(value.dtype) * size + smallest_normal(value.dtype)
        unscaled = (slope == 0) | (slope == 1)
        free = unscaled & ((product == 0) | (value == product))
        rounding = torch.where(free, torch.zeros_like(rounding), rounding)
        if self.error.ulps or self.error.absolute:
            rounding = rounding + self._kernel_error(value, num)
        return rounding

    # ---- slopes ------------------------------------------------------------------------------------------------

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        """Mask: f has only that curvature (or none) on [l, u]."""
        inside = torch.zeros_like(low, dtype=torch.bool)
        run: list[Piece] = []
        for piece in self.pieces:
            # Neighbouring pieces of one curvature form one run only where the slope does not jump the other way.
            joined = bool(run) and piece.curvature in (curvature, Curvature.LINEAR) and self._joins(piece.low, curvature)
            run = [*run, piece] if joined else [piece]
            if all(p.curvature in (curvature, Curvature.LINEAR) for p in run):
                inside = inside | ((low >= run[0].low) & (high <= piece.high))
        return inside

    def _joins(self, x: float, curvature: Curvature) -> bool:
        return all((k.right - k.left) * int(curvature) >= 0 for k in self.knots if k.x == x)

    def _chord(self, low: Tensor, high: Tensor) -> Tensor:
        width = high - low
        flat = width <= 0
        slope = (self.evaluate(high) - self.evaluate(low)) / torch.where(flat, torch.ones_like(width), width)
        return torch.where(flat, self.derivative(low), slope)

    def _support_slope(self, low: Tensor, high: Tensor, side: int, num: Numerics) -> Tensor:
        """Slope of the supporting line of the envelope at the midpoint, by bisection on where f - s x is extreme.

        The extreme point moves right as s grows (side +1: minimum) or left (side -1: maximum).
        """
        middle = low / 2 + high / 2
        slopes = [self.derivative(x) for x in (low, high)]
        for bend in {p.low for p in self.pieces[1:]} | {k.x for k in self.knots}:
            inside = torch.minimum(torch.maximum(low, torch.full_like(low, bend)), high)
            slopes.append(self.derivative(inside))
        slopes += [torch.full_like(low, v) for k in self.knots for v in (k.left, k.right)]
        a, b = torch.stack(slopes).amin(0), torch.stack(slopes).amax(0)
        for _ in range(_STEPS):
            slope = a / 2 + b / 2
            best: Tensor | None = None
            point: Tensor | None = None
            for x, _slack in self._candidates(slope, low, high, side, num):
                value = side * (self.evaluate(x) - slope * x)
                better = torch.ones_like(low, dtype=torch.bool) if best is None else value < best
                best = value if best is None else torch.where(better, value, best)
                point = x if point is None else torch.where(better, x, point)
            assert point is not None
            up = (point < middle) if side > 0 else (point > middle)
            a, b = torch.where(up, slope, a), torch.where(up, b, slope)
        return (a / 2 + b / 2).detach()

    def _mixed(self, low: Tensor, high: Tensor, side: int, num: Numerics, start: Tensor, known: Tensor) -> Tensor:
        """`start` where `known`, the searched supporting slope elsewhere (only those entries are searched)."""
        rest = ~known
        if not bool(rest.any()):
            return start
        found = start.clone()
        found[rest] = self._support_slope(low[rest], high[rest], side, num)
        return found

    # ---- relaxations -------------------------------------------------------------------------------------------

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Area-optimal lines below and above; `free` moves the tangent of a convex (concave) f from l (0) to u (1)."""
        low, high, bad = _finite(intervals[0])
        convex = self._bent(low, high, Curvature.CONVEX)
        concave = self._bent(low, high, Curvature.CONCAVE)
        chord = self._chord(low, high)
        if free is None:
            tangent = self.derivative(low / 2 + high / 2)
        else:
            first, last = self.derivative(low), self.derivative(high)
            tangent = first + free * (last - first)
        below = torch.where(convex, tangent, chord)
        above = torch.where(concave, tangent, chord)
        known = convex | concave | self._affine(low, high)
        below = _matrix(self._mixed(low, high, 1, num, below, known), num)
        above = _matrix(self._mixed(low, high, -1, num, above, known), num)
        lower, upper = self.gap(below, low, high, 1, num), self.gap(above, low, high, -1, num)
        bad = bad | ~(below + above + lower + upper).isfinite()  # f overflowed on finite bounds: its range still holds
        if bool(bad.any()):
            image = self.range(intervals, num)
            below, above = torch.where(bad, 0.0, below), torch.where(bad, 0.0, above)
            lower, upper = torch.where(bad, image.lower, lower), torch.where(bad, image.upper, upper)
        return Relaxation((below,), lower, (above,), upper)

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """Chord-sloped band where f bends one way (DeepZ's ReLU), the least end slope where it does not (its sigmoid).

        Source: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, theorems 3.1 and 3.2.
        """
        low, high, bad = _finite(intervals[0])
        one_way = self._bent(low, high, Curvature.CONVEX) | self._bent(low, high, Curvature.CONCAVE)
        chord = self._chord(low, high)
        first, last = self.derivative(low), self.derivative(high)
        least = torch.where(first.abs() < last.abs(), first, last)
        slope = _matrix(torch.where(one_way | self._affine(low, high), chord, least), num)
        offset, radius = middle_radius(self.gap(slope, low, high, 1, num), self.gap(slope, low, high, -1, num), num)
        bad = bad | ~(slope + offset + radius).isfinite()
        if bool(bad.any()):
            image = self.range(intervals, num)
            middle, wide = middle_radius(image.lower, image.upper, num)
            slope = torch.where(bad, 0.0, slope)
            offset, radius = torch.where(bad, middle, offset), torch.where(bad, wide, radius)
        return Band((slope,), offset, radius)

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """Where the midpoint's tangent lies between the two end slopes; 0.5 where they agree."""
        low, high, _ = _finite(intervals[0])
        first, last = self.derivative(low), self.derivative(high)
        wide = last - first
        share = (self.derivative(low / 2 + high / 2) - first) / torch.where(wide == 0, torch.ones_like(wide), wide)
        return torch.where(wide == 0, torch.full_like(wide, 0.5), share).clamp(0, 1)


def _finite(interval: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """Bounds with the entries that have an infinite (or NaN) one replaced by [0, 0], and their mask."""
    bad = ~(interval.lower.isfinite() & interval.upper.isfinite())
    if not bool(bad.any()):
        return interval.lower, interval.upper, bad
    zero = torch.zeros_like(interval.lower)
    return torch.where(bad, zero, interval.lower), torch.where(bad, zero, interval.upper), bad


def _matrix(slope: Tensor, num: Numerics) -> Tensor:
    """The slope as a number of the matrix format, so that offsets are sound for the float that multiplies rows."""
    return slope if num.dtype == slope.dtype else slope.to(num.dtype).to(slope.dtype)
