"""A clock for tests, which never assert how long something took."""

from __future__ import annotations


class Clock:
    """A clock that tests turn by hand: it stands still but for `tick` seconds at every reading."""

    def __init__(self) -> None:
        self.now, self.tick = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
