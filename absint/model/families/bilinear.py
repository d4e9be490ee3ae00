"""The bilinear family: y = x z of two computed tensors, by McCormick planes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.op import Shape, Smoothness
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics, no_lower, no_upper, smallest_normal, unit_roundoff


@dataclass(frozen=True, eq=False)
class Times(Nonlinear):
    """y = x z entry by entry, both unknown and of one shape.

    x z - a x - b z is bilinear, so over a box it is extreme at a corner: planes of any float slopes (a, b) get their
    offsets from the four corners. Slopes: McCormick, Mathematical Programming 10, 1976, section 3.
    """

    arity = 2
    smoothness = Smoothness.SMOOTH

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        if shapes[0] != shapes[1]:
            raise ValueError(f"shapes {shapes[0]} and {shapes[1]} differ")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """x z."""
        return xs[0] * xs[1]

    def rational(self, *xs: Rationals) -> Rationals | None:
        """x z."""
        return xs[0] * xs[1]

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Least and greatest of the four corner products, rounded outward; 0 times infinity is unbounded."""
        corners = torch.stack([x * z for x, z in _corners(intervals)])
        lower, upper = no_lower(corners).amin(0), no_upper(corners).amax(0)
        # A product may underflow by more than a step of the result.
        floor = smallest_normal(lower.dtype) if num.rounding else 0.0
        return Interval(num.down(lower - floor), num.up(upper + floor))

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """Entries where both factors vary; with one factor fixed the product is affine."""
        x, z = intervals
        both = ~(x.lower == x.upper) & ~(z.lower == z.upper)
        return both, both

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """free: share of the plane through the upper corner among the two equally good ones below (and above)."""
        x, z, bad = _finite(intervals)
        share = torch.zeros_like(x.lower) if free is None else free
        below = (z.lower + share * (z.upper - z.lower), x.lower + share * (x.upper - x.lower))
        above = (z.upper - share * (z.upper - z.lower), x.lower + share * (x.upper - x.lower))
        below, above = _matrix(below, num), _matrix(above, num)
        lower, upper = _gap(below, x, z, 1, num), _gap(above, x, z, -1, num)
        if bool(bad.any()):
            image = self.range(intervals, num)
            below, above = ((torch.where(bad, 0.0, a), torch.where(bad, 0.0, b)) for a, b in (below, above))
            lower, upper = torch.where(bad, image.lower, lower), torch.where(bad, image.upper, upper)
        return Relaxation(below, lower, above, upper)

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """Slopes at the centre: the radius is the product of the radii, the least possible."""
        x, z, bad = _finite(intervals)
        slope = _matrix((z.lower / 2 + z.upper / 2, x.lower / 2 + x.upper / 2), num)
        offset, radius = middle_radius(_gap(slope, x, z, 1, num), _gap(slope, x, z, -1, num), num)
        if bool(bad.any()):
            image = self.range(intervals, num)
            middle, wide = middle_radius(image.lower, image.upper, num)
            slope = (torch.where(bad, 0.0, slope[0]), torch.where(bad, 0.0, slope[1]))
            offset, radius = torch.where(bad, middle, offset), torch.where(bad, wide, radius)
        return Band(slope, offset, radius)

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """The plane that `planes` takes by itself."""
        return torch.zeros_like(intervals[0].lower)

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """One rounded product."""
        return image.magnitude * (2 * unit_roundoff(torch.float32)) + smallest_normal(torch.float32)


def _corners(intervals: tuple[Interval, ...]) -> list[tuple[Tensor, Tensor]]:
    x, z = intervals
    return [(a, b) for a in (x.lower, x.upper) for b in (z.lower, z.upper)]


def _gap(slope: tuple[Tensor, Tensor], x: Interval, z: Interval, side: int, num: Numerics) -> Tensor:
    """side +1: a number <= x z - a x - b z over the box; side -1: one >= it. Three products and two sums round."""
    best: Tensor | None = None
    for p, q in _corners((x, z)):
        product, first, second = p * q, slope[0] * p, slope[1] * q
        value = side * (product - first - second)
        if num.rounding:
            size = product.detach().abs() + first.detach().abs() + second.detach().abs()
            value = value - (8 * unit_roundoff(size.dtype) * size + 4 * smallest_normal(size.dtype))
        best = value if best is None else torch.minimum(best, value)
    assert best is not None
    return side * best


def _finite(intervals: tuple[Interval, ...]) -> tuple[Interval, Interval, Tensor]:
    x, z = intervals
    good = x.lower.isfinite() & x.upper.isfinite() & z.lower.isfinite() & z.upper.isfinite()
    # Corner products that overflow are as useless as infinite bounds.
    good = good & (x.magnitude * z.magnitude).isfinite()
    x, z = (Interval(torch.where(good, i.lower, 0.0), torch.where(good, i.upper, 0.0)) for i in (x, z))
    return x, z, ~good


def _matrix(slopes: tuple[Tensor, Tensor], num: Numerics) -> tuple[Tensor, Tensor]:
    """Slopes as numbers of the matrix format, for which the offsets are then computed."""
    a, b = (s if num.dtype == s.dtype else s.to(num.dtype).to(s.dtype) for s in slopes)
    return a, b
