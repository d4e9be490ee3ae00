"""Whether a network has Hessians: its nodes that are not twice continuously differentiable, by what that means for second order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from absint.model.families.maximum import Maximum
from absint.model.graph import Graph, Node
from absint.model.op import Smoothness


@dataclass(frozen=True)
class KinkedNodes:
    """One line a node: its tensor's name, operator and shape.

    activations: functions that are not twice continuously differentiable, or not said to be: relu, abs, steps, comparisons.
    maxima: of entries, as in max-pools: smooth but where two are equal, and there the gradient jumps.
    ends: functions that are smooth but at an end of where they are defined, such as sqrt at 0: sqrt(x^2) has a kink.
    """

    activations: tuple[str, ...]
    maxima: tuple[str, ...]
    ends: tuple[str, ...]


def kinks(graph: Graph) -> KinkedNodes:
    """All nodes of a graph that may keep it from being twice continuously differentiable where it is defined."""
    kinked = [node for node in graph.nodes if node.op.smoothness is Smoothness.KINKED]
    ends = [node for node in graph.nodes if node.op.smoothness is Smoothness.INSIDE]
    maxima = [node for node in kinked if isinstance(node.op, Maximum)]
    return KinkedNodes(_lines(node for node in kinked if not isinstance(node.op, Maximum)), _lines(maxima), _lines(ends))


def _lines(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(f"'{node.tensors[0] if node.tensors else node.name}' {type(node.op).__name__} {node.shape}" for node in nodes)
