"""From records to intervals: what is counted of a run that is whole, stopped, or looked at on its way.

Draws are counted in their order. A run that ended early has decided the easy ones first, wherever it decided several together: the
share of what is proved among all that is decided says too much. So only the longest complete prefix of the draws is counted, and

- of a run of a fixed number of draws, the others count as unknown: the number is what was planned, so that the interval is exact
  whatever ended the run;
- a sequential one ends with the prefix: its intervals hold at every number of draws at once, whatever it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from absint.numeric.statistics import binomial_lower, binomial_upper, confidence_ends

R = TypeVar("R")


@dataclass(frozen=True)
class Count:
    """Draws of one class. asked: planned.  counted: the longest complete prefix.  yes, no: proved either way, among the counted."""

    asked: int
    counted: int
    yes: int
    no: int

    @property
    def unknown(self) -> int:
        """Counted, and neither is proved."""
        return self.counted - self.yes - self.no

    @property
    def share(self) -> float | None:
        """Of `yes` among the counted; None of none."""
        return self.yes / self.counted if self.counted else None

    def interval(self, rest: Fraction, *, sequential: bool) -> tuple[float, float]:
        """Of the probability of a draw to be a true yes, but with probability `rest`.

        What is proved is at most what is true: [lower end of `yes`, upper end of all but `no`], both of the exact two-sided interval. Both
        ends of either interval grow with the count, so that it holds for every count between these two (Clopper-Pearson for a number of
        draws that was fixed before; a confidence sequence for any other).
        """
        if sequential:
            miss = float(rest)
            return confidence_ends(self.yes, self.counted, miss)[0], confidence_ends(self.counted - self.no, self.counted, miss)[1]
        half = float(rest / 2)
        return binomial_lower(self.yes, self.asked, half), binomial_upper(self.asked - self.no, self.asked, half)


def prefix(found: Mapping[int, R], order: Iterable[int]) -> list[R]:
    """The records of the first places in this order, up to the first one that has none."""
    out = []
    for place in order:
        if place not in found:
            break
        out.append(found[place])
    return out


def worst(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the least of several probabilities, each in its interval."""
    return min(low for low, _ in intervals), min(high for _, high in intervals)
