"""For people: a line for every record the moment it is decided, then the document; colours on a terminal, plain ASCII elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from absint.contract.document import Document, Facts, Heading, Row, Section, Table
from absint.contract.record import cell
from absint.reports.interface import Format
from absint.reports.terminal import is_plain, one_line, print_line, print_table

_MOST_NOTES = 5
_STYLES: Mapping[str, str] = {"good": "green", "bad": "red", "open": "yellow"}


class Text(Format):
    """Rows in columns of fixed widths, each line flushed; a longer cell pushes the others on and is never cut.

    A lead, which a standard prescribes, is all that is written where there is one. Details and pictures are left out.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    streams: ClassVar[bool] = True

    def __init__(self, stream: Any, suffix: str = "") -> None:
        super().__init__(stream, suffix)
        self.plain = is_plain(stream)
        self._widths: dict[str, int] = {}
        self._last = ""  # what was written last: rows, title, table, facts, or the facts of a titled section

    def begin(self, heading: Heading) -> None:
        """The names of the columns; nothing where a standard prescribes the first line."""
        if heading.lead or not heading.shown:
            return
        self._widths = {name: max(width, len(name)) for name, width in heading.shown.items()}
        self._row({name: name for name in self._widths}, "bold")
        self._last = "rows"

    def row(self, row: Row) -> None:
        """Its lines."""
        if self._widths:
            for cells in (row.cells, *row.more):
                self._row(cells, _STYLES.get(row.tone, ""))

    def _row(self, cells: Mapping[str, str], style: str) -> None:
        line = "  ".join(f"{one_line(cells.get(name, '')):<{width}}" for name, width in self._widths.items())
        print_line(self.stream, line.rstrip(), style, plain=self.plain)

    def end(self, document: Document) -> None:
        """The lead alone, or the sections and notes."""
        if document.lead:
            self.stream.write(document.lead if document.lead.endswith("\n") else f"{document.lead}\n")
        else:
            notes = [("note", note) for note in _few(document.notes)]
            sections = [section for section in document.sections if not section.detail]
            names = [name for section in sections for part in section.parts if isinstance(part, Facts) for name, _ in part.items]
            width = max((len(one_line(name)) for name in (*names, *(name for name, _ in notes))), default=0)
            for section in sections:
                self._section(section, width)
            self._facts(notes, width)
        self.stream.flush()

    def _section(self, section: Section, width: int) -> None:
        if section.title:
            self._start("title")
            print_line(self.stream, one_line(section.title), "bold", plain=self.plain)
        for part in section.parts:
            if isinstance(part, Table):
                self._start("table")
                rows = [[cell(value) for value in row] for row in part.rows]
                print_table(self.stream, part.columns, rows, [_STYLES.get(tone, "") for tone in part.tones], plain=self.plain)
            elif isinstance(part, Facts):
                self._facts(part.items, width)
        if section.title and self._last == "facts":
            self._last = "titled facts"

    def _facts(self, items: Sequence[tuple[str, str]], width: int) -> None:
        if items:
            self._start("facts")
        for name, value in items:
            self.stream.write(f"{one_line(name):<{width}}  {one_line(value)}".rstrip() + "\n")

    def _start(self, part: str) -> None:
        """An empty line where the part would run into what stands above it; tables end in one."""
        if self._last in ("rows", "titled facts") or (self._last == "facts" and part != "facts"):
            self.stream.write("\n")
        self._last = part


def _few(notes: Iterable[str]) -> list[str]:
    """Each once; the first ones where there are many, and where they all are."""
    found = list(dict.fromkeys(notes))
    more = len(found) - _MOST_NOTES
    return found if more <= 0 else [*found[:_MOST_NOTES], f"{more} others; --format json has them all"]
