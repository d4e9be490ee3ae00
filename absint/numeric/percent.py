"""Shares in percent as they are written: never 0 or 100 where the share is not, and ends of intervals rounded outward."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, log10

from absint.numeric.statistics import clopper_pearson

_DECIMALS = 4           # of a share in a table
_SIGNIFICANT = 4        # digits of an end, as many as `contract.record.cell` shows
_MOST = 12              # decimals


def percent_text(share: float | Fraction, digits: int = 1, side: int = 0) -> str:
    """A share in [0, 1] in percent with so many decimals, or as many more as tell it from 0 and 100: '99.96', never '100.0' of 0.9996.

    side: rounded down (-1), to the nearest (0), or up (1).
    """
    scaled, digits = _scaled(Fraction(share) * 100, digits, side)
    return f"{scaled / 10**digits:.{digits}f}"


def percent_number(share: float | Fraction, side: int = 0) -> float:
    """The same as a number of a table: four decimals to the nearest; an end of an interval (side -1 or 1) four digits, outward."""
    value = Fraction(share) * 100
    digits = _DECIMALS
    if side and value:
        digits = max(0, min(_MOST, _SIGNIFICANT - 1 - floor(log10(value))))
    scaled, digits = _scaled(value, digits, side)
    return float(Fraction(scaled, 10**digits))


def percents(hits: int, count: int) -> tuple[float | None, float | None, float | None]:
    """A counted share in percent and the ends of its exact 95 % interval (Clopper-Pearson), outward; None of nothing counted."""
    if not count:
        return None, None, None
    low, high = clopper_pearson(hits, count)
    return percent_number(Fraction(hits, count)), percent_number(low, -1), percent_number(high, 1)


def _scaled(value: Fraction, digits: int, side: int) -> tuple[int, int]:
    """The value times 10^digits, rounded; and digits, more of them where fewer would make an end of [0, 100] of what is none."""
    inside = 0 < value < 100
    while True:
        exact = value * 10**digits
        scaled = floor(exact) if side < 0 else ceil(exact) if side > 0 else round(exact)
        if not inside or 0 < scaled < 100 * 10**digits:
            return scaled, digits
        if digits >= _MOST:     # down to 0 and up to 100 are outward still
            return (scaled if side else min(max(scaled, 1), 100 * 10**digits - 1)), digits
        digits += 1
