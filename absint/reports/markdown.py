"""Markdown: what a run adds up to, as the summary of a continuous integration or a comment shows it. Short, whatever the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from absint.contract.document import Document, Facts, Row, Table
from absint.contract.record import cell
from absint.errors import printable
from absint.reports.interface import KeptFormat
from absint.reports.rows import UNASKED, caveats, command_of, left_of, ordered, unasked

_FIRST = {"bad": 0, "open": 1}                      # what a reader looks for comes first
_SPECIAL = re.compile(r"[\\`*_\[\]|~$#<>&]")         # what Markdown, its tables, or HTML in it would take for more than a letter
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LETTERS = 300                                      # of a cell: a summary of GitHub holds 1 MiB


@dataclass(frozen=True)
class MarkdownOptions:
    """rows: of each table, the falsified and unknown ones first; 0 for all."""

    rows: int = 20


class Markdown(KeptFormat):
    """Written at the end: a title, what the run adds up to, the records that matter most, tables, notes.

    Whatever comes out of files is shown and never obeyed: no markup, no HTML, no end of a cell.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".md", ".markdown")
    Options: ClassVar[type[Any]] = MarkdownOptions

    def end(self, document: Document) -> None:
        """The page."""
        self.stream.write("\n".join(self._lines(document)) + "\n")
        self.stream.flush()

    def _lines(self, document: Document) -> Iterator[str]:
        model = self.heading.header.get("model")
        path = model.get("path") if isinstance(model, Mapping) else None
        yield f"### absint {_shown(command_of(self.heading.analysis))}" + (f": {_shown(str(path))}" if path else "")
        yield from self._problems(document)
        if document.lead:
            yield from ("", *(f"    {printable(line)}" for line in document.lead.splitlines()[:self.options.rows or None]))
        untitled = [item for section in document.sections if not section.title
                    for part in section.parts if isinstance(part, Facts) for item in part.items if item[1]]
        yield from _table(("", ""), untitled)
        yield from self._records()
        for section in document.sections:
            tables = [part for part in section.parts if isinstance(part, Table)]
            own = [part for part in section.parts if isinstance(part, Facts)] if section.title else []
            if section.title and (tables or own):
                yield from ("", f"#### {_shown(section.title)}")
            for table in tables:
                yield from self._some(table.columns, [[cell(value) for value in row] for row in table.rows])
            yield from _table(("", ""), [item for part in own for item in part.items])
        notes = dict.fromkeys(filter(None, (caveats(self.heading), *document.notes)))
        yield from ("", *(f"- {_shown(note)}" for note in notes)) if notes else ()

    def _problems(self, document: Document) -> Iterator[str]:
        """First of all: errors, and that this is not the whole run."""
        failures = document.values.get("failures") or ()
        said = [f"{one.get('code')}: {one.get('name')}: {one.get('what')}" for one in failures if isinstance(one, Mapping)]
        shown = said[:self.options.rows or None]
        said = shown if len(shown) == len(said) else [*shown, f"{len(said) - len(shown)} more errors"]
        if document.error is not None:
            said.append(f"{document.error.code}: {document.error.what}")
        left = left_of(document)
        if left:
            said.append(f"{left} items are not decided")
        if unasked(document):
            said.append(UNASKED)
        yield from ("", *(f"- **{_shown(text)}**" for text in said)) if said else ()

    def _records(self) -> Iterator[str]:
        """Those that are falsified or unknown first, each kind in the order of its index."""
        columns = [name for name in self.heading.shown if any(row.cells.get(name) for row in self.rows)]
        rows = sorted(ordered(self.rows), key=lambda row: _FIRST.get(row.tone, 2))
        if not columns or not rows:
            return
        shown = rows[:self.options.rows or None]
        yield from _table(columns, [[one.get(name, "") for name in columns] for row in shown for one in (row.cells, *row.more)])
        yield from self._left(rows[len(shown):])

    def _left(self, rows: Sequence[Row]) -> Iterator[str]:
        if rows:
            words = Counter(str(row.values.get("verdict") or "") for row in rows)
            by = ", ".join(f"{count} {_shown(word)}" for word, count in words.items() if word)
            yield from ("", f"{len(rows)} more" + (f": {by}" if by else ""))

    def _some(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
        shown = rows[:self.options.rows or None]
        yield from _table(columns, shown)
        if len(shown) < len(rows):
            yield from ("", f"{len(rows) - len(shown)} more")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table behind an empty line; nothing where it has no rows."""
    if rows:
        yield from ("", _row(columns), f"|{' --- |' * len(columns)}")
        yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_shown, cells))} |"


def _shown(text: str) -> str:
    """One line of plain letters."""
    line = " ".join(printable(text).encode("utf-8", "backslashreplace").decode().split())
    line = line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line)
