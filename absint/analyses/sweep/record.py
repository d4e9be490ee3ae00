"""What is known of one input: a verdict at each radius, by one domain, of one network, in one norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from absint.contract.record import column
from absint.verdict import Assurance, InstanceResult, Reason, Verdict


@dataclass(frozen=True)
class SweepCell:
    """One verdict. index: of the input.  eps: as it was asked for.

    basis: empty where the domain was asked at this very radius; else what decides it without asking: 'proof at 0.02', 'witness at 0.01'
    (of the same network, norm, domain and input), or 'the input' itself, which is misclassified.
    margin, stage, reason, assurance, witness, notes: as of `InstanceResult`; those of a cell that follows stand where it follows from.
    """

    index: int = column(width=5)
    net: str = column(width=18)
    norm: str = column(width=5)
    domain: str = column(width=10)
    eps: str = column(width=7)
    label: int | None = column(width=0)
    predicted: int | None = column(width=0)
    verdict: Verdict = column(width=13)
    basis: str = column(width=16)
    reason: Reason | None = column(width=10)
    margin: float | None = column(width=0)
    assurance: Assurance = column(width=0)
    stage: str | None = column(width=0)
    time_s: float = column(unit="s", width=7)
    witness: tuple[float, ...] | None = column(width=0)
    notes: tuple[str, ...] = column(width=0)

    def cells(self) -> Mapping[str, str]:
        """Times to the millisecond."""
        return {"time_s": f"{self.time_s:.3f}"}


@dataclass(frozen=True)
class SweepLine:
    """One input at every radius. index: of the item.  input: its place in the data.  cells: in the order of the radii.

    cut: the limit of the whole run ended one of them.
    """

    index: int
    net: str
    norm: str
    domain: str
    input: int
    label: int | None
    cells: tuple[SweepCell, ...] = ()
    cut: bool = False

    def cell(self, eps: str, result: InstanceResult, basis: str = "") -> SweepCell:
        """What a result says at a radius. basis: of a cell that follows from this result at another radius."""
        own = not basis
        return SweepCell(
            self.input, self.net, self.norm, self.domain, eps, result.label, result.predicted, result.verdict, basis,
            result.reason if own else None, result.margin if own else None, result.assurance, result.stage if own else None,
            result.time_s if own else 0.0, result.witness if own else None, result.notes if own else ())
