"""Wrong ways to an endpoint and its interval, each with the tests of test_clever_endpoints.py that must notice it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from absint.analyses.clever import critical, weibull
from absint.analyses.clever.profile import Profile
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_neither_endpoint_nor_interval_lies_below_the_sample", 3))
def the_largest_value_is_ignored(patch):
    """Two standard deviations above the mean, wherever the sample ends."""
    real = weibull._fitted
    patch(weibull, "_fitted", lambda maxima, level: replace(real(maxima, level), endpoint=maxima.mean(1) + 2 * maxima.std(1)))


@mutant(("test_200_draws_tell_the_endpoint", 1.5), ("test_200_draws_tell_the_endpoint", 3))
def the_largest_value_is_the_endpoint(patch):
    patch(weibull, "LEAST_P", 2.0)


@mutant(("test_the_published_search_finds_no_better_endpoint", 30))
def no_penalty(patch):
    patch(weibull, "_PENALTY", 0.0)


@mutant(("test_the_published_search_finds_no_better_endpoint", 8))
def a_tenfold_penalty(patch):
    patch(weibull, "_PENALTY", 0.1)


@mutant(("test_the_likelihood_is_that_of_a_weibull_with_this_endpoint",), ("test_the_interval_is_what_a_likelihood_ratio_test_leaves",))
def the_shape_is_not_searched(patch):
    patch(weibull, "_START", 0)
    patch(weibull, "_ALONG", 0)
    patch(Profile, "_nearer", lambda self, place, *_: place)


@mutant(("test_the_published_search_finds_no_better_endpoint", 3))
def the_best_of_a_coarse_grid(patch):
    patch(weibull, "_GRID", np.geomspace(1e-6, 1e3, 10))
    patch(weibull, "_HALVINGS", 0)


@mutant(("test_the_interval_holds_the_endpoint_as_often_as_it_says", 1.5, 50), ("test_critical_values_are_the_tables_and_between_them",))
def quantiles_of_large_samples(patch):
    wrong = lambda shape, count, level: np.full(np.shape(shape), chi2.ppf(level, 1))    # noqa: E731
    patch(weibull, "critical", wrong)
    patch(critical, "MULTIPLES", np.ones_like(critical.MULTIPLES))


@mutant(("test_the_interval_holds_the_endpoint_as_often_as_it_says", 3, 100))
def one_sided_quantiles(patch):
    real = weibull.critical
    patch(weibull, "critical", lambda shape, count, level: real(shape, count, max(0.8, 2 * level - 1)))


@mutant(("test_the_interval_is_what_a_likelihood_ratio_test_leaves",))
def an_interval_of_the_grids_points(patch):
    patch(weibull, "_HALVINGS", 1)


@mutant(("test_a_sample_of_two_heaps_is_no_weibull",))
def the_fit_is_not_tested(patch):
    patch(weibull, "_p_values", lambda standard, shape: np.ones(len(shape)))


@mutant(("test_a_huge_value_is_the_endpoint_without_a_fit", 30.0), ("test_a_sample_of_two_heaps_is_no_weibull",))
def any_fit_will_do(patch):
    patch(weibull, "LEAST_P", 0.0)


@mutant(("test_a_row_is_the_same_alone_in_any_batch_and_in_any_order",))
def all_rows_on_one_grid(patch):
    """The grid follows the batch's means: nearly the same answers, but other ones in another batch."""
    real = weibull._fit_profiles

    def own(profile, level):
        grid = weibull._GRID
        weibull._GRID = grid * profile.gaps.mean()
        try:
            return real(profile, level)
        finally:
            weibull._GRID = grid

    patch(weibull, "_fit_profiles", own)


@mutant(("test_a_scaled_sample_has_a_scaled_answer", 3))
def a_width_in_absolute_units(patch):
    real = weibull._fitted
    patch(weibull, "_fitted", lambda maxima, level: replace(real(maxima, level), upper=maxima.max(1) + 1.0))


@mutant(("test_a_row_that_is_not_finite_harms_no_other", np.nan))
def numbers_for_rows_without(patch):
    real = weibull._fitted
    patch(weibull, "_fitted", lambda maxima, level: real(np.nan_to_num(maxima), level))
