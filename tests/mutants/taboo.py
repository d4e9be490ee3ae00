"""Wrong ways to thresholds, each with the tests of test_taboo_thresholds.py that must notice it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import torch

from absint.analyses.taboo import calibrating, executions, thresholds
from absint.analyses.taboo.executions import Executions
from absint.analyses.taboo.refining import Greatest, Refining
from absint.analyses.taboo.thresholds import Certified, KeptRows, Lite, Percentile
from absint.problem.regions.region import BoxRegion
from mutants.planting import into

THRESHOLDS = {}
mutant = into(THRESHOLDS)
IN_RUNTIME = "test_no_training_input_alarms_in_onnxruntime_with_optimisations_and_without"
CANCELLING = "test_no_training_input_alarms_where_executions_err_by_more_than_the_values"
EVERYWHERE = "test_certified_is_the_greatest_bound_of_all_balls_whatever_the_blocks"
IN_TIME = "test_what_the_domain_had_no_time_for_counts_as_its_box_has_it"
BALLS = "test_no_input_of_any_ball_passes_a_certified_threshold"
LOWER = "test_a_ball_with_the_lower_box_may_have_the_higher_bound"
TIES = "test_rounding_lifts_no_more_inputs_above_a_percentile_than_it_says"
ORDER = "test_a_percentile_is_an_order_statistic"
RESUMED = "test_a_journal_that_goes_on_leads_to_the_same_thresholds"


@mutant((CANCELLING,))
def without_the_rounding_bound(patch):
    def bounds(self, region):
        both = [self.exact(end) for end in (region.lower, region.upper)]
        return torch.minimum(*both), torch.maximum(*both)

    patch(Executions, "bounds", bounds)


@mutant((CANCELLING,))
def exact_arithmetic_alone(patch):
    real = Executions.numerics.fget
    patch(Executions, "numerics", property(lambda self: replace(real(self), float32_semantics=False)))


@mutant(("test_the_rounding_of_raw_inputs_counts",))
def raw_inputs_taken_as_they_are(patch):
    import test_taboo_thresholds as tests

    for owner in (executions, thresholds, tests):
        patch(owner, "fed", lambda lower, upper: BoxRegion(lower.double(), upper.double()))


@mutant((IN_RUNTIME,), (CANCELLING,))
def the_least_value_for_the_greatest(patch):
    patch(Lite, "bounds", lambda self, kept: torch.cat(tuple(kept)).amin(0))


@mutant((ORDER, "90"), (ORDER, "50"))
def thresholds_rounded_to_nearest(patch):
    patch(calibrating, "thresholds_above", lambda bounds: tuple(max(float(np.float32(one)), 2.0**-126) for one in bounds))


@mutant((EVERYWHERE,), (RESUMED,))
def the_first_block_alone(patch):
    patch(Certified, "bounds", lambda self, kept: kept[0].amax(0))


@mutant((EVERYWHERE,), (BALLS,))
def signed_weights_for_certified(patch):
    def keep(self, block, before, end):
        evaluated = self.refining.executions
        ends = [evaluated.exact((block.inputs + sign * float(self.eps)).clamp(0, 1)) for sign in (-1, 1)]
        return KeptRows(torch.maximum(*ends).amax(0, keepdim=True))

    patch(Certified, "keep", keep)


@mutant((EVERYWHERE,))
def balls_of_half_the_radius(patch):
    real = Certified.keep
    patch(Certified, "keep", lambda self, *rest: real(replace(self, eps=self.eps / 2), *rest))


@mutant((IN_TIME,))
def what_is_open_counts_as_the_running_maximum(patch):
    real = Refining.greatest

    def greatest(self, region, floor, end=inf):
        found = real(self, region, floor, end)
        return Greatest(floor, found.refined, found.open) if found.open else found

    patch(Refining, "greatest", greatest)


@mutant((LOWER,))
def only_the_highest_box_is_asked(patch):
    """The first one refined counts, although others are above it then."""
    real = Refining._next

    def chosen(waiting, best, width):
        return real(waiting, best, 1) if width == 1 else torch.zeros_like(waiting, dtype=torch.bool)

    def greatest(self, region, floor, end=inf):
        upper = self.executions.bounds(region)[1]
        asked = chosen(upper, floor, 1)
        found = torch.minimum(self._bounds(region, asked, end), upper)
        return Greatest(torch.maximum(floor, torch.where(asked, found, -inf).amax(0)))

    patch(Refining, "greatest", greatest)


@mutant((EVERYWHERE,))
def boxes_alone(patch):
    patch(Refining, "greatest", lambda self, region, floor, end=inf: Greatest(self.executions.bounds(region)[1].amax(0)))


@mutant((ORDER, "90"), (ORDER, "99.5"))
def an_order_statistic_too_low(patch):
    def bounds(self, kept):
        values = torch.cat(tuple(kept)).sort(dim=0, descending=True).values
        return values[min(self.above(self.count) + 1, len(values) - 1)]

    patch(Percentile, "bounds", bounds)


@mutant((ORDER, "90"))
def blocks_that_keep_their_lowest_values(patch):
    def keep(self, block, before, end):
        return KeptRows(block.upper.sort(dim=0).values[: self.above(self.count) + 1])

    patch(Percentile, "keep", keep)


@mutant((TIES,))
def percentiles_of_bounds_without_their_rounding(patch):
    def keep(self, block, before, end):
        return KeptRows(block.lower.sort(dim=0, descending=True).values[: self.above(self.count) + 1])

    patch(Percentile, "keep", keep)


@mutant(("test_inputs_on_which_executions_may_overflow_are_named",))
def overflow_is_no_matter(patch):
    real = thresholds.InputBlock

    def of(inputs, names, where):
        return real(inputs, *where.bounds(executions.fed(inputs, inputs)))

    patch(thresholds.InputBlock, "of", staticmethod(of))
