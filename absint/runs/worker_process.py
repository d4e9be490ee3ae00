"""The process of one item, seen from the run that started it. `absint.runs.worker` is its other end.

It leads a session of its own, and is killed with everything that it started. Its standard input stays open behind the order: it sees
the end of it once this process has died, however it died, and kills its own group then.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

from absint.contract.analysis import Item
from absint.runs.worker import LAST
from absint.solvers.child_interpreter import python_command, python_environment
from absint.solvers.isolated_process import end, ended

_CHUNK, _CHUNKS = 65_536, 64    # bytes, and how often in a row: more than a pipe holds
_TAIL = 8_192   # bytes of its standard error that are kept


class WorkerProcess:
    """A process that was given one order.

    attempt: 1 for an item's first process.  deadline: on the monotonic clock, when it is to be killed.  lines: that it has said.
    died: whether it ended by itself, or was killed from elsewhere.
    """

    def __init__(self, item: Item, order: Sequence[bytes], selector: selectors.BaseSelector, *, attempt: int, deadline: float,
                 environment: Mapping[str, str]) -> None:
        self.item, self.attempt, self.deadline = item, attempt, deadline
        self.lines: list[bytes] = []
        self.died = False
        self.begin = time.monotonic()
        self._torn, self._error = bytearray(), b""
        self._order = [memoryview(part) for part in order if part]
        self._selector = selector
        self._child = subprocess.Popen(
            python_command("-m", "absint.runs.worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0, start_new_session=True, env=python_environment(**environment))
        for stream, event in ((self._child.stdin, selectors.EVENT_WRITE), (self._child.stdout, selectors.EVENT_READ),
                              (self._child.stderr, selectors.EVENT_READ)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, event, self)

    @property
    def answered(self) -> bool:
        """Whether its answer is whole."""
        return bool(self.lines) and self.lines[-1].startswith(LAST)

    def settled(self) -> bool:
        """Whether nothing more is to be waited for: it has answered, or died, or its time is over."""
        self.died = ended(self._child)
        over = self.died or time.monotonic() >= self.deadline
        if over:
            for stream in (self._child.stdout, self._child.stderr):
                if stream is not None and stream in self._selector.get_map():
                    self.pump(stream)
        return over or self.answered

    @property
    def time_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.begin

    def pump(self, stream: IO[bytes]) -> None:
        """Write to a stream that is ready what of the order is left, or read what it holds. Never waits, nor stays for one that spouts."""
        try:
            if stream is self._child.stdin:
                self._write(stream)
                return
            for _ in range(_CHUNKS):
                data = os.read(stream.fileno(), _CHUNK)
                if not data:
                    break
                self._take(data, answer=stream is self._child.stdout)
            else:
                return
        except BlockingIOError:
            return
        except OSError:     # the other end is gone; that it has ended is seen elsewhere
            pass
        self._selector.unregister(stream)

    def end(self) -> None:
        """Kill what is left of its group, reap it, close the pipes."""
        streams = [stream for stream in (self._child.stdin, self._child.stdout, self._child.stderr) if stream is not None]
        for stream in streams:
            if stream in self._selector.get_map():
                self._selector.unregister(stream)
        end(self._child)
        for stream in streams:
            stream.close()

    def death(self) -> str:
        """How it died, once it was reaped: 'killed by SIGKILL'; the last line of its standard error with an exit status."""
        code = self._child.returncode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"killed by signal {-code}"
        last = self.error_lines[-1:]
        return f"exit status {code}{': ' if last else ''}{''.join(last)}" if code else "ended without a whole answer"

    @property
    def error_lines(self) -> list[str]:
        """The last lines of its standard error."""
        return [line for line in self._error.decode("utf-8", "replace").splitlines() if line.strip()]

    def _write(self, stream: IO[bytes]) -> None:
        while self._order:
            count = os.write(stream.fileno(), self._order[0][:_CHUNK])
            self._order[0] = self._order[0][count:]
            if not self._order[0]:
                del self._order[0]
        self._selector.unregister(stream)   # and stays open

    def _take(self, data: bytes, *, answer: bool) -> None:
        if not answer:
            self._error = (self._error + data)[-_TAIL:]
            return
        self._torn += data
        if b"\n" in data:
            *whole, rest = bytes(self._torn).split(b"\n")
            self.lines += whole
            self._torn = bytearray(rest)
