"""What is said inside an epoch, for the line that moves on stderr: at most once a second, and nothing is computed for it in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

PAUSE = 1.0     # seconds between two texts


class EpochProgress:
    """Tells `run.stage` how far training is. Mutable: when it told last.

    stage: takes a text.  steps: of the whole training.  done: by an earlier run, which say nothing about the speed of this one.
    Time left is said in the first epoch of a run: after it the line itself says so, from whole epochs with their evaluations.
    """

    def __init__(self, stage: Callable[[str], None], steps: int, done: int = 0) -> None:
        self._stage, self._steps, self._done = stage, steps, done
        self._begin, self._last = time.monotonic(), -inf
        self._first: int | None = None      # epoch of this run

    def step(self, epoch: int, step: int, loss: Callable[[], float], eps: float) -> None:
        """After an optimiser step. loss: asked only when its number is shown, because asking makes a device wait."""
        self._first = epoch if self._first is None else self._first
        now = time.monotonic()
        if now - self._last < PAUSE:
            return
        self._last = now
        fresh = step - self._done
        left = (now - self._begin) / fresh * (self._steps - step) if fresh > 0 and epoch == self._first else None
        self._stage(told(step, self._steps, loss=loss(), eps=eps, left=left))

    def doing(self, text: str) -> None:
        """Something else than a step, such as an evaluation; told at once."""
        self._last = time.monotonic()
        self._stage(text)


def told(step: int, steps: int, *, loss: float, eps: float, left: float | None = None) -> str:
    """'step 1200/60000 ETA 12 min loss 0.42 eps 0.21': what may be cut off comes last; the line counts the epochs. left: seconds."""
    eta = "" if left is None else f" ETA {_duration(left)}"
    return f"step {step}/{steps}{eta} loss {loss:.3g} eps {eps:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
