"""Mixed-integer programs: the whole network with a whole column for each phase, decided by the solver's own branching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from absint.search.branching import Tactic
from absint.search.strategies.programming import Programming


@dataclass(frozen=True)
class Milp(Programming):
    """One MILP for each disjunct that the base and its LP leave open. What it proves is the solver's word: see --accept-solver.

    timeout_milp: seconds of one MILP.  timeout_lp: of the LP before it.
    Witnesses are proved and replayed as everywhere.
    Source: Tjeng et al., Evaluating Robustness of Neural Networks with Mixed Integer Programming, ICLR 2019.
    """

    source: ClassVar[str] = "Tjeng et al., ICLR 2019, section 4"
    synonyms: ClassVar[tuple[str, ...]] = ("mip",)
    one_by_one: ClassVar[bool] = True    # a MILP has no turns
    timeout_milp: float = 60.0
    timeout_lp: float = 30.0

    @property
    def tactic(self) -> Tactic:
        """The LP, then the MILP."""
        return self._tactic(lp=self.timeout_lp, milp=self.timeout_milp)
