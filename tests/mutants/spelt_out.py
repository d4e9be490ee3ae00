"""Faults in recognising functions that are spelt out, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from absint.model.ops.smooth import Swish
from absint.model.passes import spelt_out
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
SAME, OTHER = "test_it_becomes_the_operator_and_stays_the_function", "test_what_is_another_function_stays_as_it_is"


def rule(patch, name, *changes):
    """One rule with a fault, in the table that is gone through."""
    edit(patch, spelt_out, name, *changes)
    patch(spelt_out, "_RULES", tuple((kind, tuple(getattr(spelt_out, r.__name__) for r in rules)) for kind, rules in spelt_out._RULES))


@mutant((SAME, "leaky relu"), (SAME, "leaky relu, branches swapped"))
def branches_are_swapped(patch):
    rule(patch, "_leaky", ("(yes, no) if compare.above > compare.below", "(yes, no) if compare.above < compare.below"))


@mutant((SAME, "swish of a multiple"), (SAME, "swish of a negative multiple"))
def a_multiple_is_not_divided_out(patch):
    rule(patch, "_swish", ("1 / line.scale", "1.0"))


@mutant((OTHER, "a shifted gate"))
def shifts_of_gates_are_overlooked(patch):
    rule(patch, "_swish", ("line.shift == 0 and ", ""))


@mutant((OTHER, "two and erf"))
def any_constant_beside_erf_will_do(patch):
    rule(patch, "_gelu", ("or two.scale != two.shift ", ""))


@mutant((OTHER, "a clip to one"))
def any_clip_will_do(patch):
    rule(patch, "_hard_swish", ("(op.low, op.high) == (0.0, 6.0) and _line(graph, graph[gate].inputs[0]) == _Line(x, 1.0, 3.0)", "True"))


@mutant((OTHER, "sign of another"))
def the_sign_of_anything_will_do(patch):
    rule(patch, "_magnitude_signed", (" and inner.inputs == graph[sign].inputs", ""))


@mutant((OTHER, "another threshold"))
def any_threshold_will_do(patch):
    rule(patch, "_leaky", ("_number(compare.at, 0.0) != 0 or ", ""))


@mutant((OTHER, "a branch that is shifted"))
def shifts_of_branches_are_overlooked(patch):
    edit(patch, spelt_out, "_branch", ("line.shift == 0 and ", ""))


@mutant(("test_bounds_are_those_of_the_function", "swish"))
def the_lowest_point_is_forgotten(patch):
    patch(Swish, "pieces", (Swish.pieces[-1],))
