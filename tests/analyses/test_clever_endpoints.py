"""Endpoints fitted to batch maxima: near the truth, never below the sample, alike under scales, shifts and other rows; their intervals."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import weibull_min

from absint.analyses.clever.critical import COUNTS, LEVELS, MULTIPLES, SHAPES, critical
from absint.analyses.clever.weibull import EndpointFit, fit_endpoints, likelihood_ratio
from absint.errors import UsageError

NAMES = tuple(each.name for each in fields(EndpointFit))
ENDS = ("endpoint", "lower", "upper")


def drawn(shape, rows, count, seed=0):
    """Rows of 10 - 2 Weibull(shape): the endpoint is 10."""
    return 10 - 2 * np.random.default_rng([seed, round(100 * shape)]).weibull(shape, (rows, count))


def equal(one, other, rows=slice(None)):
    return all(np.array_equal(getattr(one, name)[rows], getattr(other, name), equal_nan=True) for name in NAMES)


@pytest.mark.parametrize("shape", [1.5, 3])
def test_200_draws_tell_the_endpoint(shape):
    fit = fit_endpoints(drawn(shape, 60, 200))
    assert abs(fit.endpoint[0] - 10) < 0.3
    assert abs(np.median(fit.endpoint) - 10) < 0.1
    assert np.mean(abs(fit.endpoint - 10) < 0.3) > 0.85
    assert abs(np.median(fit.shape) - shape) < 0.3
    assert abs(np.median(fit.scale) - 2) < 0.2
    assert not fit.fallback.any()


@pytest.mark.parametrize("shape", [0.5, 1.2, 3, 30])
def test_neither_endpoint_nor_interval_lies_below_the_sample(shape):
    maxima = drawn(shape, 60, 20)
    fit = fit_endpoints(maxima)
    assert (fit.endpoint >= maxima.max(1)).all()
    assert (fit.lower >= maxima.max(1)).all()
    assert (fit.lower <= fit.endpoint).all()
    assert (fit.endpoint <= fit.upper).all()
    assert np.array_equal(fit.endpoint == maxima.max(1), fit.fallback)


@pytest.mark.parametrize("shape", [1.5, 3, 8, 30])
def test_the_published_search_finds_no_better_endpoint(shape):
    """Nelder and Mead's search over (shape, location, scale), penalised as published, from the fit and from 5: its maximum is ours."""
    maxima = drawn(shape, 3, 100, seed=1)
    fit = fit_endpoints(maxima)
    for k, row in enumerate(maxima):
        width = np.ptp(row)
        gaps = (row.max() - row) / width

        def loss(theta, gaps=gaps):
            inside = theta[0] >= 1 and theta[2] > 0 and (gaps > theta[1]).all()
            return 0.01 * theta[2] ** 2 - weibull_min.logpdf(gaps, *theta).sum() if inside else 1e9

        ours = (fit.shape[k], (row.max() - fit.endpoint[k]) / width, fit.scale[k] / width)
        best = min((minimize(loss, start, method="Nelder-Mead", options={"maxiter": 900, "xatol": 1e-7, "fatol": 1e-9})
                    for start in (ours, (5.0, -0.5, 1.0))), key=lambda found: found.fun)
        assert loss(ours) - best.fun < 0.01
        assert abs(best.x[1] - ours[1]) < 0.04


def test_the_likelihood_is_that_of_a_weibull_with_this_endpoint():
    maxima = drawn(3, 4, 50)
    low, high = maxima.max(1) + 0.1, maxima.max(1) + 5
    ratios, shapes = zip(*(likelihood_ratio(maxima, end) for end in (low, high)), strict=True)
    for k, row in enumerate(maxima):
        fits = [weibull_min.fit(end[k] - row, floc=0) for end in (low, high)]
        heights = [weibull_min.logpdf(end[k] - row, *fit).sum() for end, fit in zip((low, high), fits, strict=True)]
        np.testing.assert_allclose([shape[k] for shape in shapes], [fit[0] for fit in fits], rtol=1e-3)
        np.testing.assert_allclose(ratios[1][k] - ratios[0][k], 2 * (heights[0] - heights[1]), atol=1e-4)


def test_equal_values_are_their_own_answer():
    fit = fit_endpoints(np.full((2, 12), 3.5))
    for name in ENDS:
        assert (getattr(fit, name) == 3.5).all()
    assert fit.fallback.all()
    assert np.isnan([fit.shape, fit.scale, fit.p_value]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_harms_no_other(bad):
    maxima = drawn(3, 3, 50)
    maxima[1, 7] = bad
    fit = fit_endpoints(maxima)
    assert np.isnan([fit.endpoint[1], fit.lower[1], fit.upper[1], fit.shape[1]]).all()
    assert fit.fallback.tolist() == [False, True, False]
    assert equal(fit, fit_endpoints(maxima[[0, 2]]), [0, 2])


@pytest.mark.parametrize("outlier", [16.0, 30.0, 1e6, 1e300])
def test_a_huge_value_is_the_endpoint_without_a_fit(outlier):
    maxima = drawn(3, 2, 100)
    maxima[:, 5] = outlier
    fit = fit_endpoints(maxima)
    assert (fit.endpoint == outlier).all()
    assert fit.fallback.all()
    assert (fit.lower == outlier).all()
    assert np.isinf(fit.upper).all()


def test_a_tiny_value_leaves_a_number():
    maxima = drawn(3, 2, 100)
    maxima[:, 5] = -1e6
    fit = fit_endpoints(maxima)
    assert np.isfinite(fit.endpoint).all()
    assert (fit.endpoint >= maxima.max(1)).all()


def test_ties():
    one = drawn(3, 1, 100)[0]
    half = np.where(np.arange(100) < 50, one.max(), one)
    rows = np.stack([np.round(one * 5) / 5, half, np.where(np.arange(100) < 99, 1.0, 2.0), np.arange(100) % 2.0, np.round(one)])
    fit = fit_endpoints(rows)
    assert np.isfinite(fit.endpoint).all()
    assert (fit.endpoint >= rows.max(1)).all()
    assert abs(fit.endpoint[0] - fit_endpoints(one[None]).endpoint[0]) < 0.3
    assert fit.fallback.tolist()[1:4] == [True, True, True]
    assert not np.isnan([fit.lower, fit.upper]).any()


@pytest.mark.parametrize("shape", [0.7, 1.5, 3, 8])
def test_a_scaled_sample_has_a_scaled_answer(shape):
    maxima = drawn(shape, 5, 40)
    fit = fit_endpoints(maxima)
    for factor in (1e-300, 1e-12, 3e-5, 7.0, 1e12, 1e300):
        scaled = fit_endpoints(factor * maxima)
        for name in (*ENDS, "scale"):
            np.testing.assert_allclose(getattr(scaled, name), factor * getattr(fit, name), rtol=1e-9)
        np.testing.assert_allclose(scaled.shape, fit.shape, rtol=1e-9)


@pytest.mark.parametrize("shift", [-10.0, 1e3, 1e6])
def test_a_shifted_sample_has_a_shifted_answer(shift):
    maxima = drawn(3, 5, 40)
    fit, moved = fit_endpoints(maxima), fit_endpoints(maxima + shift)
    for name in ENDS:
        np.testing.assert_allclose(getattr(moved, name) - shift, getattr(fit, name), rtol=1e-6)


def test_a_row_is_the_same_alone_in_any_batch_and_in_any_order():
    maxima = np.concatenate([drawn(shape, 130, 90) for shape in (0.7, 1.5, 3, 8)])    # several chunks
    fit = fit_endpoints(maxima)
    for k in (0, 131, 263, 519):
        assert equal(fit, fit_endpoints(maxima[k : k + 1]), slice(k, k + 1))
    assert equal(fit, fit_endpoints(np.random.default_rng(1).permuted(maxima[130:140], axis=1)), slice(130, 140))
    assert fit_endpoints(np.empty((0, 20))).endpoint.shape == (0,)


def test_a_sample_of_two_heaps_is_no_weibull():
    heaps = np.concatenate([drawn(3, 4, 50), drawn(3, 4, 50, seed=2) - 40], axis=1)
    fit = fit_endpoints(heaps)
    assert fit.fallback.all()
    assert (fit.endpoint == heaps.max(1)).all()
    assert np.isinf(fit.upper).all()


@pytest.mark.parametrize(("shape", "count"), [(1.5, 50), (3, 100), (8, 100)])
def test_the_interval_holds_the_endpoint_as_often_as_it_says(shape, count):
    fit = fit_endpoints(drawn(shape, 1200, count, seed=3))
    assert 0.93 <= np.mean((fit.lower <= 10) & (fit.upper >= 10)) <= 0.97


def test_the_interval_is_what_a_likelihood_ratio_test_leaves():
    maxima = drawn(3, 40, 60, seed=4)
    for level in (0.8, 0.93, 0.99):
        fit = fit_endpoints(maxima, level)
        width = np.ptp(maxima, axis=1)
        for end, free in ((fit.upper, np.isfinite(fit.upper)), (fit.lower, fit.lower - maxima.max(1) > 1e-6 * width)):
            assert free.sum() > 3
            ratio, shape = likelihood_ratio(maxima[free], end[free])
            np.testing.assert_allclose(ratio, critical(shape, 60, level), rtol=1e-6)


def test_critical_values_are_the_tables_and_between_them():
    chi = 1.959963984540054**2
    assert MULTIPLES.shape == (len(LEVELS), len(COUNTS), len(SHAPES))
    np.testing.assert_allclose(critical(np.array(SHAPES), 100, 0.95), MULTIPLES[2, 3] * chi)
    assert critical(np.array([1e4]), 10**6, 0.95) == critical(np.array([40.0]), 500, 0.95)
    low, middle, high = (critical(np.array([2.0]), count, 0.95)[0] for count in (20, 30, 50))
    assert min(low, high) < middle < max(low, high)


@pytest.mark.parametrize(("count", "level", "code"), [(9, 0.95, "E-CLEVER-BATCHES"), (20, 0.5, "E-CLEVER-LEVEL"),
                                                      (20, float("nan"), "E-CLEVER-LEVEL")])
def test_too_little_to_fit_and_levels_without_values_are_refused(count, level, code):
    with pytest.raises(UsageError) as caught:
        fit_endpoints(np.ones((2, count)), level)
    assert caught.value.code == code
