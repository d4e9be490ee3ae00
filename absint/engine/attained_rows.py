"""Rows over a box with next to no rounding: a bound that some point of the box attains comes out as that very number.

Products and sums are split into their rounded value and their exact error (Dekker, Numerische Mathematik 18, 1971, section 5;
Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B), all in float64. Where no error is left, nothing is charged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from absint.engine.rows import Rows
from absint.numeric.expansions import two_sum
from absint.numeric.interval import Interval
from absint.numeric.outward import down
from absint.numeric.rounding import cast_down, gamma, is_power, no_lower, smallest_normal, unit_roundoff

_CHUNK = 1 << 18  # entries of a block of rows: a dozen temporaries of it fit the cache
_SPLIT = 2.0**27 + 1
# Between these magnitudes the parts of a product and of its error are normal numbers.
_LEAST, _MOST = 2.0**-960, 2.0**960


def lower_over(rows: Rows, box: Interval) -> Tensor:
    """(R,) lower bounds of rows with weights over the box of their node, in the box's format; -inf where they are not finite.

    Exact where every product and sum of a row is exact, so for one entry with a weight of +-2^k; sound in any case.
    """
    assert rows.weight is not None
    low, high = (end.detach().double().flatten(1) for end in (box.lower, box.upper))
    bias = torch.zeros(len(rows), dtype=torch.float64, device=low.device) if rows.bias is None else rows.bias.double()
    size = max(1, _CHUNK // max(1, low.shape[1]))
    parts = [torch.zeros(0, dtype=torch.float64, device=low.device)]
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        weight, instance = rows.weight[part].double().flatten(1), rows.instance[part]
        end = torch.where(weight > 0, low[instance], high[instance])
        parts.append(_lower(weight, torch.where(weight == 0, 0.0, end), bias[part]))
    return cast_down(torch.cat(parts), box.lower.dtype)


def _lower(weight: Tensor, end: Tensor, bias: Tensor) -> Tensor:
    """(R,) lower bounds of sum weight end + bias; weight, end: (R, n)."""
    product, error, loose = two_product(weight, end)
    total, rest, size = _summed(torch.cat([product, error, bias[:, None]], 1))
    # The errors' own sum, and what no product could tell of its error.
    g = gamma(2 * (3 * weight.shape[1] + 1) + 16, torch.float64)
    slack = g * size + (1 + g) * loose.sum(1)
    touched = (size != 0) | (slack != 0)
    moved = total + (rest - slack - 4 * smallest_normal(torch.float64))
    return no_lower(torch.where(touched, down(moved), total))


def two_product(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """fl(a b), its exact error where that is a float64 number, and a bound on what the two leave out (mostly 0)."""
    product = one * two
    (a, b), (c, d) = _halves(one), _halves(two)
    error = ((a * c - product) + a * d + b * c) + b * d
    inside = (product.abs() >= _LEAST) & (product.abs() <= _MOST) & (one.abs() <= _MOST) & (two.abs() <= _MOST)
    tiny = smallest_normal(torch.float64)
    exact = (one == 0) | (two == 0) | ((is_power(one) | is_power(two)) & (product.abs() >= tiny))
    loose = 2 * unit_roundoff(torch.float64) * product.abs() + tiny
    return product, torch.where(inside, error, 0.0), torch.where(inside | exact, 0.0, loose)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two numbers of at most 26 bits whose sum is x."""
    scaled = x * _SPLIT
    high = scaled - (scaled - x)
    return high, x - high


def _summed(terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(R, m) -> the rounded sums by halving, the rounded sums of all their exact errors, and of the errors' magnitudes."""
    rest, size = torch.zeros_like(terms[:, 0]), torch.zeros_like(terms[:, 0])
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        total, error = two_sum(terms[:, :half], terms[:, half : 2 * half])
        rest, size = rest + error.sum(1), size + error.abs().sum(1)
        terms = torch.cat([total, terms[:, 2 * half :]], 1)
    return terms[:, 0], rest, size
