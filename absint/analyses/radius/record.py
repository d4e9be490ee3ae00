"""What is known of one input's robustness radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any, ClassVar

from absint.numeric.decimal import exact_text, float_above, float_below, outward_text
from absint.verdict import Reason

_SHORT = 10     # characters of an exact number that a table for people shows


@dataclass(frozen=True)
class RadiusResult:
    """What is known of one input's radius r*, the distance of the nearest input of another class: certified <= r* <= refuted.

    certified: every real input at most this far away (and in the data range) has the predicted class; exact; 0 where
    nothing was proved.  refuted: the distance of the nearest proved witness, rounded up to the grid; inf where none is known.
    witness: that point, flat float64.  calls: radii asked about.  reason: why the next radius of the grid is not certified,
    None where a witness or the untested upper end stands there; timeout: the search was cut short.  tied: several outputs
    are largest at the input itself, so that it has no class to keep.  time_s: its share of the wall time.  cut: the limit of
    the whole call ended it, not its own: with more time it deserves another try.
    Written: exact numbers as text; floats of them rounded down (certified) and up (refuted).
    """

    index: int
    certified: Fraction
    refuted: Fraction | float
    predicted: int | None
    label: int | None
    calls: int = 0
    reason: Reason | None = None
    tied: bool = False
    time_s: float = 0.0
    witness: tuple[float, ...] | None = None
    cut: bool = False

    COLUMNS: ClassVar = ("index", "label", "predicted", "certified", "refuted", "certified_exact", "refuted_exact", "calls", "reason",
                         "time_s", "witness")
    SHOWN: ClassVar = {"index": 5, "label": 5, "predicted": 9, "certified": 10, "refuted": 10, "calls": 5, "reason": 12}

    @property
    def short(self) -> bool:
        """Whether a time limit ended the search."""
        return self.reason is Reason.TIMEOUT

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        refuted = self.refuted if isinstance(self.refuted, Fraction) else None
        reason = "tie" if self.tied else None if self.reason is None else self.reason.value
        return {
            "index": self.index, "label": self.label, "predicted": self.predicted, "certified": float_below(self.certified),
            "refuted": None if refuted is None else float_above(refuted), "certified_exact": exact_text(self.certified),
            "refuted_exact": None if refuted is None else exact_text(refuted), "calls": self.calls, "reason": reason,
            "time_s": round(self.time_s, 6), "witness": None if self.witness is None else list(self.witness),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> RadiusResult:
        """What `as_dict` wrote."""
        refuted, reason, witness = row["refuted_exact"], row["reason"], row["witness"]
        return cls(
            int(row["index"]), Fraction(row["certified_exact"]), inf if refuted is None else Fraction(refuted), row["predicted"],
            row["label"], int(row["calls"]), None if reason in (None, "tie") else Reason(reason), reason == "tie", float(row["time_s"]),
            None if witness is None else tuple(map(float, witness)))

    def cells(self) -> Mapping[str, str]:
        """The exact numbers where they are short; else cut downward (certified) or upward (refuted)."""
        shown = {"certified": _shown(self.certified, -1)}
        return shown if not isinstance(self.refuted, Fraction) else {**shown, "refuted": _shown(self.refuted, 1)}


def _shown(value: Fraction, side: int) -> str:
    text = exact_text(value)
    return text if len(text) <= _SHORT else outward_text(value, side)
