"""A short search from given points alone, for whoever has many of them and calls often."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from absint.attacks.pgd import aimed, searched
from absint.attacks.search import Search
from absint.model.graph import Graph
from absint.problem.regions.region import Region
from absint.problem.spec import Spec


@dataclass(frozen=True)
class FromStarts:
    """Steps that shrink from every start of the search, all in one batch; nothing is drawn.

    lengths: of the first step, as shares of the radius, one descent each: long ones leave a narrow basin that a start lies in.
    """

    steps: int = 15
    lengths: tuple[float, ...] = (0.25, 0.02)

    def __call__(self, graph: Graph, region: Region, spec: Spec, search: Search) -> Tensor:
        """See `Attack`; the centre where there are no starts."""
        return searched(graph, region, spec, search, lambda work: (
            (aimed(work, starts, length, work.search.focus), self.steps)
            for starts in (work.search.starts,) if starts is not None for length in self.lengths))
