"""Single neurons of a network watched: its post-ReLU tensors, and the graph whose output is the values of a few of their entries.

The graph is a network like any other: it is bounded, attacked and replayed in the reference runtime as the whole one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from absint.errors import UnsupportedError, UsageError
from absint.model.digest import digest
from absint.model.families.elementwise import Elementwise
from absint.model.graph import Graph, Node
from absint.model.import_check import check_import
from absint.model.onnx_formats import executions_known
from absint.model.op import Input, Shape
from absint.model.ops.shape import Concat, Gather
from absint.model.pruned import prune
from absint.model.source import Source

_CONSTANTS_APART = 4     # before this version of the format, all constants stand among the inputs, too
_POINTS = 4     # the nodes themselves were compared at import; what is left to see is that the same entries are picked


@dataclass(frozen=True)
class Layer:
    """A post-ReLU tensor. tensor: its name in the file.  node: of the graph.  shape: without the batch axis.  size: entries."""

    tensor: str
    node: str
    shape: Shape

    @property
    def size(self) -> int:
        """Neurons."""
        return prod(self.shape)


@dataclass(frozen=True)
class Watch:
    """Entries of one tensor: flat places without the batch axis, ascending."""

    tensor: str
    entries: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.entries)


def rectified(graph: Graph) -> tuple[Layer, ...]:
    """The tensors of rectified neurons, from input to output: 0 for every operand up to 0, and rising from there.

    Tensors that the file does not name, inside of a function or of an operator that was expanded, are none.
    Raises UnsupportedError E-TABOO-NO-RELU where there is none.
    """
    made = None if graph.source.model is None else computed_by(onnx.load_model_from_string(graph.source.model))
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Elementwise) and node.op.rectifies:
            name = next((name for name in (node.name, *node.tensors) if made is None or name in made), None)
            if name is not None:
                found.append(Layer(name, node.name, node.shape))
    if not found:
        raise UnsupportedError("E-TABOO-NO-RELU", "the network has no rectified neurons (ReLU) that its file names",
                               where=graph.source.path or None, hint="a taboo trap watches post-ReLU values: use a network with ReLUs")
    return tuple(found)


def watched(graph: Graph, watches: Sequence[Watch]) -> Graph:
    """The graph that computes (k,) values: the entries of each watch in turn, of what the tensors hold.

    Its reference model is the user's file with that output in place of its own, compared with the graph on a few points.
    Raises UsageError E-TENSOR for a tensor that the graph does not have, E-TABOO-EMPTY for no entry at all or one beyond the tensor,
    UnsupportedError E-IMPORT-MISMATCH.
    """
    nodes = [graph.find(watch.tensor) for watch in watches]
    if not any(len(watch) for watch in watches):
        raise UsageError("E-TABOO-EMPTY", "no neuron is watched", hint="a mask holds one neuron at least")
    for watch, node in zip(watches, nodes, strict=True):
        _check_entries(watch, node)
    names = fresh_names(graph)
    parts = [_entries(node, watch, names) for watch, node in zip(watches, nodes, strict=True) if len(watch)]
    picked = [(watch, part[-1].name) for watch, part in zip((watch for watch in watches if len(watch)), parts, strict=True)]
    total, ends = sum(len(watch) for watch in watches), tuple(part[-1].name for part in parts)
    joined = () if len(parts) == 1 else (Node(name := next(names), Concat(0), ends, (total,), (name,)),)
    kept = _needed(graph, [part[0].inputs[0] for part in parts])
    inner = (*kept, *(node for part in parts for node in part), *joined)
    last = inner[-1]
    source = graph.source if graph.source.model is not None else graph.source.unreferenced     # a chain has no one file to pick from
    model = None if source.model is None else _picking(source, picked, last.name)
    caveats = tuple(caveat for caveat in source.caveats if not caveat.startswith("E-MODEL-ARGMAX"))
    own = "" if model is None else digest(model)      # not the user's file: nothing that was found of one says anything of the other
    # Of a kernel behind the watched tensors, such as a softmax at the end, nothing needs to be known.
    bounded = source.float32_executions if model is None else executions_known(onnx.load_model_from_string(model))
    found = Graph(inner, replace(source, model=model, sha256=own, chooses=None, caveats=caveats, node_check=None,
                                 float32_executions=bounded))
    if model is not None:
        check_import(found, points=_POINTS)
    return found


def _entries(node: Node, watch: Watch, names: Iterator[str]) -> tuple[Node, ...]:
    """Nodes that compute the watched entries of one, which come last.

    An operator that takes all entries alike is given the watched ones alone: what bounds operands then has only these to bound.
    """
    chosen, count = Gather.of(torch.tensor(watch.entries)), (len(watch),)
    name = next(names)
    if not (isinstance(node.op, Elementwise) and not node.op.constants()):
        return (Node(name, chosen, (node.name,), count, (name,)),)
    operand = f"{name}/operand"
    return Node(operand, chosen, node.inputs, count, (operand,)), Node(name, node.op, (operand,), count, (name,))


def fresh_names(graph: Graph) -> Iterator[str]:
    """Names that neither the graph nor its file uses."""
    used = {name for node in graph.nodes for name in (node.name, *node.tensors)}
    if graph.source.model is not None:
        used |= used_names(onnx.load_model_from_string(graph.source.model))
    return (name for name in (f"watched_{k}" for k in count()) if name not in used)


def used_names(proto: onnx.ModelProto) -> set[str]:
    """Of everything in a file's graph, the graphs inside of its nodes included."""
    return _names_in(proto.graph)


def _names_in(graph: onnx.GraphProto) -> set[str]:
    values = (*graph.input, *graph.output, *graph.initializer, *graph.value_info, *graph.node)
    found = {value.name for value in values} | {name for node in graph.node for name in (*node.input, *node.output)}
    inner = [part for node in graph.node for one in node.attribute for part in (*([one.g] if one.HasField("g") else ()), *one.graphs)]
    return found.union(*map(_names_in, inner))


def selection(proto: onnx.ModelProto, watch: Watch, output: str, *, batched: bool, rows: bool = False) -> None:
    """Add to a file: `output`, the watched entries, (N, k), or (k,) where the file has no batch axis; with `rows` (1, k) there, too.

    A file of one instance may hold its batch axis anywhere: there the flat order alone counts. Other files hold it first.
    """
    flat, places = f"{output}/flat", f"{output}/places"
    graph = proto.graph
    if batched and not one_instance(proto):
        graph.node.append(helper.make_node("Flatten", [watch.tensor], [flat], name=flat, axis=1))
    else:
        shape = add_constant(proto, np.array([1, -1] if batched or rows else [-1], dtype=np.int64), f"{output}/shape")
        graph.node.append(helper.make_node("Reshape", [watch.tensor, shape], [flat], name=flat))
    add_constant(proto, np.array(watch.entries, dtype=np.int64), places)
    graph.node.append(helper.make_node("Gather", [flat, places], [output], name=output, axis=1 if batched or rows else 0))


def add_constant(proto: onnx.ModelProto, value: npt.NDArray[Any], name: str) -> str:
    """Add an array to a file. Returns its name."""
    proto.graph.initializer.append(numpy_helper.from_array(value, name))
    if proto.ir_version < _CONSTANTS_APART:
        proto.graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
    return name


def one_instance(proto: onnx.ModelProto) -> bool:
    """Whether the first axis of an input, where absint takes it for the batch axis, has room for one instance only."""
    constants = {one.name for one in proto.graph.initializer}
    firsts = [one.type.tensor_type.shape.dim[0] for one in proto.graph.input if one.name not in constants]
    return any(first.HasField("dim_value") and first.dim_value == 1 for first in firsts)


def input_of(proto: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The network's input."""
    constants = {one.name for one in proto.graph.initializer}
    found: onnx.ValueInfoProto = next(one for one in proto.graph.input if one.name not in constants)
    return found


def _picking(source: Source, picked: Sequence[tuple[Watch, str]], output: str) -> bytes:
    """The file with the watched values as its only output."""
    assert source.model is not None
    proto = onnx.load_model_from_string(source.model)
    computed = computed_by(proto)
    for watch, name in picked:
        if watch.tensor not in computed:
            raise UsageError("E-TENSOR", f"the file computes no tensor '{watch.tensor}'", where=source.path or None,
                             hint="make the mask for this network")
        selection(proto, watch, name, batched=source.batched)
    if len(picked) > 1:
        proto.graph.node.append(helper.make_node("Concat", [name for _, name in picked], [output], name=output,
                                                 axis=1 if source.batched else 0))
    prune(proto, output)
    return bytes(proto.SerializeToString())


def computed_by(proto: onnx.ModelProto) -> set[str]:
    """Tensors that nodes of the main graph compute."""
    return {name for node in proto.graph.node for name in node.output if name}


def _check_entries(watch: Watch, node: Node) -> None:
    beyond = [entry for entry in watch.entries if not 0 <= entry < node.size]
    if beyond:
        raise UsageError("E-TABOO-EMPTY", f"tensor '{watch.tensor}' has {node.size} entries, none of number {beyond[0]}",
                         hint="make the mask for this network")


def _needed(graph: Graph, names: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that some of these are computed from, and they themselves."""
    needed, stack = set[str](), list(names)
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack += graph[name].inputs
    return tuple(node for node in graph.nodes if node.name in needed or isinstance(node.op, Input))
