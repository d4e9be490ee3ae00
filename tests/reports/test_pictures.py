"""Figures as pictures: what is drawn of lines, bars, marks, names and limits, whatever the names hold."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import replace
from math import inf, nan
from xml.etree import ElementTree

import pytest
from documents import BARS, DOCUMENT, HEADING, HOSTILE, LINES, written

from absint.contract.document import Document, Figure, Panel, Series
from absint.errors import UnsupportedError, UsageError
from absint.reports import figures
from absint.reports.figures import Pictures, draw


def saved(monkeypatch):
    """Every canvas that is saved, as matplotlib knows it."""
    from matplotlib.figure import Figure as Canvas

    found = []
    real = Canvas.savefig

    def keep(self, *given, **more):
        found.append(self)
        return real(self, *given, **more)

    monkeypatch.setattr(Canvas, "savefig", keep)
    return found


@pytest.fixture
def canvases(monkeypatch):
    return saved(monkeypatch)


def bytes_of(*drawn: Figure, suffix: str = ".svg") -> bytes:
    stream = io.BytesIO()
    made = Pictures(stream, suffix)
    made.begin(HEADING)
    made.end(replace(DOCUMENT, figures=drawn))
    return stream.getvalue()


def one_panel(*series: Series, **more: object) -> Figure:
    return Figure("f", "f", (Panel(series, **more),), (3.0, 2.0))


def size(picture: bytes) -> tuple[int, int]:
    return struct.unpack(">II", picture[16:24])


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF"), ("", b"\x89PNG")])
def test_each_kind_of_file(suffix: str, start: bytes) -> None:
    assert bytes_of(BARS, suffix=suffix).startswith(start)


@pytest.mark.parametrize("suffix", Pictures.suffixes)
def test_the_same_figure_is_the_same_bytes(suffix: str) -> None:
    assert bytes_of(BARS, suffix=suffix) == bytes_of(BARS, suffix=suffix)


def test_a_vector_picture_can_be_read_whatever_the_names_hold() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ElementTree.fromstring(bytes_of(LINES, BARS))


def test_one_figure_alone(canvases) -> None:
    stream = io.BytesIO()
    draw(LINES, stream, ".svg")
    assert stream.getvalue() == bytes_of(LINES)
    top, bottom = canvases[0].axes
    assert canvases[0].get_suptitle() == "net_$x$ a\\x1b[2J|\\u202e\\n,\"é漢\\t\\r$x_1^2$\\ud800"
    assert not canvases[0]._suptitle.get_parse_math()
    mean, most, other = top.get_lines()
    assert (mean.get_linestyle(), mean.get_marker(), mean.get_color()) == ("-", "o", "#0072b2")
    assert (most.get_linestyle(), most.get_marker(), most.get_linewidth()) == ("--", "None", 0.8)
    assert other.get_color() == "#d55e00"
    assert top.get_yscale() == "log"
    assert [str(value) for value in mean.get_ydata()] == ["0.02", "nan", "nan"]     # zero has no place on this axis
    assert [str(value) for value in most.get_ydata()] == ["0.5", "nan", "2.0"]
    legend = top.get_legend().get_texts()
    assert [text.get_text() for text in legend] == [" _box", "other"]
    assert not any(text.get_parse_math() for text in legend)
    assert bottom.get_ylim()[0] == 0
    assert bottom.get_ylim()[1] > 40
    ticks = bottom.get_xticklabels()
    assert [tick.get_text() for tick in ticks][1:] == ["b$", f"..{'c' * 32}"]
    assert not any(tick.get_parse_math() for tick in ticks)
    assert bottom.get_legend() is None
    assert top.get_position().height > 2 * bottom.get_position().height


def test_bars_and_marks(canvases) -> None:
    bytes_of(BARS)
    first, second = canvases[0].axes
    (bars,) = first.patches
    assert (bars.get_height(), bars.get_x(), bars.get_width()) == (3.0, 0.0, 0.5)
    assert first.get_xlim() == (0.0, 1.0)
    assert bars.get_facecolor()[:3] == pytest.approx((0xd5 / 255, 0x5e / 255, 0))
    (mark,) = first.get_lines()
    assert set(mark.get_xdata()) == {0.7}
    assert first.get_title("left") == "cat_1: p $= 3"
    assert second.get_xlabel() == "radius"
    assert first.get_shared_x_axes().joined(first, second)


def test_figures_stand_below_each_other(canvases) -> None:
    assert size(bytes_of(LINES, BARS, suffix=".png")) == (6 * 130, 9 * 130)
    upper, lower = canvases[0].subfigs
    assert upper.get_suptitle().startswith("net_")
    assert lower.get_suptitle() == "radii"


def test_lines_without_marks_differ_by_stroke_as_well(canvases) -> None:
    bytes_of(one_panel(*(Series(f"s{k}", (0, 1), (0, k), colour=k) for k in range(5))))
    assert [line.get_linestyle() for line in canvases[0].axes[0].get_lines()] == ["-", "--", "-.", ":", "-"]


def test_limits(canvases) -> None:
    bytes_of(one_panel(Series("s", (0, 5), (1, 9)), x_limits=(-0.5, inf), y_limits=(-inf, 2.0)))
    axis = canvases[0].axes[0]
    assert axis.get_xlim()[0] == -0.5
    assert axis.get_xlim()[1] >= 5
    assert axis.get_ylim()[1] == 2


def test_of_many_places_some_are_named(canvases) -> None:
    bytes_of(one_panel(Series("s", tuple(range(100)), (1.0,) * 100), names=tuple(map(str, range(100)))))
    assert [tick.get_text() for tick in canvases[0].axes[0].get_xticklabels()] == [str(k) for k in range(0, 100, 3)]


@pytest.mark.parametrize("figure", [
    Figure("empty", HOSTILE, ()), one_panel(legend=True), one_panel(Series("all gone", (0, 1), (nan, inf)), logarithmic=True, legend=True),
    one_panel(Series("s", (0, 1), (-1.0, 0.0)), logarithmic=True), one_panel(Series("s", (0, 1), (1.7e308, -1.7e308))),
    one_panel(Series("s", (nan, inf), (1.0, 2.0))), one_panel(Series("s", (), ())), one_panel(Series("s", y=(nan, inf), edges=(0, 1, 2))),
    one_panel(*(Series(f"s{k} $", (0,), (k,)) for k in range(40)), legend=True, title="$", x_label="$x_", y_label="$"),
    replace(BARS, size=(700.0, 3.0)),
])
def test_nothing_in_a_figure_stops_it(figure: Figure) -> None:
    assert bytes_of(figure, suffix=".png").startswith(b"\x89PNG")


def test_a_document_without_figures_is_refused() -> None:
    with pytest.raises(UsageError, match="this result has no pictures") as caught:
        written(Pictures, Document(), ())
    assert caught.value.code == "E-FORMAT-FIGURES"
    assert caught.value.hint


def test_without_matplotlib_the_extra_is_named(monkeypatch) -> None:
    Pictures.check()
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=re.escape("absint[plots]")) as caught:
        Pictures.check()
    assert caught.value.code == "E-PLOT-MISSING"


EDGES = (0.0, 0.5, 1.0, 2.0)
STACK = one_panel(Series("proved", y=(3.0, 2.0, nan), edges=EDGES), Series("", y=(1.0, 0.0, 4.0), edges=EDGES, colour=1),
                  Series("open", y=(2.0, 2.0, 1.0), edges=EDGES, colour=2),
                  Series("none", y=(0.0, nan, 0.0), edges=EDGES, colour=3), legend=True)


def test_no_bar_hides_another(canvases) -> None:
    bytes_of(STACK)
    axis = canvases[0].axes[0]
    bars = [one.get_bbox() for one in axis.patches]
    assert sorted(bar.width * bar.height for bar in bars) == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.5, 4.0]
    for place, bar in enumerate(bars):
        for other in bars[:place]:
            wide, high = (min(getattr(bar, to), getattr(other, to)) - max(getattr(bar, start), getattr(other, start))
                          for start, to in (("x0", "x1"), ("y0", "y1")))
            assert wide <= 0 or high <= 0, (bar, other)
    assert axis.get_ylim()[1] > 6


def test_bars_are_told_apart_without_their_colours(canvases) -> None:
    bytes_of(STACK)
    axis = canvases[0].axes[0]
    hatches = {bar.get_facecolor(): bar.get_hatch() or "" for bar in axis.patches}
    assert len(hatches) == len(set(hatches.values())) == 4
    proved, _, *others = hatches.values()     # the second has no name
    assert [key.get_hatch() or "" for key in axis.get_legend().legend_handles] == [proved, *others]
    assert all(tick == int(tick) for tick in axis.get_yticks())
