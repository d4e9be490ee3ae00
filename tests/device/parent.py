"""Starts a process with the fake device: it has to be set up before autograd first runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent


def answer(*words: str, module: str = "device.child") -> dict[str, Any]:
    """What a process of that module says, given these words. Skips where torch has no such device, with the reason."""
    paths = [str(TESTS), str(TESTS / "support"), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    assert found.returncode == 0, found.stderr[-4000:]
    told: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    if told["why_not"] is not None:
        pytest.skip(told["why_not"])
    return told


def outcome(*words: str) -> dict[str, str]:
    """Scenario -> what went wrong, for those of these groups or names that failed."""
    failed: dict[str, str] = answer(*words)["failed"]
    return failed
