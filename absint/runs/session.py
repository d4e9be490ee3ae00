"""One run, item by item: what the journal holds, then what the executor decides, each kept before it is shown."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.document import Document, Heading, Row, Section
from absint.contract.record import columns_of, lines_of, row_of, running_of, shown_of
from absint.contract.run import Run
from absint.errors import AbsintError, InternalError, PluginError
from absint.numeric.allocator import give_back, kept_pages
from absint.runs.executors import EXECUTORS
from absint.runs.header import origin
from absint.runs.journal import Journal
from absint.runs.opening import Opening
from absint.runs.output import interrupts_deferred

_LESS = "no verdict is touched, but details of the report are left out"
_CUT = f"W-DETAILS: {_LESS}: interrupted after the last verdict"


class RunSession:
    """Mutable: the records so far. journal: None where none is kept.  failures: items that have no record.

    more: further sections of the document.  trouble: why some are missing, for its warnings.
    """

    def __init__(self, analysis: Analysis[Any, Any], run: Run[Any], journal: Journal | None = None) -> None:
        self.analysis, self.journal = analysis, journal
        self.begin = time.monotonic()
        self.items: Sequence[Item] = guarded(analysis, analysis.items, run)
        asked = tuple(item.index for item in self.items)
        done = {} if journal is None else {index: journal.done[index] for index in asked if index in journal.done}
        self.run = replace(run, done=done, asked=asked)
        self.found: dict[int, Any] = {}
        self.more: tuple[Section, ...] = ()
        self.trouble: tuple[str, ...] = ()
        self.failures: list[Failure] = []
        if journal is not None:
            journal.begin(Opening.of(self.heading(), asked, self.run.options))

    @property
    def remaining(self) -> tuple[int, ...]:
        """Items without a record."""
        return tuple(index for index in self.run.asked if index not in self.found)

    @property
    def records(self) -> tuple[Any, ...]:
        """Those there are, in the order of the items."""
        return tuple(self.found[index] for index in self.run.asked if index in self.found)

    def decided(self) -> Generator[Any, None, None]:
        """Every record, those of the journal first; each is in the journal when it is yielded."""
        for index, record in self.run.done.items():
            self.found[index] = record
            yield record
        todo = [item for item in self.items if item.index not in self.found]
        if not todo:
            return
        # From one batch to the next, too; what the run freed goes back when it is over.
        try:
            with kept_pages():
                yield from self._decided(todo)
        finally:
            give_back()

    def _decided(self, todo: list[Item]) -> Generator[Any, None, None]:
        """What the executor decides of the items that the journal does not hold."""
        asked = {item.index: item for item in todo}
        made = EXECUTORS.get(self.run.options.executor)()
        with closing(_guarded_iterator(self.analysis, made.records(self.analysis, self.run, todo))) as arriving:
            for got in arriving:
                record = self._failed(asked, got) if isinstance(got, Failure) else self._kept(got, asked)
                if record is not None:
                    yield record

    def _kept(self, record: Any, asked: dict[int, Item]) -> Any:
        """To the journal first: what was shown is never lost. A run cut short by its own limit can be resumed: that is no record."""
        if record.index not in asked or record.index in self.found:
            why = "was decided already" if record.index in self.found else "was not asked for"
            raise PluginError("E-PLUGIN-CONTRACT", f"a record of item {record.index}, which {why}", where=self.run.analysis,
                              hint="an analysis yields one record for each item it is given")
        cut = self.analysis.cut(record)
        with interrupts_deferred():
            if self.journal is not None and not cut:
                self.journal.append(record)
            self.found[record.index] = record
        return record

    def _failed(self, asked: dict[int, Item], failure: Failure) -> Any:
        """A failure is shown and counted, never kept: --resume tries the item again. An item's own limit is no failure of the run."""
        if failure.index not in asked or failure.index in self.found:
            raise PluginError("E-PLUGIN-CONTRACT", f"a failure of item {failure.index}, which was not asked for, or is decided",
                              where=self.run.options.executor, hint="an executor yields one record or failure for each item it is given")
        record = guarded(self.analysis, self.analysis.failed, asked[failure.index], failure)
        if record is not None and failure.code == TIMED_OUT:
            return self._kept(record, asked)
        self.failures.append(failure)
        if record is not None:
            self.found[failure.index] = record
        return record

    def look_further(self, *, shown: bool) -> None:
        """Sections that take work of their own, once everything is decided. shown: whether an output has room for them.

        A journal may be shown in one that has. Nothing that goes wrong here costs the run anything else. A Ctrl-C passes through.
        """
        if self.remaining or not self.found or not (shown or self.journal is not None):
            return
        try:
            self.more = tuple(guarded(self.analysis, self.analysis.further, self.records, self.run))
        except KeyboardInterrupt:
            self.trouble = (_CUT,)
            raise
        except (AbsintError, OSError, MemoryError) as error:
            code, what = (error.code, error.what) if isinstance(error, AbsintError) else ("W-DETAILS", f"{type(error).__name__}: {error}")
            self.trouble = (f"{code}: {_LESS}: {what}",)

    # ---- what formats are given --------------------------------------------------------------------------------

    def heading(self) -> Heading:
        """Of all outputs."""
        kind = self.analysis.row_kind(self.run.options)
        return Heading(self.run.analysis, self.run.header, self.analysis.records, tuple(column.name for column in columns_of(kind)),
                       shown_of(kind), len(self.items), self.analysis.overdue(self.run.options) is not None, running_of(kind))

    def rows(self, record: Any) -> Iterator[Row]:
        """Of one record."""
        for one in guarded(self.analysis, self.analysis.rows, record, self.run):
            tone, word = guarded(self.analysis, self.analysis.row_tone, record, one)
            lines = lines_of(one) or [{}]
            yield Row(row_of(one), lines[0], tone, tuple(lines[1:]), word, self.analysis.cut(record))

    def document(self, *, interrupted: bool = False) -> Document:
        """What the analysis says of the records there are, with what holds for every run."""
        document: Document = guarded(self.analysis, self.analysis.document, self.records, self.run)
        lost = bool(self.failures)
        summary = {
            "items": len(self.items), "complete": not self.remaining, **document.summary,
            "remaining": list(self.remaining), "seconds": round(time.monotonic() - self.begin, 3),
        }
        values = dict(document.values)
        if self.failures:
            values["failures"] = [{"index": f.index, "name": f.name, "code": f.code, "what": f.what} for f in self.failures]
        code = max(document.exit_code, 1) if lost or self.remaining else document.exit_code
        sections = (*document.sections, *self.more, *origin(self.run.header))
        warnings = (*document.warnings, *self.trouble)
        return replace(document, sections=sections, summary=summary, values=values, warnings=warnings, exit_code=code)

    def ended(self, document: Document) -> None:
        """What the run says at its end, into the journal, so that it can be shown again. Raises ResourceError E-JOURNAL-WRITE."""
        if self.journal is not None:
            self.journal.end(document, self.records)


def journal_of(analysis: Analysis[Any, Any], run: Run[Any], otherwise: Path | None = None) -> Journal | None:
    """The journal that the options ask for, opened. otherwise: where it lies if they ask for none."""
    path = run.options.journal or otherwise
    return None if path is None else Journal.open(Path(path), analysis.Record, run.binding, resume=run.options.resume)


def guarded(analysis: Analysis[Any, Any], step: Any, *arguments: Any) -> Any:
    """A step of an analysis; whatever a stranger's raises becomes one coded message."""
    try:
        return step(*arguments)
    except (AbsintError, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        _raise_coded(analysis, error)


def _guarded_iterator(analysis: Analysis[Any, Any], records: Iterator[Any]) -> Generator[Any, None, None]:
    """The same for what it yields; closing this closes the executor."""
    try:
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except (AbsintError, OSError, MemoryError):
                raise
            except (Exception, SystemExit) as error:    # a stranger's sys.exit would choose the exit code
                _raise_coded(analysis, error)
            yield record
    finally:
        close = getattr(records, "close", None)
        if close is not None:
            close()


def _raise_coded(analysis: Analysis[Any, Any], error: BaseException) -> NoReturn:
    """As one of our own errors."""
    from absint.numeric.backend import exhausted

    coded = exhausted(error)
    if coded is not None:
        raise coded from error
    module = type(analysis).__module__
    if module.startswith("absint."):
        raise InternalError("E-INTERNAL", f"{type(error).__name__}: {error}".rstrip(": "),
                            hint="this is a bug in absint, and no verdict: run again with --debug and report what it prints") from error
    raise PluginError("E-PLUGIN-RAISED", f"the analysis raised {type(error).__name__}: {error}", where=module,
                      hint="--debug shows the traceback") from error
