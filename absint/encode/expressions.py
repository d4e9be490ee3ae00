"""Affine expressions of many values over the columns of a model, with constants that cover every rounding.

An expression of N values is  matrix x + c  with some c between low and high, the same c for no two points: the interval
takes in the errors of coefficients and of constants, so that the numbers of the matrix are exact from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse

from absint.numeric.backend import Budget
from absint.numeric.outward import next_below
from absint.numeric.rounding import gamma

_TINY = float(np.finfo(np.float64).tiny)
# Sums of nonnegative numbers that stand for error bounds are themselves low by less (up to 4e6 terms).
_INFLATE = 1 + 1e-9
_SPARSE = 20.0


@dataclass(frozen=True, eq=False)
class Expressions:
    """matrix: (N, n) sparse rows over the first n columns of a model.  low, high: (N,) ends of the constants."""

    matrix: Any
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def _absolute(self) -> Any:
        return abs(self.matrix)

    @property
    def simple(self) -> bool:
        """At most one column in each value."""
        return bool((np.diff(self.matrix.indptr) <= 1).all())

    def take(self, index: np.ndarray) -> Expressions:
        """Some of the values; exact."""
        return Expressions(self.matrix[index], self.low[index], self.high[index])

    def magnitude(self, size: np.ndarray) -> np.ndarray:
        """(N,): bound on the terms of each value, summed; size: (>= n,) bounds on |x|. Up to rounding."""
        terms: np.ndarray = np.asarray(self._absolute @ size[: self.matrix.shape[1]])
        found: np.ndarray = terms + np.maximum(np.abs(self.low), np.abs(self.high))
        return found

    def widened(self, error: np.ndarray) -> Expressions:
        """Constants wider by `error` on both sides, rounded outward; exactly the same where it is 0."""
        return Expressions(self.matrix, down(self.low, error), up(self.high, error))

    def scaled(self, factor: np.ndarray, size: np.ndarray) -> Expressions:
        """factor * value, entry by entry; exact for the factors 0, 1 and -1."""
        matrix = sparse.csr_array(sparse.diags_array(factor) @ self.matrix)
        matrix.eliminate_zeros()
        with np.errstate(invalid="ignore"):  # 0 times an infinite constant is 0
            one, two = np.where(factor == 0, 0.0, factor * self.low), np.where(factor == 0, 0.0, factor * self.high)
        rounded = ~np.isin(factor, (-1.0, 0.0, 1.0))
        with np.errstate(invalid="ignore"):
            error = rounded * (2 * gamma(3, torch.float64) * np.abs(factor) * self.magnitude(size) * _INFLATE + _floor(self, size))
        return Expressions(matrix, np.minimum(one, two), np.maximum(one, two)).widened(_known(error))

    def image(self, linear: LinearRows, size: np.ndarray, budget: Budget = Budget()) -> Expressions:
        """L value + b, with the errors of L's coefficients, of the products and of the sums. Raises DeadlineError."""
        rows, positive, negative = linear.matrix, linear.positive, linear.negative
        low = positive @ self.low + negative @ self.high
        high = positive @ self.high + negative @ self.low
        plain = Expressions(product(rows, self.matrix, budget), low, high)
        terms = int(np.diff(rows.indptr).max(initial=0))
        error = np.zeros(len(low))
        if linear.roundings > 0 or terms > 1:
            magnitude = self.magnitude(size)
            through = np.asarray(linear.absolute @ magnitude)
            # A coefficient may have vanished by underflow, too: that costs at most a few times tiny, times the value.
            every = _floor(self, size) + _TINY * float(magnitude.sum())
            floor = (terms + linear.roundings + 4) * every * (1 + linear.weight)
            error = gamma(terms + linear.roundings + 4, torch.float64) * through * _INFLATE + floor
        return plain.widened(_known(error)).shifted(linear.low, linear.high)

    def shifted(self, low: np.ndarray, high: np.ndarray) -> Expressions:
        """value + something between low and high; exact where either constant is 0."""
        return Expressions(self.matrix, add_down(self.low, low), add_up(self.high, high))


@dataclass(frozen=True, eq=False)
class LinearRows:
    """A linear map y = L x + b as sparse rows. low, high: (N,) bounds of b.  roundings: in each coefficient of L, at most."""

    matrix: Any
    low: np.ndarray
    high: np.ndarray
    roundings: int

    # Those of a layer are asked for again by every instance and every program.
    @cached_property
    def positive(self) -> Any:
        """The coefficients above 0."""
        return self.matrix.maximum(0)

    @cached_property
    def negative(self) -> Any:
        """The coefficients below 0."""
        return self.matrix.minimum(0)

    @cached_property
    def absolute(self) -> Any:
        """|L|."""
        return abs(self.matrix)

    @cached_property
    def weight(self) -> np.ndarray:
        """(N,): the absolute coefficients of each value, summed, up to rounding."""
        return np.asarray(self.absolute @ np.ones(self.matrix.shape[1]))


def product(rows: Any, matrix: Any, budget: Budget) -> Any:
    """rows @ matrix, some rows at a time: sparse products are about 20 times slower than dense ones. Raises DeadlineError."""
    terms = np.concatenate([np.zeros(1), np.cumsum(rows.astype(bool).astype(np.float64) @ np.diff(matrix.indptr))])
    most = budget.pieces(_SPARSE)
    if terms[-1] <= most:
        return sparse.csr_array(rows @ matrix)
    ends = np.unique(np.searchsorted(terms, np.arange(most, terms[-1] + most, most), side="left").clip(1, rows.shape[0]))
    parts = []
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        budget.check()
        parts.append(sparse.csr_array(rows[start:stop] @ matrix))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def constant(low: np.ndarray, high: np.ndarray) -> Expressions:
    """Values without columns."""
    return Expressions(sparse.csr_array((len(low), 0)), low, high)


def columns_as_values(index: np.ndarray, width: int) -> Expressions:
    """The columns `index` of a model with `width` of them; exact."""
    count = len(index)
    matrix = sparse.csr_array((np.ones(count), index, np.arange(count + 1)), shape=(count, width))
    return Expressions(matrix, np.zeros(count), np.zeros(count))


def stacked(parts: list[Expressions], width: int) -> Expressions:
    """One after another, over `width` columns; exact."""
    parts = [p for p in parts if len(p)] or parts[:1]
    if len(parts) == 1:
        return Expressions(over(parts[0].matrix, width), parts[0].low, parts[0].high)
    matrix = sparse.vstack([over(p.matrix, width) for p in parts], format="csr")
    return Expressions(matrix, np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))


def over(matrix: Any, width: int) -> Any:
    """The same rows over more columns."""
    if matrix.shape[1] == width:
        return matrix
    return sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))


def _floor(value: Expressions, size: np.ndarray) -> float:
    """What products with any of the value's terms may lose by underflow, relative factors aside."""
    return _TINY * (float(size.sum()) + int(value.matrix.shape[1]) + 2)


def _known(error: np.ndarray) -> np.ndarray:
    """NaN (infinity times 0 on the way) is no bound on an error: infinite."""
    found: np.ndarray = np.nan_to_num(error, nan=np.inf, posinf=np.inf)
    return found


def down(x: np.ndarray, error: np.ndarray) -> np.ndarray:
    """x - error rounded down; x itself where error is 0; -inf for NaN and overflow."""
    with np.errstate(invalid="ignore", over="ignore"):
        lower = np.nan_to_num(x - error, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
    found: np.ndarray = np.where(error == 0, x, next_below(lower))
    return found


def up(x: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The mirror image of `down`."""
    return -down(-x, error)


def add_down(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b rounded down; exact where either is 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = a + b
        lower = np.nan_to_num(total, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
    found: np.ndarray = np.where((a == 0) | (b == 0), total, next_below(lower))
    return found


def add_up(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mirror image of `add_down`."""
    return -add_down(-a, -b)
