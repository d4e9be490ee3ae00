"""Kernels launched and waits for the card, stage by stage, against the limits that were reached: a ratchet (`limits.json`)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from device.parent import answer

LIMITS = json.loads((Path(__file__).parent / "limits.json").read_text())
ROOM, FAR = 1.02, 0.8


def over(counts, limits):
    """A line for each figure beyond its limit."""
    return [f"{stage}: {count} {kind}, the limit is {limits[stage][kind]}"
            for stage, found in counts.items() for kind, count in found.items() if count > ROOM * limits[stage][kind]]


def test_no_stage_launches_or_waits_more_than_it_did():
    told = answer(module="device.counting")
    assert set(told["counts"]) == set(LIMITS)
    worse = over(told["counts"], LIMITS)
    assert worse == [], {stage: told["places"][stage] for stage in LIMITS if any(line.startswith(f"{stage}:") for line in worse)}
    low = [f"{stage}: {count} {kind} of {LIMITS[stage][kind]}" for stage, found in told["counts"].items()
           for kind, count in found.items() if count < FAR * LIMITS[stage][kind]]
    if low:
        warnings.warn(f"far below their limits, which can be lowered (python -m device.counting device): {'; '.join(low)}", stacklevel=1)


def test_a_figure_beyond_its_limit_is_named():
    limits = {"box": {"kernels": 100, "syncs": 5}}
    assert over({"box": {"kernels": 102, "syncs": 5}}, limits) == []
    assert over({"box": {"kernels": 103, "syncs": 6}}, limits) == ["box: 103 kernels, the limit is 100", "box: 6 syncs, the limit is 5"]
