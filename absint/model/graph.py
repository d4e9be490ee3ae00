"""The intermediate representation: an immutable directed acyclic graph of operators, free of any file format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from absint.errors import InputError, UnsupportedError, UsageError
from absint.model import graph_view
from absint.model.families.composite import Composite
from absint.model.op import Input, Op, Shape
from absint.model.parameters import Made, either, of_no_numbers, parameters_of, remade

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

        closed = None if self.closed is None else replace(self.closed, inputs=new(self.closed.inputs))
        return replace(self, inputs=new(self.inputs), closed=closed)

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    def __repr__(self) -> str:
        return graph_view.line(self)


@dataclass(frozen=True)
class NodeCoverage:
    """What was compared of a file's nodes one by one: `nodes` of `total`, `visited` of the `pieces` of their functions."""

    nodes: int
    total: int
    visited: int
    pieces: int


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """A network that ends in ArgMax: its output is the index of the greatest entry of the graph's output, its scores.

    node: what messages call the end, such as "ArgMax 'pick'".  last: of several greatest scores the last one is taken, else
    the first.  shape: of the network's own output, batch axis included.  model: the whole network for the reference
    runtime, the ArgMax with it, or None.
    """

    node: str
    last: bool
    shape: Shape
    model: bytes | None


# Formats of which float32 does not hold every number.
WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})


@dataclass(frozen=True, eq=False)
class Source:
    """Where a graph came from, for reports and for replaying witnesses.

    model: the serialized reference model (bytes), or None.  sha256: of every byte the user's model
    was read from, weights in other files included.  full_input_shape: what the
    reference runtime expects, batch axis included as 1.  prefix: operators applied to the user's input before it.
    float32_executions: False where the model computes in a narrower format, or has kernels (softmax, normalisations) whose
    rounding is not bounded: float32 semantics is refused then.  formats: of its floating-point tensors
    and of the integers that it computes; None where nobody knows.
    chooses: how the network itself ends where the graph ends with its scores.
    caveats: where what is analysed is not what the file seems to say, as "E-CODE: text"; every answer carries them. They are
    among the `notes`, too, without their code.
    node_check: None where the file's nodes were not compared.  reads: of the file's constants, see `absint.model.parameters.read_from`.
    """

    path: str = ""
    sha256: str = ""
    model: bytes | None = None
    input_tensor: str = ""
    full_input_shape: Shape = ()
    batched: bool = True
    passes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    prefix: tuple[Op, ...] = field(default=())
    float32_executions: bool = True
    formats: frozenset[str] | None = None
    chooses: ClassIndex | None = None
    caveats: tuple[str, ...] = ()
    node_check: NodeCoverage | None = None
    reads: Mapping[str, int] = field(default_factory=dict)

    @property
    def wide(self) -> bool:
        """Whether a tensor may hold numbers that float32 does not, so that a cast to it rounds; True where nobody knows."""
        return self.formats is None or bool(self.formats & WIDE)

    @property
    def whole(self) -> Source:
        """The network as the user has it: with its ArgMax, where the graph ends with the scores."""
        return self if self.chooses is None else replace(self, model=self.chooses.model, chooses=None)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order: the first is the Input, the last the output. Calling it evaluates it.

    live: whether it is a view over parameters that may change: see `with_parameters`.
    """

    nodes: tuple[Node, ...]
    source: Source = Source()
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
        """Name in the source file -> node name; node names stand for themselves."""
        return {alias: node.name for node in self.nodes for alias in (*node.tensors, node.name)}

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

    def evaluate(self, x: Tensor, wanted: Iterable[str] = ()) -> dict[str, Tensor]:
        """Concrete values of the output and of the `wanted` nodes; everything else is freed as early as possible."""
        keep = {self.output.name, *wanted}
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            values[node.name] = x if isinstance(node.op, Input) else node.op.forward(*(values[i] for i in node.inputs))
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
        """A view of the graph, for one step, whose operators are made of these tensors; gradients flow into them.

        mapping: tensors in place of `parameters`, by name, in any floating-point format and on any device; the others stay as they are.
        Operators of a view keep nothing that was computed from a constant, so that no bound rests on weights that were changed since.
        Nothing else is copied: a view is cheap, and meant to be made anew for the next step.
        Raises UsageError E-PARAMETER for a name that the graph does not have and tensors of other shapes, UnsupportedError E-PARAMETER
        for an operator that cannot be made of tensors that change.
        """
        folded = "; others were folded: load with fold=False" if "fold-affine" in self.source.passes else ""
        operators = {node.name: (node.op, node.made) for node in self.nodes}
        ops = remade(operators, mapping, self.source.reads, self.source.path or None, folded)
        nodes = tuple(replace(node, op=ops[node.name], made=None, closed=of_no_numbers(node.closed)) if node.name in ops else node
                      for node in self.nodes)
        return Graph(nodes, replace(self.source, model=None, sha256="", node_check=None), live=True)

    def upto(self, name: str) -> Graph:
        """The subgraph that computes node `name`, which becomes the output."""
        needed, stack = set[str](), [name]
        while stack:
            current = stack.pop()
            if current not in needed:
                needed.add(current)
                stack += self.by_name[current].inputs
        kept = tuple(n for n in self.nodes if n.name in needed or isinstance(n.op, Input))
        return replace(self, nodes=kept, source=replace(self.source, model=None, chooses=None))

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
        full = Graph(tuple(self.nodes.values()))
        if output != full.output.name:
            full = full.upto(output)
        return replace(full.upto(output), source=source or Source())


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


def chain(first: Graph, second: Graph) -> Graph:
    """second after first (`first.then(second)` of the API): one graph; node names of the second get the prefix `then/`."""
    if first.output.shape != second.input.shape:
        raise InputError("E-SHAPE", f"an output of shape {first.output.shape} cannot feed an input of shape {second.input.shape}")
    if first.source.chooses is not None:
        raise UnsupportedError("E-OP-UNSUPPORTED", f"the first network ends in {first.source.chooses.node}: its output is a class index",
                               where=first.source.path or None, hint="only the last network of a chain may end in ArgMax")
    name = {second.input.name: first.output.name}
    nodes = [*first.nodes[:-1], replace(first.output, read_as=first.output.read_as | second.input.read_as)]
    for node in second.nodes[1:]:
        name[node.name] = f"then/{node.name}"
        nodes.append(replace(node.reading(name), name=name[node.name], tensors=tuple(f"then/{t}" for t in node.tensors)))
    one, two = first.source, second.source
    source = replace(
        one, model=None, passes=tuple(dict.fromkeys((*one.passes, *two.passes))), notes=(*one.notes, *two.notes),
        # Between a network of float64 (or of integers) and the next lies a conversion that is nobody's operator.
        float32_executions=one.float32_executions and two.float32_executions and not WIDE & (one.formats or frozenset()),
        formats=two.formats,
        chooses=None if two.chooses is None else replace(two.chooses, model=None),
        caveats=tuple(dict.fromkeys((*one.caveats, *two.caveats))), reads=either(one.reads, two.reads),
    )
    return Graph(tuple(nodes), source)
