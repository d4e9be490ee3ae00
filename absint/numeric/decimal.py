"""Decimals and fractions as the user wrote them, and the floats around them."""

from __future__ import annotations

from fractions import Fraction
from math import inf

from absint.errors import UsageError
from absint.numeric.outward import next_above


def parse_eps(value: str | float | Fraction, where: str = "--eps") -> Fraction:
    """The radius the user wrote, exactly: '0.01', '2/255' or a float (taken as the decimals Python prints for it).

    Raises UsageError E-EPS where it is not a finite number >= 0.
    """
    try:
        exact = value if isinstance(value, Fraction) else Fraction(value if isinstance(value, str) else repr(float(value)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise UsageError("E-EPS", f"not a radius: {value!r}", where=where, hint="a number >= 0 such as 0.01 or 2/255") from error
    if exact < 0:
        raise UsageError("E-EPS", f"the radius is negative: {value}", where=where, hint="give a number >= 0")
    return exact


def float_above(exact: Fraction) -> float:
    """The smallest float64 >= the rational (nearest, then one step up if it fell below). Infinite on overflow."""
    try:
        near = float(exact)
    except OverflowError:
        return inf
    return near if Fraction(near) >= exact else next_above(near)
