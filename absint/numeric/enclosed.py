"""Arithmetic on constants that a network computes from others: double words with error bounds, and what executions make of them.

A number is held as an unevaluated sum of two float64 numbers (Dekker, Numer. Math. 18, 1971), about 106 bits, so that even a sum that
cancels is usually known to more digits than float64 has. Each operation bounds its own error from what it actually dropped: 0 where
nothing was. Beside it stands what a conforming execution in the tensor's own format may be off by, in any order of summation
(running error analysis, Higham 2002, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from absint.numeric.expansions import Expansion

FloatArray = npt.NDArray[np.float64]

_U = 2.0**-53
_UP = 1 + 2.0**-40              # above what the sums of a few bounds lose
_LEAST, _MOST = 1e-120, 1e120   # between these no product of two numbers, nor its error, leaves the normal numbers
_FLOOR = 1e-300                 # above what products of second words lose by underflow
_MATRICES = 4096                # products of matrices in one operator
_ENTRIES = 1 << 22  # products of one matrix that are formed one by one
_SPLIT = 134217729.0


class NotEnclosedError(Exception):
    """No bound is known of a result; the message says why."""


@dataclass(frozen=True, eq=False)
class Enclosed:
    """c with |c - (high + low)| <= error, and executions of it with |c' - c| <= execution; float64 arrays of one shape.

    unit, tiny, most: unit roundoff, smallest normal and largest finite number of the format that executions hold it in.
    """

    high: FloatArray
    low: FloatArray
    error: FloatArray
    execution: FloatArray
    unit: float
    tiny: float
    most: float

    @classmethod
    def exactly(cls, value: npt.NDArray[Any] | np.floating[Any]) -> Enclosed:
        """Stored numbers, held in their own format."""
        info = np.finfo(np.asarray(value).dtype)
        high = np.asarray(value, dtype=np.float64)
        zero = np.zeros_like(high)
        return cls(high, zero, zero, zero, float(info.eps) / 2, float(info.tiny), float(info.max))

    def executed_in(self, dtype: np.dtype[Any]) -> Enclosed:
        """The same numbers, in executions held in another format; `stored` says what they lose by that."""
        info: Any = np.finfo(np.dtype(dtype))
        return replace(self, unit=float(info.eps) / 2, tiny=float(info.tiny), most=float(info.max))

    @property
    def size(self) -> FloatArray:
        """At least |c|."""
        return (np.abs(self.high) + np.abs(self.low) + self.error) * _UP

    @property
    def zero(self) -> npt.NDArray[np.bool_]:
        """Where c is 0, and every execution knows it."""
        found: npt.NDArray[np.bool_] = (self.size == 0) & (self.execution == 0)
        return found

    @property
    def exact(self) -> bool:
        """Whether float64 holds every c, and so does every execution."""
        return not (self.low.any() or self.error.any() or self.execution.any())

    @property
    def rounded_error(self) -> FloatArray:
        """Bound on |c - high|."""
        return (np.abs(self.low) + self.error) * _UP

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Numbers around c."""
        error = self.rounded_error
        nothing = error == 0
        return (np.where(nothing, self.high, np.nextafter(self.high - error, -inf)),
                np.where(nothing, self.high, np.nextafter(self.high + error, inf)))

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> Enclosed:
        """Behind a function that only moves entries, makes zeros or changes signs of all."""
        high, low = move(self.high), move(self.low)
        return replace(self, high=high, low=low, error=np.abs(move(self.error)), execution=np.abs(move(self.execution)))

    def stored(self, *, rounding: bool = True) -> Enclosed:
        """As a result that an operator stored: executions rounded it unless they hold it exactly. Raises NotEnclosedError beyond them."""
        # In part an array operation gave a scalar of numpy.
        high, low, error, execution = (np.asarray(v, dtype=np.float64) for v in (self.high, self.low, self.error, self.execution))
        size = np.abs(high) + np.abs(low) + error
        if not np.isfinite(high).all() or not np.isfinite(size).all():
            raise NotEnclosedError("computes NaN or infinity from constants")
        if bool((size + np.where(np.isfinite(execution), execution, 0) > self.most / 4).any()):
            raise NotEnclosedError("overflows in computing a constant")
        if bool(((high != 0) & ((np.abs(high) < _LEAST) | (np.abs(high) > _MOST))).any()):
            raise NotEnclosedError("computes a constant beyond 1e-120 to 1e120")
        if rounding:
            held = (execution == 0) & (low == 0) & (error == 0) & self._holds(high)
            execution = np.where(held, 0.0, (execution + self.unit * (size + execution) + self.tiny) * _UP)
        return replace(self, high=high, low=low, error=error, execution=execution)

    def _holds(self, value: FloatArray) -> npt.NDArray[np.bool_]:
        if self.unit <= _U:
            return np.ones(value.shape, dtype=np.bool_)
        if self.unit < 2.0**-20:
            found: npt.NDArray[np.bool_] = value.astype(np.float32).astype(np.float64) == value
            return found
        fraction, _ = np.frexp(value)
        whole = fraction / (2 * self.unit)      # a fraction of as many bits as the format has
        return np.asarray((whole == np.round(whole)) & ((value == 0) | (np.abs(value) >= self.tiny)))


def two_sum(one: FloatArray, two: FloatArray) -> tuple[FloatArray, FloatArray]:
    """fl(a + b) and its exact error (Knuth)."""
    total = one + two
    back = total - one
    return total, (one - (total - back)) + (two - back)


def two_product(one: FloatArray, two: FloatArray) -> tuple[FloatArray, FloatArray]:
    """fl(a b) and its exact error (Dekker 1971), away from overflow and underflow."""
    def split(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        t = _SPLIT * x
        high = t - (t - x)
        return high, x - high

    p = one * two
    (ah, al), (bh, bl) = split(one), split(two)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _gathered(*terms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """fl(sum) and a bound on its error, 0 where it is exact."""
    total, error = terms[0], np.zeros(())
    for term in terms[1:]:
        total, lost = two_sum(total, term)
        error = error + np.abs(lost)
    return total, error * _UP


def _both(one: Enclosed, two: Enclosed) -> tuple[Enclosed, Enclosed]:
    """Of the narrower format, in one shape."""
    wide = max(one, two, key=lambda e: e.unit)
    shape = np.broadcast_shapes(one.high.shape, two.high.shape)
    a, b = (e.moved(lambda v: np.broadcast_to(v, shape)) for e in (one, two))
    return (replace(a, unit=wide.unit, tiny=wide.tiny, most=wide.most), b)


def add(one: Enclosed, two: Enclosed) -> Enclosed:
    """a + b."""
    a, b = _both(one, two)
    total, lost = two_sum(a.high, b.high)
    low, error = _gathered(lost, a.low, b.low)
    high, low = two_sum(total, low)
    found = replace(a, high=high, low=low, error=(error + a.error + b.error) * _UP, execution=(a.execution + b.execution) * _UP)
    rounded = found.stored()
    return replace(rounded, execution=np.where(a.zero | b.zero, found.execution, rounded.execution))


def negative(one: Enclosed) -> Enclosed:
    """-a."""
    return replace(one, high=-one.high, low=-one.low)


def absolute(one: Enclosed) -> Enclosed:
    """|a|, whose errors are no greater."""
    sign = np.where(one.high < 0, -1.0, 1.0)
    return replace(one, high=one.high * sign, low=one.low * sign)


def multiply(one: Enclosed, two: Enclosed) -> Enclosed:
    """a b."""
    a, b = _both(one, two)
    product, lost = two_product(a.high, b.high)
    if bool(((product == 0) & (a.high != 0) & (b.high != 0)).any()):
        raise NotEnclosedError("computes a constant beyond 1e-120 to 1e120")
    left, right = a.high * b.low, a.low * b.high
    low, error = _gathered(lost, left, right)
    dropped = 2 * _U * (np.abs(left) + np.abs(right)) + np.abs(a.low * b.low)
    dropped = np.where((a.low == 0) & (b.low == 0), 0.0, dropped + _FLOOR)
    high, low = two_sum(product, low)
    error = error + dropped + a.size * b.error + b.size * a.error
    execution = a.size * b.execution + b.size * a.execution + _times(a.execution, b.execution)
    unscaled = _unit_factor(a) | _unit_factor(b)
    found = replace(a, high=high, low=low, error=error * _UP, execution=execution * _UP)
    rounded = found.stored()
    return replace(rounded, execution=np.where(unscaled, found.execution, rounded.execution))


def _unit_factor(one: Enclosed) -> npt.NDArray[np.bool_]:
    """Where a factor is known to be 0, 1 or -1: executions round no product by it."""
    found: npt.NDArray[np.bool_] = one.zero | ((np.abs(one.high) == 1) & (one.rounded_error == 0) & (one.execution == 0))
    return found


def _times(one: FloatArray, two: FloatArray) -> FloatArray:
    """The product of two bounds, of which 0 means that there is nothing."""
    with np.errstate(invalid="ignore"):
        return np.where((one == 0) | (two == 0), 0.0, one * two)


def divide(one: Enclosed, two: Enclosed) -> Enclosed:
    """a / b: a quotient of the high words, corrected by what it leaves. Raises NotEnclosedError where b may be 0."""
    a, b = _both(one, two)
    least = (np.abs(b.high) - np.abs(b.low) - b.error) / _UP
    if bool((least <= 0).any()):
        raise NotEnclosedError("divides by a constant that may be 0")
    quotient = a.high / b.high
    product, lost = two_product(quotient, b.high)
    rest, dropped = _gathered(a.high - product, -lost, -(quotient * b.low), a.low)  # a - product is exact (Sterbenz)
    dropped = dropped + np.where(b.low == 0, 0.0, 2 * _U * np.abs(quotient * b.low) + _FLOOR)
    second = rest / b.high
    spread = (dropped + np.abs(rest) * (np.abs(b.low) / np.abs(b.high))) / least
    spread = spread + np.where(rest == 0, 0.0, 2 * _U * np.abs(second) + _FLOOR)
    high, low = two_sum(quotient, second)
    error = (spread + (a.error + (np.abs(high) + np.abs(low) + spread) * b.error) / least) * _UP
    size = (np.abs(high) + np.abs(low) + error) * _UP
    room = least - b.execution
    off = np.where(room > 0, (a.execution + _times(size, b.execution)) / np.where(room > 0, room, 1.0), inf)
    execution = np.where((a.execution == 0) & (b.execution == 0), 0.0, off)
    return replace(a, high=high, low=low, error=error * _UP, execution=execution * _UP).stored()


def root(one: Enclosed) -> Enclosed:
    """The square root. Raises NotEnclosedError where a number may be below 0, or 0 without being known exactly."""
    least = one.high - (np.abs(one.low) + one.error) * _UP
    zero = one.size == 0
    if bool(((least <= 0) & ~zero).any()):
        raise NotEnclosedError("takes the root of a constant that may not be positive")
    first = np.sqrt(one.high)
    below = np.where(zero, 1.0, first)
    product, lost = two_product(first, first)
    rest, dropped = _gathered(one.high - product, -lost, one.low)
    second = rest / (2 * below)
    # sqrt(a) - s = r / (s + sqrt(a)), and |s - sqrt(a)| <= |r| / s.
    spread = dropped / below + rest * rest / below**3 + np.where(rest == 0, 0.0, 2 * _U * np.abs(second) + _FLOOR)
    high, low = two_sum(first, second)
    error = np.where(zero, 0.0, spread + one.error / (below * (1 - 2.0**-40)))
    apart = one.execution < least      # else an execution may meet a negative number
    off = np.where(apart, one.execution / np.sqrt(np.where(apart, least, 1.0)), inf)
    execution = np.where(one.execution == 0, 0.0, off)
    return replace(one, high=high, low=low, error=error * _UP, execution=execution * _UP).stored()


def total(one: Enclosed, axes: Sequence[int], *, keep: bool) -> Enclosed:
    """The sum over axes, in whatever order."""
    count = prod(one.high.shape[k] for k in axes)
    rest = [k for k in range(one.high.ndim) if k not in axes]
    shape = tuple(1 if k in axes else size for k, size in enumerate(one.high.shape) if keep or k not in axes)
    flat = one.moved(lambda v: np.moveaxis(v, axes, range(len(axes))).reshape(count, *(one.high.shape[k] for k in rest)))
    heads, tails = flat.high, [flat.low]
    while len(heads) > 1:
        half = len(heads) // 2
        sums, lost = two_sum(heads[:half], heads[half : 2 * half])
        heads, tails = np.concatenate((sums, heads[2 * half :])), [*tails, lost]
    low = np.sum([t.sum(0) for t in tails], axis=0)
    met = np.sum([np.abs(t).sum(0) for t in tails], axis=0)
    high, low = two_sum(heads[0] if count else np.zeros(flat.high.shape[1:]), low)
    sizes = flat.size.sum(0) + flat.execution.sum(0)
    terms = (~flat.zero).sum(0)
    whole = (flat.execution == 0) & (flat.low == 0) & (flat.error == 0) & (flat.high == np.round(flat.high))
    simple = (terms <= 1) | (whole.all(0) & (sizes * one.unit <= 0.5))
    execution = flat.execution.sum(0) + np.where(simple, 0.0, _gamma(terms, one.unit) * sizes)
    error = flat.error.sum(0) + 4 * (count + 4) * _U * met
    found = replace(one, high=high, low=low, error=error * (1 + 4 * count * _U) * _UP, execution=execution * (1 + 4 * count * _U) * _UP)
    return found.stored(rounding=False).moved(lambda v: v.reshape(shape))


def _gamma(terms: FloatArray | npt.NDArray[np.int_], unit: float) -> FloatArray:
    """gamma; infinite where so many terms have no bound."""
    product = terms * unit
    bounded = product < 0.5
    found: FloatArray = np.where(bounded, product / (1 - np.where(bounded, product, 0.0)) * _UP, inf)
    return found


def matmul(one: Enclosed, two: Enclosed) -> Enclosed:
    """numpy's matmul."""
    a, b = one, replace(two, unit=max(one.unit, two.unit))
    a = replace(a, unit=b.unit, tiny=max(one.tiny, two.tiny), most=min(one.most, two.most))
    rows, columns = a.high.ndim == 1, b.high.ndim == 1
    a = a.moved(lambda v: v[None, :]) if rows else a
    b = b.moved(lambda v: v[:, None]) if columns else b
    n = a.high.shape[-1]
    grown = (1 + 4 * (n + 4) * _U) * _UP
    high, low, lost = _exact_product(a.high, b.high)
    crossed = a.high @ b.low + a.low @ b.high
    low, error = _gathered(low, crossed)
    met = np.abs(a.high) @ np.abs(b.low) + np.abs(a.low) @ np.abs(b.high)
    error = error + lost + 2 * (n + 4) * _U * met + np.abs(a.low) @ np.abs(b.low) + np.where(met > 0, n * _FLOOR, 0.0)
    error = error + a.size @ b.error + a.error @ b.size
    high, low = two_sum(high, low)
    terms = (~a.zero).astype(np.float64) @ (~b.zero).astype(np.float64)
    with np.errstate(invalid="ignore"):
        carried = a.size @ b.execution + a.execution @ (b.size + b.execution)
        sizes = (a.size + a.execution) @ (b.size + b.execution)
        execution = carried + _gamma(terms, a.unit) * sizes + terms * a.tiny
    execution = np.where(terms == 0, 0.0, np.nan_to_num(execution, nan=inf, posinf=inf))
    found = replace(a, high=high, low=low, error=error * grown, execution=execution * grown).stored(rounding=False)
    kept = tuple(k for k, gone in ((-2, rows), (-1, columns)) if gone)
    return found.moved(lambda v: np.squeeze(v, kept))


def _exact_product(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Two words of the product, and a bound on what they leave out."""
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if prod(lead) > _MATRICES:
        raise NotEnclosedError(f"multiplies {prod(lead)} constant matrices")
    shape = (*lead, left.shape[-2], right.shape[-1])
    lefts = np.broadcast_to(left, (*lead, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
    rights = np.broadcast_to(right, (*lead, *right.shape[-2:])).reshape(-1, *right.shape[-2:])
    found = [_one_product(a, b) for a, b in zip(lefts, rights, strict=True)]
    high, low, lost = (np.stack([f[k] for f in found]).reshape(shape) if found else np.zeros(shape) for k in range(3))
    return high, low, lost


def _one_product(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    least = [float(np.abs(v[v != 0]).min(initial=1.0)) for v in (left, right)]
    if least[0] * least[1] < _LEAST:
        raise NotEnclosedError("multiplies constants whose products may be below 1e-120")
    a, b = torch.from_numpy(np.array(left)), torch.from_numpy(np.array(right.T))
    exact = Expansion((a,)).times(b) if a.numel() and b.numel() else None
    n = left.shape[1]
    if exact is None and left.shape[0] * n * right.shape[1] <= _ENTRIES:
        one = Enclosed.exactly(left[:, :, None])
        found = total(multiply(one, Enclosed.exactly(right[None])), (1,), keep=False)
        return found.high, found.low, found.error
    if exact is None:
        return left @ right, np.zeros((len(left), right.shape[1])), 2 * (n + 4) * _U * (np.abs(left) @ np.abs(right)) + n * _FLOOR
    parts = [part.numpy() for part in exact.parts]
    low, lost = _gathered(*parts[1:]) if len(parts) > 1 else (np.zeros_like(parts[0]), np.zeros_like(parts[0]))
    return parts[0], low, np.broadcast_to(lost, parts[0].shape)
