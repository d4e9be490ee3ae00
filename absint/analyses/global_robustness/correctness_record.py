"""What is known of one block of draws of one class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from absint.contract.record import column


@dataclass(frozen=True)
class CorrectnessBlock:
    """Of draws `first` to `first + draws - 1` of a class, by one generator, before one classifier.

    right, wrong: so many are proved to be classified as the class, or as another; the others tie within rounding.
    mistaken: the wrong ones, and what they are taken for.  lowest: those that lead all other classes least, and by how much.
    skipped: not drawn, because the class's interval was narrow enough already.  cut: the limit of the whole run ended it.
    """

    index: int = column(width=5)
    classifier: str = column(width=12)
    generator: str = column(width=12)
    label: int = column(width=5)
    first: int = column(width=8)
    draws: int = column(width=6)
    right: int = column(width=6)
    wrong: int = column(width=6)
    mistaken: Mapping[str, int] = column(width=0)
    lowest: tuple[tuple[int, float], ...] = column(width=0)
    skipped: bool = column(False, width=0)
    time_s: float = column(0.0, unit="s", width=8)

    @property
    def open(self) -> int:
        """Draws of which neither is proved."""
        return self.draws - self.right - self.wrong

    def cells(self) -> Mapping[str, str]:
        """Times to the millisecond."""
        return {"time_s": f"{self.time_s:.3f}"}
