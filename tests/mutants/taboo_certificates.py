"""Unsound or wrong variants of certificates of taboo traps, each with the tests of test_taboo_certificates.py that must notice it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import torch

from absint.analyses.taboo import certifying
from absint.analyses.taboo.certificate import Outcome
from absint.analyses.taboo.certifying import Certifying
from absint.analyses.taboo.claims import TrapClaim
from absint.engine import float32_executions, forward
from absint.problem.regions.region import BoxRegion
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)
BY_HAND = "test_a_ball_is_quiet_exactly_as_far_as_by_hand"
RADIUS = "test_the_largest_radius_is_the_last_of_the_grid_before_it"
ALARMS = "test_alarms_are_proved_exactly_as_far_as_by_hand"
CUT = "test_the_ball_is_cut_to_the_data_range"
TIES = "test_a_value_on_its_threshold_raises_no_alarm"
POINTS = "test_no_point_of_a_quiet_ball_alarms_and_every_point_of_an_alarmed_one_does"
NOISE = "test_what_float32_executions_may_do_is_not_proved_away"
CANCELLING = "test_executions_that_cancel_keep_a_ball_open"

_specify, _ball = TrapClaim.specify, certifying.ball


def respecified(change):
    """TrapClaim.specify with its property changed: change(claim, spec) -> spec."""
    return lambda self, slots: change(self, _specify(self, slots))


@mutant((BY_HAND,), (RADIUS,), (POINTS, 0))
def proved_against_higher_thresholds(patch):
    """As where thresholds are lowered after the proof."""
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, bias=spec.bias * 1.25)))


@mutant((ALARMS,), (POINTS, 0), (POINTS, 1))
def alarms_proved_against_lower_thresholds(patch):
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, bias=spec.bias / 1.25) if claim.alarmed else spec))


@mutant((BY_HAND,), (POINTS, 0))
def rows_of_the_wrong_sense(patch):
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, weight=-spec.weight, bias=-spec.bias)))


@mutant((BY_HAND,), (POINTS, 2))
def one_quiet_neuron_is_enough(patch):
    """All rows in one disjunct: refuted by any of them."""
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, disjunct=torch.zeros_like(spec.disjunct))))


@mutant((TIES,))
def a_value_on_its_threshold_alarms(patch):
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, strict=torch.zeros_like(spec.strict))))


@mutant((TIES,))
def on_the_threshold_counts_as_alarmed(patch):
    patch(TrapClaim, "specify", respecified(lambda claim, spec: replace(spec, strict=torch.ones_like(spec.strict))))


@mutant((TIES,))
def alarms_from_the_threshold_on(patch):
    patch(certifying, "above", lambda values, thresholds: ~(values.double() < thresholds))


@mutant((NOISE,), (CANCELLING,))
def float32_noise_dropped(patch):
    patch(Certifying, "settings", property(lambda self: replace(self.search.verify, semantics="real")))


@mutant((NOISE,))
def noise_of_one_rounding_alone(patch):
    real = float32_executions.execution_noise

    def noise(node, ctx):
        found = real(node, ctx)
        return None if found is None else found / 40

    patch(forward, "execution_noise", noise)


@mutant((BY_HAND,), (POINTS, 0))
def signed_weights_in_the_box(patch):
    """The paper's Eq. 3: both ends through W, which is no bound where a weight is negative."""

    def box(op, inputs, ctx):
        lower, upper = (op.forward(*(getattr(i, end) for i in inputs)) for end in ("lower", "upper"))
        return forward.Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))

    patch(forward, "_linear_box", box)


@mutant((CUT,))
def the_ball_is_not_cut(patch):
    patch(certifying, "ball", lambda norm, center, eps, clip: _ball(norm, center, eps, None))


@mutant((CUT,), (POINTS, 0))
def the_ball_is_cut_too_far(patch):
    """At the input itself, on one side."""

    def cut(norm, center, eps, clip):
        return BoxRegion(_ball(norm, center, eps, clip).hull.lower, center)

    patch(certifying, "ball", cut)


@mutant((BY_HAND,), (POINTS, 1))
def balls_of_nine_tenths(patch):
    patch(certifying, "ball", lambda norm, center, eps, clip: _ball(norm, center, eps * Fraction(9, 10), clip))


@mutant((CUT,))
def inputs_outside_of_the_range_are_certified(patch):
    patch(certifying, "check_center", lambda center, clip: None)


@mutant((ALARMS,))
def who_alarms_is_not_asked_about(patch):
    patch(certifying._Part, "_own", lambda self: {})


@mutant((POINTS, 0))
def whoever_alarms_has_an_alarmed_ball(patch):
    real = certifying._Part._decided

    def decided(self, claim, result, slot, own):
        found = real(self, claim, result, slot, own)
        return replace(found, outcome=Outcome.ALARMED) if claim.alarmed else found

    patch(certifying._Part, "_decided", decided)


@mutant((RADIUS,))
def the_claim_of_radii_is_the_other_one(patch):
    real = TrapClaim.kept
    patch(TrapClaim, "kept", lambda self, *given: real(replace(self, alarmed=not self.alarmed), *given))


@mutant(("test_a_neuron_of_two_traps_has_the_lower_threshold",))
def the_last_threshold_of_a_neuron_counts(patch):
    from absint.analyses.taboo.traps import Trap, Traps

    def union(self):
        return Trap.of({neuron: one for trap in reversed(self.traps) for neuron, one in zip(trap.neurons, trap.thresholds, strict=True)})

    patch(Traps, "union", property(union))
