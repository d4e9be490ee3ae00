"""Boxes whose ends are exact decimals or fractions that need not be floating-point numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from absint.numeric.interval import Interval
from absint.numeric.rounding import cast_down, cast_up
from absint.numeric.short_repr import short_repr
from absint.problem.regions.region import Region, Shape, check_ends
from absint.problem.trusted import trusted
from absint.problem.whereabouts import check_together


@dataclass(frozen=True, eq=False)
class DecimalBox(Region):
    """{x : low <= x <= high} for exact ends, entry by entry, each end held as the float64 numbers on both sides of it.

    lower, upper: (batch, *shape) float64 outside or at the ends: what is proved is proved for this box.
    inner_lower, inner_upper: the outermost float64 numbers inside the set (beyond a strict end): a float64 number lies
    in the exact set if and only if it lies between them. Where they cross, the set holds no float64 number there, and
    the instance has no witness.  single: only float32 numbers count as points of the set.
    Raises InputError E-REGION where an outer end is not finite, or they cross.
    """

    __repr__ = short_repr

    lower: Tensor
    upper: Tensor
    inner_lower: Tensor
    inner_upper: Tensor
    single: bool = False

    def __post_init__(self) -> None:
        check_together("E-REGION", lower=self.lower, upper=self.upper, inner_lower=self.inner_lower, inner_upper=self.inner_upper)
        check_ends(self.lower, self.upper)

    @cached_property
    def hull(self) -> Interval:
        """The outer box."""
        return Interval(self.lower, self.upper, proper=True)

    @cached_property
    def _inside(self) -> tuple[Tensor, Tensor]:
        """The ends that points obey; in float32, where only such numbers count."""
        if not self.single:
            return self.inner_lower, self.inner_upper
        ends = cast_up(self.inner_lower, torch.float32), cast_down(self.inner_upper, torch.float32)
        return ends[0].double(), ends[1].double()

    @property
    def center(self) -> Tensor:
        """Midpoints, in the set where it has floating-point numbers."""
        middle = torch.minimum(torch.maximum(self.lower / 2 + self.upper / 2, self.lower), self.upper)
        low, high = self._inside
        near = middle.float().double() if self.single else middle
        clamped = torch.minimum(torch.maximum(near, low), high)
        return torch.where(low <= high, clamped, middle)

    @property
    def attainable(self) -> Tensor:
        """(batch,) bool: whether the set holds a point of the number format that counts."""
        low, high = self._inside
        return (low <= high).flatten(1).all(1)

    def take(self, index: Tensor) -> DecimalBox:
        """Instances `index`."""
        return self._with(*(end[index] for end in (self.lower, self.upper, self.inner_lower, self.inner_upper)), single=self.single)

    @staticmethod
    def _with(lower: Tensor, upper: Tensor, inner_lower: Tensor, inner_upper: Tensor, *, single: bool) -> DecimalBox:
        """Of ends that were checked."""
        return trusted(DecimalBox, lower=lower, upper=upper, inner_lower=inner_lower, inner_upper=inner_upper, single=single)

    def searchable(self) -> DecimalBox:
        """The set, with the float64 numbers on both sides let in wherever it holds none, so that a search can go on.

        A candidate found there stands for the exact numbers between: `searchable().contains` is no membership.
        """
        if self.single:
            return self
        void = self.inner_lower > self.inner_upper
        low, high = torch.where(void, self.lower, self.inner_lower), torch.where(void, self.upper, self.inner_upper)
        return self._with(self.lower, self.upper, low, high, single=False)

    def around(self, instance: int, point: np.ndarray) -> tuple[Tensor, Tensor] | None:
        """(1, *shape) ends of a box that holds a point of the exact set, of width 0 wherever `point` lies in the set.

        Where the set holds no float64 number, the box reaches over all of it. None where `point` lies outside elsewhere.
        """
        low, high = (side[instance].cpu().numpy() for side in self._inside)
        inside = (point >= low) & (point <= high) & np.isfinite(point)
        if self.single:
            inside &= point.astype(np.float32) == point
        if not bool((inside | ((low > high) & (not self.single))).all()):
            return None
        mask, given = torch.from_numpy(inside), torch.from_numpy(point)
        ends = (torch.where(mask, given, side[instance].cpu())[None] for side in (self.lower, self.upper))
        lower, upper = ends
        return lower, upper

    def shaped(self, shape: Shape) -> DecimalBox:
        """The same sets as (batch, *shape), in row-major order."""
        ends = (self.lower, self.upper, self.inner_lower, self.inner_upper)
        return self._with(*(end.reshape(len(end), *shape) for end in ends), single=self.single)

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """Exact: comparisons of float64 numbers with the outermost ones inside."""
        low, high = (side[instance].cpu().numpy() for side in self._inside)
        if self.single and not bool((point.astype(np.float32) == point).all()):
            return False
        return bool(np.isfinite(point).all() and ((point >= low) & (point <= high)).all())

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """Clamped into the set; `contains` refuses what comes out where it has no floating-point numbers."""
        low, high = (side[instance].cpu().numpy() for side in self._inside)
        start: np.ndarray = point.astype(np.float32).astype(np.float64) if self.single else point
        inside: np.ndarray = np.minimum(np.maximum(start, low), high)
        return inside
