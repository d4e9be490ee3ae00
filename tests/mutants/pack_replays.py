"""Packs whose counterexamples are believed, or whose members are, each with the tests that must notice it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from absint.analyses.global_robustness import replaying as of_draws
from absint.analyses.query import answering, asking
from absint.analyses.radius import replaying as of_radii
from absint.analyses.sweep import replaying as of_sweeps
from absint.analyses.taboo import replaying as of_traps
from absint.analyses.verify import replaying as of_patches
from absint.contract.replay import WitnessReplay
from absint.runs import member_sizes, pack_checks, questions, replays
from mutants.planting import into
from mutants.refinement import edit, rewritten

MUTANTS = {}
mutant = into(MUTANTS)
SAYS, ELSEWHERE = "test_a_record_that_says_another_thing_of_its_counterexample_is_noticed", "test_one_that_lies_elsewhere_is_noticed"


@mutant((ELSEWHERE, "radius"), (ELSEWHERE, "sweep"), (ELSEWHERE, "query"))
def what_is_none_counts_as_not_replayed(patch):
    patch(WitnessReplay, "of", staticmethod(lambda *found: WitnessReplay(sum(found))))


@mutant((SAYS, "radius", 0))
def a_radius_is_not_looked_at(patch):
    edit(patch, of_radii, "is_counterexample", ("center, record.refuted, search.clip", "center, search.upper, search.clip"))


@mutant((SAYS, "radius", 2))
def whatever_class_is_kept(patch):
    edit(patch, of_radii, "is_counterexample", (" or kept.answer(0) != record.predicted", ""))


@mutant((SAYS, "patch", 0))
def whatever_label_a_patch_is_of(patch):
    edit(patch, of_patches, "is_counterexample", ("record.label != int(asked.labels[slot])", "False"))


@mutant((SAYS, "sweep", 0))
def the_radius_of_a_cell_is_not_looked_at(patch):
    edit(patch, of_sweeps, "replayed", ("task.cell(line, radii[cell.eps])", "task.cell(line, max(radii.values()))"))


@mutant((SAYS, "global", 3))
def the_distance_alone_is_looked_at(patch):
    edit(patch, of_draws, "is_counterexample", ("min([Fraction(record.distance), *reached])", "Fraction(record.distance)"))


@mutant((SAYS, "global", 4))
def proofs_of_a_draw_are_not_looked_at(patch):
    edit(patch, of_draws, "is_counterexample", ("if proved and", "if False and"))


@mutant((SAYS, "query", 0))
def whatever_query_was_answered(patch):
    edit(patch, asking, "is_counterexample", (" or record.sha256 != asked.sha256", ""))


@mutant((ELSEWHERE, "query"))
def queries_are_believed(patch):
    patch(answering.Answering, "proves", lambda self, witness: True)


@mutant((SAYS, "certify", 1))
def whatever_ball_a_certificate_is_of(patch):
    edit(patch, of_traps, "_reach", ("asked.eps if record.eps == asked.eps else None", "asked.eps"))


@mutant(("test_a_row_that_the_pack_lacks_keeps_no_other_one_from_its_replay",))
def what_is_not_replayed_is_not_counted(patch):
    patch(WitnessReplay, "skipped", staticmethod(lambda why, count=1: WitnessReplay()))


@mutant(("test_what_is_said_to_be_vast_is_not_unpacked",))
def sizes_are_not_looked_at(patch):
    patch(pack_checks, "check_sizes", lambda *given: None)


@mutant(("test_arrays_that_are_said_to_be_vast_are_not_read",))
def sizes_of_arrays_are_believed_to_be_those_of_the_zip_file(patch):
    patch(member_sizes, "_stated", lambda archive, entry: 0)


@mutant(("test_members_are_plain_files_of_one_name_each", "link"))
def links_are_members(patch):
    patch(pack_checks, "links", lambda archive: ())


@mutant(("test_members_are_plain_files_of_one_name_each", "case"))
def names_differ_by_case(patch):
    edit(patch, pack_checks, "repeated", ("name.casefold()", "name"))


@mutant(("test_a_header_that_shows_another_question_is_noticed", "radius", "search", "norm", "l2"))
def headers_are_believed(patch):
    patch(replays, "shown_otherwise", lambda *given: ())


WHATEVER = "test_whatever_a_header_says_of_the_question_is_compared"


@mutant((WHATEVER, "assumptions"), (WHATEVER, "numerics, semantics"), (WHATEVER, "domain, name"), (WHATEVER, "warranty"))
def of_a_header_the_property_alone_is_compared(patch):
    patch(replays, "shown_otherwise", rewritten(questions.shown_otherwise, ("if same else", "if False else")))
    patch(pack_checks, "shown_unbound", lambda *given: ())


@mutant(("test_domains_and_data_are_those_that_records_are_bound_to_though_nothing_can_be_asked",))
def what_cannot_be_asked_anew_is_believed(patch):
    patch(pack_checks, "shown_unbound", lambda *given: ())


@mutant(("test_a_run_without_counterexamples_has_a_question_too",))
def a_run_without_counterexamples_is_believed(patch):
    patch(pack_checks, "replays", rewritten(replays.replays, ("type(gathered.analysis).replayed is Analysis.replayed", "True")))


@mutant(("test_a_check_that_could_not_check_all_has_an_exit_code_of_its_own",))
def a_check_of_a_part_is_one_of_all(patch):
    patch(pack_checks.Checked, "complete", property(lambda self: True))


@mutant(("test_what_is_said_to_be_vast_is_not_unpacked",))
def sizes_are_looked_at_once_all_is_unpacked(patch):
    real = pack_checks.check_sizes

    def late(archive, members, where):
        with TemporaryDirectory() as folder:
            pack_checks._unpack(archive, members, Path(where), Path(folder))
        real(archive, members, where)

    patch(pack_checks, "check_sizes", late)
