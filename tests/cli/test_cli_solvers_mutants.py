"""Every wrong way to handle a solver's word on the command line is noticed by the tests of test_cli_solvers.py named for it."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import pytest
import test_cli_solvers
from mutants.planting import assert_killed, into
from test_cli_solvers import ask, word  # noqa: F401  # fixtures

from absint.analyses.query import answering as query
from absint.cli import header, query_answer, verify_run, workers
from absint.reports import json, notes, text
from absint.reports.interface import Summary
from absint.verdict import Assurance

MUTANTS = {}
mutant = into(MUTANTS)    # killers are names of tests


@mutant("test_a_query_is_unsat_on_a_word_only_where_that_is_accepted")
def queries_accept_words_unasked(patch):
    real = query._Run._without_witness

    def trusting(self):
        self.options = replace(self.options, accept_solver=True)
        self.results = [replace(r, verdict=query.Verdict.VERIFIED, assurance=Assurance.SOLVER) if r.reason is query.Reason.SOLVER else r
                        for r in self.results]
        return real(self)

    patch(query._Run, "_without_witness", trusting)


@mutant("test_one_open_part_leaves_a_query_unknown")
def one_word_is_enough_for_a_query(patch):
    real = query._Run._without_witness

    def trusting(self):
        if any(r.assurance is Assurance.SOLVER for r in self.results):
            self.results = [replace(r, verdict=query.Verdict.VERIFIED, assurance=Assurance.SOLVER) for r in self.results]
        return real(self)

    patch(query._Run, "_without_witness", trusting)


@mutant("test_a_query_is_unsat_on_a_word_only_where_that_is_accepted")
def a_word_is_called_sound(patch):
    patch(query_answer, "assurance_of", lambda found: Assurance.SOUND)


@mutant("test_sound_answers_are_called_sound")
def everything_is_called_a_word(patch):
    patch(query_answer, "assurance_of", lambda found: Assurance.SOLVER)


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def words_are_not_counted(patch):
    real = Summary.of
    patch(Summary, "of", staticmethod(lambda *given: replace(real(*given), on_word=0)))


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def words_are_counted_among_unknown_ones(patch):
    real = Summary.of

    def of(results, *rest):
        summary = real(results, *rest)
        return replace(summary, counts={**summary.counts, "verified": summary.counts["verified"] - summary.on_word})

    patch(Summary, "of", staticmethod(of))


@mutant("test_an_accepted_word_is_verified_and_counted_apart", "test_the_journal_keeps_what_a_verdict_rests_on")
def stderr_is_silent(patch):
    patch(verify_run.VerifyRun, "_tell", lambda self, summary: None)


@mutant("test_an_accepted_word_is_verified_and_counted_apart")
def the_text_is_silent(patch):
    real = text._outcome
    patch(text, "_outcome", lambda summary: real(replace(summary, on_word=0)))


@mutant("test_the_journal_keeps_what_a_verdict_rests_on")
def a_journal_goes_on_under_the_other_rule(patch):
    real = header.make_binding
    patch(verify_run, "make_binding", lambda *given, **more: {k: v for k, v in real(*given, **more).items() if k != "accept_solver"})


@mutant("test_a_list_of_queries_is_given_the_same_options")
def workers_are_not_told(patch):
    real = workers.worker_options
    from absint.cli import instances

    patch(instances, "worker_options", lambda settings: [w for w in real(settings) if w != "--accept-solver"])


@mutant("test_a_list_of_queries_is_given_the_same_options")
def what_a_worker_says_of_assurance_is_dropped(patch):
    real = workers.result_of
    patch(workers, "result_of", lambda *given: replace(real(*given), assurance=Assurance.NONE))


@mutant("test_a_fall_back_is_told_once")
def notes_in_every_row_of_the_document(patch):
    patch(json, "split_notes", lambda detail: (detail, ()))


@mutant("test_a_fall_back_is_told_once")
def notes_are_lost(patch):
    from absint.reports import interface

    patch(interface, "noted", lambda results: {})


@mutant("test_a_fall_back_is_told_once")
def notes_once_for_every_instance(patch):
    real = text._notes
    patch(text, "_notes", lambda summary: real(summary) * len(summary.notes and next(iter(summary.notes.values()))))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, request, monkeypatch):
    def run(killer):
        test = getattr(test_cli_solvers, killer)
        test(**{fixture: request.getfixturevalue(fixture) for fixture in signature(test).parameters})

    assert_killed(MUTANTS[name], run, monkeypatch)


def test_notes_need_a_code():
    assert notes.split_notes("replayed: fine; really") == ("replayed: fine; really", ())
