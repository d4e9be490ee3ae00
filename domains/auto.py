"""The default: a portfolio from cheap to tight. As one element it is the reduced product of its relational members."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from absint.domain import DOMAINS, Domain, Product


@dataclass(frozen=True)
class Auto(Product):
    """Box, then Zonotope, then DeepPoly, then optimised slopes: each on what those before it left undecided.

    What one of them proves is known to the next, so that the later, costlier ones have fewer rows to bound.
    max_generators: of the zonotope. Members are looked up by name: domains do not import each other.
    """

    source: ClassVar[str] = "Gowal et al. 2018; Singh et al., NeurIPS 2018 and POPL 2019; Xu et al., ICLR 2021; in turn"

    first: Domain[Any] = field(init=False)
    second: Domain[Any] = field(init=False)
    max_generators: int = 0

    def __post_init__(self) -> None:
        zonotope: Any = DOMAINS.get("zonotope")
        object.__setattr__(self, "first", zonotope(max_generators=self.max_generators))
        object.__setattr__(self, "second", DOMAINS.get("deeppoly")())

    def portfolio(self) -> tuple[Domain[Any], ...]:
        """In the order of cost."""
        return DOMAINS.get("box")(), self.first, self.second, *DOMAINS.get("alpha")().portfolio()
