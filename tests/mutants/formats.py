"""Formats and outputs that break one promise each, with the tests that must notice it."""

from __future__ import annotations

import json
from dataclasses import replace

from absint.errors import printable
from absint.reports import csv as csv_module
from absint.reports import figures, jsonl, npz, outputs, spool, text
from absint.reports import json as json_module
from absint.reports.json import Json
from absint.reports.outputs import Outputs
from absint.reports.text import Text
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_a_row_is_visible_before_the_next_is_decided",))
def rows_wait_in_a_buffer(patch):
    patch(text, "print_line", lambda stream, line, style="", *, plain: stream.write(f"{line}\n"))


@mutant(("test_rows_stand_in_columns_and_long_cells_are_not_cut",))
def long_cells_are_cut(patch):
    real = Text._row

    def cut(self, cells, style):
        real(self, {name: cells.get(name, "")[:width] for name, width in self._widths.items()}, style)

    patch(Text, "_row", cut)


@mutant(("test_text_shows_what_files_hold_and_obeys_none_of_it",))
def terminals_obey_names(patch):
    patch(text, "one_line", str)


@mutant(("test_text_shows_what_files_hold_and_obeys_none_of_it",), ("test_rows_stand_in_columns_and_long_cells_are_not_cut",))
def a_line_feed_in_a_name_ends_the_line(patch):
    patch(text, "one_line", printable)


@mutant(("test_notes_are_said_once_and_at_most_five",))
def every_note_is_said_every_time(patch):
    patch(text, "_few", list)


@mutant(("test_a_lead_comes_first_and_alone",))
def a_table_before_the_lead(patch):
    real = Text.begin
    patch(Text, "begin", lambda self, heading: real(self, replace(heading, lead=False)))


@mutant(("test_a_lead_comes_first_and_alone",))
def sections_after_the_lead(patch):
    real = Text.end

    def both(self, document):
        real(self, document)
        real(self, replace(document, lead=""))

    patch(Text, "end", both)


@mutant(("test_sections_follow_the_rows",))
def parts_run_into_each_other(patch):
    patch(Text, "_start", lambda self, part: None)


@mutant(("test_a_terminal_shows_tones", "terminal"))
def no_tones(patch):
    patch(text, "_STYLES", {})


@mutant(("test_a_terminal_that_wants_none_gets_no_colours", "terminal", "LC_ALL", "C"))
def colours_for_every_terminal(patch):
    patch(text, "is_plain", lambda stream: not stream.isatty())


@mutant(("test_numbers_that_json_has_no_word_for_are_text",), ("test_the_document_has_every_part_for_machines",))
def numbers_that_json_does_not_know(patch):
    patch(json_module, "dumps", lambda value: json.dumps(value, default=str))


@mutant(("test_the_document_has_every_part_for_machines",))
def records_in_the_order_of_decision(patch):
    patch(spool, "place_of", lambda row: (False, 0))


@mutant(("test_rows_of_one_index_stay_as_they_came",))
def rows_of_one_index_by_name(patch):
    real = spool.RowSpool.texts
    patch(spool.RowSpool, "texts", lambda self: iter(sorted(real(self), key=lambda text: json.loads(text).get("name") or "")))


@mutant(("test_a_run_that_fails_before_its_end_leaves_nothing",))
def a_document_begun_too_early(patch):
    patch(Json, "begin", lambda self, heading, real=Json.begin: (real(self, heading), self.stream.write("{")))


@mutant(("test_what_an_analysis_names_like_a_part_is_not_lost",))
def values_that_share_a_name_are_lost(patch):
    real = json_module.whole_of
    patch(json_module, "whole_of", lambda *given: {**real(*given), "values": {}})


@mutant(("test_the_document_has_every_part_for_machines",))
def tables_are_for_people(patch):
    patch(json_module, "_tables", lambda document: {})


@mutant(("test_rows_that_stand_alone_say_what_is_to_be_known_of_the_model",))
def lines_keep_caveats_to_themselves(patch):
    patch(jsonl, "alone", lambda heading: {"notes": ""})


@mutant(("test_rows_that_stand_alone_say_what_is_to_be_known_of_the_model",))
def cells_keep_caveats_to_themselves(patch):
    patch(csv_module, "alone", lambda heading: {"notes": ""})


@mutant(("test_csv_says_every_column",))
def a_carriage_return_ends_the_row(patch):
    patch(csv_module, "_QUOTED", frozenset(',"\n'))


@mutant(("test_csv_says_every_column",))
def an_absent_value_is_a_word(patch):
    patch(csv_module, "_text", lambda value: value if isinstance(value, str) else json.dumps(value))


@mutant(("test_columns_of_several_kinds_lose_nothing",))
def whole_numbers_rounded(patch):
    patch(npz, "_EXACT", 2**62)


@mutant(("test_columns_become_arrays",))
def infinity_is_a_word(patch):
    patch(npz, "_WORDS", frozenset())


@mutant(("test_one_figure_alone", "canvases"))
def labels_that_matplotlib_drops(patch):
    patch(figures, "_label", str)


@mutant(("test_one_figure_alone", "canvases"))
def long_names_on_an_axis(patch):
    patch(figures, "_LETTERS", 1000)


@mutant(("test_one_figure_alone", "canvases"))
def names_from_files_as_they_are(patch):
    patch(figures, "one_line", lambda name: name.encode("utf-8", "backslashreplace").decode())


@mutant(("test_lines_without_marks_differ_by_stroke_as_well", "canvases"))
def one_stroke(patch):
    patch(figures, "_STROKES", ("-",))


@mutant(("test_of_many_places_some_are_named", "canvases"))
def every_place_is_named(patch):
    patch(figures, "_NAMED", 1000)


@mutant(("test_limits", "canvases"))
def limits_are_forgotten(patch):
    patch(figures, "_limits", lambda axis, panel: None)


@mutant(("test_figures_stand_below_each_other", "canvases"))
def the_first_figure_alone(patch):
    real = figures._save
    patch(figures, "_save", lambda drawn, file, suffix: real(drawn[:1], file, suffix))


@mutant(("test_the_same_figure_is_the_same_bytes", ".svg"))
def names_of_a_vector_picture_by_chance(patch):
    from contextlib import nullcontext

    import matplotlib

    patch(matplotlib, "rc_context", lambda settings: nullcontext())


@mutant(("test_a_broken_output_costs_another_nothing", "tmp_path", "begun", True),
        ("test_a_broken_output_costs_another_nothing", "tmp_path", "ended", False),
        ("test_a_format_that_has_no_pictures_to_draw_costs_another_nothing", "tmp_path"))
def the_first_broken_output_ends_it(patch):
    patch(outputs._Output, "give", lambda self, what, name, value: self.step(what, getattr(self.format, name), value))


@mutant(("test_a_broken_output_costs_another_nothing", "tmp_path", "written", False),
        ("test_a_broken_output_costs_another_nothing", "tmp_path", "ended", False))
def a_broken_output_is_passed_over(patch):
    patch(Outputs, "end", lambda self, document: self._each("ended", "end", document))


@mutant(("test_a_run_whose_only_output_breaks_stops_there", "tmp_path"))
def a_run_goes_on_for_nobody(patch):
    def each(self, what, name, value):
        for one in self._outputs:
            one.give(what, name, value)

    patch(Outputs, "_each", each)


@mutant(("test_a_full_disk_has_a_code_and_costs_another_nothing", "tmp_path", "full"))
def a_full_disk_is_a_strangers_fault(patch):
    patch(outputs, "_DISK", ())


@mutant(("test_two_results_never_go_to_one_place", "tmp_path"))
def two_results_in_one_file(patch):
    patch(outputs, "check_out", lambda out, inputs: None)


@mutant(("test_what_cannot_be_opened_leaves_the_others_as_they_were", "tmp_path"))
def files_are_emptied_one_by_one(patch):
    patch(outputs, "check_writable", lambda out: None)


@mutant(("test_a_terminal_gets_no_bytes_and_is_busy_with_rows", "monkeypatch", "tmp_path"))
def stdout_is_always_busy(patch):
    patch(Outputs, "busy", property(lambda self: True))
