"""What was found of one network: the nodes of the file, the nodes that are analysed, and what stands in the way. Plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

Shape = tuple[int, ...]
RANGE = (0.0, 1.0)      # assumed of inputs: files declare none


class Treatment(Enum):
    """How an operator is carried through an analysis."""

    INPUT = "input"
    EXACT = "exact"                  # affine: exact up to bounded rounding
    RELAXED = "sound relaxation"     # affine bounds below and above
    LOOSE = "loose hull"             # forward domains take the interval hull of its result
    EXPANDS = "expands"              # into others, which are then treated one by one
    FOLDED = "folded"                # evaluated at import: a constant
    UNSUPPORTED = "unsupported"
    UNSEEN = "not looked at"         # behind one that is not supported, of whose result nothing is known


@dataclass(frozen=True)
class NodeView:
    """One node of the graph that is analysed. parameters: numbers it holds.  tensors: the file's names it stands for.

    neurons: entries of a nonlinear result, 0 for any other.  input_shapes: without the batch axis, as shape is.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    treatment: Treatment
    parameters: int
    neurons: int
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class FileNodeRow:
    """One node of the file. Shapes are None where they are not known.  code, reason, hint: where it is not supported.

    how: what is told of an operator that expands, or None.
    behind: the position of the node that is not supported, where this one was not looked at because of it.
    """

    position: int
    name: str
    op: str
    opset: int | None
    input_shapes: tuple[Shape | None, ...]
    shape: Shape | None
    treatment: Treatment
    parameters: int
    code: str | None
    reason: str | None
    hint: str | None
    how: str | None = None
    behind: int | None = None


@dataclass(frozen=True)
class ModelProblem:
    """One thing that stands in the way: an error, as data. kind: its class."""

    kind: str
    code: str
    what: str
    where: str | None
    details: tuple[str, ...]
    hint: str | None


@dataclass(frozen=True)
class ComparedNodes:
    """How many nodes of the file, and pieces of their functions, the import check compared one by one."""

    nodes: int
    total: int
    pieces: int
    visited: int


@dataclass(frozen=True)
class ImportCheck:
    """points: compared with the reference runtime, 0 where none was affordable.  deviation: the largest, relative to its tensor."""

    points: int
    deviation: float | None
    nodes: ComparedNodes | None = None


@dataclass(frozen=True)
class Analysed:
    """The graph that is analysed. input_tensor: as the file calls it.  full_input_shape: in the file, with its batch axis if any."""

    input_tensor: str
    input_shape: Shape
    full_input_shape: Shape
    batched: bool
    output_tensor: str
    output_shape: Shape
    passes: tuple[str, ...]
    notes: tuple[str, ...]
    caveats: tuple[str, ...]
    nodes: tuple[NodeView, ...]
    check: ImportCheck | None


@dataclass(frozen=True)
class Inspection:
    """What was found. analysed: None where the graph could not be made.  problem: None where absint can analyse the network."""

    index: int
    path: str
    sha256: str
    file_nodes: tuple[FileNodeRow, ...]
    analysed: Analysed | None
    problem: ModelProblem | None

    @property
    def nodes(self) -> tuple[NodeView, ...]:
        """Those that are analysed."""
        return () if self.analysed is None else self.analysed.nodes

    @property
    def broken(self) -> int:
        """Nodes of the file that are not supported."""
        return sum(node.reason is not None for node in self.file_nodes)

    def rows(self) -> Iterator[NodeRow]:
        """The nodes of the file, then those that are analysed."""
        for node in self.file_nodes:
            yield NodeRow(self.index, "file", node.name, node.op, (), node.input_shapes, node.shape, node.treatment, node.parameters, 0, (),
                          node.reason)
        for view in self.nodes:
            yield NodeRow(self.index, "graph", view.name, view.op, view.inputs, view.input_shapes, view.shape, view.treatment,
                          view.parameters, view.neurons, view.tensors, None)


@dataclass(frozen=True)
class NodeRow:
    """One node, of the file or of the graph that is analysed. tensors: names of the file that it stands for."""

    index: int
    node_of: str
    name: str
    op: str
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape | None, ...]
    shape: Shape | None
    treatment: Treatment
    parameters: int
    neurons: int
    tensors: tuple[str, ...]
    reason: str | None

    COLUMNS: ClassVar[Sequence[str]] = ("index", "node_of", "name", "op", "inputs", "input_shapes", "shape", "treatment", "parameters",
                                        "neurons", "tensors", "reason")
    SHOWN: ClassVar[Mapping[str, int]] = {}     # the tables of the document show more

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"index": self.index, "node_of": self.node_of, "name": self.name, "op": self.op, "inputs": list(self.inputs),
                "input_shapes": [_listed(shape) for shape in self.input_shapes], "shape": _listed(self.shape),
                "treatment": self.treatment.value, "parameters": self.parameters, "neurons": self.neurons, "tensors": list(self.tensors),
                "reason": self.reason}


def _listed(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)


def totals(nodes: Sequence[NodeView]) -> Mapping[str, Any]:
    """JSON-ready sums over the nodes."""
    counts = Counter(node.treatment.value for node in nodes)
    return {"nodes": len(nodes), "parameters": sum(n.parameters for n in nodes), "neurons": sum(n.neurons for n in nodes),
            "nonlinear_layers": sum(n.neurons > 0 for n in nodes), "treatments": dict(counts)}
