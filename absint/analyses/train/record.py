"""What is known of one epoch of training, and of the evaluation that closes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import isnan
from typing import ClassVar

from absint.contract.record import column
from absint.numeric.percent import percent_text


class Phase(StrEnum):
    """Of a schedule: eps 0; eps rises; eps is full; training is over and its network is measured."""

    WARM_UP = "warm-up"
    RAMP = "ramp"
    FULL = "full"
    FINAL = "final"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, or with phase 'final' the closing evaluation. What was not measured is None.

    index: of the record, from 0.  epoch: from 1; of the closing evaluation, that of the network measured.  step: optimiser steps so far.
    loss, train_error: means over the epoch's batches, as trained.  eps, kappa, rate: at the epoch's last step.
    clean_error, pgd_error, verified_error: shares in [0, 1] of the first *_n test images, at the full eps; misclassified ones count.
    verified_error: of images that the outward-rounded bounds leave unproved.
    width: sum over hidden layers of the mean squared distance between upper and lower bounds, on test images at the full eps.
    mean_clean, mean_pgd, mean_verified: means of the errors over the epochs measured so far.  seconds: wall time of the epoch.
    """

    index: int
    phase: Phase = column(width=0)
    epoch: int = column(unit="epochs", width=0)
    step: int = column(unit="steps", width=0)
    loss: float | None = column(None, width=0)
    train_error: float | None = column(None, unit="share of training images", width=0)
    eps: float = column(0.0, unit="raw input units", width=0)
    kappa: float | None = column(None, width=0)
    rate: float | None = column(None, unit="per step", width=0)
    clean_error: float | None = column(None, unit="share of test images", width=0)
    clean_n: int = column(0, unit="test images", width=0)
    pgd_error: float | None = column(None, unit="share of test images", width=0)
    pgd_n: int = column(0, unit="test images", width=0)
    verified_error: float | None = column(None, unit="share of test images", width=0)
    verified_n: int = column(0, unit="test images", width=0)
    width: float | None = column(None, unit="squared units of hidden layers", width=0)
    mean_clean: float | None = column(None, unit="share of test images", width=0)
    mean_pgd: float | None = column(None, unit="share of test images", width=0)
    mean_verified: float | None = column(None, unit="share of test images", width=0)
    seconds: float = column(0.0, unit="s", width=0)

    SHOWN: ClassVar[Mapping[str, int]] = {
        "epoch": 5, "phase": 7, "loss": 7, "eps": 6, "clean%": 6, "pgd%": 5, "verif%": 6, "width": 7, "rate": 7, "s": 4}

    def lines(self) -> Sequence[Mapping[str, str]]:
        """One line of a live table of at most 80 characters; errors in per cent."""
        return [{
            "epoch": str(self.epoch), "phase": self.phase.value, "loss": _short(self.loss), "eps": _short(self.eps),
            "clean%": per_cent(self.clean_error, self.clean_n), "pgd%": per_cent(self.pgd_error, self.pgd_n),
            "verif%": per_cent(self.verified_error, self.verified_n, upward=True), "width": _short(self.width), "rate": _short(self.rate),
            "s": f"{self.seconds:.0f}" if self.seconds >= 10 else f"{self.seconds:.1f}",
        }]


def per_cent(share: float | None, n: int, *, upward: bool = False) -> str:
    """A share of n images with one decimal. upward: rounded so, as for what is no more than an upper bound; else to the nearest."""
    if share is None or n <= 0 or isnan(share):
        return ""
    return percent_text(Fraction(round(share * n), n), side=1 if upward else 0)


def _short(value: float | None) -> str:
    """Three digits where they fit into 7 characters, else two; exponents as short as they can be written: 1.25e-5, 2.9e4."""
    if value is None:
        return ""
    three, two = (f"{value:{form}}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") for form in (".3g", ".1e"))
    return three if len(three) <= 7 else two
