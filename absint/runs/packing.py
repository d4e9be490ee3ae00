"""The evidence pack of a run that is going on: a journal is kept in any case, and packed when the run ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absint.errors import UsageError

if TYPE_CHECKING:
    from absint.problem.dataset import Dataset


@dataclass(frozen=True)
class Packing:
    """path: of the pack.  copied: whether the model goes into it.  journal: of the run, a temporary one where none is asked for."""

    path: Path
    copied: bool
    journal: Path

    @staticmethod
    @contextmanager
    def of(options: Any) -> Iterator[Packing]:
        """What the options ask for. Raises UsageError E-USAGE for a choice that there is not."""
        if options.bundle_model not in ("copy", "hash"):
            raise UsageError("E-USAGE", f"no such choice: '{options.bundle_model}'", where="--bundle-model", hint="copy or hash")
        with tempfile.TemporaryDirectory(prefix="absint-") as folder:
            journal = Path(folder) / "journal.jsonl" if options.journal is None else Path(options.journal)
            yield Packing(Path(options.bundle), options.bundle_model == "copy", journal)

    def pack(self, data: Dataset | None) -> str:
        """Write it; returns a line that says so. data: the chosen inputs. The run has ended."""
        from absint.runs.packs import Pack

        return Pack(self.path, copied=self.copied).of([self.journal], data)
