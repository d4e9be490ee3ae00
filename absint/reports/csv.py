"""Comma-separated values: the columns of the JSON lines, one row per instance, flushed as decided."""

from __future__ import annotations

import csv
import json
from typing import ClassVar, TextIO

from absint.reports.interface import Header, Report, Summary
from absint.verdict import InstanceResult, Verdict

COLUMNS = tuple(InstanceResult(0, Verdict.UNKNOWN).as_dict())


class Csv(Report):
    """A header line, then one row per instance; an absent value is an empty cell, a witness is a JSON list."""

    streams: ClassVar[bool] = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")

    def begin(self, header: Header) -> None:
        """The names of the columns."""
        self.writer.writeheader()
        self.stream.flush()

    def row(self, result: InstanceResult) -> None:
        """One row, flushed."""
        cells = result.as_dict()
        if cells["witness"] is not None:
            cells["witness"] = json.dumps(cells["witness"], allow_nan=False)
        self.writer.writerow(cells)
        self.stream.flush()

    def end(self, summary: Summary) -> None:
        """Nothing."""
