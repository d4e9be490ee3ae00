"""What is known of one row of an evaluation: one perturbation of all inputs."""

from __future__ import annotations

from dataclasses import dataclass

from absint.contract.record import column

CLEAN, ALL, SUPPORT = "clean", "all", "support"


@dataclass(frozen=True)
class PerturbedRow:
    """Counts over all n perturbed inputs, whether the network still gets them right or not.

    region: which entries may change: all, those of the support, or none of the clean row.  correct: labelled right by the network.
    alarms: of any trap.  by_key: of each.  fooled: labelled right as they were and wrong now; fooled_alarms: those of them with an alarm.
    gave_up: the attack found nothing that it calls adversarial, and its last step was sent.
    unsteady: close enough to a threshold that float32 executions may disagree on an alarm.  nan: a watched value is none.
    l2, linf: mean distances from the originals, None of the clean row.  together: inputs on which key i (row) and key j alarm.
    without: inputs on which some other key than i does.  ratios: of each input, the greatest z / T of all keys.
    """

    index: int = column(width=0)
    perturbation: str = column(width=24)
    region: str = column(width=7)
    n: int = column(width=5)
    correct: int = column(width=7)
    alarms: int = column(width=6)
    fooled: int = column(width=6)
    fooled_alarms: int = column(width=13)
    gave_up: int = column(width=7)
    unsteady: int = column(width=8)
    nan: int = column(width=4)
    l2: float | None = column(width=8)
    linf: float | None = column(width=8)
    by_key: tuple[int, ...] = column(width=0)
    together: tuple[tuple[int, ...], ...] = column(width=0)
    without: tuple[int, ...] = column(width=0)
    ratios: tuple[float, ...] = column(width=0)
    time_s: float = column(0.0, unit="s")

    @property
    def name(self) -> str:
        """'fgsm:eps=0.1, support'."""
        return row_name(self.perturbation, self.region)


def row_name(perturbation: str, region: str) -> str:
    """What messages call a row; what changes everything needs no word for it."""
    return f"{perturbation}, {region}" if region == SUPPORT else perturbation
