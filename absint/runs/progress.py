"""Progress on stderr: a bar with counts on a terminal, a plain line every few seconds elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from absint.verdict import Assurance, InstanceResult, Verdict

_EVERY = 5.0  # seconds between plain lines


class Progress(Protocol):
    """Is told of every result."""

    def advance(self, result: InstanceResult) -> None:
        """One more instance is decided."""


class Counts:
    """Verdicts so far, and how many of the verified ones rest on a solver's word."""

    def __init__(self) -> None:
        self.verdicts, self.on_word = Counter[Verdict](), 0

    def add(self, result: InstanceResult) -> None:
        """One more."""
        self.verdicts[result.verdict] += 1
        self.on_word += result.verdict is Verdict.VERIFIED and result.assurance is not Assurance.SOUND

    def __str__(self) -> str:
        """'3 verified, 1 unknown': verdicts that occurred, and `verified` always. Short enough for 80 columns."""
        word = f" ({self.on_word} on a solver's word)" if self.on_word else ""
        return ", ".join(f"{self.verdicts[verdict]} {verdict.value}{word if verdict is Verdict.VERIFIED else ''}"
                         for verdict in Verdict if self.verdicts[verdict] or verdict is Verdict.VERIFIED)


class Silent:
    """--quiet."""

    def advance(self, result: InstanceResult) -> None:
        """Nothing."""


class Plain:
    """Lines for logs."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.counts = total, 0, Counts()
        self.begin = self.last = time.monotonic()

    def advance(self, result: InstanceResult) -> None:
        """Count, and now and then say so."""
        self.done += 1
        self.counts.add(result)
        now = time.monotonic()
        if now - self.last >= _EVERY:
            self.last = now
            left = (now - self.begin) / self.done * (self.total - self.done)
            sys.stderr.write(f"{self.done}/{self.total}: {self.counts}; about {left:.0f} s left\n")
            sys.stderr.flush()


class _Bar:
    """A rich progress bar's view of the results."""

    def __init__(self, bar: object, total: int) -> None:
        from rich.progress import Progress as RichProgress

        assert isinstance(bar, RichProgress)
        self.bar, self.counts = bar, Counts()
        self.task = bar.add_task(str(self.counts), total=total)

    def advance(self, result: InstanceResult) -> None:
        """Move the bar."""
        self.counts.add(result)
        self.bar.update(self.task, advance=1, description=str(self.counts))


@contextmanager
def progress(total: int, *, quiet: bool, stdout_busy: bool) -> Iterator[Progress]:
    """The display that fits. stdout_busy: rows appear on the same terminal meanwhile, which a bar would garble."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty() or stdout_busy:
        yield Plain(total)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False), TextColumn("left"),
                   TimeRemainingColumn())
        with RichProgress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
            yield _Bar(bar, total)
