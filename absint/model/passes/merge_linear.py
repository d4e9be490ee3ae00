"""Merge linear operators with no nonlinear one between them into one matrix, so that bounds are those of the composed map.

A box behind two matrices has radius |W2||W1| r, behind their product |W2 W1| r. The product is computed in exact arithmetic and rounded
once an entry (`linear_forms`): `weight_terms` is 0 or 1. Where that cannot be had, all stays as it is: coefficients
that an import or another pass rounded, of magnitudes beyond 2^-300 to 2^300, that float32 does not hold although it
holds the network's own. Convolutions are never merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node, rebuild
from absint.model.op import Shape
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.shape import Reshape
from absint.model.passes.linear_forms import LinearForm, behind, composable, first, fits_as, gemm_of, start

# The rule: one matrix in place of several, where it has at most so many times their entries, and those of any two matrices that could take
# their place, and no form on the way to it takes more room than so many times these. Measured on a lattice network, where it is 1.33, with
# the same 274 boxes: 7.3 CPU s, 8.4 s where only what grows nothing is merged, 14.2 s where nothing is.
_WORTH, _ROOM = 2.0, 8.0
_LONGEST = 64   # operators merged into one


def merge_linear(graph: Graph) -> Graph:
    """Exact up to `weight_terms` and `bias_error`; not exact for float32 executions. Inner tensors go, as documented for folded ones."""
    kept = {name for node in graph.nodes if node.closed is not None for name in node.closed.inputs}
    gone: set[str] = set()
    made: dict[str, tuple[Node, ...]] = {}
    for node in reversed(graph.nodes):
        if node.name not in gone and _dense(node) and composable(node.op):
            for cut in reversed(list(_cuts(graph, node, kept))):
                nodes = _merged(graph, cut)
                if nodes:
                    made[node.name] = nodes
                    gone |= {inner.name for inner in cut.inner}
                    break
    if not made:
        return graph
    return rebuild(graph, [new for node in graph.nodes if node.name not in gone for new in made.get(node.name, (node,))])


@dataclass(frozen=True, eq=False)
class _Cut:
    """Linear operators whose only input is one earlier node, and of which only the last one is read elsewhere; in order.

    doors: those of them through which all of it goes.
    """

    source: Node
    nodes: tuple[Node, ...]
    doors: tuple[Node, ...]

    @property
    def last(self) -> Node:
        """What the merged operator computes."""
        return self.nodes[-1]

    @property
    def inner(self) -> tuple[Node, ...]:
        """What is gone afterwards."""
        return self.nodes[:-1]

    @property
    def by_row(self) -> bool:
        """Whether all of them act along the last axis, so that their matrices themselves are multiplied."""
        return all(isinstance(node.op, Gemm) for node in self.nodes)

    def form_shape(self, node: Node) -> Shape:
        """What a form says of a node: all of it, or a row."""
        return node.shape[-1:] if self.by_row else node.shape

    @property
    def pays(self) -> bool:
        """The rule: see above."""
        first, last = (prod(self.form_shape(node)) for node in (self.source, self.last))
        matrices = sum(prod(self.form_shape(node)) * _row(node) for node in self.nodes if _dense(node))
        two = min(((first + last) * prod(self.form_shape(door)) for door in self.doors), default=matrices)
        widest = max(prod(self.form_shape(node)) for node in self.nodes)
        return first * last <= _WORTH * min(matrices, two) and first * widest <= _ROOM * matrices


def _dense(node: Node) -> bool:
    return isinstance(node.op, (Gemm, LeftMatMul))


def _row(node: Node) -> int:
    """Products that an entry takes."""
    return int(node.op.weight.shape[1]) if isinstance(node.op, (Gemm, LeftMatMul)) else 0


def _cuts(graph: Graph, sink: Node, kept: set[str]) -> Iterator[_Cut]:
    """All that pay, from the shortest to the longest. kept: nodes that something other than an operator reads."""
    inside, doors = {sink.name}, list[Node]()
    while len(inside) < _LONGEST:
        outside = {name for member in inside for name in graph[member].inputs} - inside
        nodes = tuple(sorted((graph[name] for name in inside), key=lambda node: graph.position[node.name]))
        if len(outside) == 1:
            (source,) = outside
            cut = _Cut(graph[source], nodes, tuple(doors))
            begins = any(_dense(node) and source in node.inputs for node in nodes)
            if begins and sum(map(_dense, nodes)) > 1 and cut.pays:
                yield cut
            doors.append(graph[source])
        grown = [name for name in outside if name not in kept and _goes(graph, graph[name], inside)]
        if not grown:
            return
        inside.add(max(grown, key=graph.position.__getitem__))


def _goes(graph: Graph, node: Node, inside: set[str]) -> bool:
    """Whether a node may be merged into those that read it."""
    read = set(graph.consumers[node.name])
    return composable(node.op) and not node.read_as and node.closed is None and read <= inside and node.name != graph.output.name


def _merged(graph: Graph, cut: _Cut) -> tuple[Node, ...]:
    """The nodes that take the place of all of them; none where the product is not to be had."""
    forms: dict[str, LinearForm] = {}
    for node in cut.nodes:
        form = _form(node, cut, forms)
        if form is None:
            return ()
        forms[node.name] = form
    op = gemm_of(forms[cut.last.name])
    if op is None or not fits_as(op, cut.nodes):
        return ()
    last = replace(cut.last, op=op, inputs=(cut.source.name,), made=None)
    if cut.by_row or (len(cut.source.shape) == 1 and len(last.shape) == 1):
        return (last,)
    flat, whole = _fresh(graph, f"{last.name}/flat"), _fresh(graph, f"{last.name}/merged")
    return (
        Node(flat, Reshape((cut.source.size,)), (cut.source.name,), (cut.source.size,)),
        Node(whole, op, (flat,), (last.size,)),
        replace(last, op=Reshape(last.shape), inputs=(whole,)),
    )


def _form(node: Node, cut: _Cut, forms: Mapping[str, LinearForm]) -> LinearForm | None:
    assert isinstance(node.op, Linear)
    if isinstance(node.op, Gemm) and node.inputs == (cut.source.name,) and len(cut.form_shape(cut.source)) == 1:
        return first(node.op)
    operands: Sequence[LinearForm] = [forms[name] if name in forms else start(cut.form_shape(cut.source)) for name in node.inputs]
    return behind(node.op, operands)


def _fresh(graph: Graph, name: str) -> str:
    while name in graph.tensors:
        name += "'"
    return name
