"""`absint verify --instances FILE.csv`: a whole benchmark, each instance answered by a process of its own.

A worker that crashes, runs out of memory or hangs costs its own instance an answer, never another one's, and is never a
verdict. Workers have their own process groups, which are killed past the limit and when the run ends for any reason.
"""

from __future__ import annotations

import csv
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from io import StringIO
from math import inf, isfinite
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, TextIO

from absint.cli.query_run import check_other
from absint.cli.settings import VerifySettings
from absint.cli.workers import ANSWERS, Instance, answered, word, worker_options
from absint.errors import AbsintError, InputError, UsageError, printable
from absint.model.digest import digest
from absint.registry import own_version
from absint.reports.notes import noted, split_notes
from absint.runs.journal import Journal
from absint.runs.output import check_out, interrupts_deferred, opened
from absint.verdict import Assurance, InstanceResult

COLUMNS = ("onnx", "vnnlib", "verdict", "time_s", "stage", "reason", "margin", "notes")
_INTERRUPTED = 130
_OTHER = ("eps", "norm", "patch", "brightness", "contrast", "data", "labels", "index", "mean", "std", "label", "target", "clip", "layout",
          "networks", "serialise_assignments", "format", "witness")


def execute(settings: VerifySettings) -> int:
    """Answer every instance; returns the exit code: 0, or 130 after an interrupt."""
    instances = prepare(settings)
    journal = None
    if settings.journal is not None:
        instances = _hashed(instances)
        journal = Journal.open(settings.journal, _binding(settings, instances), resume=settings.resume)
    with nullcontext() if journal is None else closing(journal), opened(settings.out) as stream, _terminable():
        return _Benchmark(settings, instances, stream, journal).run()


def prepare(settings: VerifySettings) -> list[Instance]:
    """Check the options and read the list. Raises UsageError, and InputError E-INSTANCES naming every bad line."""
    check_other(settings, _OTHER)
    if settings.resume and settings.journal is None:
        raise UsageError("E-USAGE", "--resume needs the journal to continue", where="--resume", hint="add --journal FILE")
    if settings.processes < 1:
        raise UsageError("E-PROCESSES", f"at least one process is needed, not {settings.processes}", where="--processes")
    if settings.timeout is not None and not settings.timeout > 0:
        raise UsageError("E-TIMEOUT", f"the timeout must be positive, not {settings.timeout}", where="--timeout", hint="seconds")
    if settings.total_timeout is not None:
        raise UsageError("E-USAGE", "--total-timeout has no meaning for a list of queries", hint="--timeout caps that of every line")
    assert settings.instances is not None
    check_out(settings.out, {"--instances": settings.instances, "--journal": settings.journal})
    check_out(settings.journal, {"--instances": settings.instances}, "--journal")
    return read_instances(settings.instances, settings.timeout)


def read_instances(path: Path, cap: float | None) -> list[Instance]:
    """The lines `onnx,vnnlib,timeout` of a list, paths relative to it; timeouts at most `cap` seconds."""
    try:
        lines = list(csv.reader(StringIO(path.read_bytes().decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("E-INSTANCES", f"cannot be read: {error}", where=str(path), hint="a CSV file: onnx,vnnlib,timeout") from error
    rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(lines, start=1) if any(cell.strip() for cell in row)]
    bad, found = [], list[Instance]()
    for number, row in rows:
        limit = _seconds(row)
        if limit is None:
            bad.append(f"line {number}: {','.join(row)[:100]}")
        else:
            limit = min(limit, inf if cap is None else cap)
            found.append(Instance(len(found), row[0], row[1], _file(path.parent, row[0]), _file(path.parent, row[1]), limit))
    if bad or not found:
        raise InputError("E-INSTANCES", f"{len(bad)} lines are not onnx,vnnlib,timeout" if bad else "the list is empty", where=str(path),
                         details=bad[:10], hint="three columns, the last a number of seconds; no header")
    return found


def _seconds(row: Sequence[str]) -> float | None:
    try:
        limit = float(row[2]) if len(row) == 3 and row[0] and row[1] else 0.0
    except ValueError:
        return None
    return limit if isfinite(limit) and limit > 0 else None


def _file(folder: Path, name: str) -> Path:
    """The file meant: benchmarks name files with or without the .gz they lie under."""
    path = folder / name
    other = path.with_name(path.name.removesuffix(".gz") if path.name.endswith(".gz") else path.name + ".gz")
    return other if not path.exists() and other.exists() else path


def _hashed(instances: Sequence[Instance]) -> list[Instance]:
    """The instances with the hashes of all that their answers depend on, each file read once."""
    networks = {file: _model_digest(file) for file in {instance.network for instance in instances}}
    queries = {file: _digest(file) for file in {instance.query for instance in instances}}
    return [replace(one, sha256=(networks[one.network], queries[one.query])) for one in instances]


def _binding(settings: VerifySettings, instances: Sequence[Instance]) -> Mapping[str, Any]:
    """All that the rows of a journal depend on: the list as it was read, every byte of every file it names, options and plug-ins."""
    lines = [[one.onnx, one.vnnlib, one.timeout] for one in instances]
    return {
        "absint": own_version(), "instances_sha256": digest(json.dumps(lines).encode()),
        "timeout": settings.timeout, "options": worker_options(replace(settings, plugin=())),
        "files_sha256": digest(json.dumps([one.sha256 for one in instances]).encode()),
        "plugins": [_digest(file) for file in settings.plugin],
    }


def _model_digest(file: Path) -> str:
    """Of a network with its external weights; of the file alone where it is damaged, or its front end in a plug-in file.

    Plug-in files run in workers only, which may hang. An answer about more bytes than these has another hash, and is none.
    """
    from absint.model.frontend import model_hash  # torch is imported where a journal is kept only

    try:
        return model_hash(file)
    except AbsintError:
        return _digest(file)


def _digest(file: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read, which its worker will report."""
    try:
        return digest(file.read_bytes()) if file.is_file() else ""
    except OSError:
        return ""


class _Benchmark:
    """Results on their way to the table, the journal and stderr. The table keeps the order of the list."""

    def __init__(self, settings: VerifySettings, instances: list[Instance], stream: TextIO, journal: Journal | None) -> None:
        self.settings, self.instances, self.journal = settings, instances, journal
        self.table = csv.writer(stream, lineterminator="\n")
        self.stream = stream
        self.results: dict[int, InstanceResult] = {}
        self.written = 0

    def run(self) -> int:
        """Answer what the journal does not hold; returns the exit code."""
        self.table.writerow(COLUMNS)
        interrupted = False
        try:
            for result in (self.journal.done if self.journal is not None else {}).values():
                self._deliver(result, known=True)
            todo = [instance for instance in self.instances if instance.index not in self.results]
            for result in answered(todo, worker_options(self.settings), self.settings.processes):
                self._deliver(result, known=False)
        except KeyboardInterrupt:
            interrupted = True
        with interrupts_deferred():
            self._write(everything=True)
            self._summary()
        return _INTERRUPTED if interrupted else 0

    def _deliver(self, result: InstanceResult, *, known: bool) -> None:
        """To the journal first: what was shown is never lost."""
        with interrupts_deferred():
            if self.journal is not None and not known:
                self.journal.append(result)
            self.results[result.index] = result
            self._write(everything=False)
            if not self.settings.quiet and not known:
                instance = self.instances[result.index]
                sys.stderr.write(f"{len(self.results)}/{len(self.instances)}  {word(result):9}  {result.time_s:7.2f} s  "
                                 f"{printable(instance.onnx)}  {printable(instance.vnnlib)}\n")
                sys.stderr.flush()

    def _write(self, *, everything: bool) -> None:
        """Rows up to the first that is missing; after the end, all there are."""
        while self.written < len(self.instances) and (everything or self.written in self.results):
            result = self.results.get(self.written)
            if result is not None:
                self.table.writerow(cells(self.instances[self.written], result))
            self.written += 1
        self.stream.flush()

    def _summary(self) -> None:
        """Counts and median times by answer, on stderr."""
        counts = Counter(word(result) for result in self.results.values())
        lines = [f"{'answer':10}{'count':>7}{'median s':>11}"]
        for answer in ANSWERS:
            times = [result.time_s for result in self.results.values() if word(result) == answer]
            lines.append(f"{answer:10}{counts[answer]:7}{f'{median(times):11.2f}' if times else ''}")
        times = [result.time_s for result in self.results.values()]
        lines.append(f"{'all':10}{len(times):7}{f'{median(times):11.2f}' if times else ''}")
        words = sum(result.assurance is Assurance.SOLVER for result in self.results.values())
        if words:
            lines.append(f"warning: {words} of the unsat answers on a solver's word, which nobody has proved (--accept-solver)")
        lines += [f"note: {note} ({len(indices)} instances)" for note, indices in noted(self.results.values()).items()]
        left = len(self.instances) - len(times)
        if left:
            lines.append(f"{left} of {len(self.instances)} instances are not decided")
        sys.stderr.write(printable("\n".join(lines)) + "\n")
        sys.stderr.flush()


def cells(instance: Instance, result: InstanceResult) -> list[str]:
    """In the order of COLUMNS."""
    margin = "" if result.margin is None else repr(result.margin)
    reason, notes = split_notes(result.detail)
    answer = [instance.onnx, instance.vnnlib, word(result), f"{result.time_s:.3f}", result.stage or "", reason or "", margin]
    return [*answer, "; ".join(notes)]


@contextmanager
def _terminable() -> Iterator[None]:
    """A polite kill ends the run as Ctrl-C does, so that no worker outlives it. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
