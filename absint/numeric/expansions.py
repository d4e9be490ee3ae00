"""Exact arithmetic on matrices of float64 numbers: sums of a few tensors, none of which rounds.

Sums are split into rounded value and exact error (Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B). Products of
matrices are products of matrices of whole numbers, cut so short that float64 holds every partial sum (Ozaki, Ogita, Oishi and Rump,
Numerical Algorithms 59, 2012): exact in any order of summation, fused or not. Where numbers leave the range in which all of
this holds, or need more room than is given, the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import torch
from torch import Tensor

_PARTS = 3          # of a sum that is kept: about 159 bits
_PASSES = 8         # over the terms of a sum, each of which moves what is left of it one part further down
_SLICES = 6         # of a matrix: at 20 bits and more each, 120 bits below the greatest number of a row
_LEAST, _MOST = 2.0**-300, 2.0**300     # between these no product of parts leaves the normal numbers
_PRODUCTS = 1 << 33     # multiplications that a matrix is worth
_SPARSE = 16        # a matrix with one entry of so many is multiplied without its zeros


def two_sum(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """fl(a + b) and its exact error; NaN where it overflows."""
    total = one + two
    back = total - one
    return total, (one - (total - back)) + (two - back)


@dataclass(frozen=True, eq=False)
class Expansion:
    """The exact sum of its parts: float64 tensors of one shape, each at most the rounding of those before it."""

    parts: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each part."""
        return tuple(self.parts[0].shape)

    @property
    def middling(self) -> bool:
        """Whether every number is 0 or of a size that leaves room for exact products, and none is NaN."""
        return all(map(_within, self.parts))

    def moved(self, move: Callable[[Tensor], Tensor]) -> Expansion:
        """Behind a function that only moves entries, or makes zeros."""
        return Expansion(tuple(move(part) for part in self.parts))

    def plus(self, other: Expansion) -> Expansion | None:
        """The sum, exactly."""
        return _distilled((*self.parts, *other.parts))

    def times(self, matrix: Tensor) -> Expansion | None:
        """x M^T along the last axis, exactly. matrix: (out, in) float64."""
        bits = (53 - ceil(log2(max(1, matrix.shape[1])))) // 2
        left = [_slices(part.reshape(-1, part.shape[-1]), bits) for part in self.parts]
        right = _slices(matrix, bits)
        pairs = [(one, two) for pieces in left for one in pieces for two in right]
        if not all(left) or not pairs or len(pairs) * self.parts[0].numel() * matrix.shape[0] > _PRODUCTS:
            return None
        terms = [product(one.whole, two.whole).mul_(one.unit).mul_(two.unit.T) for one, two in pairs]
        found = _distilled(tuple(terms))
        return None if found is None else found.moved(lambda t: t.reshape(*self.shape[:-1], matrix.shape[0]))

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The nearest numbers, or nearly so, and a bound on what the exact ones differ from them by, entry by entry."""
        error = sum((part.abs() for part in self.parts[1:]), torch.zeros_like(self.parts[0]))
        return self.parts[0], error * (1 + 2.0**-40)


@dataclass(frozen=True, eq=False)
class _Slice:
    """Whole numbers times a power of two a row. whole: (rows, n).  unit: (rows, 1)."""

    whole: Tensor
    unit: Tensor


def _slices(x: Tensor, bits: int) -> list[_Slice]:
    """Slices of at most `bits` bits each whose sum is x (rows, n); none where `_SLICES` do not suffice."""
    if not _within(x):
        return []
    top = np.frexp(x.abs().amax(1).numpy() if x.numel() else np.zeros(len(x)))[1]
    found: list[_Slice] = []
    rest = x
    for k in range(1, _SLICES + 1):
        unit, many = (torch.from_numpy(np.ldexp(1.0, sign * (top - k * bits)))[:, None] for sign in (1, -1))
        whole = (rest * many).round_()
        found.append(_Slice(whole, unit))
        rest = torch.addcmul(rest, whole, unit, value=-1)
        if not bool(rest.any()):
            return found
    return []


def product(left: Tensor, right: Tensor) -> Tensor:
    """left right^T as float64 has it, without the zeros of a matrix that is full of them."""
    if int(right.count_nonzero()) * _SPARSE < right.numel():
        return _sparse(right, left).T.contiguous()
    return _sparse(left, right) if int(left.count_nonzero()) * _SPARSE < left.numel() else left @ right.T


def _sparse(left: Tensor, right: Tensor) -> Tensor:
    found: Tensor = torch.sparse.mm(left.to_sparse(), right.T)
    return found


def _within(x: Tensor) -> bool:
    """Whether every number is 0 or of a middling size, and none is NaN."""
    size = x.abs()
    return not x.numel() or (int((size >= _LEAST).count_nonzero()) == int(x.count_nonzero()) and float(size.max()) <= _MOST)


def _distilled(terms: tuple[Tensor, ...]) -> Expansion | None:
    """The same sum in few parts."""
    for _ in range(_PASSES):
        left = [term for term in terms[1:] if bool(term.any())]
        terms = (terms[0], *left)
        if len(terms) <= 1:
            break
        total, errors = terms[-1], []
        for term in reversed(terms[:-1]):
            total, error = two_sum(term, total)
            errors.append(error)
        terms = (total, *reversed(errors))
    kept = tuple(term for k, term in enumerate(terms) if k == 0 or bool(term.any()))
    return Expansion(kept) if len(kept) <= _PARTS and all(bool(term.sum().isfinite()) for term in kept) else None
