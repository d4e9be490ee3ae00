"""Boxes, ranges of outputs and scales that are read wrongly, with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

from absint.problem import boxes
from absint.problem.boxes import EntryLimits
from absint.problem.output_range import OutputRange
from absint.problem.region_choice import RegionChoice
from absint.verdict import Verdict
from mutants.planting import into

MUTANTS = {}
# Killers are tests with their arguments; `net` and `tmp_path` stand for the fixtures.
mutant = into(MUTANTS)

_FULL = [1.51, 1.01]


def _spec_of(changed):
    """A `spec` of another range."""
    real = OutputRange.spec
    return lambda self, batch: real(changed(self), batch)


@mutant(("check_side", "net", ([-0.01, -0.01], [1.51, 0.99]), Verdict.FALSIFIED), ("test_limits_are_exact",))
def the_upper_limit_is_forgotten(patch):
    patch(OutputRange, "spec", _spec_of(lambda one: replace(one, upper=(inf,) * len(one.upper))))


@mutant(("check_side", "net", ([-0.01, 0.01], _FULL), Verdict.FALSIFIED), ("test_limits_are_exact",))
def the_lower_limit_is_forgotten(patch):
    patch(OutputRange, "spec", _spec_of(lambda one: replace(one, lower=(-inf,) * len(one.lower))))


@mutant(("check_side", "net", ([-0.01, 0.01], _FULL), Verdict.FALSIFIED))
def the_first_output_stands_for_all(patch):
    def first(one):
        rest = len(one.lower) - 1
        return replace(one, lower=(one.lower[0], *(-inf,) * rest), upper=(one.upper[0], *(inf,) * rest))

    patch(OutputRange, "spec", _spec_of(first))


@mutant(("test_limits_are_exact",))
def limits_are_rounded(patch):
    def near(side):
        return tuple(Fraction(float(one)) if isinstance(one, Fraction) else one for one in side)

    patch(OutputRange, "spec", _spec_of(lambda one: replace(one, lower=near(one.lower), upper=near(one.upper))))


@mutant(("test_margins_are_in_units_of_the_outputs", "net"))
def margins_are_those_of_scaled_rows(patch):
    patch(OutputRange, "margin", lambda self, proved: proved)


@mutant(("test_swapped_ends_are_refused", "tmp_path", "lower,upper\n1,-1\n0,1\n"))
def swapped_ends_are_put_right(patch):
    real = EntryLimits.fitted

    def sorted_ends(self, shape, what, code):
        pairs = [[tuple(sorted(ends)) for ends in zip(*rows, strict=True)] for rows in zip(self.lower, self.upper, strict=True)]
        low, high = (tuple(tuple(pair[side] for pair in row) for row in pairs) for side in (0, 1))
        return real(replace(self, lower=low, upper=high), shape, what, code)

    patch(EntryLimits, "fitted", sorted_ends)


@mutant(("test_ends_of_a_table_are_exact_decimals", "tmp_path", "0.1,-1/3,2\n0.7,1e-3,2\n"))
def ends_are_rounded_to_nearest(patch):
    patch(boxes, "float_above", float)


@mutant(("test_eps_is_about_values_after_the_scale", "net", "tmp_path"))
def eps_is_scaled_as_well(patch):
    real = RegionChoice.around
    patch(RegionChoice, "around", lambda self, inputs: real(replace(self, eps=self.eps / 255), inputs))


@mutant(("test_a_scale_stands_in_place_of_the_usual_division", "tmp_path", "1/255", 1 / 255))
def scaled_twice(patch):
    from absint.frontends import data

    real = data.scaled
    patch(data, "scaled", lambda values, scale: real(real(values, scale), scale))
