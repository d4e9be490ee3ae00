"""Brightness and contrast: all images alpha x + beta, clipped to the data range, as a program computes them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from absint.errors import UsageError
from absint.numeric.decimal import float_above
from absint.numeric.interval import Interval
from absint.numeric.outward import down, up
from absint.numeric.rounding import smallest_normal
from absint.numeric.short_repr import short_repr
from absint.problem.regions.region import Region, check_center
from absint.problem.regions.zonotope import ZonotopeRegion
from absint.problem.trusted import trusted
from absint.problem.whereabouts import HOME

Range = tuple[Fraction, Fraction]


@dataclass(frozen=True, eq=False)
class Photometric(Region):
    """{y in the range : |y - clip(alpha x + beta)| <= rest for some alpha, beta of the two intervals}, x the image.

    image: (batch, *shape) float64.  contrast, brightness: intervals of rationals for alpha and beta.  clip: the data
    range, or None.  rest, per entry, is 64 unit (max|alpha| |x| + max|beta|), rounded up: it covers every evaluation in
    a format of that unit roundoff (float64 unless given otherwise), so that the set holds the images programs compute.
    """

    __repr__ = short_repr

    image: Tensor
    contrast: Range = (Fraction(1), Fraction(1))
    brightness: Range = (Fraction(0), Fraction(0))
    clip: tuple[float, float] | None = (0.0, 1.0)
    unit: float = 2.0**-53

    beyond_hull: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_center(self.image, self.clip)
        for name, (low, high) in (("contrast", self.contrast), ("brightness", self.brightness)):
            if low > high:
                raise UsageError("E-REGION", f"the interval is empty: {low} > {high}", where=f"--{name}", hint="give LOW:HIGH")

    @property
    def center(self) -> Tensor:
        """The image itself where alpha = 1, beta = 0 is allowed; else the image of the middle."""
        (a, b), (c, d) = self.contrast, self.brightness
        if a <= 1 <= b and c <= 0 <= d:
            return self.image.double()
        middle = float((a + b) / 2) * self.image.double() + float((c + d) / 2)
        return middle if self.clip is None else middle.clamp(*self.clip)

    @cached_property
    def scale(self) -> Tensor:
        """(batch, *shape): max|alpha| |x| + max|beta|, rounded up."""
        steep, moved = (float_above(max(abs(low), abs(high))) for low, high in (self.contrast, self.brightness))
        return up(up(self.image.double().abs() * steep) + moved)

    @cached_property
    def rest(self) -> Tensor:
        """(batch, *shape): the tolerance of the set's definition."""
        return up(64 * self.unit * self.scale + smallest_normal(torch.float64))

    @cached_property
    def _unclipped(self) -> ZonotopeRegion:
        """alpha x + beta without the tolerance: two generators; the remainder holds what rounding cost here."""
        x = self.image.double()
        (a, b), (c, d) = self.contrast, self.brightness
        center = x * float((a + b) / 2) + float((c + d) / 2)
        steep, moved = torch.full_like(x, float_above((b - a) / 2)), torch.full_like(x, float_above((d - c) / 2))
        # centre: two conversions, a product, a sum; first generator: one product. 4 u (|alpha x| + |beta|) covers them.
        lost = up(2.0**-49 * self.scale + smallest_normal(torch.float64))
        return ZonotopeRegion(center, torch.stack([x * steep, moved], 1), lost)

    @cached_property
    def enclosure(self) -> ZonotopeRegion:
        """A zonotope around the set. The clip is a parallel band: lambda v + middle -+ radius for any lambda in [0, 1]."""
        base = self._unclipped
        if self.clip is None:
            assert base.rest is not None
            return ZonotopeRegion(base.center_, base.generators_, up(base.rest + self.rest))
        low, high = base.hull.lower, base.hull.upper
        width = torch.where(high > low, high - low, torch.ones_like(low))
        slope = ((high.clamp(*self.clip) - low.clamp(*self.clip)) / width).clamp(0, 1)
        whole = (low >= self.clip[0]) & (high <= self.clip[1])
        slope = torch.where(whole, torch.ones_like(slope), slope)
        # clip(v) - lambda v is piecewise affine: its extremes are at the ends and at the two kinks.
        knots = [low, high, *(torch.minimum(torch.maximum(low, torch.full_like(low, k)), high) for k in self.clip)]
        gaps = torch.stack([k.clamp(*self.clip) - slope * k for k in knots])
        size = torch.stack([k.abs() for k in knots]).amax(0) + max(abs(self.clip[0]), abs(self.clip[1]))
        least, most = gaps.amin(0), gaps.amax(0)
        middle = torch.where(whole, torch.zeros_like(least), least / 2 + most / 2)
        radius = torch.where(whole, torch.zeros_like(least), torch.maximum(most - middle, middle - least))
        assert base.rest is not None
        error = up(2.0**-48 * (size + self.scale) + base.rest * slope + smallest_normal(torch.float64))
        rest = up(up(up(radius) + error) + self.rest)
        return ZonotopeRegion(base.center_ * slope + middle, base.generators_ * slope[:, None], rest)

    @cached_property
    def hull(self) -> Interval:
        """Ends of alpha x + beta, clipped, widened by the tolerance, clipped again."""
        base = self._unclipped.hull
        if self.clip is None:
            return Interval(down(base.lower - self.rest), up(base.upper + self.rest), proper=True)
        lower, upper = base.lower.clamp(*self.clip) - self.rest, base.upper.clamp(*self.clip) + self.rest
        return Interval(down(lower).clamp(*self.clip), up(upper).clamp(*self.clip), proper=True)

    def take(self, index: Tensor) -> Photometric:
        """Instances `index`."""
        return trusted(Photometric, image=self.image[index], contrast=self.contrast, brightness=self.brightness, clip=self.clip,
                       unit=self.unit, **self._cached(index))

    def to(self, device: torch.device) -> Photometric:
        """Itself, but for the way home: its points are found there, one by one."""
        return super().to(device) if device == HOME else self

    def generators(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those of the enclosure."""
        return self.enclosure.generators()

    def lower_of(self, rows: Tensor, instance: Tensor, about: Tensor) -> Tensor:
        """The enclosure's bound, or the hull's."""
        return torch.maximum(self.enclosure.lower_of(rows, instance, about), super().lower_of(rows, instance, about))

    # ---- points ----------------------------------------------------------------------------------------------------

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """True only where the fitted alpha and beta prove it in rationals."""
        if not bool(np.isfinite(point).all()):
            return False
        alpha, beta = self._fit(instance, point)
        low, high = (None, None) if self.clip is None else (Fraction(self.clip[0]), Fraction(self.clip[1]))
        image, rest = self.image[instance].double().flatten().tolist(), self.rest[instance].flatten().tolist()
        for y, x, r in zip(point.reshape(-1).tolist(), image, rest, strict=True):
            value, given = alpha * Fraction(x) + beta, Fraction(y)
            if low is not None and high is not None:
                value = min(max(value, low), high)
                if not low <= given <= high:
                    return False
            if abs(given - value) > Fraction(r):
                return False
        return True

    def _fit(self, instance: int, point: np.ndarray) -> tuple[Fraction, Fraction]:
        """Least squares over the entries that the range did not cut, put into the intervals."""
        x, y = self.image[instance].double().cpu().numpy().reshape(-1), point.reshape(-1)
        free = np.ones(len(y), dtype=bool) if self.clip is None else (y > self.clip[0]) & (y < self.clip[1])
        chosen = free if free.any() else np.ones(len(y), dtype=bool)
        (a, b), (c, d) = self.contrast, self.brightness
        x, y = x[chosen], y[chosen]
        deviation = x - x.mean()
        steep = deviation @ deviation
        alpha = Fraction(float(deviation @ (y - y.mean()) / steep)) if a < b and steep > 0 else (a + b) / 2
        alpha = min(max(alpha, a), b)
        beta = Fraction(float((y - float(alpha) * x).mean()))
        return alpha, min(max(beta, c), d)

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """clip(alpha x + beta) in float64 for the fitted alpha and beta."""
        if self.contains(instance, point):
            return point
        alpha, beta = self._fit(instance, point)
        image: np.ndarray = float(alpha) * self.image[instance].double().cpu().numpy() + float(beta)
        return image if self.clip is None else np.clip(image, *self.clip)

    def pull(self, points: Tensor) -> Tensor:
        """Each instance's fit."""
        images = [self.project(i, p.double().cpu().numpy()) for i, p in enumerate(points)]
        return torch.from_numpy(np.stack(images)).to(points.device) if images else points

    def descent(self, gradient: Tensor) -> Tensor:
        """Of the enclosure."""
        return self.enclosure.descent(gradient)
