"""The float64 next to a rational, on the side that a claim needs."""

from __future__ import annotations

from fractions import Fraction as F
from math import copysign, inf, nextafter

import pytest

from absint.numeric.decimal import float_above, float_below

TENTH = F(1, 10)


@pytest.mark.parametrize("exact", [TENTH, -TENTH, F(1, 3), F(0), F(5), F(1, 10**400), -F(1, 10**400), F(2) ** -1074, F(2**53 + 1)])
def test_both_ends_are_next_to_it(exact):
    low, high = float_below(exact), float_above(exact)
    assert F(low) <= exact <= F(high)
    assert high in (low, nextafter(low, inf))


def test_nothing_is_no_negative_zero():
    assert copysign(1.0, float_below(F(0))) == 1.0
    assert float_below(F(10) ** 400) == -inf, "nothing is known from below: the largest float64 is not looked for"
