"""Widths that are of other bounds than is said, that touch a run, or that hide that there are none, with the tests that must notice."""

from __future__ import annotations

from absint.analyses.verify import by_layer
from absint.runs.session import RunSession
from mutants.planting import into
from mutants.refinement import edit, rewritten

MUTANTS = {}
mutant = into(MUTANTS)
NAMED = "test_widths_are_those_of_bounds_of_the_inputs_that_are_named"


@mutant((NAMED,))
def widths_are_of_the_first_inputs_whoever_is_named(patch):
    edit(patch, by_layer, "_regions", ("[place[one.index] for one in chosen]", "[*range(len(chosen))]"))


@mutant((NAMED,))
def the_easiest_are_chosen(patch):
    edit(patch, by_layer, "_chosen", ("record.margin, record.index", "-record.margin, record.index"))


@mutant((NAMED,))
def what_the_bounds_are_no_word_says(patch):
    patch(by_layer, "_MEANING", "")


@mutant(("test_of_a_limit_that_passed_there_is_a_word",))
def that_nothing_was_bounded_no_word_says(patch):
    patch(by_layer, "_left_out", lambda why: by_layer.Section("", ()))


@mutant(("test_no_answer_is_another_one_for_it",))
def every_run_has_them(patch):
    patch(RunSession, "look_further", rewritten(RunSession.look_further, ("not (shown or self.journal is not None)", "False")))


@mutant(("test_what_goes_wrong_there_costs_no_answer_and_is_told",))
def what_goes_wrong_there_is_hushed(patch):
    patch(RunSession, "look_further", rewritten(RunSession.look_further, ('(f"{code}: {_LESS}: {what}",)', "()")))


@mutant(("test_nothing_is_bounded_once_more_before_everything_is_decided",))
def they_come_before_the_last_answer(patch):
    patch(RunSession, "look_further", rewritten(RunSession.look_further, ("self.remaining or not self.found", "not self.found")))
