"""Numbers of both analyses as people and machines read them: ends of intervals rounded outward, worst classes, pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

from absint.analyses.global_robustness.asking import reach_of
from absint.analyses.global_robustness.counting import Count, worst
from absint.analyses.global_robustness.options import GlobalOptions
from absint.analyses.global_robustness.pairs import JudgedSet
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.document import Figure, Panel, Series, Table
from absint.numeric.decimal import exact_text, float_above, outward_text

_DIGITS = 5
Intervals = Mapping[tuple[int, str], tuple[float, float]]       # by place of the pair, and radius


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows for people: ends of intervals, and delta, to five decimals, rounded outward."""
    sides = {"low": -1, "high": 1, "delta": 1}
    columns = tuple(rows[0]) if rows else ()
    return Table(columns, tuple(tuple(rounded(row[name], sides[name]) if name in sides else row[name] for name in columns) for row in rows))


def rounded(value: float, side: int) -> str:
    """Five decimals, rounded down (-1) or up (1)."""
    exact = Fraction(value) * 10**_DIGITS
    return f"{(floor(exact) if side < 0 else ceil(exact)) / 10**_DIGITS:.{_DIGITS}f}"


def level_text(task: GlobalTask) -> str:
    """'99 %'."""
    return f"{exact_text(100 * (1 - task.miss))} %"


def reach_lines(task: GlobalTask, options: GlobalOptions) -> Iterator[tuple[str, str]]:
    """What holds at once, and what each interval may miss for that."""
    yield "level", f"{level_text(task)}, {reach_of(task, options)}"
    yield "each class", ", ".join(dict.fromkeys(
        f"its interval misses with probability {outward_text(task.rest(group), 1)} at most, one of "
        f"{len(group.pairs) * task.shares}" for group in task.groups))


def partial_text(task: GlobalTask) -> str:
    """What becomes of draws that were not decided."""
    counted = "each class is counted up to the first draw that is not decided"
    return counted if task.sequential else f"{counted}, all after it are unknown; --sequential says more of such a run"


def so_far(task: GlobalTask, counts: Iterable[tuple[str, JudgedSet, Count]]) -> Iterator[tuple[str, str]]:
    """Of a run of a fixed number of draws that ended early: what the first ones say whatever ended it, each row by its name."""
    for name, group, count in () if task.sequential else counts:
        if count.counted:
            low, high = count.interval(task.rest(group), sequential=True)
            yield "so far", f"{name}: [{rounded(low, -1)}, {rounded(high, 1)}] by a confidence sequence on its first {count.counted} draws"


def worst_rows(task: GlobalTask, intervals: Intervals, radii: Sequence[str]) -> list[dict[str, Any]]:
    """Of each classifier and set, at each radius: the interval of the least probability of its classes, and the class it may be.

    A property of every class holds with the least of their probabilities: delta is 1 less its lower end.
    """
    rows = []
    for group in task.groups:
        for eps in radii:
            mine = {pair.label: intervals[pair.place, eps] for pair in group.pairs}
            low, high = worst(list(mine.values()))
            row: dict[str, Any] = {"classifier": group.classifier, "set": group.number}
            row |= {"eps": eps} if eps else {}
            rows.append({**row, "class": min(mine, key=lambda label, mine=mine: mine[label]), "low": low, "high": high,  # type: ignore[misc]
                         "delta": float_above(1 - Fraction(low))})
    return rows


def interval_figure(name: str, title: str, task: GlobalTask, intervals: Intervals, radii: Sequence[str]) -> Figure:
    """Strokes from end to end: of each pair over radii, or of each pair beside the others."""
    if radii == ("",):
        pairs = task.pairs
        lows, highs = zip(*(intervals[pair.place, ""] for pair in pairs), strict=True)
        names = tuple(f"{pair.label} {pair.classifier}" for pair in pairs)
        series: tuple[Series, ...] = (Series("", tuple(map(float, range(len(pairs)))), lows, to=highs),)
        return Figure(name, title, (Panel(series, y_label="probability", names=names),))
    panels = []
    for group in task.groups:
        series = ()
        for colour, pair in enumerate(group.pairs):
            places = tuple(k + 0.05 * colour for k in range(len(radii)))
            lows, highs = zip(*(intervals[pair.place, eps] for eps in radii), strict=True)
            series += (Series(f"class {pair.label}", places, lows, to=highs, colour=colour),
                       Series(f"class {pair.label}, lower ends", places, lows, dashed=True, colour=colour),
                       Series(f"class {pair.label}, upper ends", places, highs, dashed=True, colour=colour))
        panels.append(Panel(series, f"{group.classifier}, set {group.number}", "radius", "probability", names=tuple(radii), legend=True,
                            y_limits=(0.0, 1.01)))
    return Figure(name, title, tuple(panels), (7.0, 4.0 * len(panels)))
