"""A document's figures as pictures: lines, histograms, marks, named places. matplotlib is an extra."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import cycle
from math import isfinite, isnan, nan
from typing import Any, ClassVar

from absint.contract.document import Document, Field, Figure, Heading, Panel, Series
from absint.errors import UnsupportedError, UsageError
from absint.reports.interface import Format
from absint.reports.terminal import one_line

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito: for every eye
_MARKERS = "osD^vPX"
_STROKES = ("-", "--", "-.", ":")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")     # of bars, which cannot be told apart by strokes or marks
_NAMED = 40             # places on an axis that are named; of more, every second, third, ...
_LETTERS = 32           # of a name on an axis
_DPI, _INCHES = 130, 400.0
_MOST_ENTRIES = 8       # of a legend's column
_LARGEST = 1e300        # beyond it, limits of axes overflow


class Pictures(Format):
    """Written at the end: all figures of the document, below each other."""

    suffixes: ClassVar[tuple[str, ...]] = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
    binary: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    @classmethod
    def check(cls) -> None:
        """Raise UnsupportedError E-PLOT-MISSING without matplotlib."""
        if find_spec("matplotlib") is None:
            raise UnsupportedError("E-PLOT-MISSING", "pictures need matplotlib, which is not installed",
                                   hint="pip install 'absint[plots]', or pip install matplotlib")

    def begin(self, heading: Heading) -> None:
        """Kept for messages."""
        self.heading = heading

    def end(self, document: Document) -> None:
        """The pictures. Raises UsageError E-FORMAT-FIGURES where there are none."""
        if not document.figures:
            raise UsageError("E-FORMAT-FIGURES", "this result has no pictures", where=self.heading.analysis,
                             hint="write it as text, json, csv or npz")
        _save(document.figures, self.stream, self.suffix or self.suffixes[0])
        self.stream.flush()


def draw(figure: Figure, file: Any, suffix: str) -> None:
    """One figure into a binary file. suffix: .png, .jpg, .svg or .pdf; the same bytes for the same figure and matplotlib."""
    _save((figure,), file, suffix)


def _save(figures: Sequence[Figure], file: Any, suffix: str) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    width, height = max(one.size[0] for one in figures), sum(one.size[1] for one in figures)
    kind = suffix.lower().lstrip(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    # Names from files may hold letters that the font lacks: a warning for each says nothing that a reader could mend.
    with rc_context({"svg.hashsalt": "absint"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        canvas = Canvas(figsize=(width, height), layout="constrained")
        if len(figures) == 1:
            _figure(canvas, figures[0])
        else:
            parts = canvas.subfigures(len(figures), 1, squeeze=False, height_ratios=[one.size[1] for one in figures])[:, 0]
            for part, figure in zip(parts, figures, strict=True):
                _figure(part, figure)
        canvas.savefig(file, format=kind, dpi=min(_DPI, _DPI * _INCHES / max(width, height)), metadata=metadata)


def _figure(canvas: Any, figure: Figure) -> None:
    if not figure.panels:
        return
    axes = canvas.subplots(len(figure.panels), 1, sharex=True, squeeze=False,
                           height_ratios=[panel.height for panel in figure.panels])[:, 0]
    for axis, panel in zip(axes, figure.panels, strict=True):
        _panel(axis, panel)
    canvas.suptitle(one_line(figure.title), fontsize=10, parse_math=False)  # a file's name is no formula


def _panel(axis: Any, panel: Panel) -> None:
    if panel.logarithmic:
        axis.set_yscale("log")
    strokes = cycle(_STROKES)
    if panel.field is not None:
        _field(axis, panel.field)
    _bars(axis, [series for series in panel.series if series.edges])
    for series in panel.series:
        if not series.edges:
            _line(axis, series, strokes, logarithmic=panel.logarithmic)
    for place in panel.marks:
        axis.axvline(place, color="black", linewidth=0.9, linestyle="--")
    axis.grid(alpha=0.3)
    axis.set_title(one_line(panel.title), fontsize=8, loc="left", parse_math=False)
    axis.set_xlabel(one_line(panel.x_label), parse_math=False)
    axis.set_ylabel(one_line(panel.y_label), parse_math=False)
    _limits(axis, panel)
    _names(axis, panel.names)
    if panel.whole:
        _whole_ticks(axis)
    if panel.legend:
        _legend(axis)


def _field(axis: Any, field: Field) -> None:
    """Patches of pale colour with their names in the legend, or a scale of colours beside the axes."""
    from matplotlib.colors import ListedColormap

    rows = [_numbers(row) for row in field.values]
    if not field.names:
        mesh = axis.pcolormesh(field.x, field.y, rows, shading="nearest", cmap="cividis", rasterized=True)
        axis.figure.colorbar(mesh, ax=axis).set_label(one_line(field.label), parse_math=False)
        return
    present = sorted({int(value) for row in rows for value in row if not isnan(value)})
    places = {value: place for place, value in enumerate(present)}
    shown = [[nan if isnan(value) else places[int(value)] for value in row] for row in rows]
    colours = [_COLOURS[place % (len(_COLOURS) - 1)] for place in range(len(present))]
    axis.pcolormesh(field.x, field.y, shown, shading="nearest", cmap=ListedColormap(colours or ["white"]), vmin=-0.5,
                    vmax=max(len(present), 1) - 0.5, alpha=0.45, rasterized=True)
    for value, colour in zip(present, colours, strict=True):
        axis.plot([], [], marker="s", markersize=8, linestyle="none", color=colour, alpha=0.45, label=_label(field.names[value]))


def _bars(axis: Any, bars: Sequence[Series]) -> None:
    """Histograms, those of the same bins on top of each other, each of several with a hatch of its own: none hides another."""
    from matplotlib import rcParams

    heights: dict[tuple[float, ...], list[float]] = {}
    hatches = cycle(_HATCHES)
    for series in bars:
        base = heights.get(series.edges, [0.0] * len(series.y))
        counts = [0.0 if isnan(count) else count for count in _numbers(series.y)]
        heights[series.edges] = [low + count for low, count in zip(base, counts, strict=True)]
        how = {"hatch": next(hatches), "edgecolor": rcParams["axes.edgecolor"], "linewidth": 0.6} if len(bars) > 1 else {}
        # As a bar a bin: the outline of all of them together would cross bins where a series has nothing.
        filled = [place for place, count in enumerate(counts) if count] or [0]    # a legend shows the first
        axis.bar([series.edges[place] for place in filled], [counts[place] for place in filled],
                 [series.edges[place + 1] - series.edges[place] for place in filled], [base[place] for place in filled], align="edge",
                 color=_colour(series), label=_label(series.label), **how)
    if bars:
        from matplotlib.ticker import MaxNLocator

        axis.set_xlim(min(series.edges[0] for series in bars), max(series.edges[-1] for series in bars))
        axis.set_ylim(0, 1.05 * max(1.0, *(top for tops in heights.values() for top in tops)))
        axis.yaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _line(axis: Any, series: Series, strokes: Any, *, logarithmic: bool) -> None:
    """Solid with marks; thin and dashed where it goes with another line of its colour; else told apart by its stroke as well."""
    x, y = _numbers(series.x), _numbers(series.y)
    if logarithmic:  # zero has no place there: the line has a gap
        y = [value if value > 0 else nan for value in y]
    style: dict[str, Any] = {"linewidth": 1.4, "linestyle": "-"}
    if series.dashed:
        style = {"linewidth": 0.8, "linestyle": "--", "alpha": 0.7}
    elif not series.marked:
        style["linestyle"] = next(strokes)
    if series.to:
        ends = [nan if isnan(start) else end for start, end in zip(y, _numbers(series.to), strict=True)]
        style["linestyle"] = ":" if series.dashed else "-"
        axis.vlines(x, y, ends, color=_colour(series), label=_label(series.label), **style)
        return
    if not series.joined:
        style["linestyle"] = "none"
    if series.marked:
        style.update(marker=_MARKERS[series.colour % len(_MARKERS)], markersize=4)
    axis.plot(x, y, color=_colour(series), label=_label(series.label), **style)


def _numbers(values: Sequence[float]) -> list[float]:
    """What has a place on an axis; a gap elsewhere."""
    return [float(value) if isfinite(value) and abs(value) < _LARGEST else nan for value in values]


def _colour(series: Series) -> str:
    return _COLOURS[series.colour % len(_COLOURS)]


def _label(text: str) -> str | None:
    """matplotlib keeps what begins with an underscore out of its legends."""
    shown = one_line(text)
    return f" {shown}" if shown.startswith("_") else shown or "_"


def _limits(axis: Any, panel: Panel) -> None:
    for limits, put in ((panel.x_limits, axis.set_xlim), (panel.y_limits, axis.set_ylim)):
        if limits is not None:
            put(*(end if isfinite(end) else None for end in limits))


def _names(axis: Any, names: Sequence[str]) -> None:
    if names:
        step = -(-len(names) // _NAMED)
        shown = [_short(one_line(name)) for name in names[::step]]
        axis.set_xticks(range(0, len(names), step), shown, rotation=60, ha="right", fontsize=7, rotation_mode="anchor", parse_math=False)


def _whole_ticks(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"..{name[-_LETTERS:]}"


def _legend(axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        columns = -(-len(handles) // _MOST_ENTRIES)
        for text in axis.legend(handles, labels, frameon=False, fontsize=8, ncols=columns).get_texts():
            text.set_parse_math(False)
