"""Schedules of training: the published ones as they are printed, the smooth ramp, and defaults in their proportions."""

from __future__ import annotations

from itertools import pairwise

import pytest

from absint.analyses.train.options import TrainOptions
from absint.analyses.train.schedule import Schedule, smooth
from absint.analyses.train.task import schedule_of

WARM, RAMP, EPS = 2_000, 10_000, 0.4


def test_radius_and_share_of_the_clean_loss_at_the_corners_of_the_ramp():
    schedule = Schedule(EPS, 60_000, WARM, RAMP, 0.5, "linear", 1e-3, (15_000, 25_000), 0.1)
    corners = [schedule.at(step) for step in (0, WARM, WARM + RAMP // 2, WARM + RAMP, 59_999)]
    assert [one.eps for one in corners] == [0.0, 0.0, EPS / 2, EPS, EPS]
    assert [one.kappa for one in corners] == [1.0, 1.0, 0.75, 0.5, 0.5]
    assert [one.phase for one in corners] == ["warm-up", "ramp", "ramp", "full", "full"]
    assert [schedule.at(step).rate for step in (14_999, 15_000, 24_999, 25_000)] == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])


def test_a_ramp_of_no_steps_is_a_jump():
    schedule = Schedule(EPS, 100, 10, 0, 0.5, "linear", 1e-3, (), 0.1)
    assert [(schedule.at(step).eps, schedule.at(step).kappa) for step in (9, 10)] == [(0.0, 1.0), (EPS, 0.5)]


def test_defaults_are_the_proportions_of_the_published_run_on_mnist():
    """100 epochs of 600 steps: 2K of warm-up, 10K of ramp; the rate falls at seven and nine tenths."""
    schedule = schedule_of(TrainOptions(eps="0.4", epochs=100), 60_000)
    assert (schedule.steps, schedule.warm_up, schedule.ramp, schedule.drops) == (60_000, 2_000, 10_000, (42_000, 54_000))
    assert (schedule.eps, schedule.kappa, schedule.rate, schedule.factor, schedule.curve) == (0.4, 0.5, 1e-3, 0.1, "linear")


def test_the_faster_ramp_turns_10000_steps_into_4000_and_nothing_else():
    usual, fast = (schedule_of(TrainOptions(eps="0.4", epochs=100, ramp_speed=speed), 60_000) for speed in (1.0, 2.5))
    assert fast.ramp == 4_000
    assert vars(fast) == vars(usual) | {"ramp": 4_000}
    assert [fast.at(step).eps for step in (2_000, 4_000, 6_000)] == [0.0, 0.2, 0.4]


def test_steps_may_be_given_in_epochs():
    schedule = schedule_of(TrainOptions(epochs=10, warm_up="1ep", ramp="2.5ep", drops="4ep,300", eps="0.1", eps_train="0.15"), 6_000)
    assert (schedule.warm_up, schedule.ramp, schedule.drops, schedule.eps) == (60, 150, (240, 300), 0.15)
    assert schedule_of(TrainOptions(steps=77, drops="none"), 6_000).drops == ()
    assert schedule_of(TrainOptions(steps=77), 6_000).steps == 77


def test_the_smooth_ramp_is_a_curve_that_its_line_continues():
    """Continuous with its slope at the joint, rising, from 0 to 1, and flat where it begins."""
    shares = [k / 10_000 for k in range(10_001)]
    rising = [smooth(share) for share in shares]
    assert (rising[0], rising[-1]) == (0.0, pytest.approx(1.0, abs=1e-12))
    assert all(a <= b for a, b in pairwise(rising))
    h = 1e-7
    assert smooth(0.25 - h) == pytest.approx(smooth(0.25 + h), abs=1e-6)
    before, behind = (smooth(0.25) - smooth(0.25 - h)) / h, (smooth(0.25 + h) - smooth(0.25)) / h
    assert before == pytest.approx(behind, rel=1e-4)
    assert (smooth(1.0) - smooth(0.6)) / 0.4 == pytest.approx(behind, rel=1e-6), "a line"
    assert smooth(0.01) < 1e-6
    assert all(smooth(share) <= share for share in shares[:-1])


def test_under_a_smooth_ramp_the_share_of_the_clean_loss_falls_evenly():
    schedule = Schedule(EPS, 60_000, WARM, RAMP, 0.5, "smooth", 1e-3, (), 0.1)
    middle = schedule.at(WARM + RAMP // 2)
    assert middle.kappa == 0.75
    assert middle.eps == pytest.approx(EPS * smooth(0.5))
