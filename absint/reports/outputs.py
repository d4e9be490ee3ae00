"""One run on its way to several outputs: each gets every row, whatever becomes of the others."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from absint.contract.document import Document, Heading, Row
from absint.errors import AbsintError, PluginError, ResourceError, UsageError
from absint.reports.interface import Format, is_compressed, suffix_of
from absint.runs.output import check_out, check_writable, opened, opened_file

_DISK = (errno.ENOSPC, errno.EIO, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class _Output:
    """One format on its stream. failed: what broke it; it is given nothing from then on.  begun: whether it was given anything."""

    def __init__(self, path: Path | None, kind: type[Format]) -> None:
        self.path, self.kind = path, kind
        self.stack = ExitStack()
        self.format: Format | None = None
        self.failed: Exception | None = None
        self.begun = False

    def open(self) -> None:
        if self.path is not None:
            zipped = is_compressed(self.path)
            stream: Any = self.stack.enter_context(opened_file(self.path) if self.kind.binary else opened(self.path, zipped=zipped))
        else:
            stream = sys.stdout.buffer if self.kind.binary else sys.stdout
        self.format = self.step("made", self.kind, stream, "" if self.path is None else suffix_of(self.path))

    def give(self, what: str, name: str, value: Any) -> None:
        """One call of the format, unless it is broken."""
        self.begun = True
        if self.failed is None:
            try:
                self.step(what, getattr(self.format, name), value)
            except Exception as error:  # kept until the others have theirs
                self.failed = error

    def close(self) -> Exception | None:
        if self.format is not None and not self.begun:      # the run failed before: an empty file would say that it found nothing
            self._remove_empty()
        try:
            self.stack.close()
        except Exception as error:
            return error
        if isinstance(self.failed, UsageError):     # there is nothing to write in this format: no empty file says that there was
            self._remove_empty()
        return None

    def _remove_empty(self) -> None:
        with suppress(OSError):
            if self.path is not None and not self.path.is_symlink() and self.path.is_file() and not self.path.stat().st_size:
                self.path.unlink()

    def step(self, what: str, call: Callable[..., Any], *values: Any) -> Any:
        """Whatever a stranger's format raises becomes one coded message; a full disk is a full disk."""
        try:
            return call(*values)
        except AbsintError:
            raise
        except Exception as error:
            self._coded(what, error)

    def _coded(self, what: str, error: Exception) -> NoReturn:
        module = self.kind.__module__
        own = module.startswith("absint.")
        if isinstance(error, BrokenPipeError):
            raise error
        if isinstance(error, OSError) and (own or error.errno in _DISK):
            if self.path is None:
                raise error
            raise ResourceError("E-OUT-WRITE", f"cannot be written: {error.strerror or error}", where=str(self.path),
                                hint="free some space and run again") from error
        if own:
            raise error
        raise PluginError("E-PLUGIN-RAISED", f"the report could not be {what}: {type(error).__name__}: {error}", where=module,
                          hint="--debug shows the traceback") from error


class Outputs:
    """Formats that are given the same run, as one. A context: files are open, and locked, inside.

    A broken output (a stranger's error, a full disk, a closed pipe) never costs another its rows: what broke it is raised by `end`,
    or at once where none is left. The caller holds interrupts back (`interrupts_deferred`), so that no output lacks a row.
    """

    def __init__(self, wanted: Sequence[tuple[Path | None, type[Format]]]) -> None:
        """wanted: where to, None for stdout, and what. Raises UsageError E-OUT for two on one place, E-PLOT-FORMAT; nothing is opened."""
        for k, (path, kind) in enumerate(wanted):
            others = [other for other, _ in wanted[:k]]
            if path is None and None in others:
                raise UsageError("E-OUT", "two results would go to stdout", where="--out", hint="give all but one a file")
            for other in others:
                check_out(path, {"another --out": other})
            _check_kind(path, kind)
        self._outputs = [_Output(path, kind) for path, kind in wanted]

    def __enter__(self) -> Outputs:
        """Open all, or none. Raises what `opened_file` does, UnsupportedError for what is not installed, E-PLUGIN-RAISED."""
        for one in self._outputs:
            one.step("made", one.kind.check)
        for one in self._outputs:
            if one.path is None or not one.path.is_fifo():  # whose reader would take the first closing for the end
                check_writable(one.path)
        try:
            for one in self._outputs:
                one.open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all. Raises what closing one raised, where nothing else is on its way."""
        failed = self._close()
        if kind is None and failed:
            raise failed[0]

    def _close(self) -> list[Exception]:
        return [error for one in self._outputs if (error := one.close()) is not None]

    @property
    def busy(self) -> bool:
        """Whether rows appear on a terminal while the run goes on."""
        return any(one.path is None and one.kind.streams and sys.stdout.isatty() for one in self._outputs)

    @property
    def thorough(self) -> bool:
        """Whether one of them shows all that can be said."""
        return any(one.kind.thorough for one in self._outputs)

    def begin(self, heading: Heading) -> None:
        """The run starts."""
        self._each("begun", "begin", heading)

    def row(self, row: Row) -> None:
        """One item is decided."""
        self._each("written", "row", row)

    def end(self, document: Document) -> None:
        """The run is over. Raises what broke the first output that is broken, now or before."""
        self._each("ended", "end", document)
        for one in self._outputs:
            if one.failed is not None:
                raise one.failed

    def _each(self, what: str, name: str, value: Heading | Row | Document) -> None:
        for one in self._outputs:
            one.give(what, name, value)
        if self._outputs and all(one.failed is not None for one in self._outputs):
            raise next(one.failed for one in self._outputs if one.failed is not None)


def _check_kind(path: Path | None, kind: type[Format]) -> None:
    """What can be known of one output before anything is opened."""
    if path is None and kind.binary and sys.stdout.isatty():
        raise UsageError("E-OUT", "this format is no text, and stdout is a terminal", where="--out", hint="give --out FILE")
    if path is not None and kind.binary and not kind.draws and is_compressed(path):
        raise UsageError("E-OUT-GZIP", "this format is no text, and compressed in its own way", where=str(path),
                         hint=f"leave .gz away: {path.stem}")
    if path is not None and kind.draws and kind.suffixes and path.suffix.lower() not in kind.suffixes:
        raise UsageError("E-PLOT-FORMAT", f"no picture is written as '{path.suffix}'", where=str(path),
                         hint=f"use {', '.join(kind.suffixes)}")
