"""The default: from cheap to tight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from absint.engine.domain import DOMAINS, Domain
from absint.engine.product import Product
from absint.model.graph import Graph
from absint.numeric.rounding import Numerics
from absint.search.bounders.layers import Layers
from absint.search.bounders.programs import Programs
from absint.search.branching import Tactic
from absint.search.choice import FEW_NODES, MANY_NODES, curved, cuttable, shallow, shares
from absint.search.names import strategy_of, walker_of
from absint.search.scouts import pays
from absint.search.strategies.bab import Bab, Grow
from absint.search.strategies.exact import Exact
from absint.search.strategies.refine import Refine
from absint.search.strategy import Falsification, Stage, Strategy, planned
from absint.search.together import SideBySide
from absint.search.trees import Growing

# LPs for one disjunct where no time limit is set: a few seconds an instance. Measured in benchmarks/RESULTS.md.
_PATIENCE = 500
# Nodes of an instance's trees in the search before neurons are refined.
_NODES = 8_000
# Of the time that is left, what optimised slopes of inner nodes may take where a search comes after them.
_SLOPES = 0.5
# Walks under every search, over the bounds that the stages before it left.
_WALKS = "deeppoly"
# Where few inputs vary, and rows of all entries cost far more than the first of them; measured in benchmarks/results/forward_linear.md.
_FEW = ("deeppoly:intermediate=coarse", "deeppoly:intermediate=parallel")
# Takes the same passes whatever is undecided, so that it measures a network by itself.
_MEASURE = "deeppoly:intermediate=linear"


def _large(graph: Graph) -> bool:
    """Whether rows of all entries take many times what a few passes through the network take."""
    return pays(walker_of(_MEASURE), graph, Numerics(), 1)


@dataclass(frozen=True)
class Auto(Strategy):
    """Box, then Zonotope, then DeepPoly, optimised slopes, branching and refinement by LP: each on what those before it left undecided.

    Branching is on phases by LPs, on halves of few inputs and on cuts of neurons, side by side.

    Where few input entries vary, and the network is large enough, DeepPoly comes first: with bounds of inner nodes from a coarse
    zonotope, then with rows of the entries that these leave undecided, which take a small part of the cost of all rows. There proofs
    come before any search for counterexamples, which costs more than the first of them.

    What one of them proves is known to the next, so that the later, costlier ones have fewer rows to bound.
    max_generators: bound on those of the zonotope; 0 for no limit.
    inputs: how many are few; 0 for never.
    layers: nodes of trees over the one layer of a small network that has no more; 0 for none.
    undecided: the most undecided entries of an instance that is refined and branched on; 0
    for never. Without a time limit the branching is a short one; with one it may use all of it.
    """

    source: ClassVar[str] = "Gowal et al. 2018; Singh et al., NeurIPS 2018 and POPL 2019; Xu et al., ICLR 2021; Ehlers, ATVA 2017; in turn"
    max_generators: int = 0
    inputs: int = 64
    undecided: int = 300
    layers: int = MANY_NODES

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
        if self.undecided:      # a search comes after it
            cheap[-1:] = [replace(cheap[-1], share=_SLOPES, graphs=cuttable), replace(cheap[-1], graphs=curved)]
        if self.layers:
            cheap[1:1] = [self._over_layers(min(FEW_NODES, self.layers))]
        if self.inputs:
            cheap[:0] = [Stage(walker_of(name), name=name, inputs=self.inputs, graphs=_large) for name in _FEW]
        if not self.undecided:
            return tuple(cheap)
        # After the long search for counterexamples, which comes before the first that may use all the time.
        layers = [replace(self._over_layers(self.layers), exhaustive=True)] if self.layers > FEW_NODES else []
        return *cheap, *layers, *self._searches

    @staticmethod
    def _over_layers(nodes: int) -> Stage:
        return Stage(DOMAINS.get("box")(), Layers(nodes), "layers", graphs=shallow)

    @property
    def _searches(self) -> tuple[Stage, ...]:
        """A search over programs, halves and trees of cuts; neurons refined by LP; the same search again, to the end."""
        exact = Exact(base=_WALKS, undecided=self.undecided, patience=_PATIENCE)
        refine = Refine(_WALKS, undecided=self.undecided)
        bab = Bab(patience=_NODES)
        first = Growing(bab.growing.kinds, _NODES, unlimited=self.undecided)
        return (self._searching(exact.short, first), refine.last, self._searching(exact.tactic, replace(bab.growing, told=False)))

    def _searching(self, tactic: Tactic, growing: Growing) -> Stage:
        walker = walker_of(_WALKS)
        return Stage(walker, SideBySide((Programs(tactic), Grow(walker, growing)), shares), "search", exhaustive=True)

    def plan(self) -> tuple[Stage | Falsification, ...]:
        """Those for few inputs, then the usual plan of all others."""
        stages = self.stages()
        few = tuple(stage for stage in stages if stage.inputs)
        return *few, *planned(stages[len(few):])
