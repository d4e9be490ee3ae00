"""What is proved of a trap's alarms around one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import inf
from typing import Any, ClassVar

from absint.numeric.decimal import exact_text, float_above, float_below, outward_text
from absint.verdict import Reason

_SHORT = 10     # characters of an exact number that a table for people shows


class Outcome(Enum):
    """Of a ball cut to the data range."""

    QUIET = "quiet"             # proved: no execution on any float32 input of it alarms
    ALARMED = "alarmed"         # proved: every execution on every float32 input of it alarms
    REACHABLE = "reachable"     # an input of it alarms: proved in exact arithmetic, and seen in the reference runtime
    OPEN = "open"               # none of these; `reason` says why


@dataclass(frozen=True)
class TabooCertificate:
    """What is proved around one input.

    outcome: of the ball of radius `eps`; where radii are looked for (`eps` None), of that of radius `certified`, and reachable where no
    radius is certified and an alarm is known at `refuted`.
    certified: the outcome is proved of every input, as float32 holds it, at most this far away (and in the data range); exact; 0 where
    nothing is.
    refuted: the distance of the nearest proved witness against it, rounded up to the grid; inf where none is known.
    alarm: whether the input itself alarms in the reference runtime.  tensor, entry: the neuron that alarms at the witness, or at the
    input of a ball that is alarmed; of an open ball, the one that is furthest from proved.  reason: why no more is proved.
    calls: radii asked about.  witness: flat float64.  time_s: its share of the wall time.  cut: the limit of the whole run ended it.
    Written: exact numbers as text; floats of them rounded down (certified) and up (refuted).
    """

    index: int
    outcome: Outcome
    alarm: bool | None
    eps: Fraction | None = None
    certified: Fraction | None = None
    refuted: Fraction | float | None = None
    tensor: str | None = None
    entry: int | None = None
    reason: Reason | None = None
    calls: int = 0
    time_s: float = 0.0
    witness: tuple[float, ...] | None = None
    cut: bool = False

    COLUMNS: ClassVar = ("index", "outcome", "alarm", "eps", "certified", "refuted", "certified_exact", "refuted_exact", "tensor", "entry",
                         "reason", "calls", "time_s", "witness")
    SHOWN: ClassVar = {"index": 5, "outcome": 9, "alarm": 5, "certified": 10, "refuted": 10, "tensor": 16, "entry": 6, "reason": 10}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        certified, refuted = self.certified, self.refuted if isinstance(self.refuted, Fraction) else None
        return {
            "index": self.index, "outcome": self.outcome.value, "alarm": self.alarm, "eps": _text(self.eps),
            "certified": None if certified is None else float_below(certified),
            "refuted": None if refuted is None else float_above(refuted), "certified_exact": _text(certified),
            "refuted_exact": "inf" if self.refuted == inf else _text(refuted), "tensor": self.tensor, "entry": self.entry,
            "reason": None if self.reason is None else self.reason.value, "calls": self.calls, "time_s": round(self.time_s, 6),
            "witness": None if self.witness is None else list(self.witness),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TabooCertificate:
        """What `as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        if not isinstance(row["alarm"], bool | None):
            raise TypeError(f"no flag: {row['alarm']!r}")
        refuted, reason, witness = row["refuted_exact"], row["reason"], row["witness"]
        return cls(
            int(row["index"]), Outcome(row["outcome"]), row["alarm"], _exact(row["eps"]), _exact(row["certified_exact"]),
            inf if refuted == "inf" else _exact(refuted), row["tensor"], row["entry"], None if reason is None else Reason(reason),
            int(row["calls"]), float(row["time_s"]), None if witness is None else tuple(map(float, witness)))

    def cells(self) -> Mapping[str, str]:
        """The exact numbers where they are short; else cut downward (certified) or upward (refuted)."""
        shown = {} if self.certified is None else {"certified": _shown(self.certified, -1)}
        return shown if not isinstance(self.refuted, Fraction) else {**shown, "refuted": _shown(self.refuted, 1)}


def _text(value: Fraction | None) -> str | None:
    return None if value is None else exact_text(value)


def _exact(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


def _shown(value: Fraction, side: int) -> str:
    text = exact_text(value)
    return text if len(text) <= _SHORT else outward_text(value, side)
