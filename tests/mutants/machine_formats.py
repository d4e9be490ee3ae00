"""Formats for machines that break one promise each, with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace

from absint.reports import cases, junit, markdown, parquet, parquet_types, sarif
from absint.reports import options as options_module
from absint.reports.cases import CaseOutcome
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_a_run_that_was_cut_short_does_not_look_like_one_that_passed",))
def what_was_not_decided_has_no_case(patch):
    real = cases.cases_of

    def fewer(heading, rows, document):
        return real(heading, rows, replace(document, summary={**document.summary, "remaining": []}))

    patch(junit, "cases_of", fewer)


@mutant(("test_a_run_that_was_cut_short_does_not_look_like_one_that_passed",))
def a_lost_item_is_passed_over(patch):
    patch(cases, "_failed", lambda case, failure: replace(case, outcome=CaseOutcome.PLAIN))


@mutant(("test_a_failed_item_has_one_case_whether_it_is_found_by_index_or_by_name",))
def an_error_is_a_verdict(patch):
    patch(cases, "_ERROR", "no such verdict")
    patch(cases, "_failed", lambda case, failure: case)


@mutant(("test_a_command_that_fails_has_a_case_that_fails",))
def a_command_that_fails_for_no_case_seems_to_pass(patch):
    patch(cases, "_FAILING", set(CaseOutcome))


@mutant(("test_items_that_nobody_lists_are_no_passes",))
def items_that_nobody_lists_pass(patch):
    patch(cases, "unasked", lambda document: False)
    patch(cases, "left_of", lambda document: 0)


@mutant(("test_what_the_limit_of_the_whole_run_ended_is_an_error",))
def what_a_limit_ended_is_skipped(patch):
    real = cases._case
    patch(cases, "_case", lambda heading, row: real(heading, replace(row, cut=False)))


@mutant(("test_unknown_is_what_is_chosen", "failure", "failure"))
def unknown_is_skipped_whatever_is_said(patch):
    real = junit._append
    patch(junit, "_append", lambda suite, case, place, unknown: real(suite, case, place, junit.UnknownAs.SKIPPED))


@mutant(("test_a_case_for_each_record_in_the_order_of_their_index",))
def what_counts_for_nothing_passes(patch):
    patch(cases, "_VERDICT", "no such column")


@mutant(("test_a_case_for_each_record_in_the_order_of_their_index",))
def cases_in_the_order_of_decision(patch):
    patch(cases, "ordered", list)


@mutant(("test_cases_of_one_name_are_told_apart",))
def several_cases_of_one_name(patch):
    patch(cases, "_names", list)


@mutant(("test_xml_holds_whatever_comes_out_of_files",))
def characters_that_xml_lacks(patch):
    patch(junit, "_text", str)


@mutant(("test_what_is_no_failure_has_no_level",))
def a_level_for_what_is_no_failure(patch):
    real = sarif.Sarif._weight

    def weight(self, outcome):
        kind, level = real(self, outcome)
        return kind, "warning" if level == "none" else level

    patch(sarif.Sarif, "_weight", weight)


@mutant(("test_an_invocation_that_was_cut_short_says_so",))
def an_exit_code_that_is_not_known(patch):
    real = sarif._invocation
    patch(sarif, "_invocation", lambda heading, document: {**real(heading, document), "exitCode": document.exit_code})


@mutant(("test_fingerprints_are_of_the_question_and_nothing_else",))
def fingerprints_of_the_day(patch):
    patch(sarif, "_CHANGING", ())


@mutant(("test_fingerprints_are_of_the_question_and_nothing_else",))
def fingerprints_of_the_place_alone(patch):
    patch(sarif, "_asked", lambda value: None)


@mutant(("test_brackets_and_braces_of_a_message_are_letters",))
def links_out_of_files(patch):
    patch(sarif, "_message", str)


@mutant(("test_markdown_shows_what_files_hold_and_obeys_none_of_it",))
def markup_out_of_files(patch):
    patch(markdown, "_shown", str)


@mutant(("test_what_matters_comes_first_and_the_page_stays_short",))
def what_matters_comes_anywhere(patch):
    patch(markdown, "_FIRST", {})


@mutant(("test_columns_have_the_type_of_all_their_values",))
def whole_numbers_that_a_float_cannot_hold(patch):
    patch(parquet_types, "_EXACT", 2**62)


@mutant(("test_columns_have_the_type_of_all_their_values",))
def infinity_is_text(patch):
    patch(parquet_types, "_WORDS", frozenset())


@mutant(("test_a_file_has_row_groups_and_the_header",))
def one_row_group(patch):
    real = parquet.islice
    patch(parquet, "islice", lambda lines, count: real(lines, 10**9))


@mutant(("test_options_that_are_none_are_refused_with_those_there_are", "junit:unknown=passed,unknown=passed"),
        ("test_options_that_are_none_are_refused_with_those_there_are", "csv:x=1"))
def what_is_wrong_is_passed_over(patch):
    def lenient(name, kind, text):
        known = [item for item in text.split(",") if item.partition("=")[0] in getattr(kind, "__dataclass_fields__", {})]
        return real(name, kind, known[0] if known else "")

    real = options_module.read_options
    from absint.reports import interface

    patch(interface, "read_options", lenient)
