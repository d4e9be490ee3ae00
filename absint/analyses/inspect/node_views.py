"""What a network is made of, and how every operator will be treated: read from families and traits alone."""

from __future__ import annotations

from absint.analyses.inspect.record import ComparedNodes, ImportCheck, NodeView, Treatment
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.import_check import POINTS, check_import
from absint.model.op import Input, Op

# Products that the import check may compute here: a few seconds on one core.
_AFFORDABLE = 1e11
_FEWEST = 3  # the first two points are the corners of the range, and zeros tell nothing


def treatment(op: Op) -> Treatment:
    """From the family; a nonlinear operator without a band of its own gives forward domains nothing but its range."""
    if isinstance(op, Input):
        return Treatment.INPUT
    if isinstance(op, Composite):
        return Treatment.EXPANDS
    if isinstance(op, Linear):
        return Treatment.EXACT
    if isinstance(op, Nonlinear) and type(op).band is not Nonlinear.band:
        return Treatment.RELAXED
    return Treatment.LOOSE


def in_words(op: Op | None) -> str | None:
    """What an operator that expands says of how."""
    return op.in_words if isinstance(op, Composite) else None


def parameters(op: Op) -> int:
    """Floating-point numbers among its attributes."""
    return sum(value.numel() for value in op.constants())


def view(graph: Graph) -> tuple[NodeView, ...]:
    """Every node, in topological order."""
    return tuple(_view(graph, node) for node in graph.nodes)


def _view(graph: Graph, node: Node) -> NodeView:
    return NodeView(
        node.name, type(node.op).__name__, node.inputs, graph.shapes_of(node), node.shape, treatment(node.op), parameters(node.op),
        node.size if isinstance(node.op, Nonlinear) else 0, tuple(dict.fromkeys((*node.tensors, node.name))),
    )


def products(graph: Graph) -> int:
    """Multiplications of one evaluation, roughly: summands per entry of every linear map."""
    return sum(node.size * node.op.forward_terms if isinstance(node.op, Linear) else node.size for node in graph.nodes)


def checked_import(graph: Graph, low: float, high: float) -> ImportCheck:
    """The import check on as many points as a few seconds allow. Raises UnsupportedError E-IMPORT-MISMATCH."""
    seen = graph.source.node_check
    nodes = None if seen is None else ComparedNodes(seen.nodes, seen.total, seen.pieces, seen.visited)
    points = min(POINTS, int(_AFFORDABLE / max(1, products(graph))))
    if points < _FEWEST or not graph.source.runs:
        return ImportCheck(0, None, nodes)
    return ImportCheck(points, check_import(graph, low, high, points=points), nodes)
