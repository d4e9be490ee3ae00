"""l1 and l2 balls, met with the data range: linear functionals by the dual norm, sharpened where the range cuts the ball."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from absint.errors import UsageError
from absint.model.layout import Known
from absint.numeric.decimal import float_above
from absint.numeric.interval import Interval
from absint.numeric.outward import down, up
from absint.numeric.rounding import gamma, smallest_normal
from absint.numeric.short_repr import short_repr
from absint.problem.regions.radii import InstanceRadii, check_stated
from absint.problem.regions.region import LinfBall, Region, box_below, check_center, in_range, offset_between
from absint.problem.trusted import trusted

_CHUNK = 1 << 20      # entries of rows worked on at once; nothing depends on it, rows are independent


@dataclass(frozen=True, eq=False)
class NormBall(Region):
    """{x : ||x - center|| <= eps, clip[0] <= x <= clip[1]} in the user's raw input units.

    center: (batch, *shape) float64, taken as exact.  eps: a rational for all instances, `InstanceRadii`, or (batch,) float64 numbers.
    clip: the data range, or None.  Raises InputError E-REGION and UsageError E-EPS as `LinfBall` does.
    Linear functionals: for every split a = p + q,  a . d >= -eps ||p||* + min over the hull of q . d;  the split follows
    the optimal one, so that the bound is that of ball and range together (docs/soundness.md, "Other regions").
    """

    __repr__ = short_repr

    center_: Tensor
    eps: Fraction | InstanceRadii | Tensor
    clip: tuple[float, float] | None = (0.0, 1.0)

    beyond_hull: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_stated(self.center_, self.eps)
        check_center(self.center_, self.clip)
        if isinstance(self.eps, Tensor) and (self.eps.numel() != len(self.center_)
                                             or not bool((self.eps.isfinite() & (self.eps >= 0)).all())):
            raise UsageError("E-EPS", "an l1 or l2 ball takes one finite radius >= 0, or one per instance", where="--eps",
                             hint="numbers >= 0, as many as inputs")
        if isinstance(self.eps, InstanceRadii):
            _ = self.eps.of(len(self.center_))

    @abstractmethod
    def dual_norm(self, rows: Tensor) -> Tensor:
        """(R,) upper bounds of the dual norms of the rows (R, n) float64."""

    @abstractmethod
    def caps(self, size: Tensor, room: Tensor, eps: Tensor) -> Tensor:
        """(R, 1) or (R, n): what of each |a_i| the ball pays for at best; any numbers >= 0 are sound.

        size: (R, n) = |a|.  room: (R, n), how far the range lets each entry move downhill.  eps: (R, 1).
        """

    @abstractmethod
    def norm(self, offsets: Tensor) -> Tensor:
        """(batch,) norms of (batch, n), as computed."""

    @abstractmethod
    def within(self, offsets: list[Fraction], radius: Fraction) -> bool:
        """Whether ||offsets|| <= radius, in rationals."""

    @property
    def center(self) -> Tensor:
        """The unperturbed inputs."""
        return self.center_.double()

    @cached_property
    def radii(self) -> Tensor:
        """(batch,) radii, rounded up."""
        if isinstance(self.eps, Tensor):
            return self.eps.double().reshape(-1).to(self.center_.device)
        if isinstance(self.eps, InstanceRadii):
            return self.eps.above.to(self.center_.device)
        return torch.full((len(self.center_),), float_above(self.eps), dtype=torch.float64, device=self.center_.device)

    @cached_property
    def hull(self) -> Interval:
        """The box around the ball, met with the range."""
        eps = self.radii.reshape(-1, *(1,) * (self.center_.dim() - 1)) if isinstance(self.eps, Tensor) else self.eps
        return LinfBall(self.center_, eps, self.clip).hull

    def take(self, index: Tensor) -> Self:
        """Instances `index`."""
        eps = self.eps
        if isinstance(eps, Tensor):
            eps = self.radii[index.to(self.radii.device)]
        elif isinstance(eps, InstanceRadii):
            eps = eps.take(index)
        return trusted(type(self), center_=self.center_[index], eps=eps, clip=self.clip, **self._cached(index))

    def _cached(self, index: Tensor) -> dict[str, Any]:
        """Radii are numbers that need not be read again, too."""
        radii = vars(self).get("radii")
        return super()._cached(index) | ({} if radii is None else {"radii": radii[index]})

    # ---- linear functionals --------------------------------------------------------------------------------------

    def dual(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Radii and dual norms."""
        return self.radii, self.dual_norm(rows.double().flatten(1))

    def lower_of(self, rows: Tensor, instance: Tensor, about: Tensor) -> Tensor:
        """The better of the hull's bound, the dual norm's, and that of the best split between them."""
        flat = rows.flatten(1)
        size = max(1, _CHUNK // max(1, flat.shape[1]))
        box = self._around(about)
        center = self.center.to(about.device)
        shift = offset_between(center, about)
        parts = [self._below(part.double(), chosen, box, shift)
                 for part, chosen in zip(flat.split(size), instance.split(size), strict=True)]
        return torch.cat(parts) if parts else about.new_zeros(0)

    def _below(self, a: Tensor, instance: Tensor, box: tuple[Tensor, Tensor], shift: tuple[Tensor, Tensor]) -> Tensor:
        low, high = (side[instance] for side in box)
        best = box_below(a, low, high)
        moved = box_below(a, shift[0][instance], shift[1][instance]) if bool((shift[1] != 0).any()) else torch.zeros_like(best)
        eps = self.radii.to(a.device)[instance]
        best = torch.maximum(best, down(moved - self._paid(a, eps)))
        if self.clip is None:
            return best
        low, high = (side.to(a.device)[instance] for side in self._from_center)
        with torch.no_grad():
            size = a.abs()
            caps = torch.nan_to_num(self.caps(size, torch.where(a > 0, -low, high), eps[:, None]), nan=0.0)
        paid = a.sign() * torch.minimum(a.abs(), caps)
        split = down(box_below(a - paid, low, high) - self._paid(paid, eps))
        return torch.maximum(best, down(moved + split))

    def _paid(self, rows: Tensor, eps: Tensor) -> Tensor:
        """(R,): eps times the dual norm, rounded up."""
        return up(eps * self.dual_norm(rows) + smallest_normal(torch.float64))

    @cached_property
    def _from_center(self) -> tuple[Tensor, Tensor]:
        return self._around(self.center)

    # ---- points ----------------------------------------------------------------------------------------------------

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Exact, in rationals."""
        if self.clip is not None and not in_range(point, self.clip):
            return False
        if not bool(np.isfinite(point).all()):
            return False
        center = self.center[instance].cpu().numpy().reshape(-1).tolist()
        offsets = [Fraction(x) - Fraction(c) for x, c in zip(point.reshape(-1).tolist(), center, strict=True) if x != c]
        return self.within(offsets, self._exact(instance))

    def _exact(self, instance: int) -> Fraction:
        if isinstance(self.eps, InstanceRadii):
            return self.eps.exact[instance]
        return self.eps if isinstance(self.eps, Fraction) else Fraction(float(self.radii[instance]))

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """Pulled into the ball, then shrunk towards the centre by single roundings until rationals agree."""
        one = self.take(torch.tensor([instance]))
        center = one.center[0].cpu().numpy()
        inside: np.ndarray = point if self.contains(instance, point) else one.pull(torch.from_numpy(point)[None])[0].cpu().numpy()
        for step in range(1, 40):
            if one.contains(0, inside):
                return inside
            inside = center + (inside - center) * (1 - 2.0 ** (step - 52))
        return center

    def pull(self, points: Tensor) -> Tensor:
        """Scaled onto the ball, then clipped: the centre lies in the range, so that clipping leads no further away."""
        center, radii = self.center.to(points.device), self.radii.to(points.device)
        offsets = points.double() - center
        norms = self.norm(offsets.flatten(1))
        share = torch.where(norms > radii, radii / norms, torch.ones_like(norms)).reshape(-1, *(1,) * (points.dim() - 1))
        moved = center + offsets * share
        return moved if self.clip is None else moved.clamp(*self.clip)


class L2Ball(NormBall):
    """The Euclidean ball; its dual norm is Euclidean."""

    def dual_norm(self, rows: Tensor) -> Tensor:
        """sqrt of the sum of squares; the sum of n terms is low by gamma_n and n underflows."""
        n = rows.shape[1]
        total = (rows * rows).sum(1)
        return up((total + 2 * n * smallest_normal(torch.float64)).sqrt() * (1 + gamma(n + 8, torch.float64)))

    def caps(self, size: Tensor, room: Tensor, eps: Tensor) -> Tensor:
        """Downhill the minimiser moves min(ratio |a_i|, room_i): entries that hit the range pay room_i / ratio only."""
        ratio = eps / (size * size).sum(1, keepdim=True).sqrt()
        before = torch.zeros_like(size, dtype=torch.bool)
        for _ in range(8):      # the ratio grows towards its fixed point; each step is a sound choice
            full = size * ratio >= room
            if torch.equal(full, before):
                break
            before = full
            rest = eps * eps - torch.where(full, room * room, 0.0).sum(1, keepdim=True)
            free = torch.where(full, 0.0, size * size).sum(1, keepdim=True)
            ratio = torch.where((rest > 0) & (free > 0), (rest / free).sqrt(), inf)
        return room / ratio

    def norm(self, offsets: Tensor) -> Tensor:
        """Euclidean."""
        length: Tensor = torch.linalg.vector_norm(offsets, dim=1)
        return length

    def within(self, offsets: list[Fraction], radius: Fraction) -> bool:
        """Squares compared."""
        return sum((d * d for d in offsets), Fraction(0)) <= radius * radius

    def descent(self, gradient: Tensor) -> Tensor:
        """Along the gradient, as long as the radius."""
        flat = gradient.double().flatten(1)
        norms = torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=smallest_normal(torch.float64))
        step: Tensor = -self.radii.to(flat.device)[:, None] * flat / norms
        return step.reshape(gradient.shape)


class L1Ball(NormBall):
    """The l1 ball; its dual norm is the largest entry."""

    def dual_norm(self, rows: Tensor) -> Tensor:
        """Exact: a maximum of numbers."""
        return rows.abs().amax(1)

    def caps(self, size: Tensor, room: Tensor, eps: Tensor) -> Tensor:
        """The steepest entries are moved as far as the range lets them until eps is spent; all pay the last one's slope."""
        steep, order = size.sort(dim=1, descending=True)
        spent = room.gather(1, order).cumsum(1) >= eps
        last = steep.gather(1, spent.to(torch.int8).argmax(1, keepdim=True))
        return torch.where(spent.any(1, keepdim=True), last, torch.zeros_like(last))

    def norm(self, offsets: Tensor) -> Tensor:
        """Sum of absolute values."""
        return offsets.abs().sum(1)

    def within(self, offsets: list[Fraction], radius: Fraction) -> bool:
        """Absolute values added."""
        return sum((abs(d) for d in offsets), Fraction(0)) <= radius

    def descent(self, gradient: Tensor) -> Tensor:
        """The steepest hundredth of the entries that the range lets move, all alike: one alone is soon at the range's end."""
        flat = gradient.double().flatten(1)
        low, high = (side.to(flat.device) for side in self._from_center)
        useful = flat.abs() * (torch.where(flat > 0, -low, high) > 0)
        count = max(1, flat.shape[1] // 100)
        chosen = useful.topk(count, dim=1).indices
        step = torch.zeros_like(flat).scatter(1, chosen, -flat.sign().gather(1, chosen))
        return (step * (self.radii.to(flat.device)[:, None] / count)).reshape(gradient.shape)


def ball(norm: str, center: Tensor, eps: Fraction | tuple[Fraction, ...] | InstanceRadii | Tensor,
         clip: tuple[float, float] | None, axes: Known = None) -> Region:
    """The ball of a norm by its name: linf, l2 or l1. axes: of the input, for a radius per channel.

    Raises UsageError E-NORM, E-EPS for radii the norm does not take, or E-LAYOUT.
    """
    if norm == "linf":
        return LinfBall(center, eps, clip, axes)
    kinds: dict[str, type[NormBall]] = {"l1": L1Ball, "l2": L2Ball}
    if norm not in kinds:
        raise UsageError("E-NORM", f"there is no norm '{norm}'", where="--norm", hint="linf, l2 or l1")
    if isinstance(eps, tuple):
        raise UsageError("E-EPS", f"a radius per channel has no meaning in {norm}", where="--eps", hint="use --norm linf")
    return kinds[norm](center, eps, clip)
