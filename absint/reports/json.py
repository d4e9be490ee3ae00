"""One JSON document: {"schema", "header", values of the analysis, "summary", records, "tables", "notes"}."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from absint.contract.document import Document, Heading, Row, Table
from absint.reports.interface import Format
from absint.reports.rows import NOTES, dumps
from absint.reports.spool import RowSpool

_VERSION = 2
_ROWS = "\0rows\0"     # where the rows go
_DEPTH = 3          # mappings in mappings that have a line for each name


class Json(Format):
    """Written at the end, records in the order of their index; a run that fails writes nothing. One record a line, and never all of
    them in memory.

    "tables" has what only sections say, by name, a mapping a row.  "values" has what an analysis names like one of the document's own
    keys.  No NaN and no infinity is written as a number: they are text.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def __init__(self, stream: Any, suffix: str = "") -> None:
        super().__init__(stream, suffix)
        self.rows = RowSpool()

    def begin(self, heading: Heading) -> None:
        """Kept."""
        self.heading = heading

    def row(self, row: Row) -> None:
        """Kept."""
        if self.heading.records:
            self.rows.add(row)

    def end(self, document: Document) -> None:
        """The document."""
        before, _, after = _laid(whole_of(self.heading, _ROWS, document)).partition(dumps(_ROWS))
        self.stream.write(before)
        if self.heading.records:
            self._write_rows(_said(document))
        self.stream.write(f"{after}\n")
        self.stream.flush()

    def _write_rows(self, said: set[str]) -> None:
        """One a line, as `_laid` has tables of this depth."""
        start = "["
        for text in self._texts(said):
            self.stream.write(f"{start}\n  {text}")
            start = ","
        self.stream.write("[]" if start == "[" else "\n ]")

    def _texts(self, said: set[str]) -> Iterator[str]:
        for text in self.rows.texts():
            yield dumps(_short(json.loads(text), said)) if f'"{NOTES}"' in text else text


def whole_of(heading: Heading, rows: Any, document: Document) -> dict[str, Any]:
    """A document as one mapping, with `rows` where the rows are."""
    tables = _tables(document)
    after: dict[str, Any] = {"summary": document.summary}
    if heading.records:
        after[heading.records] = rows
    if tables:
        after["tables"] = tables
    if document.notes or NOTES not in document.values:
        after[NOTES] = list(dict.fromkeys(document.notes))
    before = {"schema": f"absint-{heading.analysis}/{_VERSION}", "header": heading.header}
    taken = {name: value for name, value in document.values.items() if name in before or name in after}
    own = {name: value for name, value in document.values.items() if name not in taken}
    return {**before, **own, **({"values": taken} if taken else {}), **after}


def _said(document: Document) -> set[str]:
    """Notes that the document itself says once: text, or {"note": text, "instances": those it was reported with}."""
    listed = [entry for place in (document.summary, document.values) for entry in place.get(NOTES) or ()]
    return {*document.notes, *(entry["note"] for entry in listed if isinstance(entry, Mapping) and isinstance(entry.get("note"), str))}


def _short(values: Mapping[str, Any], said: set[str]) -> Mapping[str, Any]:
    """A row without notes that are all said elsewhere; a row that stands alone has them."""
    notes = values.get(NOTES)
    if not isinstance(notes, list) or not said.issuperset(note for note in notes if isinstance(note, str)):
        return values
    return {name: value for name, value in values.items() if name != NOTES}


def _tables(document: Document) -> dict[str, list[dict[str, Any]]]:
    """The named tables of all sections; those of one name below each other."""
    found: dict[str, list[dict[str, Any]]] = {}
    parts = (part for section in document.sections for part in section.parts)
    for table in (part for part in parts if isinstance(part, Table) and part.name):
        found.setdefault(table.name, []).extend(dict(zip(table.columns, row, strict=False)) for row in table.rows)
    return found


def _laid(value: Any, depth: int = 0) -> str:
    """Names one a line, rows of tables one a line, numbers packed: for people who look into it, and small."""
    start = f"\n{' ' * (depth + 1)}"
    if isinstance(value, Mapping) and value and depth < _DEPTH:
        inner = (f"{dumps(str(name))}: {_laid(item, depth + 1)}" for name, item in value.items())
        return f"{{{start}{f',{start}'.join(inner)}{start[:-1]}}}"
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return f"[{start}{f',{start}'.join(map(dumps, value))}{start[:-1]}]"
    return dumps(value)
