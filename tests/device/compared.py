"""What is done on the fake device is done on the CPU, too, and the results are compared.

The kernels are the same; sums may be taken in another order (convolutions are), so numbers agree up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fake_device import NAME, FakeDevice
from torch import Tensor

HOST = "cpu"
NARROW, WIDE = 1e-5, 1e-12    # tolerances where anything is computed in float32, and where nothing is
Scenario = Callable[[FakeDevice], object]


@dataclass(frozen=True)
class Entry:
    """group: scenarios that one process runs.  slow: only asked for by name or with the slow tests."""

    group: str
    run: Scenario
    slow: bool = False


SCENARIOS: dict[str, Entry] = {}


def scenario(group: str, name: str | None = None, *, slow: bool = False) -> Callable[[Scenario], Scenario]:
    """Enter a function; it raises where something is wrong."""

    def enter(run: Scenario) -> Scenario:
        SCENARIOS[name or run.__name__] = Entry(group, run, slow)
        return run

    return enter


def equal(there: Any, here: Any, where: str = "", tolerance: float = 0.0) -> None:
    """Raise AssertionError unless both hold the same values, NaN included. tolerance: relative to the greatest entry, or to 1."""
    if isinstance(here, Tensor):
        one, two = (side.detach().cpu().double() for side in (there, here))
        assert one.shape == two.shape, f"{where}: shape {tuple(one.shape)} on the device, {tuple(two.shape)} on the CPU"
        room = tolerance * max(1.0, float(two.nan_to_num(0.0, 0.0, 0.0).abs().amax())) if two.numel() else 0.0
        alike = (one == two) | (one.isnan() & two.isnan()) | ((one - two).abs() <= room)
        assert bool(alike.all()), f"{where}: {one[~alike][:3].tolist()} on the device, {two[~alike][:3].tolist()} on the CPU"
    elif isinstance(here, Mapping):
        assert list(there) == list(here), where
        for key, value in here.items():
            equal(there[key], value, f"{where}[{key}]", tolerance)
    elif isinstance(here, Sequence) and not isinstance(here, str):
        assert len(there) == len(here), where
        for place, (one, two) in enumerate(zip(there, here, strict=True)):
            equal(one, two, f"{where}[{place}]", tolerance)
    elif isinstance(here, float):
        equal(torch.tensor(there, dtype=torch.float64), torch.tensor(here, dtype=torch.float64), where, tolerance)
    else:
        assert there == here, f"{where}: {there!r} on the device, {here!r} on the CPU"


def both(run: Callable[[str], Any], where: str = "", tolerance: float = 0.0) -> None:
    """`run(device)` finds the same on both."""
    equal(run(NAME), run(HOST), where, tolerance)
