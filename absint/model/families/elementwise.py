"""The elementwise family: y_i = f(x_i). Ranges, bands and lines all follow from pieces, knots and derivatives.

A sound line of any given float slope s below f on [l, u] needs only the minimum of f(x) - s x there (section "Lines" of
docs/soundness.md): on a convex piece it is taken at the touch point of slope s, elsewhere at the ends of the piece.
The area-optimal line below f is the supporting line of f's convex envelope at the midpoint: for a convex f the tangent
there, which for ReLU is DeepPoly's adaptive rule (Singh et al., POPL 2019, section 4.4). The best parallel band has the
slope at which the lowest and the highest point of f(x) - s x pass each other. Both are found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from absint.model.constants import kept
from absint.model.families.function_pieces import Candidate, Curvature, Jump, KernelError, Knot, Piece
from absint.model.families.nonlinear import middle_radius
from absint.model.families.real_function import RealFunction, clamped, kernel_error
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics, cast_down, cast_up, smallest_normal, unit_roundoff

__all__ = ["Candidate", "Curvature", "Elementwise", "Jump", "KernelError", "Knot", "Piece"]

_STEPS = 48


class Span(NamedTuple):
    """[left, right], on which f bends one way. touch: slope -> a point there at which f' is about the slope, or the end nearest to it."""

    left: Tensor
    right: Tensor
    touch: Callable[[Tensor], Tensor]


class Elementwise(RealFunction):
    """A function with its lines and bands, which follow from what `RealFunction` says that a member states."""

    # ---- extremes of f(x) - s x --------------------------------------------------------------------------------

    def gap(self, slope: Tensor, low: Tensor, high: Tensor, side: int, num: Numerics) -> Tensor:
        """side +1: a number <= f(x) - s x on [l, u];  side -1: one >= it. Finite l, u; rounded outward."""
        best: Tensor | None = None
        for point, value, slack in self._candidates(slope, low, high, side, num):
            product = slope * point
            cost = slack + self._product_error(value, product, slope, num)
            candidate = side * (value - product) - cost
            best = candidate if best is None else torch.minimum(best, candidate)
        assert best is not None
        return side * best

    def _extreme(self, slope: Tensor, places: list[Candidate | Span], side: int) -> Tensor:
        """About where f(x) - s x is least (side +1) or greatest (-1). Only slopes are chosen by it."""
        best: Tensor | None = None
        where = slope
        for place in places:
            point, height = place[:2] if isinstance(place, Candidate) else (touch := place.touch(slope), self.evaluate(touch))
            value = side * (height - slope * point)
            if best is None:
                best, where = value, point
                continue
            better = value < best
            best, where = torch.where(better, value, best), torch.where(better, point, where)
        return where

    def _candidates(self, slope: Tensor, low: Tensor, high: Tensor, side: int, num: Numerics) -> list[Candidate]:
        """Points among which the extreme of f - s x lies."""
        return [self._touched(place, slope.detach(), side, num) if isinstance(place, Span) else place
                for place in self._places(low, high, side)]

    def _touched(self, span: Span, slope: Tensor, side: int, num: Numerics) -> Candidate:
        touch = span.touch(slope)
        return Candidate(touch, self.evaluate(touch), self._touch_slack(touch, slope, span.left, span.right, side, num))

    def _places(self, low: Tensor, high: Tensor, side: int, *, near: bool = False) -> list[Candidate | Span]:
        """Where the extreme of f - s x lies for any s: points that no s moves, and spans with a touch point, or about there."""
        touch = self.near_touch if near else self.touch
        found: list[Candidate | Span] = [Candidate(x, self.evaluate(x), 0.0) for x in (low, high)]
        found += self._limits(low, high)
        if self.piecewise_linear:
            inner = [clamped(k.x, low, high) for k in self.knots]
            return found + [Candidate(x, self.evaluate(x), 0.0) for x in inner]
        for piece in self.pieces:
            left, right = clamped(piece.low, low, high), clamped(piece.high, low, high)
            if piece.low > -inf:
                found.append(Candidate(left, self.evaluate(left), 0.0))
            if int(piece.curvature) == side:
                found.append(Span(left, right, partial(touch, left=left, right=right, piece=piece)))
        return found

    def _touch_slack(self, touch: Tensor, slope: Tensor, left: Tensor, right: Tensor, side: int, num: Numerics) -> Tensor:
        """How far f - s x may be beyond its value at the touch point, by convexity (side +1) or concavity.

        Only the side on which f - s x still falls counts: none where the touch point is the end on that side.
        """
        derivative = self.derivative(touch)
        before, after = derivative, derivative
        for knot in self.knots:
            before = torch.where(touch == knot.x, knot.left, before)
            after = torch.where(touch == knot.x, knot.right, after)
        fall_ahead = self._slope_distance(side * (slope - after), derivative, num) * (right - touch)
        fall_behind = self._slope_distance(side * (before - slope), derivative, num) * (touch - left)
        fall = torch.where(right > touch, fall_ahead, 0.0).maximum(torch.where(left < touch, fall_behind, 0.0))
        return fall * (1 + 4 * unit_roundoff(touch.dtype))

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
            if (knot.right - knot.left) * int(piece.curvature) > 0:  # a kink the other way only ends pieces
                inside = (left <= knot.x) & (right >= knot.x)
                holds = (slope - knot.left) * (slope - knot.right) <= 0
                point = torch.where(inside & holds, torch.full_like(point, knot.x), point)
        return point

    def near_touch(self, slope: Tensor, left: Tensor, right: Tensor, piece: Piece) -> Tensor:
        """About `touch`, for searches among slopes, which ask many times and rest no bound on it. Default: `touch` itself."""
        return self.touch(slope, left, right, piece)

    def _slope_distance(self, excess: Tensor, derivative: Tensor, num: Numerics) -> Tensor:
        """A rate of fall, given up to the error of the derivative; 0 where f - s x rises."""
        return (excess + kernel_error(self.derivative_error, derivative, num)).clamp(min=0)

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

    def one_way(self, intervals: tuple[Interval, ...]) -> Tensor:
        """Mask: f bends one way on [l, u], and lines follow from one free slope; without one `planes` takes that of `free_slope`."""
        low, high, _ = self._finite(intervals[0])
        convex = self._bent(low, high, Curvature.CONVEX)
        return convex if bool(convex.all()) else convex | self._bent(low, high, Curvature.CONCAVE)

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        """Mask: f has only that curvature (or none) on [l, u]."""
        inside = torch.zeros_like(low, dtype=torch.bool)
        run: list[Piece] = []
        for piece in self.pieces:
            # Neighbouring pieces of one curvature form one run only where the slope does not jump the other way.
            fits = piece.curvature in (curvature, Curvature.LINEAR)
            run = [*run, piece] if fits and run and self._joins(piece.low, curvature) else [piece] if fits else []
            if run:
                inside = inside | ((low >= run[0].low) & (high <= piece.high))
        for jump in self.jumps:
            inside = inside & ((high < jump.x) | (low > jump.x))
        return inside

    @property
    @kept
    def _always_bent(self) -> bool:
        """Whether f is known to bend one way on all of R, and so on every interval: no mask need be read to know it."""
        if type(self)._bent is not Elementwise._bent:
            return False  # a member's own rule may say one thing of one entry and another of the next
        low, high = torch.full((1,), -inf, dtype=torch.float64), torch.full((1,), inf, dtype=torch.float64)
        return any(bool(self._bent(low, high, curvature)) for curvature in (Curvature.CONVEX, Curvature.CONCAVE))

    def _joins(self, x: float, curvature: Curvature) -> bool:
        kinks = all((k.right - k.left) * int(curvature) >= 0 for k in self.knots if k.x == x)
        return kinks and all(j.x != x for j in self.jumps)

    def _chord(self, low: Tensor, high: Tensor) -> Tensor:
        width = high - low
        flat = width <= 0
        slope = (self.evaluate(high) - self.evaluate(low)) / torch.where(flat, torch.ones_like(width), width)
        return torch.where(flat, self.derivative(low), slope)

    def _bracket(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes between which the best one lies: those of f, or, where f jumps, twice its rise over the width."""
        points = [low, high, *(clamped(x, low, high) for x in {p.low for p in self.pieces[1:]} | {k.x for k in self.knots})]
        slopes = [torch.nan_to_num(self.derivative(x)) for x in points]
        slopes += [torch.full_like(low, v) for k in self.knots for v in (k.left, k.right)]
        jumps = self._limits(low, high)
        if jumps:
            values = torch.stack([self.evaluate(low), self.evaluate(high), *(c.value for c in jumps)])
            steep = 2 * (values.amax(0) - values.amin(0)) / (high - low).clamp(min=smallest_normal(low.dtype))
            slopes += [steep, -steep]
        return torch.stack(slopes).amin(0), torch.stack(slopes).amax(0)

    def _support_slope(self, low: Tensor, high: Tensor, side: int) -> Tensor:
        """Slope of the supporting line of the envelope at the midpoint, by bisection on where f - s x is extreme.

        The extreme point moves right as s grows (side +1: minimum) or left (side -1: maximum).
        """
        middle = low / 2 + high / 2
        a, b = self._bracket(low, high)
        places = self._places(low, high, side, near=True)
        for _ in range(_STEPS):
            slope = a / 2 + b / 2
            point = self._extreme(slope, places, side)
            up = (point < middle) if side > 0 else (point > middle)
            a, b = torch.where(up, slope, a), torch.where(up, b, slope)
        return (a / 2 + b / 2).detach()

    def _band_slope(self, low: Tensor, high: Tensor) -> Tensor:
        """Slope of the narrowest band: its width is convex in s, with derivative (lowest point) - (highest point)."""
        a, b = self._bracket(low, high)
        least, greatest = (self._places(low, high, side, near=True) for side in (1, -1))
        for _ in range(_STEPS):
            slope = a / 2 + b / 2
            up = self._extreme(slope, least, 1) < self._extreme(slope, greatest, -1)
            a, b = torch.where(up, slope, a), torch.where(up, b, slope)
        return (a / 2 + b / 2).detach()

    def _mixed(self, start: Tensor, known: Tensor, bounds: tuple[Tensor, Tensor], side: int) -> Tensor:
        """`start` where `known`; elsewhere the searched slope, supporting (side +1, -1) or of the narrowest band (0)."""
        if self._always_bent:
            return start
        rest = ~known
        if not bool(rest.any()):
            return start
        found = start.clone()
        low, high = bounds[0][rest].detach(), bounds[1][rest].detach()
        found[rest] = self._support_slope(low, high, side) if side else self._band_slope(low, high)
        return found

    # ---- relaxations -------------------------------------------------------------------------------------------

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Area-optimal lines below and above.

        free: moves the tangent of a convex (concave) f from l (0) to u (1); where f bends both ways, both lines' slope from the
        least to the greatest of f, with no search for the best one.
        """
        if self._narrow(intervals):
            return _narrowed_planes(self.planes(*self._widened(intervals, num), None if free is None else free.double()))
        low, high, bad = self._finite(intervals[0])
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
        if free is None:
            below, above = self._mixed(below, known, (low, high), 1), self._mixed(above, known, (low, high), -1)
        else:
            least, most = self._bracket(low, high)
            swept = least + free * (most - least)
            below, above = torch.where(known, below, swept), torch.where(known, above, swept)
        below, above = _matrix(below, num), _matrix(above, num)
        lower, upper = self.gap(below, low, high, 1, num), self.gap(above, low, high, -1, num)
        bad = bad | ~(below + above + lower + upper).isfinite()  # f overflowed on finite bounds: its range still holds
        if bool(bad.any()):
            image = self.range(intervals, num)
            below, above = torch.where(bad, 0.0, below), torch.where(bad, 0.0, above)
            lower, upper = torch.where(bad, image.lower, lower), torch.where(bad, image.upper, upper)
        return Relaxation((below,), lower, (above,), upper)

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """The narrowest parallel band: chord-sloped where f bends one way (DeepZ's ReLU), searched where it does not.

        DeepZ's least end slope stays inside the range, but proves less: ERAN's 6x200 sigmoid net, 20 MNIST images, eps .005
        and .012: 16 and 3 against 19 and 8 (mean least margins 4.3 and -44.1 against 6.5 and -13.5).
        Source: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, theorem 3.1.
        """
        if self._narrow(intervals):
            return _narrowed_band(self.band(*self._widened(intervals, num)), num)
        low, high, bad = self._finite(intervals[0])
        one_way = self._bent(low, high, Curvature.CONVEX) | self._bent(low, high, Curvature.CONCAVE)
        known = one_way | self._affine(low, high)
        slope = _matrix(self._mixed(self._chord(low, high), known, (low, high), 0), num)
        offset, radius = middle_radius(self.gap(slope, low, high, 1, num), self.gap(slope, low, high, -1, num), num)
        bad = bad | ~(slope + offset + radius).isfinite()
        if bool(bad.any()):
            image = self.range(intervals, num)
            middle, wide = middle_radius(image.lower, image.upper, num)
            slope = torch.where(bad, 0.0, slope)
            offset, radius = torch.where(bad, middle, offset), torch.where(bad, wide, radius)
        return Band((slope,), offset, radius)

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """The midpoint's tangent (the chord where f bends both ways) between the slopes that `planes` starts and ends at."""
        if self._narrow(intervals):
            found = self.free_slope((intervals[0].to(torch.float64),))
            return None if found is None else found.to(intervals[0].lower.dtype)
        low, high, _ = self._finite(intervals[0])
        bent = self._bent(low, high, Curvature.CONVEX) | self._bent(low, high, Curvature.CONCAVE) | self._affine(low, high)
        first, last = self.derivative(low), self.derivative(high)
        least, most = (first, last) if bool(bent.all()) else self._bracket(low, high)
        first, last = torch.where(bent, first, least), torch.where(bent, last, most)
        middle = torch.where(bent, self.derivative(low / 2 + high / 2), self._chord(low, high))
        wide = last - first
        share = (middle - first) / torch.where(wide == 0, torch.ones_like(wide), wide)
        return torch.where(wide == 0, torch.full_like(wide, 0.5), share).clamp(0, 1)


def _narrowed_planes(r: Relaxation) -> Relaxation:
    """Slopes are float32 numbers already; offsets are rounded outward."""
    single = torch.float32
    lower, upper = cast_down(r.lower_offset, single), cast_up(r.upper_offset, single)
    return Relaxation((r.lower[0].to(single),), lower, (r.upper[0].to(single),), upper)

def _narrowed_band(b: Band, num: Numerics) -> Band:
    lower = cast_down(replace(num, vector=torch.float64).down(b.offset - b.radius), torch.float32)
    upper = cast_up(replace(num, vector=torch.float64).up(b.offset + b.radius), torch.float32)
    offset, radius = middle_radius(lower, upper, num)
    return Band((b.slope[0].to(torch.float32),), offset, radius)

def _matrix(slope: Tensor, num: Numerics) -> Tensor:
    """The slope as a number of the matrix format, so that offsets are sound for the float that multiplies rows."""
    return slope if num.dtype == slope.dtype else slope.to(num.dtype).to(slope.dtype)
