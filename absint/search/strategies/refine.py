"""Refinement by linear programs: neurons layer by layer, then the property over the whole network at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import ClassVar

from absint.search.bounders.neurons import Tightening
from absint.search.bounders.refined import Refined
from absint.search.branching import Tactic
from absint.search.names import walker_of
from absint.search.strategies.programming import Programming


@dataclass(frozen=True)
class Refine(Programming):
    """The base with neurons refined by LP where they are undecided, then one LP for each row, or conjunction of rows, of the property.

    neurons: of a layer at most, those first whose relaxations the property's LPs make use of; 0 for all.
    timeout_lp: seconds of one LP.  timeout_milp: seconds of branching for each side of a neuron; 0 for none.
    Sources: Singh et al., ICLR 2019 (RefineZono), section 4; Singh et al., POPL 2019.
    """

    source: ClassVar[str] = "Singh et al., Boosting Robustness Certification, ICLR 2019, section 4"
    synonyms: ClassVar[tuple[str, ...]] = ("refinezono", "refinepoly")
    switched_off_by_zero: ClassVar[frozenset[str]] = frozenset({"timeout_milp"})
    exhaustive: ClassVar[bool] = False
    one_by_one: ClassVar[bool] = True    # neurons are bounded by programs within the walk
    neurons: int = 0
    timeout_lp: float = 5.0
    timeout_milp: float = 0.0

    @cached_property
    def walker(self) -> Refined:
        """The base, refined."""
        branching = self.timeout_milp > 0
        how = Tightening(self.solvers, inf if branching else 1, self.timeout_lp, self.timeout_milp if branching else inf)
        return Refined(walker_of(self.base), how, self.undecided or inf, self.neurons)

    @property
    def tactic(self) -> Tactic:
        """One LP."""
        return self._tactic(lp=self.timeout_lp)
