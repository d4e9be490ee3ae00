"""The default: from cheap to tight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from absint.engine.domain import DOMAINS, Domain
from absint.engine.product import Product
from absint.search.names import strategy_of
from absint.search.strategies.exact import Exact
from absint.search.strategy import Stage, Strategy

# LPs for one disjunct where no time limit is set: a few seconds an instance. Measured in benchmarks/RESULTS.md.
_PATIENCE = 500


@dataclass(frozen=True)
class Auto(Strategy):
    """Box, then Zonotope, then DeepPoly, optimised slopes, refinement by LP and branching: each on what those before it left undecided.

    What one of them proves is known to the next, so that the later, costlier ones have fewer rows to bound.
    max_generators: bound on those of the zonotope; 0 for no limit.
    undecided: the most undecided entries of an instance that is refined and branched on; 0
    for never. Without a time limit the branching is a short one; with one it may use all of it.
    """

    source: ClassVar[str] = "Gowal et al. 2018; Singh et al., NeurIPS 2018 and POPL 2019; Xu et al., ICLR 2021; Ehlers, ATVA 2017; in turn"
    max_generators: int = 0
    undecided: int = 300

    @property
    def walker(self) -> Domain[Any]:
        """The reduced product of the relational domains."""
        return Product(self._zonotope, DOMAINS.get("deeppoly")())

    @property
    def _zonotope(self) -> Domain[Any]:
        # Found by name, as every domain: what its options are is its own business, and mypy's only where it is imported.
        zonotope: Any = DOMAINS.get("zonotope")
        made: Domain[Any] = zonotope(max_generators=self.max_generators)
        return made

    def stages(self) -> tuple[Stage, ...]:
        """In the order of cost."""
        cheap = [stage for one in ("box", self._zonotope, "deeppoly", "alpha") for stage in strategy_of(one).stages()]
        if not self.undecided:
            return tuple(cheap)
        last = Exact(base="deeppoly", undecided=self.undecided, patience=_PATIENCE).stages()
        return *cheap, *(stage for stage in last if stage not in cheap)
