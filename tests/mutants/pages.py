"""Pages that break one promise each, with the tests that must notice it."""

from __future__ import annotations

from math import ceil

import jinja2

from absint.analyses.verify import details, shown_witnesses
from absint.contract.document import Section
from absint.numeric import percent
from absint.reports import figures, html, html_parts, seen_rows, text
from absint.reports.seen_rows import SeenRows
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("test_names_are_text_whatever_they_hold", "hostile"))
def names_are_written_as_they_are(patch):
    real = jinja2.Environment
    patch(jinja2, "Environment", lambda **options: real(**{**options, "autoescape": False}))


@mutant(("test_every_part_is_shown",))
def control_characters_reach_the_page(patch):
    patch(html, "one_line", lambda text: text.encode("utf-8", "replace").decode())


@mutant(("test_the_worst_rows_are_kept_and_all_are_counted",))
def the_first_rows_are_kept(patch):
    patch(seen_rows, "TONES", ("good", "bad", "open", ""))


@mutant(("test_memory_does_not_grow_with_the_number_of_rows",))
def every_row_is_kept(patch):
    real = SeenRows.__init__
    patch(SeenRows, "__init__", lambda self, heading, most=0: real(self, heading, 10**9))


@mutant(("test_the_worst_rows_are_kept_and_all_are_counted",))
def only_kept_rows_are_counted(patch):
    real = SeenRows.add

    def add(self, row):
        if self.count < 10:
            real(self, row)

    patch(SeenRows, "add", add)


@mutant(("test_figures_take_the_ink_of_the_page", "hostile"))
def figures_keep_their_black(patch):
    patch(html_parts, "_embedded", lambda file: file[file.index("<svg") :])


@mutant(("test_what_must_not_be_overlooked_comes_first",))
def no_alerts(patch):
    patch(html, "_alerts", lambda heading, document: iter(()))


@mutant(("test_details_are_left_out_of_lines_and_kept_as_data",))
def lines_show_details(patch):
    patch(text, "Section", Section)
    real = text.Text.end

    def end(self, document):
        for section in document.sections:
            object.__setattr__(section, "detail", False)
        real(self, document)

    patch(text.Text, "end", end)


@mutant(("test_a_picture_is_the_pixels", "COLOUR"))
def rows_of_pixels_of_one_byte(patch):
    real = html_parts.png_of

    def shifted(picture):
        return real(type(picture)(picture.title, picture.size, picture.pixels[1:] + picture.pixels[:1]))

    patch(html_parts, "png_of", shifted)


@mutant(("test_intervals_are_exact_and_rounded_outward",))
def ends_are_rounded_to_the_nearest(patch):
    patch(details, "floor", round)
    patch(details, "ceil", round)


@mutant(("test_intervals_are_exact_and_rounded_outward",))
def upper_ends_are_rounded_inward(patch):
    patch(details, "ceil", lambda value: ceil(value) - 1)


@mutant(("test_counterexamples_of_images_are_three_pictures",))
def the_counterexample_stands_in_for_the_input(patch):
    real = shown_witnesses.panels_of
    patch(shown_witnesses, "panels_of", lambda point, original, known: real(point, point, known))


@mutant(("test_no_bar_hides_another", "canvases"))
def every_bar_begins_at_nothing(patch):
    real = figures._bars
    patch(figures, "_bars", lambda axis, bars: [real(axis, [one]) for one in bars])


@mutant(("test_bars_are_told_apart_without_their_colours", "canvases"))
def all_bars_have_one_hatch(patch):
    patch(figures, "_HATCHES", ("///",))


@mutant(("test_ends_are_outward_however_they_are_shown", "share"))
def ends_of_percent_are_rounded_to_the_nearest(patch):
    real = percent._scaled
    patch(percent, "_scaled", lambda value, digits, side: real(value, digits, 0))


@mutant(("test_ends_are_outward_however_they_are_shown", "share"))
def nearly_all_is_all(patch):
    patch(percent, "_scaled", lambda value, digits, side: (round(value * 10**digits), digits))


@mutant(("test_a_share_is_all_or_none_only_where_it_is", "little", "0.003"))
def hardly_any_is_none(patch):
    patch(percent, "_scaled", lambda value, digits, side: (round(value * 10**digits), digits))


@mutant(("test_what_is_decided_first_is_no_sample",))
def what_is_decided_first_is_a_sample(patch):
    real = details._interval
    patch(details, "_interval", lambda hits, count, *, whole: real(hits, count, whole=True))
