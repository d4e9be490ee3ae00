"""The journal of a run: one JSON line per decided instance, on disk before the next one starts.

The first line binds the file to model, data, property, domain and version. A line that a kill tore is dropped; nothing
else is ever removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from absint.errors import InputError, ResourceError
from absint.runs.output import claim
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

_MARK = "absint_journal"
_VERSION = 1


class Journal:
    """An open journal. done: what it held already, by index."""

    def __init__(self, path: Path, file: BinaryIO, done: Mapping[int, InstanceResult]) -> None:
        self.path, self.done = path, done
        self._file = file

    @staticmethod
    def open(path: Path, binding: Mapping[str, Any], *, resume: bool) -> Journal:
        """Start a journal, or continue one that is bound to the same run.

        Raises InputError E-JOURNAL-EXISTS (without resume), -FORMAT, -CORRUPT, -MISMATCH naming the fields that differ, -PATH.
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
            journal = Journal(path, file, _restore(content, binding, path))
            end = content.rfind(b"\n") + 1
            journal._cut(end)
            if not end:
                journal._write({_MARK: _VERSION, "binding": binding})
        except BaseException:
            file.close()
            raise
        return journal

    def append(self, result: InstanceResult) -> None:
        """One line, on disk when this returns. Raises ResourceError E-JOURNAL-WRITE."""
        self._write(result.as_dict())

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


def _restore(content: bytes, binding: Mapping[str, Any], path: Path) -> dict[int, InstanceResult]:
    """The results of all whole lines. Raises InputError where the journal is none, or another run's."""
    lines = content.split(b"\n")[:-1]
    if not lines:
        start = b'{"' + _MARK.encode()
        if not start.startswith(content[: len(start)]):
            raise _not_a_journal(path)
        return {}
    _check_binding(lines[0], binding, path)
    done: dict[int, InstanceResult] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            result = result_from(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} is damaged", where=str(path),
                             hint="remove that line, then --resume again") from error
        done[result.index] = result
    return done


def _check_binding(line: bytes, binding: Mapping[str, Any], path: Path) -> None:
    try:
        header = json.loads(line)
        known, version = header["binding"], header[_MARK]
        fields = {name: known.get(name) for name in {**known, **binding}}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _not_a_journal(path) from error
    if version != _VERSION:
        raise InputError("E-JOURNAL-MISMATCH", f"the journal has format {version}, this absint writes {_VERSION}", where=str(path))
    different = [f"{name}: journal {json.dumps(value)}, now {json.dumps(binding.get(name))}"
                 for name, value in fields.items() if value != binding.get(name)]
    if different:
        raise InputError("E-JOURNAL-MISMATCH", "the journal belongs to another run", where=str(path), details=different,
                         hint="repeat the command that began it, or give another --journal")


def _not_a_journal(path: Path) -> InputError:
    return InputError("E-JOURNAL-FORMAT", "this file is not a journal of absint", where=str(path), hint="give another name")


def result_from(row: Mapping[str, Any]) -> InstanceResult:
    """The result that `InstanceResult.as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""
    witness = row["witness"]
    return InstanceResult(
        int(row["index"]), Verdict(row["verdict"]), row["label"], row["predicted"],
        None if row["reason"] is None else Reason(row["reason"]), row["margin"], Assurance(row["assurance"]),
        row["eps"], row["domain"], float(row["time_s"]), row["detail"], None if witness is None else tuple(witness),
        row.get("stage"),
    )
