"""Faults in the logarithm of a sum of exponentials, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

import torch

from absint.frontends import onnx_growing
from absint.model.ops.log_sum_exp import LogSumExp, _Box
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
HOLDS = "test_it_is_enclosed_at_vertices_and_points"


@mutant((HOLDS, "wide", "float64"))
def rises_are_taken_where_the_others_are_high(patch):
    edit(patch, _Box, "_by_rises", ("torch.softmax(self._seen(self.low), -1)", "torch.softmax(self._seen(self.high), -1)"))


@mutant((HOLDS, "wide", "float64"))
def a_coordinate_below_its_slope_counts_as_fallen(patch):
    edit(patch, _Box, "_by_rises", (".clamp(min=0)", ""))


@mutant((HOLDS, "wide", "float64"))
def chords_are_looked_at_on_the_left_alone(patch):
    edit(patch, _Box, "_by_chords", ("for end in (self.low, self.high)", "for end in (self.low, self.low)"))


@mutant((HOLDS, "wide", "mixed"))
def a_rounded_slope_costs_nothing(patch):
    edit(patch, _Box, "lower_offset", ("self.num)[0] - cost", "self.num)[0] - 0 * cost"))


@mutant(("test_what_is_absent_does_not_count", "float64"))
def absent_entries_count(patch):
    patch(LogSumExp, "_missing", lambda self, x: torch.zeros_like(x, dtype=torch.bool))


@mutant((HOLDS, "wide", "float64"))
def the_range_is_that_of_the_greatest_entry(patch):
    edit(patch, LogSumExp, "range", ("lower, upper = (_value(end, exact)[k] for k, end in enumerate(ends))",
                                     "lower, upper = (end.amax(-1) for end in ends)"))


MASKS = {}
masked = into(MASKS)


@masked(("test_what_a_mask_leaves_is_enclosed", -5.0, "zonotope"), ("test_what_a_mask_leaves_is_enclosed", -40.0, "deeppoly"))
def a_finite_mask_hides_like_an_infinite_one(patch):
    patch(onnx_growing, "places", lambda value: value < -4 if value.dtype.kind == "f" and bool((value < -4).any()) else None)
