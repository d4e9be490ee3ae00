"""Reports, merges and packs that believe too much or too little, each with the tests that must notice it."""

from __future__ import annotations

from absint.analyses.verify import replaying
from absint.runs import gathered, merging, pack_checks
from absint.runs.gathered import Gathered
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
    patch(replaying, "is_counterexample", rewritten(replaying.is_counterexample, (" and region.contains(0, point)", "")))


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
