"""One JSON document: {"header": ..., "instances": [...], "summary": ...}. Solvers' notes are in the summary, each once."""

from __future__ import annotations

import json
from typing import TextIO

from absint.reports.interface import Header, Report, Summary
from absint.reports.notes import split_notes
from absint.verdict import InstanceResult


class Json(Report):
    """Written at the end, instances in order of their index; a run that fails writes nothing."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.header: Header | None = None
        self.rows: list[InstanceResult] = []

    def begin(self, header: Header) -> None:
        """Kept."""
        self.header = header

    def row(self, result: InstanceResult) -> None:
        """Kept."""
        self.rows.append(result)

    def end(self, summary: Summary) -> None:
        """The document."""
        document = {
            "header": None if self.header is None else self.header.as_dict(),
            "instances": [{**row.as_dict(), "detail": split_notes(row.detail)[0]} for row in sorted(self.rows, key=lambda row: row.index)],
            "summary": summary.as_dict(),
        }
        self.stream.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        self.stream.flush()
