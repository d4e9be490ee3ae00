"""Figures of training: every number at its epoch, gaps where there is none, phases marked; and they are drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from math import isnan, nan

import pytest

from absint.analyses.train.curves import compared, figures
from absint.analyses.train.record import EpochRecord, Phase
from absint.contract.document import Document, Figure, Heading, Panel, Series
from absint.reports.figures import Pictures

PHASES = (Phase.WARM_UP, Phase.RAMP, Phase.RAMP, Phase.FULL, Phase.FULL)


def record(epoch: int, phase: Phase, **more: object) -> EpochRecord:
    made = EpochRecord(epoch - 1, phase, epoch, 600 * epoch, 1.0 / epoch, 0.1, 0.1 * epoch, 1 - epoch / 10, 1e-3, 0.02 * epoch, 10_000,
                       0.03 * epoch, 1000, 0.04 * epoch, 10_000, 1000.0 / epoch, 0.01 * epoch, 0.02 * epoch, 0.03 * epoch, 60.0)
    return replace(made, **more)


RUN = tuple(record(epoch, phase) for epoch, phase in enumerate(PHASES, 1))
FINAL = record(4, Phase.FINAL, index=5, clean_error=0.05, pgd_error=0.09, verified_error=0.11, width=0.5)


def by_name(made: tuple[Figure, ...]) -> dict[str, Figure]:
    return {figure.name: figure for figure in made}


def line(panel: Panel, label: str) -> Series:
    return next(series for series in panel.series if series.label.startswith(label))


def drawn(made: tuple[Figure, ...]) -> bytes:
    stream = io.BytesIO()
    picture = Pictures(stream, ".svg")
    picture.begin(Heading("train", {}, "records", (), {}))
    picture.end(Document(figures=made))
    return stream.getvalue()


def test_each_error_stands_at_its_epoch_in_per_cent() -> None:
    panel = by_name(figures(RUN, "small"))["errors"].panels[0]
    for label, share in (("clean", 2.0), ("PGD", 3.0), ("verified", 4.0)):
        series = line(panel, label)
        assert series.x == (1.0, 2.0, 3.0, 4.0, 5.0)
        assert series.y == pytest.approx([share * epoch for epoch in series.x])


def test_labels_say_how_many_images() -> None:
    some = (*RUN[:-1], replace(RUN[-1], pgd_n=500))
    labels = [series.label for series in by_name(figures(some, "small"))["errors"].panels[0].series]
    assert labels[:3] == ["verified (n = 10,000)", "PGD (n = 500 to 1,000)", "clean (n = 10,000)"]


def test_averages_are_those_of_the_records() -> None:
    panel = by_name(figures(RUN, "small"))["averaged"].panels[0]
    assert line(panel, "verified").y == pytest.approx([3.0, 6.0, 9.0, 12.0, 15.0])
    assert line(panel, "clean").y == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


def test_widths_are_logarithmic_and_errors_are_not() -> None:
    made = by_name(figures(RUN, "small"))
    assert made["widths"].panels[0].logarithmic
    assert made["widths"].panels[0].series[0].y == tuple(1000.0 / epoch for epoch in range(1, 6))
    assert not made["errors"].panels[0].logarithmic


def test_the_schedule_stands_below_in_small_panels() -> None:
    for name in ("errors", "widths"):
        first, *rest = by_name(figures(RUN, "small"))[name].panels
        small = {panel.y_label: panel for panel in rest}
        assert {"eps", "kappa", "learning rate"} <= set(small)
        assert small["eps"].series[0].y == tuple(0.1 * epoch for epoch in range(1, 6))
        assert small["kappa"].series[0].y == tuple(1 - epoch / 10 for epoch in range(1, 6))
        assert small["learning rate"].logarithmic
        assert all(panel.height < first.height for panel in rest)


def test_phases_are_marked_between_epochs_in_every_panel_and_named() -> None:
    for figure in figures(RUN, "small"):
        assert {panel.marks for panel in figure.panels} == {(1.5, 3.5)}
        assert figure.panels[0].title == "warm-up to epoch 1, ramp to epoch 3, then full eps"
        assert [bool(panel.x_label) for panel in figure.panels] == [False] * (len(figure.panels) - 1) + [True]


def test_what_was_not_measured_has_no_place_and_a_nan_is_a_gap() -> None:
    some = [replace(one, pgd_error=None, pgd_n=0) if one.epoch % 2 else one for one in RUN]
    some[2] = replace(some[2], width=nan)
    made = by_name(figures(some, "small"))
    assert line(made["errors"].panels[0], "PGD").x == (2.0, 4.0)
    y = made["widths"].panels[0].series[0].y
    assert [isnan(value) for value in y] == [False, False, True, False, False]


def test_few_points_are_marked_and_so_is_a_lone_one() -> None:
    many = [record(epoch, Phase.FULL) for epoch in range(1, 101)]
    assert line(by_name(figures(RUN, "s"))["errors"].panels[0], "verified").marked
    assert not line(by_name(figures(many, "s"))["errors"].panels[0], "verified").marked
    many[48] = replace(many[48], verified_error=nan)
    many[50] = replace(many[50], verified_error=nan)
    assert line(by_name(figures(many, "s"))["errors"].panels[0], "verified").marked
    one = by_name(figures(RUN[:1], "s"))["errors"]
    assert all(series.marked for panel in one.panels for series in panel.series if not series.dashed)


def test_a_closing_evaluation_is_no_epoch() -> None:
    made = by_name(figures([*RUN, FINAL], "small"))
    closing = line(made["errors"].panels[0], "closing")
    assert (closing.x, closing.y, closing.joined) == ((4.0, 4.0, 4.0), pytest.approx((11.0, 9.0, 5.0)), False)
    assert made["widths"].panels[0] == by_name(figures(RUN, "small"))["widths"].panels[0]
    assert {panel.marks for panel in made["errors"].panels} == {(1.5, 3.5)}


def test_what_was_never_measured_is_left_out() -> None:
    bare = [EpochRecord(k, Phase.FULL, k + 1, k, loss=1.0, eps=0.1) for k in range(3)]
    assert figures(bare, "bare") == ()
    assert figures([], "none") == ()
    assert compared({}) == ()
    assert compared({"none": []}) == ()


def test_several_runs_share_axes_by_label() -> None:
    other = tuple(replace(one, width=1.0, verified_error=0.5) for one in RUN)
    made = by_name(compared({"ibp": RUN, "constrained": [*other, FINAL]}, "fast ramp"))
    assert list(made) == ["verified", "averaged", "errors", "widths"]
    assert line(made["widths"].panels[0], "ibp").y == tuple(1000.0 / epoch for epoch in range(1, 6))
    assert line(made["widths"].panels[0], "constrained").y == (1.0,) * 5
    assert line(made["verified"].panels[0], "constrained").y == (50.0,) * 5
    assert line(made["averaged"].panels[0], "ibp").y == pytest.approx([3.0, 6.0, 9.0, 12.0, 15.0])
    assert made["widths"].panels[0].logarithmic
    assert [panel.y_label for panel in made["errors"].panels] == ["verified, %", "PGD, %", "clean, %"]
    assert len({series.colour for series in made["widths"].panels[0].series}) == 2
    assert all(figure.title.startswith("fast ramp: ") for figure in made.values())


def test_phases_of_several_runs_are_marked_where_they_agree() -> None:
    assert {panel.marks for figure in compared({"a": RUN, "b": RUN}) for panel in figure.panels} == {(1.5, 3.5)}
    slower = tuple(replace(one, phase=Phase.FULL if one.epoch == 5 else one.phase if one.epoch == 1 else Phase.RAMP) for one in RUN)
    assert {panel.marks for figure in compared({"b": slower}) for panel in figure.panels} == {(1.5, 4.5)}
    assert {panel.marks for figure in compared({"a": RUN, "b": slower}) for panel in figure.panels} == {()}


def test_a_schedule_in_common_is_one_line() -> None:
    def lines(*runs: tuple[EpochRecord, ...]) -> int:
        panels = by_name(compared({str(k): one for k, one in enumerate(runs)}))["widths"].panels
        return len(next(panel for panel in panels if panel.y_label == "eps").series)

    assert lines(RUN, RUN) == 1
    assert lines(RUN, tuple(replace(one, eps=0.3) for one in RUN)) == 2


def test_lines_of_many_runs_differ_in_colour_or_stroke() -> None:
    """A picture draws marked lines solid; others take the next stroke each."""
    panel = by_name(compared({f"seed {k}": RUN for k in range(9)}))["verified"].panels[0]
    assert not any(series.marked for series in panel.series)


@pytest.mark.parametrize("records", [RUN[:1], (replace(RUN[0], width=0.0), *RUN[1:], FINAL)])
def test_they_are_drawn(records: tuple[EpochRecord, ...]) -> None:
    pytest.importorskip("matplotlib")
    picture = drawn(figures(records, "small $x$"))
    assert picture.startswith(b"<?xml")
    assert drawn(compared({"a": records, "_b": records})).startswith(b"<?xml")


def test_ticks_stand_at_whole_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure as Canvas

    ticks: list[float] = []
    real = Canvas.savefig

    def keep(self: Canvas, *given: object, **more: object) -> None:
        real(self, *given, **more)
        ticks.extend(tick for axis in self.axes for tick in axis.get_xticks())

    monkeypatch.setattr(Canvas, "savefig", keep)
    for records in (RUN[:1], RUN[:3], RUN):
        drawn((by_name(figures(records, "small"))["errors"],))
    assert ticks
    assert all(tick == round(tick) for tick in ticks)
