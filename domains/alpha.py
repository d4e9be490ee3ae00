"""DeepPoly with optimised slopes: its relaxation, and the ascent that the engine runs for any domain that states one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from absint.domains.deeppoly import DeepPoly
from absint.engine.domain import Ascent, Traits


@dataclass(frozen=True)
class Alpha(DeepPoly):
    """DeepPoly whose free slopes are chosen row by row, by gradient ascent on the row's own bound.

    steps: of ascent for the property's rows.  inner: for the undecided entries of every other node; 0 leaves these as they are.
    rate: length of the first step.  decay: each further one is this many times as long.
    goal: rows of the property proved above it are left as they are; inf improves all.
    About ten times the cost of DeepPoly, and never less precise on the same intermediate bounds; tighter intermediate bounds may
    choose other lines for S-shaped functions, which is why a stage on plain intermediate bounds before it counts, too.
    Sources: Xu et al., ICLR 2021, section 3.2; Singh et al., POPL 2019, section 4.
    """

    stated: ClassVar[Traits] = Traits("Xu et al., Fast and Complete, ICLR 2021, section 3.2")
    synonyms: ClassVar[tuple[str, ...]] = ("alpha-crown", "crown-optimized")
    steps: int = 20
    inner: int = 10
    rate: float = 0.5
    decay: float = 0.9
    goal: float = 0.0

    def __post_init__(self) -> None:
        _ = self._ascent  # refuses numbers out of range

    @property
    def _ascent(self) -> Ascent:
        """The options as the engine reads them."""
        return Ascent(self.steps, self.inner, self.rate, self.decay, self.goal)

    @property
    def traits(self) -> Traits:
        """DeepPoly's, with the ascent."""
        return super().traits.ascending(self._ascent)
