"""`log.csv`: the records of a run as a table that spreadsheets and pandas read, one row an epoch, on disk when the epoch is over."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any, TextIO, get_args, get_type_hints

from absint.analyses.train.record import EpochRecord
from absint.contract.record import record_of, row_of
from absint.contract.whole_files import unwritten, write_whole
from absint.errors import InputError

COLUMNS: tuple[str, ...] = tuple(one.name for one in fields(EpochRecord))


class EpochLog:
    """An open log. It begins as the records that there are say, whatever a killed run left in the file: no row twice, none by half."""

    def __init__(self, path: Path, records: Sequence[EpochRecord] = ()) -> None:
        """Raises ResourceError E-OUT-WRITE."""
        self.path = path
        write_whole(path, text_of(records).encode())
        try:
            self._file: TextIO = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise unwritten(path, error) from error

    def append(self, record: EpochRecord) -> None:
        """One row, on disk when this returns. Raises ResourceError E-OUT-WRITE."""
        try:
            self._file.write(_line(_cells(record)))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritten(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EpochLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def text_of(records: Iterable[EpochRecord]) -> str:
    """The whole table: the names of the columns, then a row each. Empty where nothing was measured; numbers read back exactly."""
    return "".join(map(_line, (COLUMNS, *map(_cells, records))))


def read_log(path: Path) -> tuple[EpochRecord, ...]:
    """The records of a log; a last row without its line end, which a kill tore, is left out. Raises InputError E-LOG-READ, E-LOG-FORMAT."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise InputError("E-LOG-READ", f"cannot be read: {error.strerror}", where=str(path), hint="give the log.csv of a run") from error
    except UnicodeDecodeError as error:
        raise InputError("E-LOG-FORMAT", "is no text", where=str(path), hint="give the log.csv of a run") from error
    rows = list(csv.reader(StringIO(text[: text.rfind("\n") + 1])))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise InputError("E-LOG-FORMAT", "has other columns than a log of training", where=str(path),
                         details=[f"expected: {','.join(COLUMNS)}"], hint="give the log.csv of a run by this version")
    found = []
    for number, row in enumerate(rows[1:], 2):
        try:
            found.append(record_of(EpochRecord, _values(dict(zip(COLUMNS, row, strict=True)))))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("E-LOG-FORMAT", f"line {number} is no record: {error}", where=str(path),
                             hint="a resumed run writes the log anew from its journal") from error
    return tuple(found)


def _cells(record: EpochRecord) -> list[str]:
    return ["" if value is None else str(value) for value in row_of(record).values()]


def _line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\n"   # numbers and the names of phases: nothing to quote


def _values(row: Mapping[str, str]) -> dict[str, Any]:
    hints = get_type_hints(EpochRecord)
    return {name: _value(hints[name], text) for name, text in row.items()}


def _value(hint: Any, text: str) -> Any:
    if not text:
        return None
    if hint is int:
        return int(text)
    if hint is float or float in get_args(hint):
        value = float(text)
        return value if isfinite(value) else str(value)     # as records are written
    return text
