"""The default: a portfolio from cheap to tight. As one element it is the reduced product of its relational members."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from absint.engine.domain import DOMAINS, Domain
from absint.engine.product import Product

# LPs for one disjunct where no time limit is set: a few seconds an instance. Measured in benchmarks/RESULTS.md.
_PATIENCE = 500


@dataclass(frozen=True)
class Auto(Product):
    """Box, then Zonotope, then DeepPoly, optimised slopes, refinement by LP and branching: each on what those before it left undecided.

    What one of them proves is known to the next, so that the later, costlier ones have fewer rows to bound.
    max_generators: bound on those of the zonotope; 0 for no limit.
    undecided: the most undecided entries of an instance that is refined and branched on; 0
    for never. Without a time limit the branching is a short one; with one it may use all of it.
    Members are looked up by name: domains do not import each other.
    """

    source: ClassVar[str] = "Gowal et al. 2018; Singh et al., NeurIPS 2018 and POPL 2019; Xu et al., ICLR 2021; Ehlers, ATVA 2017; in turn"

    first: Domain[Any] = field(init=False)
    second: Domain[Any] = field(init=False)
    max_generators: int = 0
    undecided: int = 300

    def __post_init__(self) -> None:
        zonotope: Any = DOMAINS.get("zonotope")
        object.__setattr__(self, "first", zonotope(max_generators=self.max_generators))
        object.__setattr__(self, "second", DOMAINS.get("deeppoly")())

    def portfolio(self) -> tuple[Domain[Any], ...]:
        """In the order of cost."""
        stages = DOMAINS.get("box")(), self.first, self.second, *DOMAINS.get("alpha")().portfolio()
        if not self.undecided:
            return stages
        exact: Any = DOMAINS.get("exact")
        last = exact(base="deeppoly", undecided=self.undecided, patience=_PATIENCE).portfolio()
        return *stages, *(stage for stage in last if stage not in stages)
