"""What the verdicts of a run add up to, and what they rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from statistics import median
from typing import Any

from absint.analyses.verify.options import VerifyOptions
from absint.numeric.percent import percent_text
from absint.verdict import Assurance, InstanceResult, Reason, Verdict, cut_down, noted

MOST_NOTES = 5      # that people are shown


@dataclass(frozen=True)
class Counts:
    """instances: asked for; counts: by verdict; reasons: of the unknown ones.

    remaining: how many an interrupt left undecided; they count as unknown(interrupted).
    margin: the median of the certified margins that are finite.  correct: instances not known to be misclassified.
    on_word: of the verified ones, those that rest on a solver's word; never without --accept-solver.
    notes: what solvers reported and caveats -> the instances it was reported with.
    """

    instances: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    correct: int
    margin: float | None
    remaining: int = 0
    on_word: int = 0
    notes: Mapping[str, list[int]] = field(default_factory=dict)

    @staticmethod
    def of(rows: Sequence[InstanceResult], asked: Sequence[int]) -> Counts:
        """Count. asked: the index of every instance of the run."""
        remaining = len(asked) - len(rows)
        counts = Counter({verdict.value: 0 for verdict in Verdict})
        counts.update(row.verdict.value for row in rows)
        reasons = Counter(row.reason.value for row in rows if row.reason and row.verdict is Verdict.UNKNOWN)
        if remaining:
            counts[Verdict.UNKNOWN.value] += remaining
            reasons[Reason.INTERRUPTED.value] += remaining
        margins = [row.margin for row in rows if row.margin is not None]
        on_word = sum(row.verdict is Verdict.VERIFIED and row.assurance is not Assurance.SOUND for row in rows)
        return Counts(len(asked), dict(counts), dict(reasons), len(asked) - counts[Verdict.MISCLASSIFIED.value],
                      median(margins) if margins else None, remaining, on_word, noted(rows))

    @property
    def verified(self) -> int:
        """Of the instances, be it on an accepted word."""
        return self.counts[Verdict.VERIFIED.value]

    @property
    def all_verified(self) -> bool:
        """Whether every correctly classified instance is verified, and there is one at least."""
        return 0 < self.correct == self.verified

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "instances": self.instances, "correctly_classified": self.correct, "counts": dict(self.counts),
            "verified_on_solver": self.on_word, "unknown_reasons": dict(self.reasons), "median_margin": self.margin,
            "notes": [{"note": note, "instances": found} for note, found in self.notes.items()],
        }

    def lines(self, *, classes: bool = True) -> Iterator[tuple[str, str]]:
        """For people. classes: whether the property is about classes, which the network can get wrong."""
        share = f" ({percent_text(Fraction(self.verified, self.correct))} %)" if self.correct else ""
        word = f", {self.on_word} of them on a solver's word" if self.on_word else ""
        what = "correctly classified instances" if classes else "instances"
        yield "result", f"{self.verified} of {self.correct} {what} verified{share}{word}"
        parts = [f"{name} {count}" for name, count in self.counts.items() if count or name != Verdict.LIKELY.value]
        yield "counts", ", ".join(parts) + f"; {self.instances} in all"
        if self.reasons:
            yield "unknown", ", ".join(f"{name} {count}" for name, count in sorted(self.reasons.items()))
        if self.remaining:
            yield "interrupted", f"{self.remaining} instances were not decided"
        if self.margin is not None:
            yield "margin", f"median {cut_down(self.margin) if isfinite(self.margin) else self.margin}"

    def note_lines(self) -> Iterator[tuple[str, str]]:
        """Each note once, the first ones where there are many."""
        for note, found in list(self.notes.items())[:MOST_NOTES]:
            yield "note", f"{note} ({len(found)} instances)"
        if len(self.notes) > MOST_NOTES:
            yield "note", f"{len(self.notes) - MOST_NOTES} others; --format json has them all"

    @property
    def warning(self) -> str:
        """Where something rests on a solver's word."""
        return f"{self.verified} verified, {self.on_word} of them on a solver's word (--accept-solver)" if self.on_word else ""

    @property
    def remark(self) -> str:
        """Where a solver's word was not accepted."""
        waiting = self.reasons.get(Reason.SOLVER.value, 0)
        return f"note: {waiting} unknown on a solver's word alone; --accept-solver counts them as verified" if waiting else ""


def assumptions(options: VerifyOptions) -> tuple[str, ...]:
    """What a verdict rests on besides the proof itself."""
    if not options.rounding:
        return ("absint's own rounding errors are ignored (--no-rounding): nothing here is a proof",)
    meaning = (
        "a verdict also holds for every float32 execution of the network, whatever its order of summation"
        if options.semantics == "float32"
        else "a verdict is about the network in exact real arithmetic; a float32 execution may differ within its rounding"
    )
    word = ("what is verified with assurance 'solver' rests on numbers of an LP or MILP solver that nobody has proved (--accept-solver)",)
    return (
        meaning,
        *(word if options.accept_solver else ()),
        "the inputs are the float64 values read from the data; eps is the exact decimal or fraction given",
        "matrix products and convolutions obey the error bounds of dot products (absint doctor tests them)",
        "the imported network is the user's: compared with onnxruntime on sampled inputs of the data range and of the region analysed",
    )
