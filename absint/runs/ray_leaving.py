"""The processes of a cluster that this program started for itself: none outlives the run.

Ray ends its daemons, but not what those have started: agents of the nodes notice the end by themselves, within a minute or two.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from typing import Any

_GRACE = 5.0    # seconds for killed processes to be gone, and for what they were writing


class Offspring:
    """Children that this process did not have before, and all that they start. Without psutil, which Ray brings, nothing is known."""

    def __init__(self) -> None:
        self._before = set(_children())

    def processes(self) -> list[Any]:
        """Those that are there now; ask before a parent ends, whose children are then another's."""
        found = [one for one in _children() if one not in self._before]
        for one in tuple(found):
            with suppress(Exception):   # it ended in this moment
                found += one.children(recursive=True)
        return found


def kill(processes: list[Any]) -> None:
    """Those that still run; another process that has got the number of one by now is not taken for it."""
    alive = []
    for one in processes:
        with suppress(Exception):   # it ended, which was the aim
            if one.is_running():
                one.kill()
                alive.append(one)
    if alive:
        import psutil

        psutil.wait_procs(alive, timeout=_GRACE)


def remove(folder: str) -> None:
    """With all that is in it, also what a process that is about to end still writes there."""
    end = time.monotonic() + _GRACE
    shutil.rmtree(folder, ignore_errors=True)
    while os.path.exists(folder) and time.monotonic() < end:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _children() -> list[Any]:
    try:
        import psutil
    except ImportError:
        return []
    return list(psutil.Process().children())
