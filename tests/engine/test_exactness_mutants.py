"""Faults planted into exact scaling, rows over a box, ties and closed forms: the tests of each must see them."""

from __future__ import annotations

import pytest
import test_attained_ranges as ties
import test_closed_forms as closed
import test_exact_scaling as scaling
import torch

from absint.engine import attained_rows
from absint.engine.backward import combinations
from absint.model import op
from absint.model.families import linear
from absint.model.ops import affine, normalise
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, is_power
from absint.problem import spec


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad(), closed.mp.workdps(60):
        yield


def boxes():
    scaling.test_boxes_of_moved_and_scaled_entries_are_exact_where_products_are_normal("powers", "float64")


def rows():
    for seed in range(4):
        scaling.test_rows_over_a_box_are_exact_where_they_can_be_and_sound_always(seed)


def coefficients():
    scaling.test_rounded_coefficients_are_no_powers_of_two()


def refutations():
    ties.test_refutation_and_margin_agree_on_ties()


def sums():
    ties.test_a_sum_of_rows_that_is_never_negative_refutes_where_a_strict_row_counts()


def softmax():
    closed.test_softmax_is_bounded_by_its_extreme_vertices(0, False)


def standardised():
    closed.test_standardised_entries_hold_and_stay_below_the_root(1e-5)


def no_underflow(patch):
    patch.setattr(linear, "lost", lambda product, touched, num: torch.zeros_like(product))


def any_factor_is_a_power(patch):
    for module in (affine, op):
        patch.setattr(module, "is_power", lambda x: torch.ones_like(x, dtype=torch.bool))


def products_without_error(patch):
    whole = attained_rows.two_product
    patch.setattr(attained_rows, "two_product", lambda a, b: (whole(a, b)[0], torch.zeros_like(a), torch.zeros_like(a)))


def sums_without_error(patch):
    patch.setattr(attained_rows, "two_sum", lambda a, b: (a + b, torch.zeros_like(a)))


def every_tie_refutes(patch):
    patch.setattr(spec, "attained", lambda lower, strict: torch.where(lower >= 0, lower.clamp(min=spec.ATTAINED), lower))


def no_tie_refutes(patch):
    patch.setattr(spec, "attained", lambda lower, strict: lower)


def sums_of_any_rows_refute(patch):
    whole = combinations.attained_sum
    patch.setattr(combinations, "attained_sum", lambda greatest, total, counted: whole(greatest, total, torch.ones_like(counted)))


def ends_exchanged(patch):
    whole = normalise.log_of_one_plus_sum
    patch.setattr(normalise, "log_of_one_plus_sum", lambda low, high, num: whole(high, low, num))


def exponentials_unrounded(patch):
    whole = normalise.log_of_one_plus_sum
    patch.setattr(normalise, "log_of_one_plus_sum", lambda low, high, num: whole(low, high, Numerics(rounding=False)))
    image = normalise.Exp.range
    patch.setattr(normalise.Exp, "range", lambda self, intervals, num: image(self, intervals, Numerics(rounding=False)))
    patch.setattr(Interval, "to", lambda self, dtype: Interval(self.lower.to(dtype), self.upper.to(dtype)))


def root_of_less(patch):
    whole = normalise._standard
    patch.setattr(normalise, "_standard", lambda reach, n, epsilon, num: whole(reach, n - 1, epsilon, num))


def centre_forgotten(patch):
    patch.setattr(normalise, "_centered", lambda low, high, num: (low, high))


FAULTS = [
    (no_underflow, boxes), (products_without_error, rows), (sums_without_error, rows), (any_factor_is_a_power, coefficients),
    (every_tie_refutes, refutations), (no_tie_refutes, refutations), (sums_of_any_rows_refute, sums), (ends_exchanged, softmax),
    (exponentials_unrounded, softmax), (root_of_less, standardised), (centre_forgotten, standardised),
]


@pytest.mark.parametrize(("fault", "check"), FAULTS, ids=lambda part: part.__name__)
def test_a_planted_fault_is_seen(fault, check, monkeypatch):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        check()


def test_nothing_is_seen_where_nothing_is_planted():
    for check in (coefficients, refutations, standardised):
        check()
    assert bool(is_power(torch.tensor(4.0)))
