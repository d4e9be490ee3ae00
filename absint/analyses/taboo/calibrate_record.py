"""What is known of one block of training inputs."""

from __future__ import annotations

from dataclasses import dataclass

from absint.contract.record import column


@dataclass(frozen=True)
class ThresholdBlock:
    """Of the inputs at places `first` to `first + inputs - 1` of those that thresholds are made of. Lists go by watched neuron.

    upper: the greatest value that any float32 execution can have on any of them.  executed: the greatest of one execution.
    rows: what the rule keeps (`absint.analyses.taboo.thresholds`).  refined: bounds that the domain was asked for.  open: those that it
    had no time for: they count as boxes have them.
    """

    index: int = column(width=5)
    first: int = column(width=8)
    inputs: int = column(width=8)
    upper: tuple[float, ...] = column(width=0)
    executed: tuple[float, ...] = column(width=0)
    rows: tuple[tuple[float, ...], ...] = column(width=0)
    refined: int = column(0, width=8)
    open: int = column(0, width=6)
    time_s: float = column(0.0, unit="s", width=8)
