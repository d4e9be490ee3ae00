"""Thrifty: a whole strategy. Boxes, then back-substitution, then a few linear programs an instance, or a few halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from absint.strategy import Programs, Splitting, Stage, Strategy, Tactic, register_strategy, solvers_of, walker_of

ABSINT_CONTRACT = 1


@register_strategy("thrifty")
@dataclass(frozen=True)
class Thrifty(Strategy):
    """Most instances need no program at all, and most of the others a handful.

    programs: for one disjunct at most.  boxes: halves of one instance at most, where it has few inputs.
    Every stage is given what is undecided, and what those before it proved; none can prove less than the domain that walks in it.
    """

    source: ClassVar[str] = "Bunel et al., Branch and Bound for Piecewise Linear Neural Network Verification, JMLR 2020, section 4"
    programs: int = 20
    boxes: int = 500

    def stages(self) -> tuple[Stage, ...]:
        """Two domains alone, then programs over what the second one knows; what takes long comes after the search for witnesses."""
        lines = walker_of("deeppoly")
        halves = Splitting(lines, inputs=6, boxes=self.boxes)
        tactic = Tactic(solvers_of("auto"), nodes=self.programs, lp=5.0, splitting=halves)
        last = Stage(lines, Programs(tactic), "thrifty", exhaustive=True)
        return Stage(walker_of("box")), Stage(lines), last
