"""Comma-separated values: the columns of the records, one row for each, flushed as decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from absint.contract.document import Document, Heading, Row
from absint.reports.interface import Format
from absint.reports.rows import alone, dumps

_ENTRY = "entry"
_QUOTED = frozenset(',"\r\n')


class Csv(Format):
    """A header line, then one row for each record; an absent value is an empty cell, lists and mappings are JSON, but for
    lists of words, which are joined. RFC 4180 quoting.

    Columns that run along each other (`Heading.running`) have a row for each of their entries instead, counted by "entry".
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    streams: ClassVar[bool] = True

    def begin(self, heading: Heading) -> None:
        """The names of the columns."""
        self.more, self.running = alone(heading), heading.running
        first = next((place for place, name in enumerate(heading.columns) if name in self.running), len(heading.columns))
        entry = (_ENTRY,) if self.running else ()
        self.columns = (*heading.columns[:first], *entry, *heading.columns[first:], *self.more)
        if self.columns:
            self._write(self.columns)

    def row(self, row: Row) -> None:
        """One row, or one for each entry; flushed."""
        if self.columns:
            values = {**row.values, **self.more}
            for along in self._entries(values) if self.running else ({},):
                self._write(_text({**values, **along}.get(name)) for name in self.columns)

    def _entries(self, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The entries of the columns that run along each other; one that is absent is absent everywhere."""
        lists = {name: values.get(name) or () for name in self.running}
        for place in range(max(len(items) for items in lists.values())):
            yield {_ENTRY: place, **{name: items[place] if place < len(items) else None for name, items in lists.items()}}

    def _write(self, cells: Iterable[str]) -> None:
        """The csv module leaves a lone carriage return unquoted, which readers take for the end of the row."""
        line = ",".join('"' + text.replace('"', '""') + '"' if _QUOTED.intersection(text) else text for text in cells)
        self.stream.write((line or '""') + "\n")
        self.stream.flush()

    def end(self, document: Document) -> None:
        """Nothing."""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return "; ".join(value)
    return dumps(value) if isinstance(value, (list, tuple, Mapping)) else str(value)
