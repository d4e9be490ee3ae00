"""JSON lines: one object for every record, flushed as soon as it is decided, and nothing else."""

from __future__ import annotations

from typing import ClassVar

from absint.contract.document import Document, Heading, Row
from absint.reports.interface import Format
from absint.reports.rows import alone, dumps


class JsonLines(Format):
    """The values of a record a line, in the order of decision; each says by itself what is to be known of the model."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    streams: ClassVar[bool] = True

    def begin(self, heading: Heading) -> None:
        """Nothing: every line is a record."""
        self.more = alone(heading)

    def row(self, row: Row) -> None:
        """One line, flushed."""
        self.stream.write(dumps({**row.values, **self.more}) + "\n")
        self.stream.flush()

    def end(self, document: Document) -> None:
        """Nothing."""
