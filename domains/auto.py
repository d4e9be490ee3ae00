"""The default: a portfolio from cheap to tight. As one element it is the reduced product of its relational members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from absint.domain import DOMAINS, Domain, Product


def _registered(name: str) -> Callable[[], Domain[Any]]:
    """Looked up when a portfolio is made: domains do not import each other."""

    def make() -> Domain[Any]:
        return DOMAINS.get(name)()

    return make


@dataclass(frozen=True)
class Auto(Product):
    """Box, then Zonotope, then DeepPoly, then optimised slopes: each on what those before it left undecided.

    What one of them proves is known to the next, so that the later, costlier ones have fewer rows to bound.
    """

    source: ClassVar[str] = "a portfolio: Box, Zonotope, DeepPoly, optimised slopes"

    first: Domain[Any] = field(init=False, default_factory=_registered("zonotope"))
    second: Domain[Any] = field(init=False, default_factory=_registered("deeppoly"))

    def portfolio(self) -> tuple[Domain[Any], ...]:
        """In the order of cost."""
        return DOMAINS.get("box")(), self.first, self.second, DOMAINS.get("alpha")()
