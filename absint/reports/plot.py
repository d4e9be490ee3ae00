"""Width by layer as a picture: where precision is lost, and which domain loses it. matplotlib is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, BinaryIO

from absint.analyses.bounds.widths import LayerWidths
from absint.errors import UnsupportedError, UsageError

SUFFIXES = (".png", ".svg", ".pdf")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito: for every eye
_MARKERS = "osD^vPX"
_NAMED = 40       # layers up to this many are named on the axis
_LETTERS = 22


def check(suffix: str) -> None:
    """Raise UsageError E-PLOT-FORMAT for an unknown suffix, UnsupportedError E-PLOT-MISSING without matplotlib."""
    if suffix.lower() not in SUFFIXES:
        raise UsageError("E-PLOT-FORMAT", f"no picture is written as '{suffix}'", where="--plot", hint=f"use {', '.join(SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise UnsupportedError("E-PLOT-MISSING", "plots need matplotlib, which is not installed", where="--plot",
                               hint="pip install 'absint[plots]', or pip install matplotlib")


def draw(series: Mapping[str, Sequence[LayerWidths]], file: BinaryIO, suffix: str, title: str) -> None:
    """Mean (solid) and greatest (thin) width on a logarithmic axis; below, the share of undecided entries.

    series: domain -> layers in topological order, the same layers for all.
    """
    from matplotlib.figure import Figure

    layers = next(iter(series.values()))
    figure = Figure(figsize=(min(24.0, 3.5 + 0.42 * max(10, len(layers))), 6.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for k, (domain, widths) in enumerate(series.items()):
        style = {"color": _COLOURS[k % len(_COLOURS)], "marker": _MARKERS[k % len(_MARKERS)], "markersize": 4}
        _widths(top, domain, widths, style)
        _undecided(bottom, widths, style)
    _axes(top, bottom, layers)
    figure.suptitle(title, fontsize=10, parse_math=False)  # a file's name is no formula
    figure.savefig(file, format=suffix.lower().lstrip("."), dpi=130, metadata={"Date": None} if suffix.lower() == ".svg" else None)


def _widths(axis: Any, domain: str, widths: Sequence[LayerWidths], style: Mapping[str, Any]) -> None:
    """Zero widths and unbounded layers have no place on a logarithmic axis: the line has a gap there."""
    mean, most = ([_positive(getattr(w, name)) for w in widths] for name in ("mean", "greatest"))
    axis.plot(range(len(widths)), mean, label=domain, linewidth=1.4, **style)
    axis.plot(range(len(widths)), most, linewidth=0.8, linestyle="--", color=style["color"], alpha=0.7)


def _positive(value: float | None) -> float:
    return value if value is not None and value > 0 else float("nan")


def _undecided(axis: Any, widths: Sequence[LayerWidths], style: Mapping[str, Any]) -> None:
    places = [(k, 100 * w.undecided) for k, w in enumerate(widths) if w.undecided is not None]
    axis.plot([k for k, _ in places], [share for _, share in places], linewidth=1.0, linestyle=":", **style)


def _axes(top: Any, bottom: Any, layers: Sequence[LayerWidths]) -> None:
    top.set_yscale("log")
    top.set_ylabel("width: mean (solid), greatest (dashed)")
    top.grid(alpha=0.3)
    top.legend(frameon=False)
    bottom.set_ylabel("undecided, %")
    bottom.set_ylim(bottom=0)
    bottom.grid(alpha=0.3)
    if len(layers) <= _NAMED:
        bottom.set_xticks(range(len(layers)), [f"{_short(w.tensor)} ({w.op})" for w in layers], rotation=60, ha="right", fontsize=7,
                          rotation_mode="anchor", parse_math=False)
    else:
        bottom.set_xlabel("node, in topological order")


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"..{name[-_LETTERS:]}"
