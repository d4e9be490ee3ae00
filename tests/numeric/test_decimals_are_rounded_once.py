"""Numbers for people: seven digits, rounded outward once, from the exact number."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest

from absint.analyses.radius.record import RadiusResult
from absint.errors import UsageError
from absint.numeric.decimal import float_below, outward_text, parse_eps


@pytest.mark.parametrize("digits", ["0.003125", "0.009375", "0.1", "12.5", "1/8"])
def test_a_short_decimal_is_shown_as_it_is(digits):
    exact = Fraction(digits)
    assert Fraction(outward_text(exact, -1)) == Fraction(outward_text(exact, 1)) == exact


def test_what_is_cut_is_cut_outward_and_by_less_than_one_digit():
    for number in range(1, 400):
        exact = Fraction(number, 700)
        low, high = (Fraction(outward_text(exact, side)) for side in (-1, 1))
        assert low <= exact <= high
        assert high - low <= exact / 10**6


def test_a_float_below_would_have_been_cut_twice():
    exact = Fraction("0.009375")
    assert outward_text(float_below(exact), -1) == "0.009374999"      # what this replaces
    assert outward_text(exact, -1) == "0.009375"


def test_a_long_radius_is_shown_by_the_greatest_short_decimal_below_it():
    exact = Fraction(2000000001, 7000000003)
    shown = RadiusResult(0, exact, inf, 0, 0, 1, None, False, 0.0, None).cells()["certified"]
    assert shown == "0.2857142"
    assert Fraction(shown) <= exact < Fraction(shown) + Fraction(1, 10**7)


@pytest.mark.parametrize("text", ["1e400", "1e309", "9e9999"])
def test_a_radius_beyond_every_float_is_refused(text):
    with pytest.raises(UsageError, match="beyond every float64") as caught:
        parse_eps(text)
    assert caught.value.code == "E-EPS"


def test_a_negative_radius_is_shown():
    with pytest.raises(UsageError, match="negative: '-1/3'"):
        parse_eps(Fraction(-1, 3))


def test_the_greatest_float_is_a_radius():
    assert parse_eps("1.7976931348623157e308") > 1
