"""Whether a cheap domain beside one that walks back pays, by the network alone."""

from __future__ import annotations

from typing import Any

from absint.engine.domain import Domain
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.work import work_of
from absint.numeric.rounding import Numerics

# Rows of all entries that take so many times what the helpers take are worth these; below, small operations cost more than they save.
# Measured on acasxu (a ratio of 3: 1.9 times slower) and on a generator before a classifier (340: 3 to 8 times faster).
_MANY = 16


def pays(domain: Domain[Any], graph: Graph, numerics: Numerics, inputs: int) -> bool:
    """Whether walks back from all entries of nonlinear nodes take many times what the domain's guide and scout do; True without one.

    inputs: entries of the input that vary, at most.
    """
    counts = {graph.input.name: float(min(inputs, graph.input.size))}
    costs = [helper.traits.cost(graph, numerics, counts) for helper in domain.traits.helpers]
    below = rows = 0.0
    for node in graph.nodes:
        below += work_of(node)
        rows += node.size * below if isinstance(node.op, Nonlinear) else 0.0
    return rows > _MANY * sum(cost.products for cost in costs if cost is not None)
