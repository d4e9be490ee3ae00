"""Where results go, and keeping a Ctrl-C from tearing a line."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from absint.errors import InputError, ResourceError, UsageError


def check_out(out: Path | None, inputs: dict[str, Path | None]) -> None:
    """Refuse to write the result over a file the run reads. Raises UsageError E-OUT."""
    if out is None:
        return
    for option, path in inputs.items():
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            raise UsageError("E-OUT", f"--out would overwrite the file given as {option}", where=str(out), hint="give another name")


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """stdout, or the file. Raises InputError E-OUT where it cannot be opened, ResourceError E-OUT-WRITE on a full disk."""
    if out is None:
        yield sys.stdout
        return
    try:
        stream = out.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError("E-OUT", f"cannot be written: {error.strerror}", where=str(out),
                         hint="give --out a file in a folder you may write") from error
    try:
        with stream:
            yield stream
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ResourceError("E-OUT-WRITE", f"cannot be written: {error.strerror}", where=str(out),
                            hint="free some space and run again") from error


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold a Ctrl-C back until the block is done, so that no line is written by half. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pending.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
    if pending:
        raise KeyboardInterrupt
