"""Arrays of rational numbers: what operators are evaluated in where a proof hangs on a tie.

Nothing rounds: numerators are Python integers. Meant for one point of a network at a time, not for bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, prod
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Integers = npt.NDArray[Any]  # of Python integers (dtype object)
Mask = npt.NDArray[np.bool_]

# Bits beyond which numbers are given up: the numerators of deep networks double in length at every product of two of them.
BITS = 1 << 14


@dataclass(frozen=True, eq=False)
class Rationals:
    """top / below. top: (*shape) Python integers.  below > 0, common to all entries. No batch axis."""

    top: Integers
    below: int

    @staticmethod
    def of(values: Tensor) -> Rationals:
        """The finite floating-point numbers of a tensor, exactly."""
        mantissa, exponent = np.frexp(values.detach().double().cpu().numpy().reshape(-1))
        shift = exponent.astype(np.int64) - 53
        low = min(0, int(shift[mantissa != 0].min(initial=0)))
        top = (mantissa * 2.0**53).astype(np.int64).astype(object) << np.where(mantissa == 0, 0, shift - low).astype(object)
        return Rationals(_object(top).reshape(tuple(values.shape)), 1 << -low).reduced()

    @staticmethod
    def fractions(values: Sequence[Fraction], shape: tuple[int, ...]) -> Rationals:
        """Given ones, in row-major order."""
        below = lcm(*{v.denominator for v in values})
        return Rationals(_array([v.numerator * (below // v.denominator) for v in values], shape), below)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.top.shape)

    @property
    def bits(self) -> int:
        """Length of the longest number."""
        return max(self.below.bit_length(), max((abs(v).bit_length() for v in self.top.reshape(-1).tolist()), default=0))

    def list(self) -> list[Fraction]:
        """The entries, in row-major order."""
        return [Fraction(v, self.below) for v in self.top.reshape(-1).tolist()]

    def reshape(self, shape: tuple[int, ...]) -> Rationals:
        """The same entries, in row-major order."""
        return Rationals(self.top.reshape(shape), self.below)

    def reduced(self) -> Rationals:
        """In the lowest terms that all entries have in common."""
        common = int(np.gcd.reduce(self.top.reshape(-1), initial=self.below))
        return self if common == 1 else Rationals(_object(self.top // common), self.below // common)

    def sign(self) -> npt.NDArray[np.int8]:
        """-1, 0 or 1."""
        return (self.top > 0).astype(np.int8) - (self.top < 0).astype(np.int8)

    def __add__(self, other: Rationals) -> Rationals:
        return Rationals(*_common(self, other, lambda a, b: a + b)).reduced()

    def __sub__(self, other: Rationals) -> Rationals:
        return Rationals(*_common(self, other, lambda a, b: a - b)).reduced()

    def __neg__(self) -> Rationals:
        return Rationals(_object(-self.top), self.below)

    def __mul__(self, other: Rationals) -> Rationals:
        return Rationals(_object(self.top * other.top), self.below * other.below).reduced()

    def power(self, exponent: int) -> Rationals:
        """Entry by entry, for exponents >= 0."""
        return Rationals(_object(self.top**exponent), self.below**exponent).reduced()

    def reciprocal(self) -> Rationals:
        """1 / x for entries other than 0."""
        return Rationals.fractions([1 / v for v in self.list()], self.shape)

    def where(self, mask: Mask, other: Rationals) -> Rationals:
        """The own entries where the mask is true, the other's elsewhere."""
        return Rationals(*_common(self, other, lambda a, b: np.where(mask, a, b))).reduced()

    def floor(self) -> Rationals:
        """The greatest whole numbers not above."""
        return Rationals(_object(self.top // self.below), 1)

    def maximum_last(self) -> Rationals:
        """The greatest entry along the last axis."""
        return Rationals(_object(self.top.max(-1)), self.below).reduced()

    def take(self, index: npt.NDArray[np.int64]) -> Rationals:
        """Entries at flat positions; 0 where the position is -1."""
        flat = np.append(self.top.reshape(-1), np.array([0], dtype=object))
        return Rationals(_object(flat[index]), self.below).reduced()


def whole(values: npt.NDArray[Any]) -> Rationals:
    """An array of whole numbers (or truth values)."""
    return Rationals(values.astype(np.int64).astype(object), 1)


def constant(value: float) -> Rationals:
    """One number that broadcasts."""
    return Rationals.fractions([Fraction(value)], ())


def joined(parts: Sequence[Rationals]) -> Rationals:
    """All entries in a row."""
    below = lcm(*(p.below for p in parts))
    return Rationals(np.concatenate([p.top.reshape(-1) * (below // p.below) for p in parts]), below)


def product(matrix: Rationals, x: Rationals) -> Rationals:
    """(out, in) times (in,)."""
    used = x.top != 0
    return Rationals(_object(matrix.top[:, used] @ x.top[used]), matrix.below * x.below).reduced()


def _common(a: Rationals, b: Rationals, join: Callable[[Integers, Integers], Any]) -> tuple[Integers, int]:
    below = lcm(a.below, b.below)
    return _object(join(a.top * (below // a.below), b.top * (below // b.below))), below


def _object(value: Any) -> Integers:
    """NumPy gives a bare integer where a result has no axes."""
    if isinstance(value, np.ndarray):
        return value
    return _array([value], ())


def _array(values: Sequence[int], shape: tuple[int, ...]) -> Integers:
    out = np.empty(prod(shape), dtype=object)
    out[:] = values
    return out.reshape(shape)
