"""Every wrong way to handle a solver's word on the command line is noticed by the tests of test_cli_solvers.py named for it."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import pytest
import test_cli_solvers
from mutants.planting import assert_killed, into
from test_cli_solvers import ask, word  # noqa: F401  # fixtures

from absint.analyses.query import answering, asking, documents
from absint.analyses.verify.analysis import Verify
from absint.analyses.verify.counts import Counts
from absint.reports import json
from absint.runs import processes
from absint.verdict import Assurance, Reason, Verdict

pytestmark = pytest.mark.usefixtures("warm")

MUTANTS = {}
mutant = into(MUTANTS)    # killers are names of tests


def believing(patch, trusted):
    """Queries whose results pass through `trusted` before they are looked at."""
    real = answering.Answering.result.fget

    def result(self):
        self._results = [trusted(self, one) for one in self._results]
        return real(self)

    patch(answering.Answering, "result", property(result))


def verified(result):
    return replace(result, verdict=Verdict.VERIFIED, assurance=Assurance.SOLVER)


@mutant("test_a_query_is_unsat_on_a_word_only_where_that_is_accepted")
def queries_accept_words_unasked(patch):
    def trusted(answers, result):
        answers.settings = replace(answers.settings, accept_solver=True)
        return verified(result) if result.reason is Reason.SOLVER else result

    believing(patch, trusted)


@mutant("test_one_open_part_leaves_a_query_unknown")
def one_word_is_enough_for_a_query(patch):
    believing(patch, lambda answers, result: verified(result) if any(r.assurance is Assurance.SOLVER for r in answers._results) else result)


@mutant("test_a_query_is_unsat_on_a_word_only_where_that_is_accepted")
def a_word_is_called_sound(patch):
    patch(asking, "assurance_of", lambda found: Assurance.SOUND)


@mutant("test_sound_answers_are_called_sound")
def everything_is_called_a_word(patch):
    patch(asking, "assurance_of", lambda found: Assurance.SOLVER)


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def words_are_not_counted(patch):
    real = Counts.of
    patch(Counts, "of", staticmethod(lambda *given: replace(real(*given), on_word=0)))


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def words_are_counted_among_unknown_ones(patch):
    real = Counts.of

    def of(*given):
        found = real(*given)
        return replace(found, counts={**found.counts, "verified": found.verified - found.on_word})

    patch(Counts, "of", staticmethod(of))


@mutant("test_an_accepted_word_is_verified_and_counted_apart", "test_the_journal_keeps_what_a_verdict_rests_on")
def stderr_is_silent(patch):
    patch(Counts, "warning", "")


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def the_text_is_silent(patch):
    real = Counts.lines
    patch(Counts, "lines", lambda self, **more: real(replace(self, on_word=0), **more))


@mutant("test_the_journal_keeps_what_a_verdict_rests_on")
def a_journal_goes_on_under_the_other_rule(patch):
    real = Verify.binding
    patch(Verify, "binding", lambda self, run: {**real(self, run), "accept_solver": True})


@mutant("test_a_list_of_queries_is_given_the_same_options")
def workers_are_not_told(patch):
    patch(processes, "_OWN", {**processes._OWN, "accept_solver": False})


@mutant("test_a_list_of_queries_is_given_the_same_options")
def what_a_worker_says_of_assurance_is_dropped(patch):
    real = processes.record_of
    patch(processes, "record_of", lambda kind, row: replace(real(kind, row), assurance=Assurance.NONE))


@mutant("test_a_fall_back_is_told_once")
def notes_in_every_row_of_the_document(patch):
    patch(json, "_short", lambda values, said: values)


@mutant("test_a_fall_back_is_told_once")
def notes_are_lost(patch):
    from absint.analyses.verify import counts

    patch(counts, "noted", lambda results: {})


@mutant("test_a_fall_back_is_told_once")
def notes_once_for_every_instance(patch):
    real = Counts.note_lines
    patch(Counts, "note_lines", lambda self: list(real(self)) * len(next(iter(self.notes.values()), [])))


@mutant("test_a_query_is_unsat_on_a_word_only_where_that_is_accepted")
def a_note_of_a_query_is_said_twice(patch):
    real = documents._values

    def doubled(*given):
        found = real(*given)
        return {**found, "notes": found["notes"] * 2}

    patch(documents, "_values", doubled)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, request, monkeypatch):
    def run(killer):
        test = getattr(test_cli_solvers, killer)
        test(**{fixture: request.getfixturevalue(fixture) for fixture in signature(test).parameters})

    assert_killed(MUTANTS[name], run, monkeypatch)
