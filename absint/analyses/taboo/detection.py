"""What a detector says of one input."""

from __future__ import annotations

from dataclasses import dataclass

from absint.contract.record import column


@dataclass(frozen=True)
class Detection:
    """Of one input. traps: by trap, whether it alarms.  over: how far the neuron that is furthest above its threshold is above it (float32
    values; negative: below).  neuron: which one, where there is an alarm.

    sure: every float32 execution, in any order of summation, answers the same.  broken: a watched value is NaN or infinite, an alarm.
    """

    index: int = column(width=5)
    label: int | None = column(width=5)
    predicted: int = column(width=9)
    alarm: bool = column(width=5)
    over: float = column(width=10)
    neuron: str | None = column(width=16)
    sure: bool = column(width=4)
    traps: tuple[bool, ...] = column(width=0)
    broken: bool = column(False, width=0)
    time_s: float = column(0.0, unit="s", width=0)
