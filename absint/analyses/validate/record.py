"""What is known of one input that was validated, and of one category of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import isnan, nan
from typing import Any, ClassVar

from absint.numeric.decimal import exact_text

CALIBRATION, VALID, MISCLASSIFIED = "calibration", "valid", "misclassified"
_FIRST = 10     # radii whose mean the paper states


class Basis(Enum):
    """What a decision rests on."""

    PROOF = "proof"              # the ball of the threshold's radius was proved, or was not
    RADIUS = "radius"            # the radius reaches sigma0
    NORMALITY = "normality"      # the fall of the window's p-value, against sigma1
    THRESHOLD = "threshold"      # the window tells nothing: the radius against the threshold


@dataclass(frozen=True)
class Decision:
    """About one input. radius: certified, exact; None in mode threshold, which does not look for it.

    predicted: the network's answer; None where there is none (a tie, or outputs that are not finite): such an input is rejected.
    """

    index: int
    accepted: bool
    predicted: int | None
    basis: Basis
    radius: Fraction | None
    time_s: float

    COLUMNS: ClassVar = ("index", "accepted", "predicted", "basis", "radius", "time_s")
    SHOWN: ClassVar = {"index": 5, "accepted": 8, "predicted": 9, "basis": 9, "radius": 10}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the radius as exact text."""
        return {"index": self.index, "accepted": self.accepted, "predicted": self.predicted, "basis": self.basis.value,
                "radius": None if self.radius is None else exact_text(self.radius), "time_s": round(self.time_s, 6)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Decision:
        """What `as_dict` wrote."""
        if not isinstance(row["accepted"], bool):
            raise TypeError(f"no decision: {row['accepted']!r}")
        return cls(int(row["index"]), row["accepted"], row["predicted"], Basis(row["basis"]),
                   None if row["radius"] is None else Fraction(row["radius"]), float(row["time_s"]))

    def cells(self) -> Mapping[str, str]:
        """A rejection catches the eye."""
        return {"accepted": "accepted" if self.accepted else "REJECTED"}


@dataclass(frozen=True)
class Category:
    """Certified radii of one kind of input, in whole steps of the grid. index: its place among the categories.

    step: the length of one, in raw input units.  originals: places of the inputs in the data.  tried: those that were looked at
    or attacked.  calls, seconds: of the search for the radii.  linf, l2: mean distances from the originals, NaN for none.
    threshold, alarms: of the calibration's inputs alone: the radius (in steps) to ask for, and how many of them it rejects.
    """

    index: int
    name: str
    step: Fraction
    steps: tuple[int, ...]
    originals: tuple[int, ...]
    tried: int
    calls: int = 0
    seconds: float = 0.0
    linf: float = nan
    l2: float = nan
    threshold: int | None = None
    alarms: int | None = None

    COLUMNS: ClassVar = ("index", "category", "inputs", "tried", "mean_radius", "mean_radius_first10", "normality_p", "mean_linf",
                         "mean_l2", "calls", "seconds", "threshold_steps", "alarms", "step", "steps", "originals")
    SHOWN: ClassVar = {"category": 24, "inputs": 6, "tried": 6, "mean_radius": 11, "seconds": 8}

    def __len__(self) -> int:
        return len(self.steps)

    def rejected(self, threshold: int) -> int:
        """Inputs whose radius is below the threshold (in steps)."""
        return sum(k < threshold for k in self.steps)

    def mean(self, first: int | None = None) -> float:
        """The mean radius in raw units, of the first few where told; NaN for none."""
        steps = self.steps[:first]
        return float(self.step * sum(steps) / len(steps)) if steps else nan

    def normality(self) -> float:
        """The p-value of its radii; NaN where it has none."""
        from absint.analyses.validate.normality import normality

        return normality([float(k * self.step) for k in self.steps])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with what follows from the radii."""
        return {
            "index": self.index, "category": self.name, "inputs": len(self), "tried": self.tried, "mean_radius": number(self.mean()),
            "mean_radius_first10": number(self.mean(_FIRST)), "normality_p": number(self.normality()), "mean_linf": number(self.linf),
            "mean_l2": number(self.l2), "calls": self.calls, "seconds": round(self.seconds, 3), "threshold_steps": self.threshold,
            "alarms": self.alarms, "step": str(self.step), "steps": list(self.steps), "originals": list(self.originals),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Category:
        """What `as_dict` wrote; what follows from the radii is not read back."""
        linf, l2 = (nan if row[name] is None else float(row[name]) for name in ("mean_linf", "mean_l2"))
        return cls(int(row["index"]), str(row["category"]), Fraction(row["step"]), tuple(map(int, row["steps"])),
                   tuple(map(int, row["originals"])), int(row["tried"]), int(row["calls"]), float(row["seconds"]), linf, l2,
                   row["threshold_steps"], row["alarms"])


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if isnan(value) else value
