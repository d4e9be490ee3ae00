"""Journals read to be shown or joined, not continued: of one run, in memory that does not grow with their records.

Each line is read and checked once; where it lies is kept by its index in a temporary database on disk. Records come back in the order
of their index.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from absint.contract.analysis import ANALYSES, Analysis, analysis_of
from absint.contract.document import Document
from absint.contract.record import columns_of, record_of, row_of
from absint.contract.spans import Spans
from absint.contract.stored import decoded
from absint.errors import InputError
from absint.runs.journal import DAMAGED, END, MARK, RUN, SPECIAL, UNKEPT, VERSION, first_line, not_a_journal, release
from absint.runs.opening import Opening, spans_from
from absint.runs.output import in_use

_OLDEST = 2                     # the format whose first line says nothing of the run
_MOST_INDEX = 1 << 62           # beyond it, it is no index, and no number of the database
_LONGEST = 1 << 29              # bytes of a line: beyond, it is no journal
_TIMES = ("time_s", "seconds")  # columns that two machines never agree on, besides those of the unit s
_TABLE = "CREATE TABLE items (number INTEGER PRIMARY KEY, file INTEGER, place INTEGER, line INTEGER, digest BLOB)"


@dataclass
class JournalSource:
    """One journal, as it was read. records: of its own, each index once.  torn: whether a last line without an end was dropped.

    opening: None of format 2.  asked: of all its runs.  end: where the last end lies, (place, line), None where no end says all.
    unkept: where lines lie that the last end shows besides.  busy: whether a run is still writing it.
    """

    path: Path
    file: BinaryIO
    binding: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION
    opening: Opening | None = None
    asked: Spans = field(default_factory=Spans)
    records: int = 0
    sha256: str = ""
    torn: bool = False
    busy: bool = False
    end: tuple[int, int] | None = None
    unkept: list[int] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        """As a report names it."""
        return {"path": str(self.path), "sha256": self.sha256, "records": self.records, "torn_line": self.torn}


class Gathered:
    """Journals of one run. A context: their files are open inside.

    Raises InputError E-JOURNAL-PATH, -FORMAT, -EMPTY, -CORRUPT with the number of the line, -MISMATCH where one is of another run (the
    fields that differ), -CONFLICT where they answer an item differently, -ANALYSIS where no plug-in knows what they are records of.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stack = ExitStack()
        self.sources: list[JournalSource] = []
        self._database = sqlite3.connect("")    # on disk, gone with the connection
        self._stack.callback(self._database.close)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_TABLE)
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    # ---- what they say ---------------------------------------------------------------------------------------------

    @property
    def analysis(self) -> Analysis[Any, Any]:
        """Whose records they are."""
        return self._analysis

    @property
    def binding(self) -> Mapping[str, Any]:
        """Of all of them."""
        return self.sources[0].binding

    @property
    def opening(self) -> Opening | None:
        """Of the last run of the first journal that has one."""
        return next((one.opening for one in self.sources if one.opening is not None), None)

    @property
    def asked(self) -> Spans | None:
        """The items of all of them; None where a journal does not say."""
        if any(one.opening is None for one in self.sources):
            return None
        return Spans.joined(pair for one in self.sources for pair in one.asked.pairs)

    @property
    def count(self) -> int:
        """Records, each index once."""
        return int(self._database.execute("SELECT COUNT(*) FROM items").fetchone()[0])

    def indices(self) -> Iterator[int]:
        """Of the records, ascending."""
        for (number,) in self._database.execute("SELECT number FROM items ORDER BY number"):
            yield int(number)

    def lines(self) -> Iterator[bytes]:
        """The records as they stand there, by index."""
        for file, place in self._database.execute("SELECT file, place FROM items ORDER BY number"):
            yield self._line(file, place)

    def records(self) -> Iterator[Any]:
        """The records, by index."""
        kind = self._analysis.Record
        for line in self.lines():
            yield record_of(kind, json.loads(line))

    def ended(self) -> tuple[Document, list[Any]] | None:
        """What the run said at its end, and the records that it showed besides; None where no end speaks of all that is there."""
        source = self.sources[0]
        if len(self.sources) > 1 or source.end is None:
            return None
        place, number = source.end
        try:
            document = decoded(Document, json.loads(self._line(0, place))[END]["document"])
            more = list(self._unkept(source))
        except DAMAGED as error:
            raise _damaged(source.path, number) from error
        return document, more

    def _unkept(self, source: JournalSource) -> Iterator[Any]:
        """Each item's once, the last that was said of it, and none of an item that has a record: a kill may lie between them and an end."""
        found: dict[int, Any] = {}
        for place in source.unkept:
            record = record_of(self._analysis.Record, json.loads(self._line(0, place))[UNKEPT])
            if record.index not in source.asked:
                raise ValueError(f"item {record.index} was not asked for")
            found[int(record.index)] = record
        for index, record in found.items():
            if self._database.execute("SELECT 1 FROM items WHERE number = ?", (index,)).fetchone() is None:
                yield record

    def _line(self, file: int, place: int) -> bytes:
        stream = self.sources[file].file
        stream.seek(place)
        return stream.readline()

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _add(self, path: Path) -> None:
        source = JournalSource(path, self._opened(path))
        source.busy = in_use(source.file)
        self.sources.append(source)
        reading = _Reading(source)
        for place, number, line in reading.lines():
            if number == 1:
                self._begin(source, line)
            elif line.startswith(SPECIAL):
                reading.special(place, number, line)
            else:
                self._record(source, place, number, line)
                source.end, source.unkept = None, []
        if not source.binding:
            raise InputError("E-JOURNAL-EMPTY", "no run has begun in this journal", where=str(path), hint="leave it out")
        reading.check_end()

    def _opened(self, path: Path) -> BinaryIO:
        if path.exists() and not path.is_file():
            raise InputError("E-JOURNAL-PATH", "is no regular file", where=str(path), hint="give a file that --journal wrote")
        try:
            return self._stack.enter_context(path.open("rb"))
        except OSError as error:
            raise InputError("E-JOURNAL-PATH", f"cannot be opened: {error.strerror}", where=str(path),
                             hint="check the path of the journal") from error

    def _begin(self, source: JournalSource, line: bytes) -> None:
        source.binding, source.version, run = first_line(line, source.path)
        if source.version not in range(_OLDEST, VERSION + 1):
            raise InputError("E-JOURNAL-MISMATCH", f"the journal has format {source.version}, this absint reads {_OLDEST} to {VERSION}",
                             where=str(source.path), hint=f"use the absint that wrote it{release(source.binding)}")
        if source.version == VERSION:
            try:
                source.opening = Opening.from_dict(run)
            except DAMAGED as error:
                raise not_a_journal(source.path) from error
            source.asked = source.opening.asked
        first = self.sources[0]
        if source is first:
            self._analysis = _analysis(source)
            self._times = {*_TIMES, *(one.name for one in columns_of(self._analysis.Record) if one.unit == "s")}
        elif source.binding != first.binding:
            raise _other_run(first, source)

    def _record(self, source: JournalSource, place: int, number: int, line: bytes) -> None:
        try:
            index = int(record_of(self._analysis.Record, json.loads(line)).index)
        except DAMAGED as error:
            raise _damaged(source.path, number) from error
        if source.opening is not None and index not in source.asked:
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} answers item {index}, which no run of this journal was asked for",
                             where=str(source.path), hint="remove that line")
        if abs(index) >= _MOST_INDEX:
            raise _damaged(source.path, number)
        digest = hashlib.blake2b(line, digest_size=16).digest()
        file = len(self.sources) - 1
        added = self._database.execute("INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?)", (index, file, place, number, digest)).rowcount
        if added:
            source.records += 1
            return
        other, at, before, known = self._database.execute(
            "SELECT file, place, line, digest FROM items WHERE number = ?", (index,)).fetchone()
        source.records += other != file
        if digest != known:
            self._compare(index, (other, before, self._line(other, at)), (file, number, line))

    def _compare(self, index: int, one: tuple[int, int, bytes], two: tuple[int, int, bytes]) -> None:
        """Two lines of one item: the same answer, but for the time it took, or refused."""
        rows = [row_of(record_of(self._analysis.Record, json.loads(line))) for _, _, line in (one, two)]
        rows = [self._timeless(row) for row in rows]
        different = [f"{name}: {_shown(rows[0][name])}, then {_shown(rows[1].get(name))}"
                     for name in rows[0] if rows[0][name] != rows[1].get(name)]
        if different:
            places = [f"{self.sources[file].path} line {line}" for file, line, _ in (one, two)]
            raise InputError("E-JOURNAL-CONFLICT", f"item {index} has two answers: {' and '.join(places)}", details=different,
                             hint="one of them is wrong, or was changed: leave that journal out, or ask the item again")

    def _timeless(self, value: Any) -> Any:
        """Without what the clock says, at any depth: a record may consist of several answers."""
        if isinstance(value, dict):
            return {name: self._timeless(item) for name, item in value.items() if name not in self._times}
        return [self._timeless(item) for item in value] if isinstance(value, list) else value


class _Reading:
    """The lines of one journal, and what its runs said at their ends."""

    def __init__(self, source: JournalSource) -> None:
        self.source = source
        self.ends: tuple[int, int, int, Spans] | None = None        # records, place, line, asked
        self.waiting: list[int] = []

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """(place, number, line) of every whole line; a torn one at the end is dropped."""
        source, digest, place, number = self.source, hashlib.sha256(), 0, 0
        source.file.seek(0)
        while line := source.file.readline(_LONGEST):
            number += 1
            if not line.endswith(b"\n"):
                self._torn(line, number)
                break
            digest.update(line)
            behind = place + len(line)
            yield place, number, line
            place = behind
            source.file.seek(place)     # a look at another line may have moved it
        source.sha256 = digest.hexdigest()

    def _torn(self, line: bytes, number: int) -> None:
        if len(line) >= _LONGEST:
            raise InputError("E-JOURNAL-CORRUPT", f"line {number} has no end", where=str(self.source.path),
                             hint="give a file that --journal wrote")
        start = b'{"' + MARK.encode()
        if number == 1 and not start.startswith(line[: len(start)]):
            raise not_a_journal(self.source.path)
        self.source.torn = True

    def special(self, place: int, number: int, line: bytes) -> None:
        """A line that is no record."""
        source = self.source
        try:
            row = json.loads(line)
            if RUN in row:
                source.opening = Opening.from_dict(row[RUN])
                source.asked = source.asked.with_(source.opening.asked)
                source.end, self.waiting = None, []
            elif UNKEPT in row:
                self.waiting.append(place)
            elif END in row:
                asked = spans_from(row[END]["asked"])
                source.end, source.unkept = (place, number), self.waiting
                self.ends, self.waiting = (int(row[END]["records"]), place, number, asked), []
            else:
                raise ValueError("a line of another absint")
        except DAMAGED as error:
            raise _damaged(source.path, number) from error

    def check_end(self) -> None:
        """An end counts where it speaks of every item that was asked for, and of every record."""
        source = self.source
        if source.end is not None and self.ends is not None and (self.ends[0], self.ends[3]) != (source.records, source.asked):
            source.end, source.unkept = None, []


def _analysis(source: JournalSource) -> Analysis[Any, Any]:
    name = source.binding.get("analysis")
    if not isinstance(name, str) or name not in ANALYSES:
        raise InputError("E-JOURNAL-ANALYSIS", f"these are records of the analysis '{name}', which is not known here",
                         where=str(source.path), hint="add --plugin FILE with the file that defines it")
    return analysis_of(name)


def _other_run(first: JournalSource, other: JournalSource) -> InputError:
    names = sorted({*first.binding, *other.binding})
    different = [f"{name}: {first.path} {_shown(first.binding.get(name))}, {other.path} {_shown(other.binding.get(name))}"
                 for name in names if first.binding.get(name) != other.binding.get(name)]
    return InputError("E-JOURNAL-MISMATCH", "these journals are of different runs", where=str(other.path), details=different,
                      hint="give journals of one run: the same command but for --index")


def _damaged(path: Path, number: int) -> InputError:
    return InputError("E-JOURNAL-CORRUPT", f"line {number} is damaged", where=str(path), hint="remove that line")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"
