"""Remove identities and shape changes to the same shape; their names move to the node they repeat."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from absint.graph import Graph, Node, rebuild
from absint.ops.shape import Identity, Reshape


def drop_identity(graph: Graph) -> Graph:
    """Exact: no number changes. The output node keeps its value under its own name and the removed ones."""
    stands_for: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    more: dict[str, list[str]] = defaultdict(list)  # names that a kept node gets, gathered first: chains may be long
    read_as: dict[str, frozenset[int]] = defaultdict(frozenset)
    for node in graph.nodes:
        inputs = tuple(stands_for.get(i, i) for i in node.inputs)
        same = isinstance(node.op, Reshape) and node.shape == nodes[inputs[0]].shape
        if isinstance(node.op, Identity) or same:
            stands_for[node.name] = inputs[0]
            more[inputs[0]] += (*node.tensors, node.name)
            read_as[inputs[0]] |= node.read_as
        else:
            nodes[node.name] = node.reading(stands_for)
    for name, extra in more.items():
        kept = nodes[name]
        nodes[name] = replace(kept, tensors=(*kept.tensors, *extra), read_as=kept.read_as | read_as[name])
    last = stands_for.get(graph.output.name, graph.output.name)
    return replace(rebuild(graph, nodes.values()).upto(last), source=graph.source)
