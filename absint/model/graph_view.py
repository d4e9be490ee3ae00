"""A graph in a few lines: for the prompt of an interpreter, and as a table in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Protocol

from absint.errors import printable
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Op, Shape

_NAME, _KINDS, _ROWS = 60, 8, 40    # characters of a name, kinds of operators, and rows of a table that are shown


class NodeParts(Protocol):
    """What is shown of a node (`absint.model.graph.Node`)."""

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def op(self) -> Op:
        """The operator."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes that it reads."""

    @property
    def shape(self) -> Shape:
        """Of its value, without the batch axis."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names in the user's file."""

    @property
    def size(self) -> int:
        """Entries of its value."""


Nodes = Sequence[NodeParts]


def short(name: str, limit: int = _NAME) -> str:
    """A name from a user's file, safe to print; the middle of a long one is left out."""
    text = printable(name)
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}...{text[-(limit - limit // 2 - 2):]}"


def shape(sizes: Sequence[int]) -> str:
    """'1x28x28'; 'scalar' for no axes."""
    return short("x".join(map(str, sizes)) or "scalar")


def summary(nodes: Nodes, path: str, sha256: str) -> str:
    """One line: where from, shapes, nodes, neurons, parameters, operators counted, the hash of the user's file."""
    origin = short(path or nodes[-1].name)
    hashed = f"; sha256 {sha256[:12]}" if sha256 else ""
    return (f"<Graph {origin}: {shape(nodes[0].shape)} -> {shape(nodes[-1].shape)}, {len(nodes)} nodes, {neurons(nodes)} neurons, "
            f"{parameters(nodes)} parameters; {operators(nodes)}{hashed}>")


def neurons(nodes: Nodes) -> int:
    """Entries of the values of nonlinear operators."""
    return sum(node.size for node in nodes if isinstance(node.op, Nonlinear))


def parameters(nodes: Nodes) -> int:
    """Floating-point coefficients of all operators, as analysed: after folding."""
    return sum(constant.numel() for node in nodes for constant in node.op.constants())


def operators(nodes: Nodes) -> str:
    """'Gemm x 4, Relu x 3', the most frequent first."""
    counted = Counter(type(node.op).__name__ for node in nodes[1:]).most_common()
    listed = [f"{short(kind, 30)} x {count}" for kind, count in counted[:_KINDS]]
    rest = [f"{len(counted) - _KINDS} more kinds"] if len(counted) > _KINDS else []
    return ", ".join([*listed, *rest]) or "no operators"


def line(node: NodeParts) -> str:
    """A node: name, operator, inputs and shape."""
    inputs = ", ".join(short(name, 24) for name in node.inputs[:4]) + (f", {len(node.inputs) - 4} more" if len(node.inputs) > 4 else "")
    return f"<Node {short(node.name)}: {short(type(node.op).__name__, 30)}({inputs}) -> {shape(node.shape)}>"


def table(nodes: Nodes, path: str, sha256: str) -> str:
    """HTML: the summary and a row a node, the first ones and the output where there are many. Nothing of a file is markup."""
    shown = list(nodes) if len(nodes) <= _ROWS else [*nodes[: _ROWS - 1], nodes[-1]]
    rows = [_row(node) for node in shown]
    if len(shown) < len(nodes):
        rows.insert(-1, f"<tr><td colspan='5'>... {len(nodes) - len(shown)} more</td></tr>")
    head = "".join(f"<th>{title}</th>" for title in ("node", "operator", "reads", "shape", "tensors of the file"))
    return f"<p>{escape(summary(nodes, path, sha256)[1:-1])}</p><table><tr>{head}</tr>{''.join(rows)}</table>"


def _row(node: NodeParts) -> str:
    cells = (short(node.name), short(type(node.op).__name__), _few(node.inputs), shape(node.shape), _few(node.tensors))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(short, names[:4])) + (f", ... {len(names) - 4} more" if len(names) > 4 else "")
