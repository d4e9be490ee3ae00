"""What a network is made of, and how every operator will be treated: read from families and traits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.import_check import POINTS, check_import
from absint.model.op import Input, Op, Shape

# Products that the import check may compute here: a few seconds on one core.
_AFFORDABLE = 1e11
_FEWEST = 3  # the first two points are the corners of the range, and zeros tell nothing


class Treatment(Enum):
    """How an operator is carried through an analysis."""

    INPUT = "input"
    EXACT = "exact"                  # affine: exact up to bounded rounding
    RELAXED = "sound relaxation"     # affine bounds below and above
    LOOSE = "loose hull"             # forward domains take the interval hull of its result
    EXPANDS = "expands"              # into others, which are then treated one by one
    FOLDED = "folded"                # evaluated at import: a constant
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class NodeView:
    """One node of the graph that is analysed. parameters: numbers it holds.  tensors: the file's names it stands for.

    neurons: entries of a nonlinear result, 0 for any other.  shapes: of its inputs, without the batch axis.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    shape: Shape
    treatment: Treatment
    parameters: int
    neurons: int
    tensors: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "op": self.op, "inputs": list(self.inputs), "input_shapes": [list(s) for s in self.shapes],
                "shape": list(self.shape), "treatment": self.treatment.value, "parameters": self.parameters,
                "neurons": self.neurons, "tensors": list(self.tensors)}


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


def totals(nodes: Sequence[NodeView]) -> Mapping[str, Any]:
    """JSON-ready sums over the nodes."""
    counts = Counter(node.treatment.value for node in nodes)
    return {"nodes": len(nodes), "parameters": sum(n.parameters for n in nodes), "neurons": sum(n.neurons for n in nodes),
            "nonlinear_layers": sum(n.neurons > 0 for n in nodes), "treatments": dict(counts)}


def products(graph: Graph) -> int:
    """Multiplications of one evaluation, roughly: summands per entry of every linear map."""
    return sum(node.size * node.op.forward_terms if isinstance(node.op, Linear) else node.size for node in graph.nodes)


@dataclass(frozen=True)
class ImportCheck:
    """points: compared with the reference runtime, 0 where none was affordable.  deviation: the largest, relative to its tensor."""

    points: int
    deviation: float | None


def checked_import(graph: Graph, low: float, high: float) -> ImportCheck:
    """The import check on as many points as a few seconds allow. Raises UnsupportedError E-IMPORT-MISMATCH."""
    points = min(POINTS, int(_AFFORDABLE / max(1, products(graph))))
    if points < _FEWEST or graph.source.model is None:
        return ImportCheck(0, None)
    return ImportCheck(points, check_import(graph, low, high, points=points))
