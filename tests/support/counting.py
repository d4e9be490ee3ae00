"""In the place of a stop-watch: work is counted, and what another process does is waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def work(run: Callable[[], object]) -> int:
    """How many functions `run()` calls in this thread, Python's and C's: the same on every machine, busy or not."""
    calls = 0

    def count(frame: Any, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def until(condition: Callable[[], T], patience: float = 60.0) -> T:
    """What `condition()` returns once it is true. Fails where it never is; how soon it is decides nothing."""
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() >= end:
            pytest.fail(f"waited {patience:g} s in vain")
        time.sleep(0.01)
    return found
