"""Floating-point error bounds: gamma_k, outward rounding, and the numeric settings a whole analysis shares.

u is the unit roundoff (half the machine epsilon) and gamma_k = k u / (1 - k u) bounds the relative error of k chained
roundings in any order (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
docs/soundness.md derives every inequality used by the engine from these two facts and the underflow floor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import inf

import torch
from torch import Tensor

from absint.errors import UnsupportedError

# gamma itself is computed in Python floats; this covers the error of that computation.
_INFLATE = 1.0 + 1e-12


@cache
def unit_roundoff(dtype: torch.dtype) -> float:
    """u: the largest relative error of one rounded operation (2^-24 for float32, 2^-53 for float64)."""
    return float(torch.finfo(dtype).eps) / 2


@cache
def smallest_normal(dtype: torch.dtype) -> float:
    """The underflow floor: no operation errs by more than this in absolute terms, flushed or not."""
    return float(torch.finfo(dtype).tiny)


def gamma(terms: float, dtype: torch.dtype) -> float:
    """gamma_terms for `dtype`, rounded up. Raises UnsupportedError where so many terms leave no bound at all."""
    ku = terms * unit_roundoff(dtype)
    if ku >= 0.5:
        raise UnsupportedError(
            "E-ROUNDING-TERMS", f"a sum of {terms:.0f} terms has no useful error bound in {dtype}", hint="use --dtype float64"
        )
    return ku / (1 - ku) * _INFLATE


@dataclass(frozen=True)
class Numerics:
    """Number formats and rounding of one analysis.

    dtype: format of matrices (generators, rows).  vector: format of the one-per-instance vectors (centres, radii,
    bounds); float64 by default, so that float32 matrices err against radii, not against magnitudes.
    rounding: False switches every error term off (`--no-rounding`): results are then comparisons, not proofs.
    float32_semantics: bounds also cover every float32 execution of the network, in any summation order.
    """

    dtype: torch.dtype = torch.float64
    vector: torch.dtype = torch.float64
    device: torch.device = torch.device("cpu")
    rounding: bool = True
    float32_semantics: bool = False

    def gamma(self, terms: float) -> float:
        """gamma of the matrix format; 0 without rounding."""
        return gamma(terms, self.dtype) if self.rounding else 0.0

    def vector_gamma(self, terms: float) -> float:
        """gamma of the vector format; 0 without rounding."""
        return gamma(terms, self.vector) if self.rounding else 0.0

    @property
    def floor(self) -> float:
        """Underflow floor of the matrix format; 0 without rounding."""
        return smallest_normal(self.dtype) if self.rounding else 0.0

    @property
    def vector_floor(self) -> float:
        """Underflow floor of the vector format; 0 without rounding."""
        return smallest_normal(self.vector) if self.rounding else 0.0

    @property
    def vector_least(self) -> float:
        """What bounds of magnitudes may be raised to: far below all that matters, and far enough above 0 for products to be normal."""
        return smallest_normal(self.vector) ** 0.8 if self.rounding else 0.0

    def down(self, x: Tensor) -> Tensor:
        """A lower bound of x's exact value given that x errs by less than one rounding; -inf unless x is finite."""
        x = no_lower(x)
        return stepped(x, -inf) if self.rounding else x

    def up(self, x: Tensor) -> Tensor:
        """The mirror image of `down`."""
        x = no_upper(x)
        return stepped(x, inf) if self.rounding else x

    def single(self) -> Numerics:
        """The same settings with vectors in the matrix format: what a domain without matrices wants."""
        return replace(self, vector=self.dtype)


def stepped(x: Tensor, towards: float) -> Tensor:
    """The next number of x's format towards -inf or inf; x itself where it is infinite that way, NaN where it is NaN."""
    return torch.nextafter(x, _constant(towards, x.dtype, x.device))


@cache
def _constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor, made once a format and device: made anew, it would be copied there, and waited for, at every step."""
    with torch.inference_mode(False):  # a tensor of the inference mode could not be used where gradients are tracked
        return torch.full((), value, dtype=dtype, device=device)


def is_power(x: Tensor) -> Tensor:
    """Mask: x is 0 or +-2^k with 2^k normal in every format: products by it are exact unless they leave the normal numbers."""
    fraction, exponent = torch.frexp(x)
    return (x == 0) | ((fraction.abs() == 0.5) & (exponent > -120) & (exponent < 120))


def lost(product: Tensor, touched: Tensor, num: Numerics) -> Tensor:
    """Bound on the error of products x s with s = 0 or +-2^k: none where they are normal, or where a factor is zero.

    touched: mask of the products of two nonzero factors. NaN and overflow are left to who stores the result.
    """
    exact = torch.zeros_like(product)
    if not num.rounding:
        return exact
    tiny = smallest_normal(product.dtype)
    return torch.where(touched & ~(product.abs() >= tiny), exact + tiny, exact)


def no_lower(x: Tensor) -> Tensor:
    """x where finite, else -inf: an overflow or NaN is no lower bound (nextafter of +inf would be a finite one)."""
    return torch.nan_to_num(x, nan=-inf, posinf=-inf, neginf=-inf)


def no_upper(x: Tensor) -> Tensor:
    """x where finite, else +inf."""
    return torch.nan_to_num(x, nan=inf, posinf=inf, neginf=inf)


def no_lower_(x: Tensor) -> Tensor:
    """`no_lower` in place."""
    return torch.nan_to_num_(x, nan=-inf, posinf=-inf, neginf=-inf)


def no_upper_(x: Tensor) -> Tensor:
    """`no_upper` in place."""
    return torch.nan_to_num_(x, nan=inf, posinf=inf, neginf=inf)


def cast_up(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to `dtype` rounding towards +inf, so that a radius never shrinks by a cast. Overflow becomes +inf."""
    y = x.to(dtype)
    return torch.where(y.to(x.dtype) < x, stepped(y, inf), y)


def cast_down(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to `dtype` rounding towards -inf."""
    return -cast_up(-x, dtype)
