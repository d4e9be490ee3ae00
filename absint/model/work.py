"""What evaluating a network costs: estimates that steps are cut by, so that none outlasts a look at the clock by much."""

from __future__ import annotations

from collections.abc import Iterable

from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node

# An entry of any operator costs about as much as so many products: it is read, written and allocated.
_ENTRY = 8


def products_of(node: Node) -> float:
    """Multiplications of one evaluation of a node, of one instance."""
    return float(node.size * (node.op.forward_terms if isinstance(node.op, Linear) else 0))


def work_of(node: Node) -> float:
    """About how many products one evaluation of a node takes, of one instance; one generator or row takes as many."""
    return node.size * _ENTRY + products_of(node)


def heaviest(nodes: Iterable[Node]) -> float:
    """Of the costliest of the nodes."""
    return max((work_of(node) for node in nodes), default=1.0)


def scratch(graph: Graph, nodes: Iterable[Node]) -> int:
    """Entries that the greediest of the nodes needs on a device for one vector, beside the vector and its image."""
    return max((node.op.scratch(node.shape, graph.shapes_of(node)) for node in nodes if isinstance(node.op, Linear)), default=0)


def work(graph: Graph) -> float:
    """Of one evaluation of the whole graph."""
    return sum(work_of(node) for node in graph.nodes)
