"""Exact numbers of a query file, each with the float64 numbers on both sides of it."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache
from math import isinf

from absint.numeric.decimal import float_above
from absint.numeric.outward import next_above, next_below

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,9}))?", re.ASCII)
_DIGITS, _EXPONENT = 1000, 1000  # beyond these, exact arithmetic would cost more than any property needs


class ExactNumber:
    """One rational. floor, ceil: the float64 numbers next to it on both sides, equal where it is one."""

    __slots__ = ("_source", "ceil", "floor")

    def __init__(self, floor: float, ceil: float, source: str | Fraction) -> None:
        self.floor, self.ceil, self._source = floor, ceil, source

    @property
    def value(self) -> Fraction:
        """The number itself."""
        return Fraction(self._source)

    @property
    def is_float(self) -> bool:
        """Whether it is a float64 number."""
        return self.floor == self.ceil

    def below(self, other: ExactNumber) -> bool:
        """Whether self < other, exactly; rationals only where float64 cannot tell."""
        if self.ceil < other.floor:
            return True
        return False if self.floor >= other.ceil else self.value < other.value

    def equals(self, other: ExactNumber) -> bool:
        """Whether self == other, exactly."""
        return self.floor == other.floor and self.ceil == other.ceil and (self.is_float or self.value == other.value)

    def __str__(self) -> str:
        return self._source if isinstance(self._source, str) else written(self._source)


def written(value: Fraction) -> str:
    """As a decimal where it has a finite one that is not too long, else as a quotient."""
    context = Context(prec=_DIGITS, traps=[])
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return str(value) if context.flags[Inexact] else str(quotient)


def rational(value: Fraction) -> ExactNumber | None:
    """A rational; None where it leaves the range of float64."""
    ceil, floor = float_above(value), -float_above(-value)
    return None if isinf(ceil) or isinf(floor) else ExactNumber(floor, ceil, value)


@lru_cache(maxsize=1 << 16)
def decimal(text: str) -> ExactNumber | None:
    """The number that `text` writes, exactly; None where it writes none, or one of no use (1e999)."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > _DIGITS or abs(int(match[1] or 0)) > _EXPONENT:
        return None
    near, exact = float(text), Decimal(text)
    if isinf(near):
        return None
    held = Decimal(near)
    floor = next_below(near) if held > exact else near
    ceil = next_above(near) if held < exact else near
    return None if isinf(floor) or isinf(ceil) else ExactNumber(floor + 0.0, ceil + 0.0, text)


def looks_like_number(text: str) -> bool:
    """Whether `text` has the form of a number, whatever its size."""
    return re.match(r"[+-]?\.?\d", text) is not None
