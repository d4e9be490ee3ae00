"""What a verdict at one radius says of another, and verdicts that cannot both be true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from absint.analyses.sweep.grid import AskedRadius
from absint.analyses.sweep.record import SweepCell, SweepLine
from absint.errors import InternalError
from absint.problem.regions.region import Region
from absint.verdict import Assurance, InstanceResult, Verdict

_SHOWN = 6      # entries of a witness in a message


def basis_of(result: InstanceResult, at: AskedRadius, other: AskedRadius, around: Callable[[], Region]) -> str:
    """What decides the other radius, given the result at this one of the same question; '' where nothing does.

    around: the other radius' set around the same input, alone.
    Sound: what is proved for every real input of a ball is proved for those of a ball inside it (compared in rationals), by a proof alone,
    never by a solver's word; a witness refutes every set of which it is a point, which is looked up exactly, data range included.
    """
    if result.verdict is Verdict.MISCLASSIFIED:
        return "the input"      # whose class depends on no radius
    if proves(result) and other.within(at):
        return f"proof at {at.text}"
    if result.verdict is Verdict.FALSIFIED and result.witness is not None and at.within(other):
        region = around()
        if region.contains(0, np.array(result.witness, dtype=np.float64).reshape(region.shape)):
            return f"witness at {at.text}"
    return ""


def proves(found: InstanceResult | SweepCell) -> bool:
    """Whether it is a proof of absint's own: no solver's word, nothing that is only likely."""
    return found.verdict is Verdict.VERIFIED and found.assurance is Assurance.SOUND


@dataclass
class Evidences:
    """Mutable: what was proved and what was refuted of each network, norm and input, by any domain. radii: by their texts."""

    radii: Mapping[str, AskedRadius]
    proved: dict[tuple[str, str, int], list[SweepCell]] = field(default_factory=lambda: defaultdict(list))
    refuted: dict[tuple[str, str, int], list[SweepCell]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def of(lines: Iterable[SweepLine], radii: Mapping[str, AskedRadius]) -> tuple[Evidences, InternalError | None]:
        """All of these, and what they contradict each other in."""
        found = Evidences(radii)
        details: list[str] = []
        for line in lines:
            details += found.met(line)
        return found, contradiction(details)

    def met(self, line: SweepLine) -> Iterator[str]:
        """Learn what was decided; yields each pair of a proof and a witness in its reach."""
        key = line.net, line.norm, line.input
        for cell in line.cells:
            if cell.basis:
                continue        # it says nothing that another cell does not say
            if cell.verdict is Verdict.VERIFIED:    # also by a solver's word: nothing is decided by it, but a witness proves it wrong
                self.proved[key].append(cell)
                yield from (_both(cell, other) for other in self.refuted[key] if self._reaches(cell, other))
            elif cell.verdict is Verdict.FALSIFIED:
                self.refuted[key].append(cell)
                yield from (_both(other, cell) for other in self.proved[key] if self._reaches(other, cell))

    def _reaches(self, proof: SweepCell, witness: SweepCell) -> bool:
        return self.radii[witness.eps].within(self.radii[proof.eps])


def contradiction(details: list[str]) -> InternalError | None:
    """E-CONTRADICTION with every pair, None where there is none."""
    if not details:
        return None
    return InternalError("E-CONTRADICTION", "what is verified is falsified as well: a bound or a witness is wrong", details=details[:10],
                         hint="the domain or an operator is unsound: run absint.testing.kit on it")


def _both(proof: SweepCell, witness: SweepCell) -> str:
    word = "" if proves(proof) else ", on a solver's word"
    margin = "" if proof.margin is None else f", margin {proof.margin:.4g}"
    point = witness.witness or ()
    values = ", ".join(f"{value:.6g}" for value in point[:_SHOWN]) + (", ..." if len(point) > _SHOWN else "")
    return (f"{proof.net}, input {proof.index}, {proof.norm}: verified at eps {proof.eps} by {proof.domain} ({proof.stage}{margin}{word}), "
            f"falsified at eps {witness.eps} under {witness.domain} ({witness.stage}) by the point [{values}]")
