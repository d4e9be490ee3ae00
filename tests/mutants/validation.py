"""Wrong variants of input validation, each with the claims that must notice it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from scipy import stats

from absint.analyses.validate import calibration, evaluation, window
from absint.analyses.validate import validator as validate
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.validate.window import SlidingWindow, WindowRule
from absint.errors import InputError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.verdict import Verdict
from mutants.planting import claims_into, into

CLAIMS, MUTANTS = {}, {}
STEP = Fraction(1, 2000)
NORMAL = tuple(int(k) for k in np.round(30 + 5 * stats.norm.ppf((np.arange(1, 51) - 0.5) / 50)))
RULE = WindowRule(STEP, threshold=20, sigma0=28)
claim, mutant = claims_into(CLAIMS), into(MUTANTS)


def linear(scale=1.0):
    """y = scale x: (.5 + r, .5 - r) has the l_inf radius r."""
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(scale * torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), ("x",), "y"))


def inputs(sizes):
    r = (np.asarray(sizes) + 0.5) * float(STEP)
    return np.stack([0.5 + r, 0.5 - r], 1)


def fitted(**options):
    return RadiusValidator(linear(), "zonotope", rate="0.05", **options).fit(inputs(range(10, 70)))


def refuses(call):
    try:
        call()
    except InputError:
        return True
    return False


@claim
def accepted_inputs_are_proved(folder):
    validator = fitted()
    assert validator.calibration.rule.threshold == 13
    assert validator.accept(inputs([12, 13, 40, 0])).tolist() == [False, True, True, False]


@claim
def a_tied_input_is_rejected(folder):
    tied = np.array([[0.5, 0.5]])
    for mode in validate.MODES:
        assert not fitted(mode=mode, sigma0="0").accept(tied)[0]


@claim
def a_poisoned_window_opens_no_door(folder):
    poisoned = SlidingWindow(RULE, (0,) * 25 + (30,) * 25)
    assert not any(poisoned.decide(k)[0] for k in range(20))


@claim
def a_rejected_radius_leaves_no_trace(folder):
    accepted, _, after = SlidingWindow(RULE, NORMAL).decide(0)
    assert not accepted
    assert after.steps == NORMAL


@claim
def a_calibration_fits_its_own_model_only(folder):
    fitted().save_state(folder / "c.json")
    assert refuses(lambda: RadiusValidator(linear(2.0), "zonotope", rate="0.05").load_state(folder / "c.json"))
    assert refuses(lambda: RadiusValidator(linear(), "zonotope", rate="0.05", clip=None).load_state(folder / "c.json"))


@claim
def an_edited_file_is_refused(folder):
    fitted().save_state(folder / "c.json")
    text = (folder / "c.json").read_text()
    (folder / "c.json").write_text(text.replace('"threshold": 13', '"threshold": 12'))
    assert refuses(lambda: calibration.read_calibration(folder / "c.json"))


@claim
def no_more_false_alarms_than_asked_for(folder):
    steps = window.order_statistic([1, 2, 2, 5, 9, 9, 9, 9, 9, 9], 2)
    assert steps == 2
    assert fitted().calibration.false_alarms <= 0.05


@claim
def the_area_of_equal_radii_is_a_half(folder):
    assert evaluation.roc([3, 4], [3, 4]).auc == 0.5
    assert evaluation.roc([3, 4], [1, 2]).auc == 1.0


@mutant("accepted_inputs_are_proved")
def unknown_is_accepted(patch):
    original = validate.decided
    patch(validate, "decided", lambda problem, options: [
        replace(r, verdict=Verdict.VERIFIED) if r.verdict is Verdict.UNKNOWN else r for r in original(problem, options)])


@mutant("accepted_inputs_are_proved")
def half_the_radius_is_asked_for(patch):
    original = validate.ball
    patch(validate, "ball", lambda norm, center, at, clip: original(norm, center, at / 2, clip))


@mutant("a_tied_input_is_rejected")
def ties_have_a_class(patch):
    original, search, prove = RadiusValidator.predict, validate.radii, validate.decided
    patch(RadiusValidator, "predict", lambda self, center: (original(self, center)[0], torch.ones(len(center), dtype=torch.bool)))
    patch(validate, "radii", lambda *a, **k: [replace(r, predicted=0) for r in search(*a, **k)])
    patch(validate, "decided", lambda problem, options: [replace(r, verdict=Verdict.VERIFIED) for r in prove(problem, options)])


@mutant("a_poisoned_window_opens_no_door")
def no_guard(patch):
    original = SlidingWindow.decide
    patch(SlidingWindow, "decide", lambda self, radius: original(SlidingWindow(replace(self.rule, guard=0.0), self.steps), radius))


@mutant("a_rejected_radius_leaves_no_trace")
def the_window_slides_always(patch):
    original = SlidingWindow.decide
    patch(SlidingWindow, "decide", lambda self, radius: (*original(self, radius)[:2], self.slid(radius)))


@mutant("a_calibration_fits_its_own_model_only")
def the_binding_is_not_compared(patch):
    patch(validate, "check_binding", lambda found, wanted, where: None)


@mutant("an_edited_file_is_refused")
def the_checksum_says_yes(patch):
    class Same(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

    patch(calibration, "_checksum", lambda content: Same("x"))


@mutant("no_more_false_alarms_than_asked_for")
def one_rank_too_high(patch):
    original = window.order_statistic
    patch(window, "order_statistic", lambda steps, below: original(steps, below + 1))


@mutant("the_area_of_equal_radii_is_a_half")
def ties_count_for_the_detector(patch):
    original = evaluation.roc
    patch(evaluation, "roc", lambda valid, invalid: original([k + 0.5 for k in valid], invalid))
