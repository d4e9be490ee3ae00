"""JSON lines: one object per instance, flushed as soon as it is decided, and nothing else."""

from __future__ import annotations

import json
from typing import ClassVar

from absint.reports.interface import Header, Report, Summary
from absint.verdict import InstanceResult


class JsonLines(Report):
    """One `InstanceResult.as_dict()` a line, in the order of decision."""

    streams: ClassVar[bool] = True

    def begin(self, header: Header) -> None:
        """Nothing: every line is an instance."""

    def row(self, result: InstanceResult) -> None:
        """One line, flushed."""
        self.stream.write(json.dumps(result.as_dict(), allow_nan=False) + "\n")
        self.stream.flush()

    def end(self, summary: Summary) -> None:
        """Nothing."""
