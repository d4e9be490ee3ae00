"""How long this process has been running: a time limit covers the start of Python and all imports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Invocation(tuple[str, ...]):
    """The words of a command line, when it began on the monotonic clock, and the plug-ins that defined its command.

    explain: what is done with the settled options instead of running the command.
    """

    begin: float
    loaded: tuple[Path, ...] = ()
    explain: Callable[[Any], int] | None = None

    @staticmethod
    def of(words: list[str], begin: float | None) -> Invocation:
        """begin: None for now."""
        made = Invocation(words)
        made.begin = time.monotonic() if begin is None else begin
        return made


def process_start() -> float:
    """When this process began, on the monotonic clock; where the system does not tell, now."""
    now = time.monotonic()
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - age if 0 <= age < 3600 else now
