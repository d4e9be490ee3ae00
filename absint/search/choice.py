"""Which kind of division a network goes to first, and how far: the one place where sizes and measured costs decide that.

Measured on one core, one thread (benchmarks/results/small.md), 30 inputs and 128 entries: a node of a tree over the layer takes 50 us,
its bounds rounded; one warm LP with its safe bound 5 to 7 ms.
"""

from __future__ import annotations

from absint.encode.one_layer import single
from absint.engine.context import Context
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph

# Nodes of an instance before the long search for counterexamples, a fifth of a second of 30 inputs and 128 entries; and in all.
FEW_NODES, MANY_NODES = 1 << 12, 1 << 20
# Input entries of positive width up to which halving them tightens every relaxation at once.
FEW_INPUTS = 32
# Rows of one disjunct among which a tree over one layer looks for a combination: each node carries them all.
MOST_ROWS = 64


def shallow(graph: Graph) -> bool:
    """Whether a network is small, and of one layer of piecewise-linear functions: then trees over that layer come first."""
    return single(graph) is not None


def shares(ctx: Context) -> tuple[float, float]:
    """Of the time that a search has: of programs and halves together, and of trees of cuts."""
    region = ctx.region.hull
    varying = int((region.upper > region.lower).flatten(1).sum(1).max())
    return (3.0, 1.0) if varying <= FEW_INPUTS else (1.0, 3.0)


def cuttable(graph: Graph) -> bool:
    """Whether trees of cuts have something to cut in the network."""
    return any(isinstance(node.op, Nonlinear) and node.op.cuttable for node in graph.nodes)


def curved(graph: Graph) -> bool:
    """The others: there optimised slopes are the best there is for many inputs."""
    return not cuttable(graph)
