"""Where results go, and keeping a Ctrl-C from tearing a line."""

from __future__ import annotations

import gzip
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, TextIO

from absint.errors import InputError, ResourceError, UsageError

_TRIES = 10     # a file system whose files have no lasting numbers is no reason to wait for ever


def check_out(out: Path | None, inputs: dict[str, Path | None], option: str = "--out") -> None:
    """Refuse to write a result over a file the run reads, or over another result. Raises UsageError E-OUT."""
    if out is None:
        return
    for other, path in inputs.items():
        if path is not None and _same(out, path):
            raise UsageError("E-OUT", f"{option} would overwrite the file given as {other}", where=str(out), hint="give another name")


def _same(one: Path, two: Path) -> bool:
    try:
        return one.samefile(two) if one.exists() and two.exists() else one.resolve() == two.resolve()
    except OSError:
        return False


@contextmanager
def opened(out: Path | None, *, zipped: bool = False) -> Iterator[TextIO]:
    """stdout, or the file, compressed by gzip where it is to be. Raises what `opened_file` does.

    What is compressed has no time stamp: the same text gives the same bytes. Without any text the file stays empty.
    """
    if out is None:
        yield sys.stdout
        return
    with opened_file(out) as raw:
        binary: Any = _Gzipped(raw) if zipped else raw
        with io.TextIOWrapper(binary, "utf-8", "backslashreplace", "\n") as stream:
            yield stream


class _Gzipped(io.BufferedIOBase):
    """Bytes on their way to a file, compressed; what was flushed can be read back, whatever becomes of the rest."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._file: gzip.GzipFile | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """The first bytes begin the file."""
        if self._file is None:
            self._file = gzip.GzipFile("", "wb", fileobj=self._raw, mtime=0)
        return self._file.write(data)

    def flush(self) -> None:
        """All that was written is in the file."""
        if self._file is not None:
            self._file.flush()
            self._raw.flush()

    def close(self) -> None:
        """With the end of the compressed data; the file itself is its owner's."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        finally:
            super().close()


@contextmanager
def opened_file(out: Path, option: str = "--out") -> Iterator[BinaryIO]:
    """A file for a result, emptied once it is ours alone.

    Raises InputError E-OUT where it cannot be opened, E-OUT-BUSY while another run writes it, ResourceError E-OUT-WRITE
    on a full disk.
    """
    stream = _claimed(out, option)
    try:
        with stream:
            if _is_regular(stream):
                stream.truncate(0)
            yield stream
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ResourceError("E-OUT-WRITE", f"cannot be written: {error.strerror}", where=str(out),
                            hint="free some space and run again") from error


def check_writable(out: Path | None, option: str = "--out") -> None:
    """Raise what `opened_file` would when it opens, before a run spends time on a result that has no place to go.

    A file that was not there is not there afterwards: no empty one looks like a result.
    """
    if out is None:
        return
    fresh = not os.path.exists(out)
    with _claimed(out, option) as stream:
        if fresh and _is_regular(stream) and not os.fstat(stream.fileno()).st_size:
            with suppress(OSError):
                os.unlink(os.path.realpath(out))     # of a link, what it points to


def _claimed(out: Path, option: str) -> BinaryIO:
    """Locked. Another run may rename or remove the file between opening and locking: what has lost its name is opened anew."""
    for _ in range(_TRIES):
        stream = _locked(out, option)
        if not _is_regular(stream) or _is_named(stream, out):
            return stream
        stream.close()
    return _locked(out, option)


def _is_named(stream: BinaryIO, out: Path) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(out))
    except OSError:
        return False


def _locked(out: Path, option: str) -> BinaryIO:
    try:
        # Mode "w" would empty the file of a run that is still writing it.
        stream = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "wb")
    except OSError as error:
        raise InputError("E-OUT", f"cannot be written: {error.strerror}", where=str(out),
                         hint=f"give {option} a file in a folder you may write") from error
    try:
        if _is_regular(stream):
            claim(stream, InputError("E-OUT-BUSY", "another run is writing this file", where=str(out),
                                     hint="wait for it, or give another name"))
    except InputError:
        stream.close()
        raise
    return stream


def _is_regular(stream: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def claim(file: BinaryIO, busy: Exception) -> None:
    """Lock an open file until it is closed. Raises `busy` where another run holds it."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    except OSError:
        return  # a file system without locks


def in_use(file: BinaryIO) -> bool:
    """Whether a run holds this file, open for reading here, to write it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except (ImportError, OSError):      # a system or a file system without locks
        return False
    return False


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
