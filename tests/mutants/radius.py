"""Unsound or wrong variants of the search for a radius, each with the tests of test_radius.py that must notice it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, log2

from absint.analyses.radius import bisection
from absint.analyses.radius.bisection import Bracket
from absint.numeric.decimal import float_above
from absint.verdict import Reason
from mutants.planting import into

MUTANTS = {}
# Killers are tests, perhaps with arguments.
mutant = into(MUTANTS)


@mutant(("test_halvings_are_counted_in_integers",))
def halvings_in_floats(patch):
    patch(bisection, "halvings", lambda upper, tolerance: max(1, ceil(log2(upper / tolerance))))


@mutant(("test_distances_are_rounded_up_to_the_grid_exactly", "linf"), ("test_distances_are_rounded_up_to_the_grid_exactly", "l2"),
        ("test_distances_are_rounded_up_to_the_grid_exactly", "l1"))
def distances_rounded_down(patch):
    real = bisection.steps_to
    patch(bisection, "steps_to", lambda *given: max(0, real(*given) - 1))


@mutant(("test_distances_are_rounded_up_to_the_grid_exactly", "l2"))
def the_wrong_norm(patch):
    real = bisection.steps_to
    patch(bisection, "steps_to", lambda norm, *rest: real("linf", *rest))


@mutant(("test_the_radius_of_a_linear_classifier", "deeppoly", "linf"), ("test_a_bracket_follows_algorithm_1",))
def unknown_counts_as_robust(patch):
    real = Bracket.after
    patch(Bracket, "after", lambda self, answer: real(self, replace(answer, proved=answer.proved or answer.reason is Reason.IMPRECISE)))


@mutant(("test_a_bracket_follows_algorithm_1",))
def a_witness_moves_the_end_to_the_middle_only(patch):
    real = Bracket.after
    patch(Bracket, "after", lambda self, answer: replace(real(self, answer), high=self.middle if not answer.proved else self.high))


@mutant(("test_a_time_limit_inside_a_refinement_is_no_answer",), ("test_a_bracket_follows_algorithm_1",))
def a_timeout_counts_as_an_answer(patch):
    patch(Bracket, "timed_out", lambda self, cut: replace(self, high=self.middle))


@mutant(("test_a_time_limit_keeps_what_is_certified",))
def a_timeout_takes_back_what_is_certified(patch):
    patch(Bracket, "timed_out", lambda self, cut: replace(self, low=0, closed=True, reason=Reason.TIMEOUT))


@mutant(("test_the_engine_gets_radii_rounded_up_and_exactly_those_asked", "linf"))
def radii_rounded_down(patch):
    patch(bisection, "float_above", lambda exact: -float_above(-exact))


@mutant(("test_lockstep_is_one_by_one", "zonotope"))
def one_radius_for_all(patch):
    real = bisection.ball

    def same(norm, center, eps, clip):
        return real(norm, center, eps if isinstance(eps, Fraction) else eps.amin(0, keepdim=True).expand_as(eps), clip)

    patch(bisection, "ball", same)


@mutant(("test_what_is_carried_holds_in_the_smaller_ball_and_comes_from_the_last_that_failed", 1))
def another_inputs_bounds(patch):
    real = bisection._Known.of
    patch(bisection._Known, "of", lambda self, inputs: real(self, inputs.flip(0)))


@mutant(("test_what_is_carried_holds_in_the_smaller_ball_and_comes_from_the_last_that_failed", 1))
def known_bounds_too_narrow(patch):
    real = bisection._Known.keep

    def narrow(self, inputs, found):
        real(self, inputs, {name: replace(i, lower=i.lower * 0.4 + i.upper * 0.6, upper=i.upper * 0.6 + i.lower * 0.4)
                            for name, i in found.items()})

    patch(bisection._Known, "keep", narrow)


@mutant(("test_what_is_carried_holds_in_the_smaller_ball_and_comes_from_the_last_that_failed", 1))
def nothing_is_carried(patch):
    patch(bisection._Known, "keep", lambda self, inputs, found: None)


@mutant(("test_a_failed_ball_off_the_path_is_not_carried",))
def bounds_of_the_smallest_ball_asked(patch):
    def walked(self, bracket, places, answers):
        after, _ = real(self, bracket, places, answers)
        return after, places[min(places)]

    real = bisection._Chunk._walked
    patch(bisection._Chunk, "_walked", walked)


@mutant(("test_a_domain_that_is_not_monotone_ends_where_algorithm_1_does", 3, {6, 7}, [4, 2, 1], 0))
def every_answer_of_the_tree_counts(patch):
    def walked(self, bracket, places, answers):
        proved = [k for k, place in places.items() if answers[place].proved]
        after, failed = real(self, bracket, places, answers)
        return replace(after, low=max([after.low, *proved])), failed

    real = bisection._Chunk._walked
    patch(bisection._Chunk, "_walked", walked)


@mutant(("test_ties_have_radius_zero_and_say_so",), ("test_outputs_that_are_not_finite_have_radius_zero",))
def inputs_without_a_class_are_searched(patch):
    patch(bisection._Chunk, "_start", lambda self: (Bracket(0, 2**self.options.halvings) for _ in range(len(self.center))))


@mutant(("test_a_witness_inside_a_certified_ball_is_refused",))
def contradictions_pass(patch):
    patch(bisection._Chunk, "_check", lambda self, *given: None)


@mutant(("test_several_levels_at_once_are_one_after_the_other", 3, "pgd"))
def witnesses_off_the_path_count(patch):
    def walked(self, bracket, places, answers):
        after, failed = real(self, bracket, places, answers)
        return replace(after, calls=after.calls + sum(answers[p].distance is not None for p in places.values())), failed

    real = bisection._Chunk._walked
    patch(bisection._Chunk, "_walked", walked)


@mutant(("test_bad_inputs_are_refused_by_name",))
def inputs_are_not_checked(patch):
    patch(bisection, "_check_inputs", lambda *given: None)


@mutant(("test_the_import_check_runs_once_on_the_largest_balls",))
def the_import_check_is_left_out(patch):
    real = bisection.radius

    def unchecked(graph, *given, **more):
        return real(replace(graph, source=replace(graph.source, model=None)), *given, **more)

    patch(bisection, "radius", unchecked)
