"""What a report format offers, what it is given, and the registry of formats.

A stranger adds a format with one file:

    @register_report("markdown")
    class Markdown(Report): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any, ClassVar, TextIO, TypeVar

from absint.registry import Registry
from absint.reports.notes import noted
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

SCHEMA = "absint-report/1"


@dataclass(frozen=True)
class Header:
    """All that is fixed before the first result. Every mapping is JSON-ready.

    command: the line that repeats the run.  started: UTC, ISO 8601.  model, data: path or name, sha256, what was done.
    property: what is proved.  domain: name, options, source.  numerics: device, dtype, semantics, rounding.
    assumptions: what a verdict rests on besides the proof itself.
    """

    command: str
    started: str
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    property: Mapping[str, Any]
    domain: Mapping[str, Any]
    numerics: Mapping[str, Any]
    versions: Mapping[str, str]
    assumptions: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"schema": SCHEMA, **{f.name: getattr(self, f.name) for f in fields(self)}}


@dataclass(frozen=True)
class Summary:
    """What the rows add up to. instances: asked for; counts: by verdict; reasons: of the unknown ones.

    remaining: instances an interrupt left undecided; they count as unknown(interrupted).
    median_margin: of the certified margins that are finite.  correct: instances not known to be misclassified.
    on_word: of the verified ones, those that rest on a solver's word; never without --accept-solver.
    notes: what solvers reported -> the instances it was reported with.
    """

    instances: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    correct: int
    median_margin: float | None
    seconds: float
    remaining: tuple[int, ...] = field(default=())
    on_word: int = 0
    notes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @staticmethod
    def of(results: Iterable[InstanceResult], asked: Sequence[int], seconds: float) -> Summary:
        """Count. asked: the index of every instance of the run; those without a result are the remaining ones."""
        rows = list(results)
        decided = {row.index for row in rows}
        remaining = tuple(index for index in asked if index not in decided)
        counts = Counter({verdict.value: 0 for verdict in Verdict})
        counts.update(row.verdict.value for row in rows)
        reasons = Counter(row.reason.value for row in rows if row.reason and row.verdict is Verdict.UNKNOWN)
        if remaining:
            counts[Verdict.UNKNOWN.value] += len(remaining)
            reasons[Reason.INTERRUPTED.value] += len(remaining)
        margins = [row.margin for row in rows if row.margin is not None]
        on_word = sum(row.verdict is Verdict.VERIFIED and row.assurance is not Assurance.SOUND for row in rows)
        return Summary(
            len(asked), dict(counts), dict(reasons), len(asked) - counts[Verdict.MISCLASSIFIED.value],
            median(margins) if margins else None, seconds, remaining, on_word, noted(rows),
        )

    @property
    def complete(self) -> bool:
        """Whether every instance was decided or given up by its own limits."""
        return not self.remaining

    @property
    def all_verified(self) -> bool:
        """Whether every correctly classified instance is verified, be it on an accepted word, and there is one at least."""
        return 0 < self.correct == self.counts[Verdict.VERIFIED.value]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "instances": self.instances, "complete": self.complete, "correctly_classified": self.correct,
            "counts": dict(self.counts), "verified_on_solver": self.on_word, "unknown_reasons": dict(self.reasons),
            "median_margin": self.median_margin, "seconds": round(self.seconds, 3), "remaining": list(self.remaining),
            "notes": [{"note": note, "instances": list(indices)} for note, indices in self.notes.items()],
        }


class Report(ABC):
    """Writes one run to a text stream: `begin` once, `row` per result as it is decided, `end` once.

    A format that cannot stream keeps the rows until `end`, so that a run that fails leaves its output empty.
    """

    streams: ClassVar[bool] = False  # whether rows appear while the run goes on

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @abstractmethod
    def begin(self, header: Header) -> None:
        """The run starts."""

    @abstractmethod
    def row(self, result: InstanceResult) -> None:
        """One instance is decided or given up."""

    @abstractmethod
    def end(self, summary: Summary) -> None:
        """The run is over or was interrupted."""


R = TypeVar("R", bound=type[Report])

REPORTS: Registry[Callable[[TextIO], Report]] = Registry("format", "absint.reports")


def register_report(name: str) -> Callable[[R], R]:
    """Class decorator: make the format known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: R) -> R:
        REPORTS.add(name, cls)
        return cls

    return enter
