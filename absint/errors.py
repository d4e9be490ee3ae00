"""One exception tree. Every error a user can cause carries a stable code and says what, where, why, and what to do.

The command line prints `render()` and leaves with `exit_code`; a library user catches `AbsintError` or a subclass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import ClassVar

# What moves a cursor, rings, recolours or reorders on a terminal: C0 and C1 but for tab and line feed, and bidirectional marks.
# Lone surrogates, which a file name of undecodable bytes becomes, stop a stream of UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LENGTH = 60    # of a value in a message
_FILES = 5000   # of a folder that are compared with the name of one that is not there
_LINE = 1200    # of a line of a message: what is longer quotes a value that nobody reads to its end


def printable(text: str) -> str:
    """Text out of a user's file, for people to read: control characters as escapes, which no terminal obeys."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shown(value: object) -> str:
    """A user's value in a message: numbers, text and short lists as they are where that is short, anything else by its type."""
    plain = value is None or isinstance(value, (str, int, float)) or (isinstance(value, (tuple, list)) and len(value) <= 4)
    try:
        text = repr(value) if plain else ""
    except Exception:    # whole numbers of thousands of digits, or an entry of a stranger's class
        text = ""
    return text if 0 < len(text) <= _LENGTH else f"a value of type {type(value).__name__}"


def missing_hint(path: str | Path) -> str:
    """What to do about a file that is not there: it is a link, its folder is not there either, or another name is close; else ''."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        return "links are not followed: download it, and give the path of the copy"
    path = Path(path)
    try:
        if not path.parent.is_dir():
            return f"there is no folder {path.parent} either: paths start at {Path.cwd()}"
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _FILES)]
    except OSError:
        return ""
    near = [name for name in sorted(names) if path.name and name.rpartition(".")[0] == path.name]
    near = near or get_close_matches(path.name, names, 1, 0.8)
    return f"did you mean {path.parent / near[0]}?" if near else ""


def _cut(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} ... {line[-_LINE // 4 :]}"


class AbsintError(Exception):
    """Base of every error absint raises on purpose.

    code: stable identifier such as "E-OP-UNSUPPORTED".  where: the file, option or argument at fault.
    details: one line per offender, all of them at once.  hint: what the user can do.
    """

    exit_code: ClassVar[int] = 70

    def __init__(
        self, code: str, what: str, *, where: str | None = None, details: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.details = tuple(details)
        self.hint = hint

    def render(self) -> str:
        """The message as printed on stderr: one headline, one line per offender, one line of advice; vast values are cut."""
        place = f"{self.where}: " if self.where else ""
        lines = [f"error[{self.code}] {place}{self.what}", *(f"  {line}" for line in self.details)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return printable("\n".join(map(_cut, lines)))

    def __str__(self) -> str:
        return self.render()


class UsageError(AbsintError):
    """The command or call itself is wrong: an unknown option value, a contradictory combination."""

    exit_code = 2


class InputError(AbsintError):
    """A file, tensor or number the user gave is missing, malformed or out of range."""

    exit_code = 3


class UnsupportedError(AbsintError):
    """The input is well formed but uses something absint does not (yet) handle soundly."""

    exit_code = 4


class ResourceError(AbsintError):
    """Memory, disk or time ran out, or a device is not there."""

    exit_code = 5


class InternalError(AbsintError):
    """absint contradicted itself: a bug. Never a verdict."""

    exit_code = 70


class PluginError(AbsintError):
    """A plug-in could not be loaded, raised, or broke its contract."""

    exit_code = 4
