"""Exact answers by branching on phases: every leaf is closed by a safe bound, no solver's word counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from absint.domains.refine import Programs
from absint.solvers.decide import Plan
from absint.solvers.splitting import Splitting


@dataclass(frozen=True)
class Exact(Programs):
    """Decides every property of a piecewise-linear network over boxes, given time; elsewhere the best that its relaxation gives.

    Regions of few inputs are also halved, with the base's bounds of the halves, before a search over phases grows long.
    nodes: LPs for one disjunct at most; 0 for no limit (then --timeout is what ends it).  timeout_lp: seconds of one LP.
    inputs: how many entries of positive width are few; 0 never splits.  boxes: halves of one instance at most.
    Sources: Katz et al., CAV 2017; Ehlers, ATVA 2017; Neumaier and Shcherbina, Math. Program. 99 (2004), section 3.
    """

    source: ClassVar[str] = "Ehlers, ATVA 2017; Neumaier and Shcherbina, Math. Program. 2004, section 3"
    nodes: int = 0
    timeout_lp: float = 30.0
    inputs: int = 12
    boxes: int = 1 << 16

    @property
    def plan(self) -> Plan:
        """Branching to the end."""
        return Plan(self.solvers, self.nodes or inf, lp=self.timeout_lp, splitting=Splitting(self.walker, self.inputs, self.boxes))
