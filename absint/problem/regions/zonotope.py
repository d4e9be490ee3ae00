"""Zonotopes as input sets: what a generator network, a camera model or another tool hands over."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from absint.errors import InputError
from absint.numeric.interval import Interval
from absint.numeric.outward import down, up
from absint.numeric.rounding import gamma, smallest_normal
from absint.numeric.short_repr import short_repr
from absint.problem.regions.region import Region, box_below, offset_between
from absint.problem.trusted import trusted
from absint.problem.whereabouts import check_together

_EXACT_ENTRIES = 200_000      # beyond so many generator entries membership is not solved in rationals


@dataclass(frozen=True, eq=False)
class ZonotopeRegion(Region):
    """{center + sum_j e_j g_j + r : |e_j| <= 1, |r| <= rest}; all numbers float64, taken as exact.

    center: (batch, *shape).  generators_: (batch, m, *shape).  rest: (batch, *shape) >= 0, or None for zero.
    Raises InputError E-REGION for NaN, infinity, shapes that do not fit or a negative rest.
    """

    __repr__ = short_repr

    center_: Tensor
    generators_: Tensor
    rest: Tensor | None = None

    beyond_hull: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_together("E-REGION", center=self.center_, generators=self.generators_, rest=self.rest)
        parts = [self.center_, self.generators_, *([] if self.rest is None else [self.rest])]
        if self.generators_.dim() < 2 or self.generators_[:, :1].shape[2:] != self.center_.shape[1:] \
                or len(self.generators_) != len(self.center_) or (self.rest is not None and self.rest.shape != self.center_.shape):
            shapes = " and ".join(str(tuple(p.shape)) for p in parts)
            raise InputError("E-REGION", f"centre, generators and remainder of shapes {shapes} do not fit together",
                             where="center, generators", hint="(batch, *shape), (batch, m, *shape) and (batch, *shape)")
        if not all(bool(p.isfinite().all()) for p in parts) or (self.rest is not None and bool((self.rest < 0).any())):
            raise InputError("E-REGION", "the zonotope has NaN or infinite numbers, or a negative remainder", where="center, generators",
                             hint="give finite numbers, and a remainder of 0 or more")

    @property
    def center(self) -> Tensor:
        """The centre."""
        return self.center_.double()

    @cached_property
    def _rest(self) -> Tensor:
        return torch.zeros_like(self.center) if self.rest is None else self.rest.double()

    @cached_property
    def spread(self) -> Tensor:
        """(batch, *shape): sum of |g_j|, rounded up."""
        count = self.generators_.shape[1]
        return self.generators_.double().abs().sum(1) * (1 + gamma(count + 2, torch.float64))

    @cached_property
    def hull(self) -> Interval:
        """center -+ (sum of |g_j| + rest), outward; a point where both are zero."""
        radius = self.spread + self._rest
        flat = radius == 0
        lower = torch.where(flat, self.center, down(self.center - up(radius)))
        upper = torch.where(flat, self.center, up(self.center + up(radius)))
        return Interval(lower, upper, proper=True)

    def take(self, index: Tensor) -> ZonotopeRegion:
        """Instances `index`."""
        rest = None if self.rest is None else self.rest[index]
        return trusted(ZonotopeRegion, center_=self.center_[index], generators_=self.generators_[index], rest=rest, **self._cached(index))

    def generators(self) -> tuple[Tensor, Tensor, Tensor]:
        """As given."""
        return self.center, self.generators_.double(), self._rest

    def lower_of(self, rows: Tensor, instance: Tensor, about: Tensor) -> Tensor:
        """a . (c - about) - sum_j |a . g_j| - |a| . rest with every dot product's error, or the hull's bound."""
        flat = rows.double().flatten(1)
        low, high = offset_between(self.center.to(about.device), about)
        rest = self._rest.to(about.device).flatten(1)
        low, high = (torch.where(rest == 0, low, down(low - rest)), torch.where(rest == 0, high, up(high + rest)))
        reach = flat.new_zeros(len(flat))
        for i in instance.unique():
            mine = instance == i
            reach[mine] = self._reach(flat[mine], int(i))
        own = down(box_below(flat, low[instance], high[instance]) - reach)
        return torch.maximum(own, super().lower_of(rows, instance, about))

    def _reach(self, a: Tensor, i: int) -> Tensor:
        """(R,) upper bounds of sum_j |a . g_j| for rows of instance i."""
        generators = self.generators_[i].to(a).flatten(1)
        m, n = generators.shape
        total = (a @ generators.T).abs().sum(1) * (1 + gamma(m + 4, torch.float64))
        size = a.detach().abs() @ self.spread[i].to(a).flatten()
        return up(total + gamma(2 * n + m + 16, torch.float64) * size + 4 * (m + 1) * n * smallest_normal(torch.float64))

    # ---- points ----------------------------------------------------------------------------------------------------

    def contains(self, instance: int, point: np.ndarray) -> bool:
        """True only where coefficients are found that prove it in rationals: least squares first, then elimination."""
        if not bool(np.isfinite(point).all()):
            return False
        guess = self._coefficients(instance, point)
        if self._proves(instance, point, [Fraction(float(e)) for e in guess]):
            return True
        generators = self.generators_[instance].double().flatten(1).tolist()
        if not generators or len(generators) * len(generators[0]) > _EXACT_ENTRIES:
            return False
        center = self.center[instance].flatten().tolist()
        offsets = [Fraction(x) - Fraction(c) for x, c in zip(point.reshape(-1).tolist(), center, strict=True)]
        exact = _solve(generators, offsets)
        return exact is not None and self._proves(instance, point, exact)

    def _coefficients(self, instance: int, point: np.ndarray) -> np.ndarray:
        """Least squares, clipped to [-1, 1]."""
        generators = self.generators_[instance].double().flatten(1).cpu().numpy()
        offset = point.reshape(-1) - self.center[instance].flatten().cpu().numpy()
        if not generators.size:
            return np.zeros(len(generators))
        found: np.ndarray = np.clip(np.linalg.lstsq(generators.T, offset, rcond=None)[0], -1, 1)
        return found

    def _proves(self, instance: int, point: np.ndarray, e: list[Fraction]) -> bool:
        if any(abs(v) > 1 for v in e):
            return False
        center, rest = self.center[instance].flatten().tolist(), self._rest[instance].flatten().tolist()
        columns = self.generators_[instance].double().flatten(1).T.tolist()
        for x, c, r, column in zip(point.reshape(-1).tolist(), center, rest, columns, strict=True):
            value = Fraction(c) + sum((v * Fraction(g) for v, g in zip(e, column, strict=True) if g), Fraction(0))
            if abs(Fraction(x) - value) > Fraction(r):
                return False
        return True

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        """The image of the nearest coefficients, in ever fewer bits until its rounding stays inside the set."""
        if self.contains(instance, point):
            return point
        generators = self.generators_[instance].double().flatten(1).cpu().numpy()
        center, guess = self.center[instance].cpu().numpy(), self._coefficients(instance, point)
        for bits in (52, 30, 20, 10, 4):
            coarse = np.round(guess * 2.0**bits) / 2.0**bits
            image: np.ndarray = center + (coarse @ generators).reshape(center.shape)
            if self._proves(instance, image, [Fraction(float(e)) for e in coarse]):
                return image
        return center

    def pull(self, points: Tensor) -> Tensor:
        """Images of the nearest coefficients."""
        center, generators = self.center.to(points.device), self.generators_.double().to(points.device).flatten(2)
        if not generators.shape[1]:
            return super().pull(points)
        offsets = (points.double() - center).flatten(1)
        e = (offsets[:, None] @ self._inverse.to(points.device)).clamp(-1, 1)
        image: Tensor = center + (e @ generators)[:, 0].reshape(center.shape)
        return image

    @cached_property
    def _inverse(self) -> Tensor:
        """(batch, n, m): of the generators, for all steps of a search."""
        inverse: Tensor = torch.linalg.pinv(self.generators_.double().flatten(2))
        return inverse

    def descent(self, gradient: Tensor) -> Tensor:
        """Every coefficient to its end downhill."""
        generators = self.generators_.double().to(gradient.device).flatten(2)
        sign = (generators @ gradient.double().flatten(1)[..., None]).sign()
        step: Tensor = -(sign * generators).sum(1).reshape(gradient.shape)
        return step


def _solve(generators: list[list[float]], offsets: list[Fraction]) -> list[Fraction] | None:
    """Coefficients e with sum_j e_j g_j = offsets in rationals, 0 where they are free; None where there are none."""
    m = len(generators)
    pivots: list[tuple[int, list[Fraction]]] = []
    for entry, offset in enumerate(offsets):
        row = [Fraction(g[entry]) for g in generators] + [offset]
        for column, other in pivots:
            if row[column]:
                factor = row[column]
                row = [a - factor * b for a, b in zip(row, other, strict=True)]
        column = next((j for j in range(m) if row[j]), m)
        if column == m:
            if row[m]:
                return None
            continue
        row = [a / row[column] for a in row]
        pivots = [(j, [a - o[column] * b for a, b in zip(o, row, strict=True)]) for j, o in pivots]
        pivots.append((column, row))
    e = [Fraction(0)] * m
    for column, row in pivots:
        e[column] = row[m]
    return e
