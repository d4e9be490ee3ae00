"""A run from the command line: everything checked, then records to the outputs as they come, to the end or to an interrupt."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absint.contract.analysis import Analysis, analysis_of
from absint.contract.document import Document, Heading, Row
from absint.contract.options import options_of
from absint.contract.record import cells_of, columns_of, row_of, shown_of
from absint.contract.run import Run
from absint.errors import ResourceError, UsageError, printable
from absint.registry import load_plugin
from absint.reports.interface import Format, drawing, format_for, format_of, suffix_of
from absint.reports.outputs import Outputs
from absint.runs.earlier_results import set_aside_on_failure
from absint.runs.interrupts import INTERRUPTED, interruptible
from absint.runs.output import check_out, check_writable, interrupts_deferred
from absint.runs.packing import Packing
from absint.runs.progress import Progress
from absint.runs.resolve import check_types, resolve
from absint.runs.session import RunSession, guarded, journal_of
from absint.runs.written import Drawings, prepare_written

if TYPE_CHECKING:
    from absint.problem.dataset import Dataset

Chosen = list[tuple[Path | None, type[Format]]]

_GRACE = 0.2    # seconds past a promised limit before the watch answers in place of the run


def execute(
    name: str, options: Any, command: str, begin: float, loaded: Collection[Path] = (), config: Mapping[str, Any] | None = None
) -> int:
    """Run; returns the exit code. What cannot be written is refused before anything is computed.

    loaded: plug-ins that are already.  config: see `Run`.
    """
    analysis = analysis_of(name)
    with interruptible(), set_aside_on_failure() as earlier, _watched(name, analysis, options, begin) as gate:
        for file in options.plugin:
            if file not in loaded:
                load_plugin(file)    # one may define the very format that is asked for, or never end
        check_types(options)
        placed = guarded(analysis, analysis.placed, options)
        drawings = Drawings.of(placed)
        gate.chosen = chosen = outputs_of(analysis, placed)
        earlier.look_at([*(path for path, _ in chosen), None if placed.bundle is None else Path(placed.bundle)])
        analysis, run = resolve(name, options, command=command, begin=begin, config=config)
        with ExitStack() as stack:
            packing = None if placed.bundle is None else stack.enter_context(Packing.of(placed))
            journal = journal_of(analysis, run, None if packing is None else packing.journal)
            if journal is not None:
                stack.enter_context(closing(journal))
            outputs = stack.enter_context(gate.opened(Outputs(chosen)))
            return _Command(RunSession(analysis, run, journal), outputs, gate, (drawings, packing)).run()


def outputs_of(analysis: Analysis[Any, Any], options: Any) -> Chosen:
    """Where the result goes, and in which format: each --out, --plot, and stdout where no text goes into a file.

    Raises UsageError E-USAGE, E-OUT, E-FORMAT-UNKNOWN, E-PLOT-FORMAT, UnsupportedError for a format that lacks something.
    """
    if options.resume and options.journal is None:
        raise UsageError("E-USAGE", "--resume needs the journal to continue", where="--resume", hint="add --journal FILE")
    read = {**_read_files(options), **guarded(analysis, analysis.reads, options)}
    default = analysis.default_format(options)
    if options.journal is not None:
        check_out(Path(options.journal), read, "--journal")
        read["--journal"] = Path(options.journal)
    prepare_written(options, read)
    plot = getattr(options, "plot", None)
    return chosen_outputs(options.out, options.format, default, read, None if plot is None else Path(plot))


def chosen_outputs(out: Sequence[Path], format_: str | None, default: str, read: dict[str, Path | None],
                   plot: Path | None = None) -> Chosen:
    """Each file and its format, and stdout: in a format that is stated and that no file takes, or where no text goes into a file.

    read: what is not written over, by word. Raises as `outputs_of` does.
    """
    stated = None if format_ is None else format_of(format_)
    chosen: Chosen = []
    for file in map(Path, out):
        chosen.append((file, _kind_of(file, stated, default)))
        _check_file(file, read, "--out")
    if plot is not None:
        chosen.append((plot, drawing(plot, "--plot")))
        _check_file(plot, read, "--plot")
    if stated is not None and stated not in [kind for _, kind in chosen]:
        chosen.insert(0, (None, stated))
    elif all(kind.binary for _, kind in chosen):    # pictures and arrays come beside the text
        chosen.insert(0, (None, format_of(default)))
    for path, kind in chosen:
        kind.check()
        if path is None and kind.binary:
            raise UsageError("E-FORMAT-BINARY", "this format is written into a file", where="--format", hint="add --out FILE")
    return chosen


def _kind_of(file: Path, stated: type[Format] | None, default: str) -> type[Format]:
    """A file follows its ending; --format speaks of one whose ending says nothing, or that may be of the format that it states."""
    own = format_for(file)
    if stated is not None and (own is None or issubclass(stated, own) or suffix_of(file) in stated.fits):
        return stated
    return own or format_of(default)


def _check_file(path: Path, read: dict[str, Path | None], option: str) -> None:
    check_out(path, read, option)
    check_writable(path, option)
    read[option] = path


def _read_files(options: Any) -> dict[str, Path | None]:
    """Every file that the options name to be read, by its word; of one that may be repeated '--compose 2' is the second."""
    found: dict[str, Path | None] = {}
    for one in options_of(type(options)):
        if one.kind is Path and not one.words.writes:
            value = getattr(options, one.name)
            for place, file in enumerate((value or ()) if one.many else (value,)):
                if isinstance(file, (str, Path)):
                    found[f"{one.word} {place + 1}" if place else one.word] = Path(file)
    return found


class _Command:
    """Records on their way to journal, outputs and progress. gate: who holds it may write the result."""

    def __init__(self, session: RunSession, outputs: Outputs, gate: _Gate, besides: tuple[Drawings | None, Packing | None]) -> None:
        self.session, self.outputs, self.gate = session, outputs, gate
        self.drawings, self.packing = besides
        self.analysis, self.quiet = session.analysis, session.run.quiet
        self.begun = False

    def run(self) -> int:
        """Decide what the journal does not hold; a Ctrl-C or an error on the way leaves a result of what is done."""
        session = self.session
        interrupted = False
        failed: Exception | None = None
        shared = sys.stdout.isatty() and sys.stderr.isatty()
        with Progress(len(session.items), quiet=self.quiet) as progress:
            try:
                self._open(progress)
                with closing(session.decided()) as records:
                    for record in records:
                        self._show(record, progress, shared=shared)
                session.look_further(shown=self.outputs.thorough)
            except KeyboardInterrupt:
                interrupted = True
            except BrokenPipeError:
                raise
            except Exception as error:      # memory that ran out, a lost device: what was decided before stands
                if not session.found:
                    raise
                failed = error
        with interrupts_deferred():
            document = self._end(interrupted=interrupted or failed is not None)
        return self._told(document, interrupted=interrupted, failed=failed)

    def _open(self, progress: Progress) -> None:
        run = self.session.run
        todo = len(self.session.items) - len(run.done)
        opening = guarded(self.analysis, self.analysis.opening, run, todo)
        if opening and not self.quiet:
            limit = f"; at most {run.timeout:g} s each (--timeout none: no limit)" if run.timeout < inf else ""
            run.note(opening + limit)
        self.session.run = replace(run, stage=progress.stage)

    def _begin(self) -> None:
        """With the first record, or at the end: a run that fails before writes nothing."""
        if not self.begun:
            self.gate.take()
            self.begun = True
            with interrupts_deferred():
                self.outputs.begin(self.session.heading())

    def _show(self, record: Any, progress: Progress, *, shared: bool) -> None:
        known = record.index in self.session.run.done
        self._begin()
        with interrupts_deferred():
            with progress.paused() if shared else nullcontext():
                for row in self.session.rows(record):
                    self.outputs.row(row)
            (progress.known if known else progress.record)(self.analysis.word(record))

    def _end(self, *, interrupted: bool) -> Document:
        document = self.session.document(interrupted=interrupted)
        self._begin()
        try:
            self.session.ended(document)
        finally:        # a full disk costs no other place the result
            self.outputs.end(document)
        if self.drawings is not None:
            self.drawings.draw(self.session.heading(), document)
        for line in guarded(self.analysis, self.analysis.finish, self.session.records, document, self.session.run):
            self.session.run.note(line)
        if self.packing is not None:
            self.session.run.note(self.packing.pack(_data_of(self.session.run)))
        return document

    def _told(self, document: Document, *, interrupted: bool, failed: Exception | None) -> int:
        """On stderr: what the exit code does not say."""
        sys.stdout.flush()
        session = self.session
        for failure in session.failures:
            sys.stderr.write(f"error[{failure.code}] {printable(failure.name)}: {printable(failure.what)}\n")
        for line in document.warnings:
            sys.stderr.write(f"{warning_line(printable(line))}\n")
        for line in document.remarks:
            session.run.note(line)
        if interrupted or failed is not None:
            what = "interrupted" if interrupted else "stopped"
            sys.stderr.write(f"{what}: {len(session.remaining)} of {len(session.items)} items are not decided\n")
        sys.stderr.flush()
        if failed is not None:
            raise failed
        if document.error is not None and not interrupted:
            raise document.error
        return INTERRUPTED if interrupted else document.exit_code


def _data_of(run: Run[Any]) -> Dataset | None:
    """The chosen inputs; of a run that is made of others theirs, where all of them have the same."""
    if run.data is not None or not run.parts:
        return run.data
    found = [part.data for part in run.parts if part.data is not None]
    same = {(one.sha256, tuple(one.index.tolist()), one.inputs.shape) for one in found}
    return found[0] if len(found) == len(run.parts) and len(same) == 1 else None


def warning_line(line: str) -> str:
    """'warning[E-CODE] text' of what has a code of its own, as an error has; W-CODE where nothing is refused for it."""
    code, colon, text = line.partition(": ")
    return f"warning[{code}] {text}" if colon and code.startswith(("E-", "W-")) and " " not in code else f"warning: {line}"


# ---- an answer in time -----------------------------------------------------------------------------------------------------


class _Gate:
    """Who takes it may write the result: the run, or the watch in its place. chosen: outputs, once known.  outputs: once they are open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.chosen: Chosen | None = None
        self.outputs: Outputs | None = None

    def take(self) -> None:
        """For the run, for good."""
        if not self.lock.acquire(timeout=10 * _GRACE):
            time.sleep(60)  # the watch is writing and will end the process

    @contextmanager
    def opened(self, outputs: Outputs) -> Iterator[Outputs]:
        """The outputs, open. Meanwhile the watch waits: a file is locked by the one who opened it."""
        with ExitStack() as stack:
            with self.lock:
                self.outputs = stack.enter_context(outputs)
            yield outputs


@contextmanager
def _watched(name: str, analysis: Analysis[Any, Any], options: Any, begin: float) -> Iterator[_Gate]:
    """Past a promised limit the watch takes the gate, answers and ends the process."""
    gate = _Gate()
    promise = analysis.overdue(options)
    if promise is None or not isfinite(promise[0]):
        yield gate
        return
    done = threading.Event()
    wait = max(0.0, begin + promise[0] + _GRACE - time.monotonic())
    _, document, record = promise
    columns = tuple(column.name for column in columns_of(type(record)))
    heading = Heading(name, {}, analysis.records, columns, shown_of(type(record)), 1, lead=True)
    row = Row(row_of(record), cells_of(record))

    def choose() -> Chosen:
        return gate.chosen or outputs_of(analysis, options)

    watch = threading.Thread(target=_watch, args=(done, wait, gate, choose, (heading, row, document)), daemon=True)
    watch.start()
    try:
        yield gate
    finally:
        done.set()


def _watch(done: threading.Event, wait: float, gate: _Gate, choose: Callable[[], Chosen], said: tuple[Heading, Row, Document]) -> None:
    heading, row, document = said
    if done.wait(wait) or not gate.lock.acquire(timeout=_GRACE):
        return
    code = ResourceError.exit_code
    try:
        with Outputs(choose()) if gate.outputs is None else nullcontext(gate.outputs) as outputs:
            outputs.begin(heading)
            outputs.row(row)
            outputs.end(document)
            outputs.__exit__(None, None, None)
        sys.stdout.flush()
        code = document.exit_code
    finally:
        os._exit(code)  # the main thread is inside a library and cannot be asked to stop
