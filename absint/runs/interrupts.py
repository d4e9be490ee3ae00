"""Ctrl-C: once, the run ends in order with all that is known; twice, at once. A polite kill counts as a Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
_ENOUGH = 2     # interrupts after which nothing is waited for


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP do what SIGINT does, and the second interrupt ends the process.

    They raise KeyboardInterrupt, or wait where a Ctrl-C waits (`interrupts_deferred`). One that is ignored stays so: `nohup` means it.
    The second one is noticed by a thread, which needs no turn of Python's in the main thread: that may be inside a solver.
    Main thread only; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):   # a shell's background job ignores Ctrl-C, not a kill
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:      # no main interpreter
        previous = -1
    threading.Thread(target=_watch, args=(reader, {signal.SIGINT, *numbers}), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        with suppress(OSError):
            os.close(writer)    # ends the thread
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _watch(reader: int, numbers: set[int]) -> None:
    """Count interrupts; each arrives as one byte, its signal's number."""
    seen = 0
    try:
        while data := os.read(reader, 16):
            seen += sum(byte in numbers for byte in data)
            if seen >= _ENOUGH:
                os.write(2, b"interrupted twice: ended at once; what a journal holds is kept\n")
                os._exit(INTERRUPTED)
    except OSError:
        return
    finally:
        with suppress(OSError):
            os.close(reader)
