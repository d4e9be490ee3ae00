"""Exact answers by branching on phases: every leaf is closed by a safe bound, no solver's word counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

from absint.engine.domain import Domain
from absint.search.branchers.boxes import Splitting
from absint.search.branching import Tactic
from absint.search.names import strategy_of, walker_of
from absint.search.strategies.programming import Programming
from absint.search.strategies.refine import Refine
from absint.search.strategy import Stage

# LPs for one disjunct in the search before neurons are refined; measured in benchmarks/RESULTS.md.
_SHORT = 200
_SCOUTED = "deeppoly:first=linear"


@dataclass(frozen=True)
class Exact(Programming):
    """Decides every property of a piecewise-linear network over boxes, given time; elsewhere the best that its relaxation gives.

    Regions of few inputs are also halved, with the base's bounds of the halves, before a search over phases grows long.
    nodes: LPs for one disjunct at most; 0 for no limit (then --timeout is what ends it).  patience: the same where no time limit
    is set.  timeout_lp: seconds of one LP.
    inputs: how many entries of positive width are few; 0 never splits.  boxes: halves of one instance at most.
    Sources: Katz et al., CAV 2017; Ehlers, ATVA 2017; Neumaier and Shcherbina, Math. Program. 99 (2004), section 3.
    """

    source: ClassVar[str] = "Ehlers, ATVA 2017; Neumaier and Shcherbina, Math. Program. 2004, section 3"
    synonyms: ClassVar[tuple[str, ...]] = ("complete",)
    nodes: int = 0
    patience: int = 0
    timeout_lp: float = 30.0
    inputs: int = 32
    boxes: int = 1 << 16

    def stages(self) -> tuple[Stage, ...]:
        """The base's, a short search, then neurons refined by LP before the long one.

        Most instances that the base leaves open take a few LPs, less than a refinement; those that do not gain from tighter
        relaxations at every node of the search.
        """
        if 0 < self.nodes <= _SHORT:
            return super().stages()
        short = replace(self, nodes=_SHORT)
        refine = Refine(self.base, self.solver, self.undecided, timeout_lp=self.timeout_lp)
        return *strategy_of(self.base).stages(), short.last, refine.last, self.last

    @property
    def short(self) -> Tactic:
        """The search before neurons are refined."""
        return replace(self, nodes=_SHORT).tactic

    @property
    def tactic(self) -> Tactic:
        """Branching to the end."""
        return self._tactic(nodes=self.nodes or inf, patience=self.patience or inf, lp=self.timeout_lp,
                          splitting=Splitting(self.walker, self.inputs, self.boxes, self._scouted))

    @property
    def _scouted(self) -> Domain[Any] | None:
        """DeepPoly behind forward linear bounds, which are cheap where few inputs vary; other bases bound the halves themselves."""
        return walker_of(_SCOUTED) if self.base == "deeppoly" else None
