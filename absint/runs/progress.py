"""What a run shows of itself on stderr: one line that moves on a terminal, a line every ten seconds elsewhere, or nothing.

A thread writes it, so that it moves while torch computes: `0:42  deeppoly float32  3 verified, 1 unknown  4/100  about 7 min left`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TextIO

from absint.errors import printable

REDRAWN, REPEATED = 0.25, 10.0      # seconds between two drawings on a terminal, and between two lines elsewhere
WIDTH = 80
_ERASE = "\r\x1b[K"
_SHORT = 16     # columns that are left to the stage at least, where there is one


class Tally:
    """What has been decided since when. known: decided by an earlier run, which says nothing about this one's speed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.begin = self.last = time.monotonic()
        self.counts = Counter[str]()
        self.decided = self.known = 0
        self._lock = threading.Lock()

    def add(self, word: str, *, known: bool = False) -> None:
        """One more item."""
        with self._lock:
            self.counts[word] += 1
            if known:
                self.known += 1
            else:
                self.decided += 1
                self.last = time.monotonic()

    def line(self, stage: str, width: int) -> str:
        """All that is known now, in at most `width` columns of ASCII; the stage is what gets shorter."""
        with self._lock:
            counts, decided, done = dict(self.counts), self.decided, self.decided + self.known
            rate = (self.last - self.begin) / decided if decided else None
        now = time.monotonic()
        rest = [_shown(", ".join(f"{count} {word}" for word, count in counts.items())), f"{done}/{self.total}",
                left(self.total - done, rate, now - self.last)]
        parts = [part for part in (clock(now - self.begin), *rest) if part]
        room = width - len("  ".join(parts)) - 2
        return cut("  ".join([parts[0], *([cut(_shown(stage), max(room, _SHORT))] if stage else []), *parts[1:]]), width)


def clock(seconds: float) -> str:
    """'0:07', '12:30', '1:02:03'."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def left(items: int, rate: float | None, since: float) -> str:
    """How long it may still take. rate: seconds an item, None before the first.  since: seconds after the last one.

    '?' where more time has passed than the estimate allowed for all of them: it was wrong, and there is no other one.
    """
    if rate is None or items <= 0:
        return ""
    seconds = items * rate - since
    if seconds <= 0:
        return "? left"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def cut(text: str, width: int) -> str:
    """The text, or its beginning and '...'."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


class Progress:
    """The display of one run, a context manager. Without an error of its own: what cannot be written is not written.

    total: items asked for.  quiet: nothing is written.  stream: stderr where None.
    """

    def __init__(self, total: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.tally = Tally(total)
        self.quiet = quiet
        self.stream = sys.stderr if stream is None else stream
        self.live = not quiet and _moves(self.stream)
        self._stage = ""
        self._screen = threading.RLock()    # held by whoever writes
        self._drawn, self._drawn_at, self._paused = False, float("-inf"), 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if not self.quiet:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError, ValueError), self._screen:
            self._erase()

    def stage(self, text: str) -> None:
        """What is going on."""
        self._stage = text

    def record(self, word: str) -> None:
        """One more item is decided. word: what it counts as."""
        self.tally.add(word)

    def known(self, word: str) -> None:
        """One more item was decided by an earlier run."""
        self.tally.add(word, known=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The line is off the terminal while the block writes there, and back afterwards, at most four times a second."""
        if not self.live:
            yield
            return
        with self._screen:
            self._paused += 1
            try:
                with suppress(OSError, ValueError):
                    self._erase()
                yield
            finally:
                self._paused -= 1
                if not self._over.is_set() and time.monotonic() - self._drawn_at >= REDRAWN:
                    with suppress(OSError, ValueError):
                        self.draw()

    def draw(self) -> None:
        """Write the line: over the last one on a terminal, below it elsewhere."""
        with self._screen:
            if self.quiet or self._paused:
                return
            line = self.tally.line(self._stage, self._width())
            self.stream.write(f"{_ERASE}{line}" if self.live else f"{line}\n")
            self.stream.flush()
            self._drawn, self._drawn_at = self.live, time.monotonic()

    def _run(self) -> None:
        """The thread: until the end, or until the stream takes nothing any more."""
        with suppress(Exception):
            while not self._over.wait(REDRAWN if self.live else REPEATED):
                self.draw()

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            self.stream.write(_ERASE)
            self.stream.flush()

    def _width(self) -> int:
        """Columns: one less than a terminal has, which would go on to its next line."""
        if not self.live:
            return WIDTH
        columns = WIDTH
        with suppress(OSError, ValueError, AttributeError):
            columns = os.get_terminal_size(self.stream.fileno()).columns or WIDTH
        return min(WIDTH, columns) - 1


def _moves(stream: TextIO) -> bool:
    """Whether it is a terminal that can take a line back."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("LC_ALL") in ("C", "POSIX"):
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _shown(text: str) -> str:
    """One line of ASCII, whose every character takes one column."""
    return printable(" ".join(text.split())).encode("ascii", "backslashreplace").decode()
