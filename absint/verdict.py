"""Verdicts and what they rest on. Three outcomes, never two; everything that is not a proof is UNKNOWN with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context
from enum import Enum
from math import isfinite
from typing import Any, ClassVar

_DOWN = Context(prec=4, rounding=ROUND_FLOOR)


class Verdict(Enum):
    """The answer for one instance."""

    VERIFIED = "verified"            # a sound proof: every real input of the region satisfies the property
    FALSIFIED = "falsified"          # a replayed and proved witness violates it
    UNKNOWN = "unknown"              # neither; `reason` says why
    MISCLASSIFIED = "misclassified"  # the unperturbed input already has another label: not counted for or against
    LIKELY = "likely"                # bounds computed with rounding switched off: a comparison value, never a proof


class Assurance(Enum):
    """What a verdict rests on."""

    SOUND = "sound"          # outward-rounded arithmetic only
    SOLVER = "solver"        # at least one number of an LP/MILP solver that was not re-proved
    REPLAYED = "replayed"    # a witness, violated in onnxruntime and proved by interval arithmetic
    NONE = "none"            # no proof either way


class Reason(Enum):
    """Why an instance is UNKNOWN (or what a verdict is subject to)."""

    IMPRECISE = "imprecise"      # the relaxation is too loose
    AMBIGUOUS = "ambiguous"      # a candidate witness whose violation could not be proved
    OVERFLOW = "overflow"        # bounds left the range of floating point
    MEMORY = "memory"
    TIMEOUT = "timeout"          # the time limit of the instance, or that of the whole call (`InstanceResult.cut`)
    LIMIT = "limit"              # a limit of the method's own ended its search; the detail names it
    VACUOUS = "vacuous"          # the region or an assumption is empty
    INTERRUPTED = "interrupted"
    SOLVER = "solver"            # the proof rests on a solver's number that was not re-proved
    PLUGIN = "plugin"            # a plug-in raised or broke its contract
    UNROUNDED = "unrounded"      # --no-rounding


@dataclass(frozen=True)
class InstanceResult:
    """One row of a report. `margin`: certified lower bound of the smallest margin, None where it is not finite.

    stage: what decided: "attack", or a domain and its number format.  detail: what more there is to say of this one.
    notes: what solvers reported on the way, and where another thing is analysed than the model's file seems to show; each with its code.
    cut: the limit of the whole call ended it, not its own: with more time it deserves another try. Not part of the row.
    disjunct: of an unknown one, the disjunct of the property that is least refuted, where it has one. Not part of the row.
    evidence: what the verdict rests on, an `absint.engine.evidence.Evidence`, where `evidence=True` asked for it. Not part of the row.
    """

    index: int
    verdict: Verdict
    label: int | None = None
    predicted: int | None = None
    reason: Reason | None = None
    margin: float | None = None
    assurance: Assurance = Assurance.NONE
    eps: str | None = None
    domain: str | None = None
    time_s: float = 0.0
    detail: str | None = None
    witness: tuple[float, ...] | None = None
    stage: str | None = None
    cut: bool = False
    notes: tuple[str, ...] = ()
    disjunct: int | None = field(default=None, compare=False)
    evidence: Any = field(default=None, compare=False, repr=False)

    COLUMNS: ClassVar = ("index", "label", "predicted", "verdict", "reason", "margin", "assurance", "eps", "domain", "time_s", "detail",
                         "stage", "witness", "notes")
    SHOWN: ClassVar = {"index": 5, "label": 5, "predicted": 9, "verdict": 13, "stage": 16, "reason": 10, "margin": 10, "time_s": 7}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready row; enums by value, a non-finite margin never appears."""
        margin = self.margin if self.margin is not None and isfinite(self.margin) else None
        return {
            "index": self.index,
            "label": self.label,
            "predicted": self.predicted,
            "verdict": self.verdict.value,
            "reason": self.reason.value if self.reason else None,
            "margin": margin,
            "assurance": self.assurance.value,
            "eps": self.eps,
            "domain": self.domain,
            "time_s": round(self.time_s, 6),
            "detail": self.detail,
            "stage": self.stage,
            "witness": list(self.witness) if self.witness is not None else None,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> InstanceResult:
        """What `as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        reason, margin, witness = row["reason"], row["margin"], row["witness"]
        label, predicted = (None if value is None else int(value) for value in (row["label"], row["predicted"]))
        return cls(
            int(row["index"]), Verdict(row["verdict"]), label, predicted, None if reason is None else Reason(reason),
            None if margin is None else float(margin), Assurance(row["assurance"]), row["eps"], row["domain"], float(row["time_s"]),
            row["detail"], None if witness is None else tuple(map(float, witness)), row["stage"], notes=tuple(map(str, row["notes"])))

    def cells(self) -> Mapping[str, str]:
        """Times to the millisecond; the margin, which is claimed, cut downward."""
        margin = self.as_dict()["margin"]
        return {"time_s": f"{self.time_s:.3f}", "margin": "" if margin is None else cut_down(margin)}


def cut_down(value: float) -> str:
    """A finite lower bound in four digits for people, rounded down."""
    cut = _DOWN.create_decimal_from_float(value)
    return f"{cut.normalize():g}" if cut else "0"


def noted(results: Iterable[InstanceResult]) -> dict[str, list[int]]:
    """Each note once, with the instances whose results carry it, in the order of the results."""
    found: dict[str, list[int]] = {}
    for result in results:
        for note in result.notes:
            found.setdefault(note, []).append(result.index)
    return found
