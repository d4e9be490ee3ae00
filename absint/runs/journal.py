"""The journal of a run: one JSON line per decided item, on disk before the next one is shown.

The first line binds the file to analysis, model, data, options, domain and version, and says what a report needs to know of the run.
Each end of a run, an interrupt's too, appends what the run said at its end, so that it can be shown again without repeating it.
A line that a kill tore is dropped; nothing else is ever removed.

    {"absint_journal": 3, "binding": {...}, "run": {...}}       once; "run" as `Opening` has it
    {"absint_run": {...}}                                       a resumed run that was asked for other items
    {"index": 7, ...}                                           a record
    {"absint_unkept": {"index": 8, ...}}                        shown at the end that follows, and tried again by --resume
    {"absint_end": {"records": 7, "asked": [[0, 8]], "document": {...}}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from absint.contract.document import Document
from absint.contract.record import record_of, row_of
from absint.contract.stored import encoded
from absint.errors import InputError, ResourceError
from absint.runs.opening import Opening
from absint.runs.output import claim

MARK, RUN, UNKEPT, END = "absint_journal", "absint_run", "absint_unkept", "absint_end"
VERSION = 3
SPECIAL = b'{"absint_'          # how lines begin that are no records
# What a line that nothing of ours wrote may raise while it is read: too deep, too large a number, a format of arrays that numpy's
# parser trips on.
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError, SyntaxError)
_MOST_ARRAYS = 1 << 26          # bytes of a document's arrays that are kept
_NO_ARRAYS = "the journal keeps no arrays of more than 64 MiB: --out FILE.npz of the run itself has them"


class Journal:
    """An open journal. done: the records it held already, by index."""

    def __init__(self, path: Path, file: BinaryIO, done: Mapping[int, Any], binding: Mapping[str, Any]) -> None:
        self.path, self.done = path, done
        self._file, self._binding = file, binding
        self._last: Opening | None = None       # as the file has it
        self._kept = set(done)

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
            done, last = _restore(content, kind, binding, path)
            journal = Journal(path, file, done, binding)
            journal._last = last
            journal._cut(content.rfind(b"\n") + 1)
        except BaseException:
            file.close()
            raise
        return journal

    def begin(self, opening: Opening) -> None:
        """What the run is asked for: the first line, or another one where that changed. Before any record."""
        if self._last is None:
            self._write({MARK: VERSION, "binding": self._binding, "run": opening.as_dict()})
        elif not opening.asks_as(self._last):
            self._write({RUN: opening.as_dict()})
        self._last = opening

    def append(self, record: Any) -> None:
        """One line, on disk when this returns. Raises ResourceError E-JOURNAL-WRITE."""
        self._write(row_of(record))
        self._kept.add(int(record.index))

    def end(self, document: Document, records: Iterable[Any]) -> None:
        """What the run says at its end, and of its records those that the journal leaves to be tried again."""
        assert self._last is not None, "a journal begins before it ends"
        asked = self._last.asked
        for record in records:
            if record.index not in self._kept:
                self._write({UNKEPT: row_of(record)})
        if sum(getattr(array, "nbytes", 0) for array in document.arrays.values()) > _MOST_ARRAYS:
            document = replace(document, arrays={}, notes=(*document.notes, _NO_ARRAYS))
        count = sum(index in asked for index in self._kept)
        self._write({END: {"records": count, "asked": [list(pair) for pair in asked.pairs], "document": encoded(document)}})

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


def _restore(content: bytes, kind: type, binding: Mapping[str, Any], path: Path) -> tuple[dict[int, Any], Opening | None]:
    """The records of all whole lines, and what was asked last. Raises InputError where the journal is none, or another run's."""
    lines = content.split(b"\n")[:-1]
    if not lines:
        start = b'{"' + MARK.encode()
        if not start.startswith(content[: len(start)]):
            raise not_a_journal(path)
        return {}, None
    last = _check_binding(lines[0], binding, path)
    done: dict[int, Any] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            row = json.loads(line)
            if line.startswith(SPECIAL):
                last = Opening.from_dict(row[RUN]) if RUN in row else last
                continue
            record: Any = record_of(kind, row)
        except DAMAGED as error:
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} is damaged", where=str(path),
                             hint="remove that line, then --resume again") from error
        if row_of(done.get(record.index, record)) != row_of(record):
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} says another thing of item {record.index} than a line before",
                             where=str(path), hint="remove the line that is wrong, then --resume again")
        done[int(record.index)] = record
    return done, last


def first_line(line: bytes, path: Path) -> tuple[dict[str, Any], int, Any]:
    """Binding, format, and what is said of the run. Raises InputError E-JOURNAL-FORMAT."""
    try:
        header = json.loads(line)
        known, version = header["binding"], header[MARK]
        return dict(known), int(version), header.get("run")
    except DAMAGED as error:
        raise not_a_journal(path) from error


def release(binding: Mapping[str, Any]) -> str:
    """' (0.1.0)': the absint that a journal is bound to, for messages; nothing where it does not say."""
    return f" ({binding['absint']})" if isinstance(binding.get("absint"), str) else ""


def _check_binding(line: bytes, binding: Mapping[str, Any], path: Path) -> Opening:
    known, version, run = first_line(line, path)
    if version != VERSION:
        raise InputError("E-JOURNAL-MISMATCH", f"the journal has format {version}, this absint writes {VERSION}", where=str(path),
                         hint=f"finish that run with the absint that began it{release(known)}, or give another --journal")
    fields = {name: known.get(name) for name in {**known, **binding}}
    different = [f"{name}: journal {json.dumps(value)}, now {json.dumps(binding.get(name))}"
                 for name, value in fields.items() if value != binding.get(name)]
    if different:
        raise InputError("E-JOURNAL-MISMATCH", "the journal belongs to another run", where=str(path), details=different,
                         hint="repeat the command that began it, or give another --journal")
    try:
        return Opening.from_dict(run)
    except DAMAGED as error:
        raise not_a_journal(path) from error


def not_a_journal(path: Path) -> InputError:
    """A file that nothing of ours wrote, or that was changed."""
    return InputError("E-JOURNAL-FORMAT", "this file is not a journal of absint", where=str(path), hint=_journal_hint(path))


def _journal_hint(path: Path) -> str:
    """What to do about a file that is no journal: a pack holds one, and has a command of its own."""
    if path.suffix.lower() == ".zip":
        return f"a pack is looked through by absint report --check {path}"
    return "name the file that --journal wrote, or one that is not there yet"
