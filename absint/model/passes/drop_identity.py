"""Remove identities and shape changes to the same shape; their names move to the node they repeat.

A shape change that no tensor of the file goes by is read past by the next one.

An identity that only the reals know (a Cast to fewer digits) goes in a pass of its own, which float32 semantics leaves out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from absint.model.graph import Graph, Node, needed, rebuild
from absint.model.op import Op
from absint.model.ops.shape import Identity, Narrowed, Reshape


def drop_identity(graph: Graph) -> Graph:
    """Exact: no number changes. The output node keeps its value under its own name and the removed ones.

    A Cast to float32 is an identity where the network holds neither float64 numbers nor computed integers that float32 has no place for.
    """
    wide = graph.source.wide
    return _without(graph, lambda op: isinstance(op, Identity) and not (isinstance(op, Narrowed) and (wide or op.below_float32)))


def drop_narrowing(graph: Graph) -> Graph:
    """Exact over the reals; float32 executions round there."""
    return _without(graph, lambda op: isinstance(op, Narrowed))


def _past_views(kept: Mapping[str, Node], stands_for: Mapping[str, str], more: Mapping[str, list[str]], node: Node) -> Node:
    """A shape change as one of what the unnamed shape changes before it were made of. more: names that kept nodes got since."""
    while isinstance(node.op, Reshape):
        before = kept[stands_for.get(node.inputs[0], node.inputs[0])]
        if not isinstance(before.op, Reshape) or before.tensors or before.name in more or before.read_as or before.closed is not None:
            break
        node = replace(node, inputs=before.inputs)
    return node


def _without(graph: Graph, idle: Callable[[Op], bool]) -> Graph:
    read = all(graph.consumers[node.name] for node in graph.nodes[:-1])
    if read and not any(idle(node.op) or isinstance(node.op, Reshape) for node in graph.nodes):
        return graph
    stands_for: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    more: dict[str, list[str]] = defaultdict(list)  # names that a kept node gets, gathered first: chains may be long
    read_as: dict[str, frozenset[int]] = defaultdict(frozenset)
    for node in map(partial(_past_views, nodes, stands_for, more), graph.nodes):
        inputs = tuple(stands_for.get(i, i) for i in node.inputs)
        same = isinstance(node.op, Reshape) and node.shape == nodes[inputs[0]].shape
        if idle(node.op) or same:
            stands_for[node.name] = inputs[0]
            more[inputs[0]] += (*node.tensors, node.name)
            read_as[inputs[0]] |= node.read_as
        else:
            nodes[node.name] = node.reading(stands_for)
    for name, extra in more.items():
        kept = nodes[name]
        nodes[name] = replace(kept, tensors=(*kept.tensors, *extra), read_as=kept.read_as | read_as[name])
    last = stands_for.get(graph.output.name, graph.output.name)
    return rebuild(graph, needed(nodes, last))
