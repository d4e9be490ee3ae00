"""`absint.toml`: where it lies, what stands in it, and on which line. What its keys mean is said by `project_keys`."""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.errors import InputError, printable

NAME = "absint.toml"
PROFILES = "profile"        # the table of named sets of options
_WITHOUT = "mend it, name another one with --config FILE, or go without: --no-config"
_MOST_LINES = 5000          # of a file whose lines are numbered in messages: a statement is looked for by reading it again and again

Way = tuple[str, ...]


class WrittenFloat(str):
    """A number with a point or an exponent as it is written: options that are exact take its decimals, not the float beside them."""

    __slots__ = ()


@dataclass(frozen=True)
class ProjectFile:
    """One file. path: from the working directory.  content: as TOML has it.  lines: of each key, by its way through the tables.

    sha256: of its bytes.
    """

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[Way, int]
    sha256: str

    def place(self, way: Way) -> str:
        """'absint.toml:3', without the line where it is not known."""
        line = self.lines.get(way)
        return str(self.path) if line is None else f"{self.path}:{line}"

    def beside(self, name: str) -> Path:
        """A file that is named in this one: relative to its folder; '~' is the user's own."""
        with suppress(RuntimeError):        # no home: the name as it is
            name = str(Path(name).expanduser()) if name.startswith("~") else name
        return self.path.parent / name

    def profiles(self) -> list[str]:
        """Names of its profiles, in their order."""
        tables = self.content.get(PROFILES)
        return list(tables) if isinstance(tables, Mapping) else []


def found_file() -> Path | None:
    """The nearest `absint.toml`, upward from the working directory, no further than the root of a repository; None where there is none.

    One above that another user put there is passed over, with a word: who may write into /tmp says nothing about what others verify.
    """
    try:
        start = Path.cwd()
    except OSError:     # a folder that is gone
        return None
    for folder in (start, *start.parents):
        with suppress(OSError):
            file = folder / NAME
            if file.is_file():
                return _trusted(file, start)
            if (folder / ".git").exists():
                return None
    return None


def _trusted(file: Path, start: Path) -> Path | None:
    shown = Path(os.path.relpath(file, start))
    if file.parent == start or not hasattr(os, "geteuid") or file.stat().st_uid in (os.geteuid(), 0, start.stat().st_uid):
        return shown
    sys.stderr.write(printable(f"note: {shown} belongs to another user and is not read; --config {shown} reads it") + "\n")
    return None


def read(path: Path) -> ProjectFile:
    """Raises InputError E-CONFIG-FILE where it cannot be read, E-CONFIG where it is no TOML."""
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError("E-CONFIG-FILE", f"the project file cannot be read: {why}", where=str(path), hint=_WITHOUT) from error
    try:
        text = raw.decode("utf-8-sig")
        content = _parsed(text)
    except (ValueError, RecursionError) as error:
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).splitlines()[0][:200]
        raise InputError("E-CONFIG", f"no TOML: {what}", where=str(path), hint=_WITHOUT) from error
    return ProjectFile(path, content, dict(_numbered(text)), hashlib.sha256(raw).hexdigest())


def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=lambda written: WrittenFloat(written.replace("_", "")))


def _numbered(text: str) -> Iterator[tuple[Way, int]]:
    """Where each key is stated. tomllib does not say: a statement is as many lines as make TOML of it."""
    lines = text.split("\n")
    if len(lines) > _MOST_LINES:
        return
    table: Way = ()
    first = 0
    for last in range(len(lines)):
        try:
            stated = _parsed("\n".join(lines[first : last + 1]))
        except (ValueError, RecursionError):
            continue        # a text or a list goes on
        header = lines[first].lstrip().startswith("[")
        for way in _ways(stated):
            yield ((*(() if header else table), *way), first + 1)
            table = way if header else table
        first = last + 1


def _ways(stated: Mapping[str, Any]) -> Iterator[Way]:
    """Every table on the way, then the keys: of a header the last one is the table itself."""
    for key, value in stated.items():
        yield (key,)
        if isinstance(value, Mapping):
            yield from ((key, *way) for way in _ways(value))
