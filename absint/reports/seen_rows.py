"""Rows of a run of any length in bounded memory: what the columns add up to, and the rows that a reader looks at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from absint.contract.document import Heading, Row
from absint.contract.record import cell
from absint.reports.rows import ordered

TONES = ("bad", "open", "", "good")     # in the order of interest
MOST_ROWS = 1000
_MOST_LINES = 2000      # of all rows of one tone, besides the first of each
_MOST_WORDS = 12        # different values of a column that are counted one by one
_LETTERS = 120          # of a cell
_LARGEST = 1e300        # of numbers that are added up


@dataclass
class ColumnTotals:
    """What one column adds up to. Mutable: it grows row by row, and never beyond a dozen words.

    words: text, truth values and whole numbers, and how often; None once there are too many.  count, least, most, total: of its
    finite numbers; shown: least and most as people read them in their rows, where a claim is rounded to its safe side.
    """

    words: dict[str, int] | None = field(default_factory=dict)
    count: int = 0
    least: float = inf
    most: float = -inf
    total: float = 0.0
    shown: tuple[str, str] = ("", "")

    def add(self, value: Any, shown: str) -> None:
        """One more value, as people read it."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and -_LARGEST < value < _LARGEST:     # never NaN, and nothing that float overflows at
            self.count, self.total = self.count + 1, self.total + value
            low, high = self.shown
            self.shown = (shown if value < self.least else low), (shown if value > self.most else high)
            self.least, self.most = min(self.least, value), max(self.most, value)
        if self.words is not None and isinstance(value, (str, int)):
            if len(shown) > _LETTERS or (shown not in self.words and len(self.words) == _MOST_WORDS):
                self.words = None
            else:
                self.words[shown] = self.words.get(shown, 0) + 1

    @property
    def counts(self) -> dict[str, int]:
        """Word -> how often, where the column has few."""
        return self.words or {}


class SeenRows:
    """All rows as counts, and the worst of them: bad ones first, then open ones, each in the order in which they came."""

    def __init__(self, heading: Heading, most: int = MOST_ROWS) -> None:
        self.heading, self.most = heading, most
        self.count = 0
        self.tones = dict.fromkeys(TONES, 0)
        self.words: dict[tuple[str, str], int] = {}     # (tone, word) -> rows; the words of a dozen
        self._room = dict.fromkeys(TONES, _MOST_LINES)
        self.columns = {name: ColumnTotals() for name in heading.columns}
        self._first: dict[str, list[Row]] = {tone: [] for tone in TONES}

    def add(self, row: Row) -> None:
        """Counted; kept where fewer than `most` of its tone are."""
        tone = row.tone if row.tone in self.tones else ""
        self.count += 1
        self.tones[tone] += 1
        said = (tone, row.word if len(self.words) < _MOST_WORDS or (tone, row.word) in self.words else "")
        self.words[said] = self.words.get(said, 0) + 1
        for name, column in self.columns.items():
            value = row.values.get(name)
            if value is not None:
                column.add(value, row.cells[name] if name in row.cells else cell(value))
        if len(self._first[tone]) < self.most:
            kept = _short(row, tone, self._room[tone])
            self._room[tone] -= len(kept.more)
            self._first[tone].append(kept)

    def kept(self) -> list[Row]:
        """At most `most`: in the order of their index where they are all there are, else the worst first."""
        worst = [row for tone in TONES for row in self._first[tone]][: self.most]
        return worst if self.count > len(worst) else ordered(worst)


def _short(row: Row, tone: str, room: int) -> Row:
    """What is kept of a row: cells of a few letters, the lines that there is room for, and the index that it is ordered by."""
    index = row.values.get("index")
    more = tuple({name: _cut(text) for name, text in line.items()} for line in row.more[: max(room, 0)])
    left = len(row.more) - len(more)
    if left:
        first = next(iter(row.more[0]), "")
        more = (*more, {first: f"... {left} more lines"})
    return Row({"index": index}, dict(_cells(row)), tone, more)


def _cells(row: Row) -> Iterator[tuple[str, str]]:
    values: Mapping[str, Any] = row.values
    for name in {**row.cells, **values}:
        value = values.get(name)
        text = row.cells.get(name, "" if value is None else str(value))
        if isinstance(value, (list, tuple)) and len(text) > _LETTERS:
            yield name, f"{len(value)} values"
        else:
            yield name, _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} ..."
