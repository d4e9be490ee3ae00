"""Decimals and fractions as the user wrote them, and the floats around them."""

from __future__ import annotations

import re
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from math import inf, isfinite

from absint.errors import UsageError, shown

_DOWN, _UP = Context(prec=7, rounding=ROUND_FLOOR), Context(prec=7, rounding=ROUND_CEILING)

_GREATEST = Fraction(sys.float_info.max)
_EXPONENT = 10_000    # beyond it, a few characters would make a number of billions of digits


def rational(value: str | Decimal) -> Fraction:
    """The exact number: '0.01', '2/255', '1e-3'. Raises ValueError where it is none, is not finite, or has a vast exponent."""
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > _EXPONENT:
            raise ValueError(f"not a number that is computed with: {value}")
        return Fraction(value)
    exponent = re.search(r"[eE][+-]?([0-9_]+)", value)
    if exponent is not None and (len(exponent[1]) > 9 or int(exponent[1]) > _EXPONENT):
        raise ValueError(f"not a number that is computed with: {value[:60]}")
    return Fraction(value)


def parse_eps(value: str | float | Fraction, where: str = "--eps") -> Fraction:
    """The radius the user wrote, exactly: '0.01', '2/255' or a float (taken as the decimals Python prints for it).

    Raises UsageError E-EPS where it is not a finite number >= 0, or, for the radius of a ball, beyond every float64.
    """
    try:
        exact = value if isinstance(value, Fraction) else rational(value if isinstance(value, str) else repr(float(value)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise UsageError("E-EPS", f"not a radius: {shown(value)}", where=where, hint=_radius_hint(value)) from error
    if exact < 0:
        raise UsageError("E-EPS", f"the radius is negative: {_stated(value)}", where=where, hint="give a number >= 0")
    if exact > _GREATEST and where.lstrip("-") == "eps":    # others, such as the upper end of a search, have limits of their own
        raise UsageError("E-EPS", f"the radius is beyond every float64: {_stated(value)}", where=where,
                         hint="a radius is in raw input units: 0.01, or 8/255 for 8 steps of an eight-bit picture")
    return exact


def _stated(value: object) -> str:
    try:
        return shown(str(value) if isinstance(value, Fraction) else value)
    except ValueError:      # so many digits that Python does not print them
        return "a fraction of very many digits"


def _radius_hint(value: object) -> str:
    """What was probably meant by what is no radius."""
    text = str(value).strip()
    if text.endswith("%"):
        return f"a share of 1 as a decimal or a fraction: {text[:-1].strip()}/100"
    if re.fullmatch(r"[0-9.e/-]+(:[0-9.e/-]+)+", text):
        return f"several radii are a sweep: absint sweep net.onnx --eps {text}"
    return "a number >= 0 such as 0.01 or 2/255"


def float_above(exact: Fraction) -> float:
    """The smallest float64 >= the rational (nearest, then one step up if it fell below). Infinite on overflow."""
    try:
        near = float(exact)
    except OverflowError:
        return inf
    if Fraction(near) >= exact:
        return near
    from absint.numeric.outward import next_above  # loads torch, which records of a run need not

    return next_above(near)


def float_below(exact: Fraction) -> float:
    """The largest float64 <= the rational; 0 is no negative zero."""
    return 0.0 - float_above(-exact)


def exact_text(value: Fraction) -> str:
    """The exact number as a decimal where it has one, else as a fraction. Fraction() reads it back."""
    places, rest = 0, value.denominator
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def outward_text(value: float | Fraction, side: int) -> str:
    """Seven digits, rounded down (-1) or up (1): once, so a fraction is to be given as it is and not as the float below it."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    exact = Fraction(value)
    cut = (_DOWN if side < 0 else _UP).divide(Decimal(exact.numerator), Decimal(exact.denominator))
    return f"{cut.normalize():g}" if cut else "0"
