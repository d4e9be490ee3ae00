"""Input sets. A region keeps the user's own numbers exactly and hands the engine an outward-rounded box around them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf, isfinite, prod

import numpy as np
import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.interval import Interval

Shape = tuple[int, ...]


def parse_eps(value: str | float | Fraction, where: str = "--eps") -> Fraction:
    """The radius the user wrote, exactly: '0.01', '2/255' or a float (taken as the decimals Python prints for it).

    Raises UsageError E-EPS where it is not a finite number >= 0.
    """
    try:
        exact = value if isinstance(value, Fraction) else Fraction(value if isinstance(value, str) else repr(float(value)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise UsageError("E-EPS", f"not a radius: {value!r}", where=where, hint="a number >= 0 such as 0.01 or 2/255") from error
    if exact < 0:
        raise UsageError("E-EPS", f"the radius is negative: {value}", where=where, hint="give a number >= 0")
    return exact


def float_above(exact: Fraction) -> float:
    """The smallest float64 >= the rational (nearest, then one step up if it fell below). Infinite on overflow."""
    try:
        near = float(exact)
    except OverflowError:
        return inf
    return near if Fraction(near) >= exact else float(np.nextafter(near, inf))


class Region(ABC):
    """A batch of input sets. Every method is batched over instances; arrays are float64."""

    @property
    @abstractmethod
    def hull(self) -> Interval:
        """Smallest float64 box known to contain the set: (batch, *shape), rounded outward."""

    @property
    @abstractmethod
    def center(self) -> Tensor:
        """(batch, *shape): a point of each set where there is one (the unperturbed input of a ball)."""

    @abstractmethod
    def take(self, index: Tensor) -> Region:
        """Instances `index`."""

    @abstractmethod
    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Whether the float64 `point` lies in the exact set, decided without rounding."""

    @abstractmethod
    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """A float64 point of the exact set near `point` (itself where it is inside), if there is one; check `contains`."""

    @property
    def batch(self) -> int:
        """Number of instances."""
        return len(self.hull.lower)

    @property
    def shape(self) -> Shape:
        """Shape of one input, without the batch axis."""
        return tuple(self.hull.lower.shape[1:])


@dataclass(frozen=True, eq=False)
class BoxRegion(Region):
    """{x : lower <= x <= upper}; the bounds are the float64 numbers given. lower, upper: (batch, *shape).

    Raises InputError E-REGION where a bound is NaN or infinite or lower exceeds upper.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape:
            raise InputError("E-REGION", f"lower has shape {tuple(self.lower.shape)}, upper {tuple(self.upper.shape)}")
        if not bool(self.lower.isfinite().all() and self.upper.isfinite().all()):
            raise InputError("E-REGION", "the box has NaN or infinite bounds", hint="every input needs finite bounds")
        crossed = int((self.lower > self.upper).sum())
        if crossed:
            raise InputError("E-REGION", f"lower exceeds upper in {crossed} entries", hint="swap the bounds")

    @cached_property
    def hull(self) -> Interval:
        """The box itself, exact."""
        return Interval(self.lower.double(), self.upper.double(), proper=True)

    @property
    def center(self) -> Tensor:
        """Midpoints (rounded, clamped into the box)."""
        middle = self.lower.double() / 2 + self.upper.double() / 2
        return torch.minimum(torch.maximum(middle, self.hull.lower), self.hull.upper)

    def take(self, index: Tensor) -> BoxRegion:
        """Instances `index`."""
        return BoxRegion(self.lower[index], self.upper[index])

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Float64 comparisons are exact."""
        low, high = self._ends(instance)
        return bool(((point >= low) & (point <= high)).all())

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """Clipped."""
        low, high = self._ends(instance)
        clipped: np.ndarray = np.minimum(np.maximum(point, low), high)
        return clipped

    def _ends(self, instance: int) -> tuple[np.ndarray, np.ndarray]:
        return self.hull.lower[instance].cpu().numpy(), self.hull.upper[instance].cpu().numpy()


@dataclass(frozen=True, eq=False)
class LinfBall(Region):
    """{x : |x - center| <= eps, clip[0] <= x <= clip[1]} entry by entry, in the user's raw input units.

    center: (batch, *shape) float64, taken as exact.  eps: one rational for all entries, or a float64 tensor that
    broadcasts against `center` (per pixel, per channel, per instance).  clip: the data range, or None.
    Raises InputError E-REGION (NaN centre, centre outside the range) or UsageError E-EPS (bad radius).
    """

    center_: Tensor
    eps: Fraction | Tensor
    clip: tuple[float, float] | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not bool(self.center_.isfinite().all()):
            raise InputError("E-REGION", "the centre has NaN or infinite entries")
        if isinstance(self.eps, Tensor) and not bool((self.eps.isfinite() & (self.eps >= 0)).all()):
            raise UsageError("E-EPS", "a per-entry radius is negative, NaN or infinite", where="--eps")
        if self.clip is not None:
            low, high = self.clip
            if not (isfinite(low) and isfinite(high) and low <= high):
                raise UsageError("E-CLIP", f"not a data range: {self.clip}", where="--clip", hint="for example 0,1")
            outside = int(((self.center_ < low) | (self.center_ > high)).sum())
            if outside:
                raise InputError(
                    "E-REGION", f"{outside} entries of the centre lie outside the data range [{low}, {high}]",
                    hint="divide by 255?" if float(self.center_.max()) > 2 * abs(high) else "give the true range with --clip",
                )

    @property
    def center(self) -> Tensor:
        """The unperturbed inputs."""
        return self.center_.double()

    @cached_property
    def hull(self) -> Interval:
        """[center - eps, center + eps] met with the range, each end rounded outward by one step."""
        eps = self.eps.double() if isinstance(self.eps, Tensor) else torch.tensor(float_above(self.eps), dtype=torch.float64)
        eps = eps.to(self.center_.device)
        below, above = self.center - eps, self.center + eps
        lower = torch.where(eps == 0, self.center, torch.nextafter(below, below.new_tensor(-inf)))
        upper = torch.where(eps == 0, self.center, torch.nextafter(above, above.new_tensor(inf)))
        if self.clip is not None:
            lower, upper = lower.clamp(min=self.clip[0]), upper.clamp(max=self.clip[1])
        return Interval(lower, upper, proper=True)

    def take(self, index: Tensor) -> LinfBall:
        """Instances `index`."""
        eps = self.eps
        if isinstance(eps, Tensor) and eps.dim() == self.center_.dim() and len(eps) == len(self.center_):
            eps = eps[index]
        return LinfBall(self.center_[index], eps, self.clip)

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Exact: |point - center| <= eps decided in rationals, entry by entry where floats cannot tell."""
        center = self.center[instance].cpu().numpy()
        if self.clip is not None and bool(((point < self.clip[0]) | (point > self.clip[1])).any()):
            return False
        hull = self.hull
        low, high = hull.lower[instance].cpu().numpy(), hull.upper[instance].cpu().numpy()
        if bool(((point < low) | (point > high)).any()):
            return False
        return not any(abs(Fraction(float(point[k])) - Fraction(float(center[k]))) > radius
                       for k, radius in self._near_rim(instance, point))

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """Entries at the rim move to the outermost float64 inside it, found in rationals; the range clips first."""
        center = self.center[instance].cpu().numpy()
        inside = point.copy() if self.clip is None else np.clip(point, *self.clip)
        for k, radius in self._near_rim(instance, inside):
            middle = Fraction(float(center[k]))
            low, high = float_above(middle - radius), -float_above(-(middle + radius))
            inside[k] = min(max(float(inside[k]), low), high)
        return inside

    def _near_rim(self, instance: int, point: np.ndarray) -> Iterator[tuple[tuple[int, ...], Fraction]]:
        """Entries at or beyond the radius up to rounding, each with its exact radius: only these need rationals."""
        center = self.center[instance].cpu().numpy()
        if isinstance(self.eps, Tensor):
            rim = self.eps.double().cpu().expand(self.center_.shape)[instance].numpy()
        else:
            rim = np.full(center.shape, float(self.eps))
        near = np.abs(point - center) >= rim * (1 - 1e-12) - 1e-15 * np.abs(center)
        for k in zip(*near.nonzero(), strict=True):
            yield k, self.eps if isinstance(self.eps, Fraction) else Fraction(float(rim[k]))


def entries(shape: Shape) -> int:
    """Number of entries of a shape; 1 for ()."""
    return prod(shape)
