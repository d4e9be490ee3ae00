"""Ends of intervals of proportions, by sums and logarithms in fifty digits: each is at, or beyond, where it says, never inside."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import mpmath
import pytest

from absint.analyses.global_robustness.counting import Count
from absint.numeric import statistics

RESTS = (0.3, 0.005, 5e-7, 1e-16, 1e-40)
COUNTS = [(count, hits) for count in (1, 2, 25, 1000, 10**6)
          for hits in sorted({1, 2, count // 2, 9 * count // 10, 99 * count // 100, count - 1, count}) if 0 < hits <= count]


def tail(hits: int, count: int, p: mpmath.mpf) -> mpmath.mpf:
    """That so many or more of a binomial variable are hits: the first term, and the others by their ratios."""
    first = mpmath.loggamma(count + 1) - mpmath.loggamma(hits + 1) - mpmath.loggamma(count - hits + 1)
    first += hits * mpmath.log(p) + ((count - hits) * mpmath.log1p(-p) if count > hits else 0)
    term = total = mpmath.mpf(1)
    for k in range(hits, count):
        term *= (count - k) * p / ((k + 1) * (1 - p))
        total += term
        if term < total * mpmath.mpf(10) ** -30:
            break
    return mpmath.exp(first) * total


@pytest.mark.parametrize("rest", RESTS)
def test_the_tails_at_both_ends_are_no_larger_than_they_may_be(rest: float) -> None:
    with mpmath.workdps(50):
        for count, hits in COUNTS:
            low, high = statistics.binomial_lower(hits, count, rest), statistics.binomial_upper(count - hits, count, rest)
            for p in (mpmath.mpf(low), 1 - mpmath.mpf(high)):
                assert p == 0 or tail(hits, count, p) <= rest, (count, hits)
            assert low == 0 or tail(hits, count, mpmath.mpf(low)) >= rest * (1 - 1e-6), "and not much smaller"


def logarithm(hits: int, count: int, p: float) -> mpmath.mpf:
    """Of the mixture's likelihood ratio at p."""
    half, misses, p = mpmath.mpf("0.5"), count - hits, mpmath.mpf(p)
    found = sum(map(mpmath.loggamma, (hits + half, misses + half))) - mpmath.loggamma(count + 1) - mpmath.log(mpmath.pi)
    return found - (hits * mpmath.log(p) if hits else 0) - (misses * mpmath.log1p(-p) if misses else 0)


@pytest.mark.parametrize("count", [1, 3, 1000, 10**6, 10**10, 10**12])
@pytest.mark.parametrize("rest", [0.5, 0.01, 1e-6, 1e-12, 1e-30])
def test_a_sequence_leaves_out_only_what_its_martingale_leaves_out(count: int, rest: float) -> None:
    with mpmath.workdps(50):
        for hits in {0, 1, count // 2, 99 * count // 100, count - 1, count}:
            for p in statistics.confidence_ends(hits, count, rest):
                assert p in (0.0, 1.0) or logarithm(hits, count, p) >= -mpmath.log(rest), (hits, p)


@pytest.mark.parametrize("nines", [17, 40, 300, 500])
@pytest.mark.parametrize("sequential", [False, True])
def test_a_level_that_no_float_tells_from_one_has_an_interval(nines: int, sequential: bool) -> None:
    low, high = Count(100, 100, 90, 10).interval(Fraction(1, 10**nines), sequential=sequential)
    wide = Count(100, 100, 90, 10).interval(Fraction(1, 10**6), sequential=sequential)
    assert 0 <= low <= wide[0]
    assert wide[1] <= high <= 1


def test_an_end_that_was_computed_inside_is_moved_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inverse of a tail errs by far more than the tail does, and says NaN where it gives up."""
    import scipy.special

    real = scipy.special.betaincinv
    truth = statistics.binomial_lower(90, 100, 0.005)
    for wrong in (lambda *given: 1.01 * real(*given), lambda *given: float("nan"), lambda *given: inf):
        monkeypatch.setattr(scipy.special, "betaincinv", wrong)
        assert 0 < statistics.binomial_lower(90, 100, 0.005) <= truth
