"""The journal of a run: one JSON line per decided item, on disk before the next one is shown.

The first line binds the file to analysis, model, data, options, domain and version. A line that a kill tore is dropped;
nothing else is ever removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from absint.contract.record import record_of, row_of
from absint.errors import InputError, ResourceError
from absint.runs.output import claim

_MARK = "absint_journal"
_VERSION = 2


class Journal:
    """An open journal. done: the records it held already, by index."""

    def __init__(self, path: Path, file: BinaryIO, done: Mapping[int, Any]) -> None:
        self.path, self.done = path, done
        self._file = file

    @staticmethod
    def open(path: Path, kind: type, binding: Mapping[str, Any], *, resume: bool) -> Journal:
        """Start a journal of records of a kind, or continue one that is bound to the same run.

        Raises InputError E-JOURNAL-EXISTS (without resume), -FORMAT, -CORRUPT, -MISMATCH naming the fields that differ, -PATH, -BUSY.
        """
        binding = json.loads(json.dumps(binding))
        if path.exists() and not path.is_file():  # a device may have no end
            raise InputError("E-JOURNAL-PATH", "is no regular file", where=str(path), hint="give --journal a file of its own")
        try:
            file = path.open("r+b" if path.exists() else "w+b")
            content = file.read()
        except OSError as error:
            raise InputError("E-JOURNAL-PATH", f"cannot be opened: {error.strerror}", where=str(path),
                             hint="give --journal a file in a folder you may write") from error
        try:
            claim(file, InputError("E-JOURNAL-BUSY", "another run is writing this journal", where=str(path),
                                   hint="wait for it, or give another name"))
            if content and not resume:
                raise InputError("E-JOURNAL-EXISTS", "the journal exists already", where=str(path),
                                 hint="add --resume to continue it, or give another name")
            journal = Journal(path, file, _restore(content, kind, binding, path))
            end = content.rfind(b"\n") + 1
            journal._cut(end)
            if not end:
                journal._write({_MARK: _VERSION, "binding": binding})
        except BaseException:
            file.close()
            raise
        return journal

    def append(self, record: Any) -> None:
        """One line, on disk when this returns. Raises ResourceError E-JOURNAL-WRITE."""
        self._write(row_of(record))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self, end: int) -> None:
        self._file.truncate(end)
        self._file.seek(end)

    def _write(self, row: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ResourceError("E-JOURNAL-WRITE", f"cannot be written: {error.strerror}", where=str(self.path),
                                hint="free some space, then run again with --resume") from error


def _restore(content: bytes, kind: type, binding: Mapping[str, Any], path: Path) -> dict[int, Any]:
    """The records of all whole lines. Raises InputError where the journal is none, or another run's."""
    lines = content.split(b"\n")[:-1]
    if not lines:
        start = b'{"' + _MARK.encode()
        if not start.startswith(content[: len(start)]):
            raise _not_a_journal(path)
        return {}
    _check_binding(lines[0], binding, path)
    done: dict[int, Any] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            record: Any = record_of(kind, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} is damaged", where=str(path),
                             hint="remove that line, then --resume again") from error
        if row_of(done.get(record.index, record)) != row_of(record):
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} says another thing of item {record.index} than a line before",
                             where=str(path), hint="remove the line that is wrong, then --resume again")
        done[int(record.index)] = record
    return done


def _check_binding(line: bytes, binding: Mapping[str, Any], path: Path) -> None:
    try:
        header = json.loads(line)
        known, version = header["binding"], header[_MARK]
        fields = {name: known.get(name) for name in {**known, **binding}}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _not_a_journal(path) from error
    if version != _VERSION:
        raise InputError("E-JOURNAL-MISMATCH", f"the journal has format {version}, this absint writes {_VERSION}", where=str(path),
                         hint="finish that run with the absint that began it, or give another --journal")
    different = [f"{name}: journal {json.dumps(value)}, now {json.dumps(binding.get(name))}"
                 for name, value in fields.items() if value != binding.get(name)]
    if different:
        raise InputError("E-JOURNAL-MISMATCH", "the journal belongs to another run", where=str(path), details=different,
                         hint="repeat the command that began it, or give another --journal")


def _not_a_journal(path: Path) -> InputError:
    return InputError("E-JOURNAL-FORMAT", "this file is not a journal of absint", where=str(path), hint="give another name")
