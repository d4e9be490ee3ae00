"""For many instances of which most are easy: the cheapest proof first, and nothing else for those that it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from absint.engine.domain import DOMAINS, Domain
from absint.search.strategy import Falsification, Stage, Strategy


@dataclass(frozen=True)
class Lean(Strategy):
    """Box, then the rows alone walked back over the boxes' bounds; counterexamples are looked for where both leave something open.

    `auto` looks for counterexamples first, which costs more than ten boxes: the better order where many instances have one.
    effort: of a longer search behind the short one, where 1 is the usual effort; 0 for none.
    """

    source: ClassVar[str] = "Gowal et al. 2018; Zhang et al., ICLR 2020, section 3; in turn"
    effort: float = 0.0

    @property
    def walker(self) -> Domain[Any]:
        """The domain whose rows walk back."""
        # Found by name, as every domain: what its options are is its own business.
        deeppoly: Any = DOMAINS.get("deeppoly")
        made: Domain[Any] = deeppoly(intermediate="box")
        return made

    def stages(self) -> tuple[Stage, ...]:
        """In the order of cost."""
        return Stage(DOMAINS.get("box")()), Stage(self.walker)

    def plan(self) -> tuple[Stage | Falsification, ...]:
        """Proofs, then a short search from where the relaxation is worst, then a longer one."""
        found: tuple[Stage | Falsification, ...] = (*self.stages(), Falsification(0.25, corners=True))
        return (*found, Falsification(self.effort)) if self.effort else found
