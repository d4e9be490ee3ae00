"""The intermediate representation: an immutable directed acyclic graph of operators, free of any file format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from absint.errors import InputError, UnsupportedError, UsageError
from absint.model import graph_view
from absint.model.composition import UNIT, Fit, Range, fitted, joint
from absint.model.families.composite import Composite
from absint.model.op import Input, Op, Shape
from absint.model.ops.shape import Reshape
from absint.model.parameters import Made, of_no_numbers, parameters_of, remade
from absint.model.source import Source, in_words, joined

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, eq=False)
class Closed:
    """The composite whose expansion ends at a node, and its inputs, which are ancestors of the node."""

    op: Composite
    inputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator application. shape: of the result, without the batch axis.

    tensors: every name of the source file this node's value goes by (a removed identity leaves its name here).
    read_as: axes of this value that composite operators, expanded by now, take for channels (`Op.channel_axis`).
    closed: where a composite that states an enclosure of its result ended up; see `Composite.enclosure`.
    made: how the operator was made of the file's constants, where it was.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape
    tensors: tuple[str, ...] = ()
    read_as: frozenset[int] = frozenset()
    closed: Closed | None = None
    made: Made | None = None

    def reading(self, names: Mapping[str, str]) -> Node:
        """The same node where the nodes it reads have other names (those of `names`)."""

        def new(inputs: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(i, i) for i in inputs)

        if names.keys().isdisjoint((*self.inputs, *(() if self.closed is None else self.closed.inputs))):
            return self
        closed = None if self.closed is None else replace(self.closed, inputs=new(self.closed.inputs))
        return replace(self, inputs=new(self.inputs), closed=closed)

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    def __repr__(self) -> str:
        return graph_view.line(self)


_NOWHERE = Source()


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order: the first is the Input, the last the output. Calling it evaluates it.

    live: whether it is a view over parameters that may change: see `with_parameters`.
    """

    nodes: tuple[Node, ...]
    source: Source = _NOWHERE
    live: bool = False

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            missing = [i for i in node.inputs if i not in seen]
            if missing or node.name in seen:
                raise InputError("E-GRAPH", f"node '{node.name}' is defined twice or uses undefined {missing}")
            check_arity(node.op, len(node.inputs), node.name)
            seen.add(node.name)
        if not self.nodes or not isinstance(self.nodes[0].op, Input):
            raise InputError("E-GRAPH", "a graph starts with its Input node")

    def __repr__(self) -> str:
        return graph_view.summary(self.nodes, self.source.path, self.source.sha256)

    def _repr_html_(self) -> str:
        return graph_view.table(self.nodes, self.source.path, self.source.sha256)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by their own name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def tensors(self) -> Mapping[str, str]:
        """Name in the source file -> node name; node names stand for themselves.

        In a chain, names of the first network's file come first; a later network's tensor goes by its own name as well where no
        other tensor has it.
        """
        found = {alias: node.name for node in self.nodes for alias in (*node.tensors, node.name)}
        begins = sorted((part.names for part in self.source.parts if part.names), key=len, reverse=True)
        short = [(name.removeprefix(start), node) for name, node in found.items() if (start := next(filter(name.startswith, begins), ""))]
        counts = Counter(name for name, _ in short)
        return {**found, **{name: node for name, node in short if counts[name] == 1 and name not in found}}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """Node name -> names of the nodes that read it."""
        out: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                out[name].append(node.name)
        return {name: tuple(users) for name, users in out.items()}

    @cached_property
    def last_use(self) -> Mapping[str, str]:
        """Node name -> the last node that reads it."""
        return {name: node.name for node in self.nodes for name in node.inputs}

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Node name -> place in the topological order."""
        return {node.name: k for k, node in enumerate(self.nodes)}

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @property
    def input(self) -> Node:
        """The Input node."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    def find(self, tensor: str) -> Node:
        """The node that a tensor of the source file ended up in. Raises UsageError E-TENSOR with near names."""
        if tensor not in self.tensors:
            raise UsageError("E-TENSOR", f"the graph has no tensor '{tensor}'", where=self.source.path or None,
                             hint=f"known: {', '.join(list(self.tensors)[:12])}")
        return self.by_name[self.tensors[tensor]]

    def shapes_of(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of a node's inputs."""
        return tuple(self.by_name[i].shape for i in node.inputs)

    def __call__(self, x: Tensor) -> Tensor:
        """Concrete output. x: (batch, *input shape), any floating format; differentiable."""
        return self.evaluate(x)[self.output.name]

    @cached_property
    def jumps_somewhere(self) -> bool:
        """Whether some operator has gradients for searches alone (`Op.guided`)."""
        return any(node.op.jumps_somewhere for node in self.nodes)

    def evaluate(self, x: Tensor, wanted: Iterable[str] = (), *, guided: bool = False) -> dict[str, Tensor]:
        """Concrete values of the output and of the `wanted` nodes; everything else is freed as early as possible.

        guided: with gradients that searches follow and nothing else may.
        """
        keep = {self.output.name, *wanted}
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            run = node.op.guided if guided else node.op.forward
            values[node.name] = x if isinstance(node.op, Input) else run(*(values[i] for i in node.inputs))
            for name in set(node.inputs):
                if self.last_use[name] == node.name and name not in keep:
                    del values[name]
        return {name: values[name] for name in keep}

    def fits(self, dtype: torch.dtype, look: Callable[[], None] | None = None) -> bool:
        """Whether every constant converts to `dtype` within its unit roundoff (see Op.fits), numbers that are no tensors, too.

        look: called before each node.
        """
        return all(self._node_fits(node, dtype, look) for node in self.nodes)

    @staticmethod
    def _node_fits(node: Node, dtype: torch.dtype, look: Callable[[], None] | None) -> bool:
        if look is not None:
            look()
        return node.op.fits(dtype)

    @cached_property
    def parameters(self) -> Mapping[str, Tensor]:
        """The floating-point constants of the file that operators were made of, by their names there, in float64.

        Those that a rewrite has folded into others are left out: `load(..., fold=False)` keeps them.
        """
        return parameters_of([(node.op, node.made) for node in self.nodes], self.source.reads)

    def with_parameters(self, mapping: Mapping[str, Tensor]) -> Graph:
        """A view of the graph, cheap and for one step, whose operators are made of these tensors; gradients flow into them.

        mapping: tensors in place of `parameters`, by name, in any floating-point format and on any device; the others stay as they are.
        Operators of a view keep nothing that was computed from a constant, so that no bound rests on weights that were changed since.
        Raises UsageError E-PARAMETER for a name that the graph does not have and tensors of other shapes, UnsupportedError E-PARAMETER
        for an operator that cannot be made of tensors that change.
        """
        rewritten = {"recognise", "fold-affine", "merge-linear"}.intersection(self.source.passes)
        folded = "; others were folded: load with fold=False" if rewritten else ""
        operators = {node.name: (node.op, node.made) for node in self.nodes}
        ops = remade(operators, mapping, self.source.reads, self.source.path or None, folded)
        nodes = tuple(replace(node, op=ops[node.name], made=None, closed=of_no_numbers(node.closed)) if node.name in ops else node
                      for node in self.nodes)
        return Graph(nodes, replace(self.source.unreferenced, sha256="", node_check=None), live=True)

    def upto(self, name: str) -> Graph:
        """The subgraph that computes node `name`, which becomes the output."""
        return replace(self, nodes=needed(self.by_name, name), source=self.source.unreferenced)

    def then(self, following: Graph, *, rescale: bool = False, as_is: bool = False, classifier_range: Range | None = UNIT) -> Graph:
        """`following` after this network, as one graph whose reference is both models one after the other.

        classifier_range: of `following`'s input, None for any.  rescale: whether values are mapped to it, from the range that
        the functions at this network's end have.  as_is: whether they may leave it.
        Raises InputError E-COMPOSE-RANGE where neither is said and the range does not fit, E-MODEL-TYPE for what is no graph, UsageError
        E-USAGE and E-CLIP, and what `chain` raises.
        """
        if not isinstance(following, Graph):
            raise InputError("E-MODEL-TYPE", f"what follows is a {type(following).__name__}, no graph", where="following",
                             hint="absint.load reads files and modules: generator.then(absint.load('C.onnx'))")
        ops, notes = fitted(self.nodes, Fit(rescale, as_is, classifier_range), in_words(self.source, following.source))
        return chain(self, following, ops, notes)

    def to_networkx(self) -> networkx.DiGraph:
        """For graph questions: nodes carry `op` and `shape`."""
        import networkx as nx

        graph: Any = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, op=type(node.op).__name__, shape=node.shape)
            graph.add_edges_from((i, node.name) for i in node.inputs)
        return graph


class GraphBuilder:
    """Adds operators one by one, expands composites, infers shapes, and freezes the result."""

    def __init__(self, input_name: str, shape: Shape) -> None:
        self.nodes: dict[str, Node] = {input_name: Node(input_name, Input(shape), (), shape, (input_name,))}

    def shape(self, name: str) -> Shape:
        """Shape of an added node."""
        return self.nodes[name].shape

    def add(self, op: Op, inputs: tuple[str, ...], name: str | None = None, tensors: tuple[str, ...] = ()) -> str:
        """Add `op` under `name` (made up if None). Returns the node's name. Raises UnsupportedError on unfit shapes."""
        shapes = tuple(self.shape(i) for i in inputs)
        check_arity(op, len(inputs), name)
        if isinstance(op, Composite):
            if op.channel_axis is not None:
                read = self.nodes[inputs[0]]
                self.nodes[inputs[0]] = replace(read, read_as=read.read_as | {op.channel_axis})

            def build(part: Op, parts: tuple[str, ...]) -> str:
                return self.add(part, parts, self._fresh(name or type(op).__name__))

            try:
                last = op.expand(build, inputs, shapes)
            except ValueError as error:
                raise UnsupportedError("E-SHAPE", str(error), where=name, hint="check the shapes in the model") from error
            return self._rename(last, name, tensors, Closed(op, inputs) if op.has_enclosure else None)
        try:
            shape = op.output_shape(*shapes)
        except ValueError as error:
            raise UnsupportedError("E-SHAPE", str(error), where=name, hint="check the shapes in the model") from error
        chosen = name or self._fresh(type(op).__name__)
        if chosen in self.nodes:
            raise InputError("E-GRAPH", f"the tensor '{chosen}' is defined twice")
        self.nodes[chosen] = Node(chosen, op, inputs, shape, tensors)
        return chosen

    def _fresh(self, stem: str) -> str:
        k = len(self.nodes)
        while f"{stem}#{k}" in self.nodes:
            k += 1
        return f"{stem}#{k}"

    def _rename(self, name: str, wanted: str | None, tensors: tuple[str, ...], closed: Closed | None) -> str:
        node = self.nodes.pop(name)
        chosen = wanted or name
        if chosen in self.nodes:
            raise InputError("E-GRAPH", f"the tensor '{chosen}' is defined twice")
        self.nodes[chosen] = replace(node, name=chosen, tensors=(*node.tensors, *tensors), closed=closed or node.closed)
        return chosen

    def graph(self, output: str, source: Source | None = None) -> Graph:
        """Freeze, keeping only what `output` needs."""
        return Graph(needed(self.nodes, output), source or _NOWHERE)


def needed(nodes: Mapping[str, Node], output: str) -> tuple[Node, ...]:
    """Those of some nodes in topological order that one of them needs, and the Input, in the same order."""
    found, stack = set[str](), [output]
    while stack:
        current = stack.pop()
        if current not in found:
            found.add(current)
            stack += nodes[current].inputs
    return tuple(node for node in nodes.values() if node.name in found or isinstance(node.op, Input))


def check_arity(op: Op, given: int, name: str | None) -> None:
    """Raise UnsupportedError E-OP-ARITY where `op` takes another number of computed operands."""
    if op.arity is not None and given != op.arity:
        raise UnsupportedError(
            "E-OP-ARITY", f"{type(op).__name__} takes {op.arity} computed operand(s), not {given}", where=name,
            hint="an input that absint needs as a constant is computed in this model: export with constant folding",
        )


Rewrite = Callable[[Graph], Graph]


def rebuild(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """A graph of the given nodes with the old source; used by passes."""
    return Graph(tuple(nodes), graph.source)


def chain(first: Graph, second: Graph, between: tuple[Op, ...] = (), notes: tuple[str, ...] = ()) -> Graph:
    """second after first as one graph, whatever the ranges of their values: `Graph.then` is the one that looks at them.

    between: operators on what the first one gives, no composites.  notes: on them. Names of the second one's nodes and tensors begin
    with `then/`, once for each network before it. The chain's reference is both models, one after the other.
    Raises InputError E-SHAPE, UnsupportedError E-OP-UNSUPPORTED where the first network ends in ArgMax, or for a composite between.
    """
    one, two = first.source, second.source
    where = in_words(one, two) or None
    if one.chooses is not None:
        raise UnsupportedError("E-OP-UNSUPPORTED", f"the first network ends in {one.chooses.node}: its output is a class index",
                               where=one.path or None, hint="load it with output=NAME, the tensor in front of it")
    composite = next((op for op in between if isinstance(op, Composite)), None)
    if composite is not None:
        raise UnsupportedError("E-OP-UNSUPPORTED", f"{type(composite).__name__} is no single operator to put between two networks",
                               where=where, hint="build a network of it with GraphBuilder, and chain that one")
    shape = first.output.shape
    for op in between:
        shape = op.output_shape(shape)
    shaped = joint(shape, second.input.shape, where)
    ops = (*between, *shaped)
    names = _apart(first, second)
    nodes = _in_a_row(first, second, ops, names)
    if shaped:
        notes = (*notes, f"values of shape {shape} are read as {second.input.shape}, in row-major order")
    # Runtimes may give other shapes of one instance: the first of these operators sees the graph's.
    return Graph(nodes, joined(one, two, (Reshape(first.output.shape), *ops), names, notes))


def _apart(first: Graph, second: Graph) -> str:
    """What the second one's names begin with, so that no two are the same."""
    names = "then/" * len(first.source.networks)
    used = {name for name in first.tensors if name.startswith("then/")}
    while used and any(names + name in used for name in second.tensors):
        names += "then/"
    return names


def _in_a_row(first: Graph, second: Graph, ops: tuple[Op, ...], names: str) -> tuple[Node, ...]:
    """Its input's names go to what the second one reads: the last of the operators between, or the first one's output."""
    entry = second.input
    own = tuple(names + tensor for tensor in dict.fromkeys((entry.name, *entry.tensors)))
    nodes = list(first.nodes)
    if not ops:
        last = first.output
        nodes[-1] = replace(last, read_as=last.read_as | entry.read_as, tensors=(*last.tensors, *own))
        new = {entry.name: last.name}
    else:
        before, shape = first.output.name, first.output.shape
        for k, op in enumerate(ops):
            shape = op.output_shape(shape)
            final = k == len(ops) - 1
            name = own[0] if final else f"{own[0]}/before{len(ops) - 1 - k}"
            nodes.append(Node(name, op, (before,), shape, own if final else (), entry.read_as if final else frozenset()))
            before = name
        new = {entry.name: own[0]}
    for node in second.nodes[1:]:
        new[node.name] = names + node.name
        nodes.append(replace(node.reading(new), name=new[node.name], tensors=tuple(names + tensor for tensor in node.tensors)))
    return tuple(nodes)
