"""What is known of one query: an answer of the VNN-LIB standard, or the error that it met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from absint.verdict import Assurance

UNSAT, SAT, UNKNOWN, TIMED_OUT, ERROR = "unsat", "sat", "unknown", "timed-out", "error"
ANSWERS = (UNSAT, SAT, UNKNOWN, TIMED_OUT, ERROR)


@dataclass(frozen=True)
class AnswerRecord:
    """One query and its answer. onnx, vnnlib: network and query as they were named.

    verdict: one of ANSWERS.  reason: why it is neither sat nor unsat; of an error, its code.
    margin: least certified margin of its boxes, None where one has none that is finite.  notes: as of `InstanceResult`.
    sha256: of network and query, every byte that they were read from; None where they were not read.
    witness: of sat, the counterexample at float64 numbers, flat; the answer of a single query has its exact decimals.
    cut: the limit of the whole run ended it; not part of the row.  found: the answer itself, in the process that found it.
    """

    index: int
    onnx: str
    vnnlib: str
    verdict: str
    time_s: float = 0.0
    stage: str | None = None
    reason: str | None = None
    margin: float | None = None
    notes: tuple[str, ...] = ()
    assurance: Assurance = Assurance.NONE
    sha256: tuple[str, str] | None = None
    cut: bool = False
    found: Any = field(default=None, compare=False, repr=False)
    witness: tuple[float, ...] | None = None

    COLUMNS: ClassVar = ("onnx", "vnnlib", "verdict", "time_s", "stage", "reason", "margin", "notes")
    SHOWN: ClassVar = {"verdict": 9, "time_s": 8, "stage": 18, "reason": 10, "margin": 10, "onnx": 24, "vnnlib": 24}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; besides the columns what a journal needs."""
        return {
            "onnx": self.onnx, "vnnlib": self.vnnlib, "verdict": self.verdict, "time_s": round(self.time_s, 3), "stage": self.stage,
            "reason": self.reason, "margin": self.margin, "notes": list(self.notes), "index": self.index,
            "assurance": self.assurance.value, "sha256": None if self.sha256 is None else list(self.sha256),
            "witness": None if self.witness is None else list(self.witness),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> AnswerRecord:
        """What `as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        verdict, margin, sha256, witness = row["verdict"], row["margin"], row["sha256"], row.get("witness")
        if verdict not in ANSWERS:
            raise ValueError(f"no answer: {verdict!r}")
        network, query = (None, None) if sha256 is None else map(str, sha256)
        return cls(
            int(row["index"]), str(row["onnx"]), str(row["vnnlib"]), verdict, float(row["time_s"]), row["stage"], row["reason"],
            None if margin is None else float(margin), tuple(map(str, row["notes"])), Assurance(row["assurance"]),
            None if network is None or query is None else (network, query),
            witness=None if witness is None else tuple(map(float, witness)))

    def cells(self) -> Mapping[str, str]:
        """Times to the millisecond."""
        return {"time_s": f"{self.time_s:.3f}"}
