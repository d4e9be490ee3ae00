"""Reports, merges and packs that believe too much or too little, each with the tests that must notice it."""

from __future__ import annotations

from absint.analyses.verify import replaying
from absint.attacks import witness
from absint.runs import earlier_results, gathered, merging, pack_checks, replays
from absint.runs.gathered import Gathered
from absint.runs.reported import Reported
from absint.runs.session import RunSession
from mutants.planting import into
from mutants.refinement import rewritten

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_a_changed_byte_is_refused", "rows.npz"))
def hashes_are_not_compared(patch):
    patch(pack_checks, "_unpack", rewritten(pack_checks._unpack, ('found.hexdigest() != one["sha256"]', "False")))


@mutant(("test_a_counterexample_that_is_none_is_noticed_though_every_hash_fits", "moved"))
def counterexamples_are_believed(patch):
    patch(replaying, "is_counterexample", lambda record, run: True)


@mutant(("test_a_counterexample_that_is_none_is_noticed_though_every_hash_fits", "outside"))
def counterexamples_may_lie_anywhere(patch):
    patch(witness, "holds", lambda region, instance, values: True)


@mutant(("test_counterexamples_are_of_the_question_that_the_records_are_bound_to",))
def the_replay_is_bound_to_nothing(patch):
    patch(replays, "differently_bound", lambda kept, made: ())


@mutant(("test_a_manifest_chooses_no_option_of_the_replay",))
def a_manifest_states_options(patch):
    patch(replays, "packable", lambda one: True)


@mutant(("test_report_and_counterexamples_follow_from_the_journal",))
def the_report_is_believed(patch):
    patch(pack_checks, "_differences", lambda *files, same_version: iter(()))


@mutant(("test_the_model_is_the_one_of_the_run",))
def any_model_is_the_model(patch):
    patch(pack_checks, "check_model", lambda path, networks: None)


@mutant(("test_two_answers_of_one_item_are_refused", {"margin": 9.0}, "margin: "))
def the_first_answer_wins(patch):
    patch(Gathered, "_compare", lambda self, index, one, two: None)


@mutant(("test_the_same_answer_is_kept_once_whatever_the_clock_says",))
def the_clock_is_an_answer(patch):
    patch(gathered, "_TIMES", ())


@mutant(("test_journals_of_different_runs_are_refused", "eps", "0.2"))
def journals_of_any_runs_are_joined(patch):
    patch(Gathered, "_begin", rewritten(Gathered._begin, ("source.binding != first.binding", "False")))


@mutant(("test_an_end_that_does_not_know_all_records_does_not_count",))
def any_end_is_the_end(patch):
    patch(gathered._Reading, "check_end", lambda self: None)


@mutant(("test_nothing_is_called_complete_that_is_not",))
def what_is_there_is_all_that_was_asked(patch):
    patch(merging, "_write", rewritten(merging._write, ("asked=asked, merged", "asked=type(asked).of(gathered.indices()), merged")))


LATE = "test_what_the_limit_of_the_whole_run_ended_is_an_error_for_machines"


@mutant((LATE,))
def what_a_limit_ended_is_a_row_like_any_other(patch):
    patch(RunSession, "rows", rewritten(RunSession.rows, ("self.analysis.cut(record))", "False)")))


@mutant((LATE,))
def what_a_limit_ended_is_reported_like_any_other(patch):
    patch(Reported, "rows", rewritten(Reported.rows, ("not kept)", "False)")))


@mutant(("test_a_refused_run_sets_the_earlier_result_aside",), ("test_a_refused_report_does_so_too",))
def earlier_results_stay(patch):
    patch(earlier_results.EarlierResults, "set_aside", lambda self: iter(()))


@mutant(("test_what_a_run_reads_is_never_moved",))
def results_of_others_are_moved(patch):
    patch(earlier_results, "claim", lambda file, error: None)


@mutant(("test_a_run_that_succeeds_writes_over_it",), ("test_a_run_that_fails_on_the_way_leaves_an_earlier_pack_aside",))
def results_are_set_aside_whatever_became_of_the_run(patch):
    def after(self, places, real=earlier_results.EarlierResults.look_at):
        real(self, places)
        list(self.set_aside())

    patch(earlier_results.EarlierResults, "look_at", after)


@mutant(("test_no_file_is_ever_replaced",))
def an_earlier_one_gives_way_to_the_next(patch):
    patch(earlier_results, "_renamed", rewritten(earlier_results._renamed, (" | os.O_EXCL", "")))
