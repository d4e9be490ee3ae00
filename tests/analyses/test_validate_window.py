"""Algorithm 2 and the normality test, against hand-made queues and the published formulas."""

from __future__ import annotations

from fractions import Fraction
from math import exp, isnan, log, nan, sqrt

import numpy as np
import pytest
from scipy import stats

from absint.analyses.validate import window as validate_window
from absint.analyses.validate.window import Basis, SlidingWindow, WindowRule, filled, normality, order_statistic
from absint.errors import UsageError

STEP = Fraction(1, 2000)
GOOD = tuple(int(k) for k in np.round(30 + 5 * stats.norm.ppf((np.arange(1, 51) - 0.5) / 50)))


def rule(**changes):
    values = {"step": STEP, "threshold": 20, "sigma0": 28, **changes}
    return WindowRule(**values)


def anscombe(values):
    """D'Agostino and Pearson's K2 from the moments, by the formulas of D'Agostino, Belanger and D'Agostino Jr. (1990)."""
    x, n = np.asarray(values), len(values)
    m2, m3, m4 = (float(((x - x.mean()) ** k).mean()) for k in (2, 3, 4))
    skew, kurtosis = m3 / m2**1.5, m4 / m2**2
    y = skew * sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta2 = 3 * (n * n + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = -1 + sqrt(2 * (beta2 - 1))
    delta, alpha = 1 / sqrt(log(sqrt(w2))), sqrt(2 / (w2 - 1))
    z1 = delta * log(y / alpha + sqrt((y / alpha) ** 2 + 1))
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    std = (kurtosis - mean) / sqrt(variance)
    root = 6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9)) * sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / root * (2 / root + sqrt(1 + 4 / root**2))
    inner = (1 - 2 / a) / (1 + std * sqrt(2 / (a - 4)))
    z2 = ((1 - 2 / (9 * a)) - np.cbrt(inner)) / sqrt(2 / (9 * a))
    return exp(-(z1**2 + z2**2) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_scipys_and_the_formulas(seed):
    values = np.random.default_rng(seed).gamma(4.0, 0.005, size=60)
    assert normality(values) == pytest.approx(stats.normaltest(values).pvalue, abs=1e-9)
    assert normality(values) == pytest.approx(anscombe(values), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.1] * 50, [0.1, 0.2, 0.3], [*([0.1] * 49), nan], [0.0] * 8])
def test_values_without_a_p_value_give_nan_and_no_warning(values, recwarn):
    assert isnan(normality(values))
    assert not recwarn


def test_the_window_of_the_examples_is_normal():
    assert len(GOOD) == 50
    assert normality([k * float(STEP) for k in GOOD]) > 0.5


def test_a_large_radius_is_accepted_and_slides_the_window():
    window = SlidingWindow(rule(), GOOD)
    accepted, basis, after = window.decide(28)
    assert (accepted, basis) == (True, Basis.RADIUS)
    assert after.steps == (*GOOD[1:], 28)
    assert len(after.steps) == 50


def test_a_radius_that_spoils_normality_is_rejected_and_leaves_the_window():
    window = SlidingWindow(rule(), GOOD)
    accepted, basis, after = window.decide(0)
    assert (accepted, basis) == (False, Basis.NORMALITY)
    assert after is window


def test_the_new_radius_is_in_the_second_slice_and_the_oldest_in_the_first():
    """Inclusive indices: with Q[0..s-2] and Q[1..s-1] the new radius would change nothing."""
    window = SlidingWindow(rule(sigma0=10**6, sigma1=0.0), GOOD)
    for radius in (*range(15, 46, 3), 0, 90):
        drop = stats.normaltest([k * float(STEP) for k in GOOD]).pvalue - stats.normaltest(
            [k * float(STEP) for k in (*GOOD[1:], radius)]).pvalue
        assert window.decide(radius)[0] == (drop <= 0), radius
    assert {window.decide(radius)[0] for radius in range(15, 46)} == {True, False}


def test_sigma1_is_what_a_fall_is_compared_with():
    drop = SlidingWindow(rule(), GOOD).p - SlidingWindow(rule(), GOOD).slid(20).p
    assert 0 < drop < 0.9
    assert SlidingWindow(rule(sigma1=drop + 1e-9), GOOD).decide(20)[0]
    assert not SlidingWindow(rule(sigma1=drop - 1e-9), GOOD).decide(20)[0]


@pytest.mark.parametrize("poison", [(0,) * 25 + (30,) * 25, (1,) * 45 + (60,) * 5])
def test_a_window_that_is_not_normal_leaves_the_decision_to_the_threshold(poison):
    """The published rule accepts everything here: no p-value can fall by more than sigma1."""
    window = SlidingWindow(rule(), poison)
    assert not window.p > 0.05
    assert window.decide(19)[:2] == (False, Basis.THRESHOLD)
    assert window.decide(19)[2] is window
    accepted, basis, after = window.decide(20)
    assert (accepted, basis) == (True, Basis.THRESHOLD)
    assert after.steps[-1] == 20


@pytest.mark.parametrize("radius", [0, 19])
def test_constants_fall_back_without_an_exception(radius):
    window = SlidingWindow(rule(), (24,) * 50)
    assert isnan(window.p)
    assert window.decide(radius)[:2] == (False, Basis.THRESHOLD)
    assert window.decide(24)[:2] == (True, Basis.THRESHOLD)


def test_a_p_value_that_vanishes_with_the_new_radius_falls_back(monkeypatch):
    monkeypatch.setattr(validate_window, "normality", lambda values: 0.5 if values[-1] == GOOD[-1] * float(STEP) else nan)
    assert SlidingWindow(rule(), GOOD).decide(19)[:2] == (False, Basis.THRESHOLD)
    assert SlidingWindow(rule(), GOOD).decide(20)[:2] == (True, Basis.THRESHOLD)


@pytest.mark.parametrize("changes", [{"size": 19}, {"sigma1": -0.1}, {"guard": 2.0}, {"sigma1": nan}])
def test_senseless_parameters_are_refused(changes):
    with pytest.raises(UsageError) as caught:
        rule(**changes)
    assert caught.value.code == "E-WINDOW"


def test_a_window_takes_the_first_radii_or_there_is_none():
    assert filled(rule(), range(60)).steps == tuple(range(50))
    assert filled(rule(), range(49)) is None


@pytest.mark.parametrize("below", [0, 3, 9])
def test_the_order_statistic_is_the_largest_value_with_few_below(below):
    for steps in ([5, 5, 5, 5, 5, 5, 5, 5, 5, 5], [9, 1, 4, 4, 4, 7, 7, 2, 0, 8]):
        found = order_statistic(steps, below)
        assert sum(k < found for k in steps) <= below < sum(k < found + 1 for k in steps)
