"""Rows that a format writes at the end, in order: in memory while they are few, then in a temporary database on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from absint.contract.document import Row
from absint.reports.rows import dumps, place_of

_MOST = 1 << 24         # characters that are kept in memory
_TABLE = ("CREATE TABLE spool (missing INTEGER, place INTEGER, number INTEGER, text TEXT, "
          "PRIMARY KEY (missing, place, number)) WITHOUT ROWID")


class RowSpool:
    """The values of rows as JSON text, given back in the order of their index, rows of one index as they came."""

    def __init__(self) -> None:
        self._kept: list[tuple[bool, int, int, str]] = []
        self._database: sqlite3.Connection | None = None
        self._size = self._number = 0

    def add(self, row: Row) -> None:
        """One row."""
        missing, place = place_of(row)
        if not -1 << 63 <= place < 1 << 63:     # no index of a run, and no number of the database
            missing, place = True, 0
        text = dumps(row.values)
        self._kept.append((missing, place, self._number, text))
        self._number += 1
        self._size += len(text)
        if self._size > _MOST:
            self._spill()

    def _spill(self) -> None:
        if self._database is None:
            self._database = sqlite3.connect("")    # on disk, gone with the connection
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute(_TABLE)
        self._database.executemany("INSERT INTO spool VALUES (?, ?, ?, ?)", self._kept)
        self._kept, self._size = [], 0

    def texts(self) -> Iterator[str]:
        """All of them, once; what was kept on disk is gone then."""
        if self._database is None:
            for *_, text in sorted(self._kept, key=lambda one: one[:3]):
                yield text
            return
        self._spill()
        try:
            for (text,) in self._database.execute("SELECT text FROM spool ORDER BY missing, place, number"):
                yield text
        finally:
            self._database.close()
