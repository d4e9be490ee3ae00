"""The one function that turns a solver's answer into a bound: any multipliers of the rows prove one (docs/solvers.md).

For every y and every point x of the model,  cost.x = y.(A x) + (cost - A'y).x  >=  y.b + min over the box of (cost - A'y).x,
where b_i is the row's lower side for y_i > 0 and its upper side for y_i < 0. Nothing else a solver says is believed.
Source: Neumaier and Shcherbina, Safe bounds in linear and mixed-integer linear programming, Math. Program. 99 (2004), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf, isfinite
from typing import Any

import numpy as np

from absint.numeric.outward import next_below
from absint.solvers.model import Model

_UNIT = 2.0**-53
_TINY = float(np.finfo(np.float64).tiny)
_NO_MULTIPLIER = 1e-100  # smaller ones count as zero, so that no product with them is subnormal


def _gamma(terms: Any) -> Any:
    """gamma_terms of float64, rounded up; inf where so many terms leave no bound. terms: a number or an array."""
    ku = np.asarray(terms, dtype=np.float64) * _UNIT
    return np.where(ku < 0.5, ku / np.maximum(1 - ku, 0.5) * (1 + 1e-12), inf)


@dataclass(frozen=True, eq=False)
class SafeBounds:
    """Safe bounds of one model's rows, for any costs and any box inside its columns. Caches A' and |A'|."""

    model: Model

    @cached_property
    def _transposed(self) -> Any:
        return self.model.matrix.T.tocsr()

    @cached_property
    def _absolute(self) -> Any:
        return abs(self._transposed)

    @cached_property
    def _count(self) -> np.ndarray:
        """Entries of each column."""
        return np.diff(self._transposed.indptr)

    def usable(self, multipliers: np.ndarray | None) -> np.ndarray:
        """(m,): the multipliers with 0 where they are NaN, infinite or tiny, or where the side that they choose is infinite."""
        m = self.model
        if multipliers is None or np.shape(multipliers) != m.row_lower.shape:
            return np.zeros(m.row_lower.shape)
        y = np.asarray(multipliers, dtype=np.float64)
        y = np.where(np.isfinite(y) & (np.abs(y) >= _NO_MULTIPLIER), y, 0.0)
        return np.where((y > 0) & np.isfinite(m.row_lower) | (y < 0) & np.isfinite(m.row_upper), y, 0.0)

    def bound(self, multipliers: np.ndarray | None, cost: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
        """A float64 <= cost.x for every x with lower <= x <= upper that satisfies the rows; -inf where nothing is proved.

        Sound for any multipliers whatever (None and NaN count as 0), in floating point.
        """
        y = self.usable(multipliers)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            rows = np.where(y > 0, y * self._side(self.model.row_lower), y * self._side(self.model.row_upper))
            terms, charges = self._columns(y, cost, lower, upper)
            every = np.concatenate([rows, terms])
            if not (np.isfinite(every).all() and np.isfinite(charges).all()):
                return -inf
            size = float(np.abs(every).sum())
            slack = (float(_gamma(4)) * size + float(charges.sum())) * (1 + float(_gamma(2 * len(every) + 16)))
        slack += 4 * (len(every) + 4) * _TINY
        try:
            value = fsum(every.tolist()) - slack  # fsum rounds once
        except OverflowError:
            return -inf
        return next_below(value) if isfinite(value) else -inf

    @staticmethod
    def _side(ends: np.ndarray) -> np.ndarray:
        """The finite sides; where one is infinite its multiplier is 0."""
        return np.where(np.isfinite(ends), ends, 0.0)

    def _columns(self, y: np.ndarray, cost: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) least values of (cost - A'y)_j x_j for the computed reduced costs, and what their rounding is charged."""
        reduced = cost - self._transposed @ y
        size = np.abs(cost) + self._absolute @ np.abs(y)
        error = _gamma(2 * self._count + 8) * size + (2 * self._count + 4) * _TINY
        zero = self._exactly_zero(y, cost) if not (np.isfinite(lower).all() and np.isfinite(upper).all()) else None
        rising, falling = reduced >= error, reduced <= -error
        least = np.minimum(reduced * lower, reduced * upper)
        terms = np.where(rising, reduced * lower, np.where(falling, reduced * upper, least))
        reach = np.where(rising, np.abs(lower), np.where(falling, np.abs(upper), np.maximum(np.abs(lower), np.abs(upper))))
        charges = error * reach
        if zero is not None:  # 0 times infinity: such a column has no part in the bound
            terms, charges = np.where(zero, 0.0, terms), np.where(zero, 0.0, charges)
        return terms, charges

    def _exactly_zero(self, y: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """(n,) bool: no cost and no row with a multiplier."""
        pattern = self._absolute.copy()
        pattern.data = (pattern.data > 0).astype(np.float64)
        found: np.ndarray = (cost == 0) & (pattern @ (y != 0).astype(np.float64) == 0)
        return found

    def empty(self, ray: np.ndarray | None, lower: np.ndarray, upper: np.ndarray) -> bool:
        """Whether the ray proves that no x in the box satisfies the rows: its bound of the zero objective is positive."""
        used = self.usable_ray(ray)
        return used is not None and self.bound(used, np.zeros(len(lower)), lower, upper) > 0

    def usable_ray(self, ray: np.ndarray | None) -> np.ndarray | None:
        """(m,): of a ray what is used of it, its greatest entry 1; None where it is no ray."""
        if ray is None or np.shape(ray) != self.model.row_lower.shape or not np.isfinite(ray).all():
            return None
        most = float(np.abs(ray).max(initial=0.0))
        return self.usable(ray / most) if most > 0 else None
