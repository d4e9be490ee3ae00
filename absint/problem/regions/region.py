"""Input sets. A region keeps the user's own numbers exactly and hands the engine an outward-rounded box around them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.model.layout import Axes, Known, axes_of_values, known_from, named
from absint.numeric.decimal import float_above
from absint.numeric.interval import Interval
from absint.numeric.outward import down, up
from absint.numeric.rounding import gamma, smallest_normal
from absint.numeric.short_repr import short_repr
from absint.problem.regions.radii import InstanceRadii, check_stated
from absint.problem.trusted import trusted
from absint.problem.whereabouts import check_together, offenders

Shape = tuple[int, ...]
_ENDS = "lower, upper"


def box_below(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(R,) lower bounds of rows . d over low <= d <= high. rows, low, high: (R, n) float64; -inf for NaN and overflow.

    The gamma is twice what the dot product needs (docs/soundness.md, "Other regions"), so that entries of `rows` may
    carry a relative rounding of their own.
    """
    n = rows.shape[1]
    value = (rows.clamp(min=0) * low + rows.clamp(max=0) * high).sum(1)
    size = (rows.detach().abs() * torch.maximum(low.abs(), high.abs())).sum(1)
    error = gamma(2 * n + 16, torch.float64) * size + 4 * n * smallest_normal(torch.float64)
    return down(value - error)


def offset_between(x: Tensor, about: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, n) bounds of x - about, both float64 (batch, *shape): one rounding, none where they are equal."""
    offset, same = x - about, x == about
    return torch.where(same, 0.0, down(offset)).flatten(1), torch.where(same, 0.0, up(offset)).flatten(1)


class Region(ABC):
    """A batch of input sets. Every method is batched over instances; arrays are float64.

    A new set states its hull, centre, membership and projection. One that is smaller than its hull overrides `lower_of`
    (and sets `beyond_hull`): the engine then asks it wherever linear functionals of the input are known.
    """

    beyond_hull: ClassVar[bool] = False    # whether `lower_of` may beat the bound of the hull

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

    def lower_of(self, rows: Tensor, instance: Tensor, about: Tensor) -> Tensor:
        """(R,) float64: sound lower bounds of rows . (x - about) over each row's set, rounding included.

        rows: (R, *shape), exact.  instance: (R,).  about: (batch, *shape) float64.  Default: the hull's bound.
        """
        low, high = self._around(about)
        flat = rows.double().flatten(1)
        return box_below(flat, low[instance], high[instance])

    def _around(self, about: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n): ends of the hull relative to `about`, outward."""
        return offset_between(self.hull.lower.to(about.device), about)[0], offset_between(self.hull.upper.to(about.device), about)[1]

    def dual(self, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """Of a norm ball: (radius, N) with |rows . (x - center)| <= radius N; radius (batch,), N (R,), both rounded up.

        None where the set is no ball: then only `lower_of` knows more than the hull.
        """
        return None

    def generators(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Of a set inside a zonotope: its centre, generators (batch, m, *shape) and remainder >= 0; None otherwise."""
        return None

    def afresh(self) -> Self:
        """The same sets, checked again, with tensors of their own: what is known of them stays true whatever becomes of the user's.

        Raises InputError where the numbers were changed to what is no region.
        """
        own = {field.name: value.clone() for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)}  # type: ignore[arg-type]
        return replace(self, **own)  # type: ignore[type-var]

    def to(self, device: torch.device) -> Self:
        """The same sets with their numbers on a device, for searches there. Exact radii stay what they are."""
        if self.hull.lower.device == device:
            return self
        return trusted(type(self), **{name: _moved(value, device) for name, value in vars(self).items()})

    def _cached(self, index: Tensor) -> dict[str, Any]:
        """What is known already of instances `index`, for `trusted`."""
        hull = vars(self).get("hull")
        return {} if hull is None else {"hull": hull.take(index)}

    @cached_property
    def _formats(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor]]:
        return {}

    def _ends_like(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The hull's ends and half of its widths, rounded to nearest in a search's format, once for all of its steps."""
        key = points.dtype, points.device
        if key not in self._formats:
            low, high = self.hull.lower, self.hull.upper
            self._formats[key] = low.to(points), high.to(points), ((high - low) / 2).to(points)
        return self._formats[key]

    def pull(self, points: Tensor) -> Tensor:
        """Points (batch, *shape) moved near or into the sets, for searches: no promise. Default: into the hull."""
        low, high, _ = self._ends_like(points)
        return torch.minimum(torch.maximum(points, low), high)

    def descent(self, gradient: Tensor) -> Tensor:
        """The step (batch, *shape) across the set that lowers a functional most, for searches: no promise."""
        return -self._ends_like(gradient)[2] * gradient.sign()

    @property
    def batch(self) -> int:
        """Number of instances."""
        return len(self.hull.lower)

    @property
    def shape(self) -> Shape:
        """Shape of one input, without the batch axis."""
        return tuple(self.hull.lower.shape[1:])


def _moved(value: Any, device: torch.device) -> Any:
    """What a region holds, on a device."""
    if isinstance(value, (Tensor, Region)):
        return value.to(device)
    if isinstance(value, Interval):
        return Interval(value.lower.to(device), value.upper.to(device), proper=value.proper)
    return tuple(_moved(one, device) for one in value) if type(value) is tuple else value


def check_ends(lower: Tensor, upper: Tensor) -> None:
    """Raise InputError E-REGION, which names the entries, where an end of a box is NaN or infinite or they cross."""
    endless = ~(lower.isfinite() & upper.isfinite())
    if bool(endless.any()):
        raise InputError("E-REGION", "the box has NaN or infinite bounds", where=_ENDS,
                         details=offenders(endless, lower=lower, upper=upper), hint="every input needs finite bounds")
    crossed = lower > upper
    if bool(crossed.any()):
        raise InputError("E-REGION", f"lower exceeds upper in {int(crossed.sum())} entries", where=_ENDS,
                         details=offenders(crossed, lower=lower, upper=upper), hint="swap the bounds")


@dataclass(frozen=True, eq=False)
class BoxRegion(Region):
    """{x : lower <= x <= upper}; the bounds are the float64 numbers given. lower, upper: (batch, *shape).

    Raises InputError E-REGION where a bound is NaN or infinite or lower exceeds upper.
    """

    __repr__ = short_repr

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        check_together("E-REGION", lower=self.lower, upper=self.upper)
        if self.lower.shape != self.upper.shape:
            raise InputError("E-REGION", f"lower has shape {tuple(self.lower.shape)}, upper {tuple(self.upper.shape)}", where=_ENDS,
                             hint="give both the shape (batch, *input shape)")
        check_ends(self.lower, self.upper)

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
        return trusted(BoxRegion, lower=self.lower[index], upper=self.upper[index])

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

    center: (batch, *shape) float64, taken as exact.  eps: one rational for all entries, a tuple of rationals, one per
    channel, `InstanceRadii`, or a float64 tensor that broadcasts against `center` (per pixel, per instance).
    clip: the data range, or None.  layout: "chw" or "hwc", or more of what is known of the channels, for a tuple.
    Raises InputError E-REGION (NaN centre, centre outside the range), UsageError E-EPS (bad radius), or E-LAYOUT where a
    tuple may go along two axes.
    """

    __repr__ = short_repr

    center_: Tensor
    eps: Fraction | tuple[Fraction, ...] | InstanceRadii | Tensor
    clip: tuple[float, float] | None = (0.0, 1.0)
    layout: Known | str = None

    def __post_init__(self) -> None:
        check_stated(self.center_, self.eps)
        if isinstance(self.eps, Tensor) and not bool((self.eps.isfinite() & (self.eps >= 0)).all()):
            raise UsageError("E-EPS", "a per-entry radius is negative, NaN or infinite", where="--eps", hint="numbers >= 0")
        if isinstance(self.eps, tuple):
            _ = self._channels    # raises where the radii go along no axis, or could along two
        if isinstance(self.eps, InstanceRadii):
            _ = self.eps.of(len(self.center_))
        check_center(self.center_, self.clip)

    @cached_property
    def _channels(self) -> Axes:
        """Along which axes a tuple of radii goes."""
        assert isinstance(self.eps, tuple)
        shape = tuple(self.center_.shape[1:])
        found = axes_of_values(shape, self.eps, known_from(self.layout), "--eps")
        if found is None:
            raise UsageError("E-EPS", f"{len(self.eps)} radii for inputs of shape {shape}, read as {named(known_from(self.layout))}",
                             where="--eps", hint=_radii_hint(self.eps))
        return found

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Of an input's shape: which radius of a tuple is an entry's."""
        return self._channels.numbers(tuple(self.center_.shape[1:]))

    @property
    def center(self) -> Tensor:
        """The unperturbed inputs."""
        return self.center_.double()

    @cached_property
    def hull(self) -> Interval:
        """[center - eps, center + eps] met with the range, each end rounded outward by one step."""
        eps = self._radii().to(self.center_.device)
        below, above = self.center - eps, self.center + eps
        lower = torch.where(eps == 0, self.center, down(below))
        upper = torch.where(eps == 0, self.center, up(above))
        if self.clip is not None:
            low, high = outer_range(self.clip)
            lower, upper = lower.clamp(min=low), upper.clamp(max=high)
        return Interval(lower, upper, proper=True)

    def _radii(self) -> Tensor:
        """Float64 radii, rounded up, that broadcast against the centre."""
        if isinstance(self.eps, Tensor):
            return self.eps.double()
        if isinstance(self.eps, Fraction):
            return torch.tensor(float_above(self.eps), dtype=torch.float64)
        if isinstance(self.eps, InstanceRadii):
            return self.eps.above.reshape(-1, *(1,) * (self.center_.dim() - 1))
        channels = torch.tensor([float_above(e) for e in self.eps], dtype=torch.float64)
        return self._channels.spread(channels, tuple(self.center_.shape[1:]))

    def take(self, index: Tensor) -> LinfBall:
        """Instances `index`."""
        eps = self.eps
        if isinstance(eps, Tensor) and eps.dim() == self.center_.dim() and len(eps) == len(self.center_):
            eps = eps[index]
        if isinstance(eps, InstanceRadii):
            eps = eps.take(index)
        return trusted(LinfBall, center_=self.center_[index], eps=eps, clip=self.clip, layout=self.layout, **self._cached(index))

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Exact: |point - center| <= eps decided in rationals, entry by entry where floats cannot tell."""
        center = self.center[instance].cpu().numpy()
        if self.clip is not None and not in_range(point, self.clip):
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
        inside = point.copy() if self.clip is None else np.clip(point, *inner_range(self.clip))
        for k, radius in self._near_rim(instance, inside):
            middle = Fraction(float(center[k]))
            low, high = float_above(middle - radius), -float_above(-(middle + radius))
            inside[k] = min(max(float(inside[k]), low), high)
        return inside

    def _near_rim(self, instance: int, point: np.ndarray) -> Iterator[tuple[tuple[int, ...], Fraction]]:
        """Entries at or beyond the radius up to rounding, each with its exact radius: only these need rationals."""
        center = self.center[instance].cpu().numpy()
        rim = self._radii().cpu().expand(self.center_.shape)[instance].numpy()
        near = np.abs(point - center) >= rim * (1 - 1e-12) - 1e-15 * np.abs(center)
        given = self.eps.exact[instance] if isinstance(self.eps, InstanceRadii) else self.eps
        for k in zip(*near.nonzero(), strict=True):
            exact = given[int(self._numbers[k])] if isinstance(given, tuple) else given
            yield k, exact if isinstance(exact, Fraction) else Fraction(float(rim[k]))


def outer_range(clip: tuple[float, float]) -> tuple[float, float]:
    """Float64 ends around the range that the printed decimals of `clip` mean: 0.1 is one tenth."""
    return -float_above(-Fraction(repr(float(clip[0])))), float_above(Fraction(repr(float(clip[1]))))


def inner_range(clip: tuple[float, float]) -> tuple[float, float]:
    """The least and greatest float64 inside that range."""
    return float_above(Fraction(repr(float(clip[0])))), -float_above(-Fraction(repr(float(clip[1]))))


def in_range(point: np.ndarray, clip: tuple[float, float]) -> bool:
    """Whether every entry lies in the range, exactly."""
    low, high = inner_range(clip)
    return bool(((point >= low) & (point <= high)).all())


def check_center(center: Tensor, clip: tuple[float, float] | None) -> None:
    """Raise InputError E-REGION for NaN or a centre outside the data range, UsageError E-CLIP for a bad range."""
    endless = ~center.isfinite()
    if bool(endless.any()):
        raise InputError("E-REGION", "the centre has NaN or infinite entries", where="inputs", details=offenders(endless, value=center),
                         hint="remove or repair these inputs")
    if clip is None:
        return
    low, high = clip
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise UsageError("E-CLIP", f"not a data range: {clip}", where="--clip", hint="for example 0,1")
    outside = (center < low) | (center > high)
    if bool(outside.any()):
        raise InputError(
            "E-REGION", f"{int(outside.sum())} entries of the centre lie outside the data range [{low}, {high}]", where="--clip",
            details=offenders(outside, value=center), hint=_range_hint(float(center.min()), float(center.max()), clip),
        )


def _radii_hint(eps: tuple[Fraction, ...]) -> str:
    if len(eps) == 2 and eps[0] == 0 and eps[1].denominator == 1:
        return "decimals have a point: 0.01, not 0,01"
    return "one radius, or one per channel; --layout tells how flat inputs are ordered"


def _range_hint(least: float, most: float, clip: tuple[float, float]) -> str:
    if least < 0 <= clip[0]:
        return "is the data normalised already? give raw values and --mean, --std, or take these: --clip none"
    scale = f"divide by {255 if most > 16 else most:g}, or " if most > 2 * abs(clip[1]) else ""
    return f"{scale}give the true range with --clip LOW,HIGH"
