"""Shares as they are written: 0 and 100 only where they are, ends of intervals outward."""

from __future__ import annotations

from fractions import Fraction

import pytest

from absint.contract.record import cell
from absint.numeric.percent import percent_number, percent_text, percents
from absint.numeric.statistics import clopper_pearson
from absint.verdict import InstanceResult, Verdict

SHARES = [Fraction(hits, count) for count in (1, 3, 7, 10_000, 10**9 + 7)
          for hits in sorted({0, 1, count // 3, 2 * count // 3, max(count - 4, 0), count - 1, count})]


@pytest.mark.parametrize(("share", "said"), [
    (Fraction(9996, 10_000), "99.96"), (Fraction(99999, 100_000), "99.999"), (Fraction(1, 10_000), "0.01"), (0.5, "50.0"), (1, "100.0"),
    (0, "0.0"), (Fraction(2, 3), "66.7"), (Fraction(1, 10**15), "0.000000000001"), (1 - Fraction(1, 10**15), "99.999999999999"),
])
def test_a_share_is_all_or_none_only_where_it_is(share: Fraction, said: str) -> None:
    assert percent_text(share) == said


@pytest.mark.parametrize("share", SHARES)
def test_ends_are_outward_however_they_are_shown(share: Fraction) -> None:
    for side in (-1, 1):
        number = percent_number(share, side)
        for said in (percent_text(share, side=side), str(number), cell(number)):
            assert side * (Fraction(said) - 100 * share) >= 0, (said, share)
    for said in (percent_text(share), cell(percent_number(share))):
        assert (Fraction(said) in (0, 100)) == (share in (0, 1)), said


def test_a_count_has_its_interval_around_it() -> None:
    share, low, high = percents(9996, 10_000)
    exact = clopper_pearson(9996, 10_000)
    assert share == 99.96
    assert low <= 100 * exact[0] < share < 100 * exact[1] <= high < 100
    assert percents(0, 0) == (None, None, None)
    assert percents(3, 3)[2] == percents(3, 3)[0] == 100


@pytest.mark.parametrize(("value", "said"), [(0.99999, "0.99999"), (-0.99999, "-0.99999"), (99.99996, "99.99996"), (1.0, "1"),
                                             (100.0, "100"), (0.99994, "0.9999"), (1.00001, "1"), (0.5, "0.5")])
def test_a_cell_says_one_or_a_hundred_only_where_it_is(value: float, said: str) -> None:
    assert cell(value) == said


@pytest.mark.parametrize(("margin", "said"), [(0.123456, "0.1234"), (-0.123411, "-0.1235"), (5.00000001, "5"), (1e-9, "1e-9"), (0.0, "0"),
                                              (99999.9, "9.999e+4")])
def test_a_margin_is_cut_down(margin: float, said: str) -> None:
    assert InstanceResult(0, Verdict.VERIFIED, margin=margin).cells()["margin"] == said
    assert Fraction(said) <= Fraction(margin)
