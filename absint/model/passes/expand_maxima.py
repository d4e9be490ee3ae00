"""Write maxima as sums of ReLUs of differences, a pair at a time: max(a, b) = a + relu(b - a). Then case splits can cut them.

Not for imports: bounds of a maximum by its own rules cost no rows, those of differences one row each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from absint.model.families.maximum import Maximum
from absint.model.graph import Graph, Node, rebuild
from absint.model.op import Op, Shape
from absint.model.ops.matmul_constant import Matrices
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum


def expand_maxima(graph: Graph, chosen: Collection[str]) -> Graph:
    """Exact over the reals: each maximum of `chosen` keeps its name, its names in the file and its value; all other nodes stay as they are.

    Whatever a float32 execution of the given graph does, one of the new graph may do: a maximum rounds nothing.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in chosen and isinstance(node.op, Maximum) and graph.shapes_of(node)[0][-1] > 1:
            nodes += _Expansion(graph, node).nodes()
        else:
            nodes.append(node)
    return rebuild(graph, nodes)


class _Expansion:
    """Of one maximum over groups (G, k): rounds of pairs until each group is one number. Mutable."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self._found: list[Node] = []
        (shape,) = graph.shapes_of(node)
        self._groups, self._width = prod(shape[:-1]), shape[-1]

    def nodes(self) -> list[Node]:
        """In order; the last one has the maximum's name."""
        here = self._add("groups", Reshape((self._groups, self._width)), *self.node.inputs)
        width = self._width
        while width > 1:
            pairs, left = width // 2, width - width // 2
            first = self._add("first", _matrix([(2 * k, k, 1.0) for k in range(left)], width, left), here)
            rows = [(2 * k + side, k, 2.0 * side - 1) for k in range(pairs) for side in (0, 1)]
            more = self._add("more", Relu(), self._add("less", _matrix(rows, width, pairs), here))
            if left > pairs:     # the odd one out
                more = self._add("spread", _matrix([(k, k, 1.0) for k in range(pairs)], pairs, left), more)
            here, width = self._add("greater", Sum(), first, more), left
        self._found.append(replace(self.node, op=Reshape(self.node.shape), inputs=(here,), made=None))
        return self._found

    def _add(self, part: str, op: Op, *inputs: str) -> str:
        """A node behind those named; its name."""
        name = f"{self.node.name}/{part}{len(self._found)}"
        while name in self.graph.by_name:
            name += "'"
        shapes = {node.name: node.shape for node in self._found}
        given: tuple[Shape, ...] = tuple(shapes[i] if i in shapes else self.graph[i].shape for i in inputs)
        self._found.append(Node(name, op, inputs, op.output_shape(*given)))
        return name


def _matrix(entries: list[tuple[int, int, float]], rows: int, columns: int) -> Matrices:
    """x -> x W along the last axis, W (rows, columns) zero but for the entries."""
    weight: Tensor = torch.zeros((rows, columns), dtype=torch.float64)
    for row, column, value in entries:
        weight[row, column] = value
    return Matrices(weight, left=False, repeats=1)
