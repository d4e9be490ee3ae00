"""What is known of the errors of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from absint.contract.record import column

FALSIFIED, ATTACKED = "falsified", "attacked"
ATTACK = "attack"       # among the seconds; those of a domain of that name would be added


@dataclass(frozen=True)
class ImageErrors:
    """Of one image. correct: the network gets it right without any change.  predicted: its class, None for scores that are NaN.

    attacked: a point of its ball is proved to be misclassified, found by the attack; None where that was not asked, or not to the end.
    proved: by domain, whether it proves the image robust; None where it was not asked, or the whole run's time was up before.
    reasons: by domain, why not: 'imprecise', 'timeout', ...; 'falsified' where it found a witness, 'attacked' where the attack had.
    seconds: by domain, and of the `attack`.  cut: the limit of the whole run left something open.
    """

    index: int = column(width=5)
    label: int = column(width=5)
    predicted: int | None = column(width=9)
    correct: bool = column(width=7)
    attacked: bool | None = column(width=8)
    proved: Mapping[str, bool | None] = column(width=24)
    reasons: Mapping[str, str] = column(width=0)
    seconds: Mapping[str, float] = column(unit="s", width=0)
    time_s: float = column(0.0, unit="s")
    cut: bool = column(False, width=0)

    def answer(self, domains: Iterable[str]) -> bool | None:
        """Whether the image is robust by any of these domains: a misclassified one never is; None where that is open."""
        if not self.correct:
            return False
        found = [self.proved.get(name) for name in domains]
        return True if True in found else None if None in found else False

    @property
    def unbroken(self) -> bool | None:
        """Whether neither the input itself nor the attack is an error; what is proved cannot be attacked."""
        if not self.correct or self.attacked:
            return False
        return True if self.attacked is False or True in self.proved.values() else None

    def cells(self) -> Mapping[str, str]:
        """Those that prove it."""
        return {"proved": ", ".join(name for name, found in self.proved.items() if found)}
