"""Results of earlier runs at the places of this one: where it fails before it writes its own, they do not stay as if they were."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from absint.errors import InputError, printable
from absint.runs.output import claim

SUFFIX = ".earlier"
_STANDARD = (0, 1, 2)               # descriptors that the caller opened
_DEVICES = ("/dev", "/proc")        # names there are of what somebody opened, and no places


class EarlierResults:
    """Mutable: what lay at places for results before the run wrote there."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, ...]] = {}

    def look_at(self, places: Iterable[Path | None]) -> None:
        """Of files that hold something; called before any of them is opened for this run."""
        self._seen |= {path: seen for path in places if path is not None and (seen := _seen(path))}

    def set_aside(self) -> Iterator[str]:
        """Give those that are what they were another name, NAME.earlier, or NAME.earlier-2 where that is taken; a line for each.

        Nothing is ever replaced. Of a link, it is the file that is renamed: the link stays for the next run.
        """
        for path, seen in self._seen.items():
            try:
                with path.open("rb") as file:
                    claim(file, _BusyError("E-OUT-BUSY", ""))    # another run is writing there: that is a result to come
                    if _seen(path) == seen:
                        yield _renamed(path)
            except (OSError, _BusyError):
                continue


class _BusyError(InputError):
    """Another run writes there."""


def _renamed(path: Path) -> str:
    """What became of it."""
    old = Path(os.path.realpath(path))
    for number in count(1):
        aside = old.with_name(f"{old.name}{SUFFIX}" if number == 1 else f"{old.name}{SUFFIX}-{number}")
        try:
            os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))      # the name is ours: nobody else's file is replaced
        except FileExistsError:
            continue
        except OSError:     # a folder that may not be written, a name that is too long
            break
        try:
            old.replace(aside)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            break
        where = aside if old.parent != Path(os.path.realpath(path.parent)) else aside.name
        return f"note: {path} is of an earlier run, and is now {where}: this one wrote nothing there"
    return f"note: {path} is of an earlier run: this one wrote nothing there"


def _seen(path: Path) -> tuple[int, ...]:
    """What changes when a file is written or replaced; empty for none, an empty one, a device, or what is open already."""
    try:
        found = os.stat(path)
        folder = os.path.realpath(path.parent)
    except (OSError, ValueError):
        return ()
    if not (stat.S_ISREG(found.st_mode) and found.st_size) or _is_standard(found):
        return ()
    if any(os.path.commonpath((folder, one)) == one for one in _DEVICES if os.path.isabs(folder)):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_standard(found: os.stat_result) -> bool:
    """Whether it is where stdout or stderr go: it holds what else the caller wrote there."""
    for one in _STANDARD:
        with suppress(OSError):
            if os.path.samestat(os.fstat(one), found):
                return True
    return False


@contextmanager
def set_aside_on_failure() -> Iterator[EarlierResults]:
    """Whatever the block raises, earlier results that it did not write over get another name first."""
    earlier = EarlierResults()
    try:
        yield earlier
    except BaseException:
        for line in earlier.set_aside():
            with suppress(OSError, ValueError):     # stderr that is closed hides no error
                sys.stderr.write(f"{printable(line)}\n")
        raise
