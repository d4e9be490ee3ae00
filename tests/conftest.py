"""Where every test starts, whatever ran before it and whatever runs beside it.

One thread: the networks are tiny, waiting threads cost more than they compute, and the cores belong to the other workers.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; programs that tests start inherit it

import time
from collections.abc import Iterator

import pytest
import torch

from absint.backend import numeric_mode

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _afresh() -> None:
    """Torch's own generator, which initialises layers, stands at the same place, and one thread computes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def numerics() -> Iterator[None]:
    """In the mode that every analysis switches on, for tests of what runs inside one."""
    with numeric_mode():
        yield


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


class Clock:
    """A clock that tests turn by hand: it stands still but for `tick` seconds at every reading."""

    def __init__(self) -> None:
        self.now, self.tick = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of `time.monotonic`, which all time limits are counted on."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made
