"""Growing trees of evidence: which node was divided by what, and why a leaf is closed; paths are made of it once a tree is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from absint.engine.evidence import Leaf, NeuronBounds, SplitStep


class Growth:
    """The trees of one search. Nodes 0 .. count-1 are their roots; every division adds children. Mutable.

    A node that is divided again forgets what was below it, as if the first time had not been.
    """

    def __init__(self, count: int) -> None:
        self._step: list[SplitStep] = [SplitStep("", 0, 0.0, 0)] * count    # that led to a node; to a root none
        self._below: list[range] = [range(0)] * count
        self._leaf: dict[int, Leaf] = {}
        self._holds: dict[int, tuple[NeuronBounds, ...]] = {}

    def split(self, node: int, steps: Sequence[SplitStep]) -> range:
        """The children of a node, one a step."""
        children = range(len(self._step), len(self._step) + len(steps))
        self._step += steps
        self._below += [range(0)] * len(steps)
        self._below[node] = children
        self._leaf.pop(node, None)
        return children

    def cut(self, node: int, name: str, entry: int, cut: float) -> tuple[int, int]:
        """A node divided at an entry of the node `name`: what is below the cut, and what is above."""
        below, above = self.split(node, (SplitStep(name, entry, cut, -1), SplitStep(name, entry, cut, 1)))
        return below, above

    def close(self, node: int, leaf: Leaf) -> None:
        """A leaf is closed; of several reasons the last counts. Its path is known here."""
        self._leaf[node] = leaf

    def holds(self, node: int, neurons: tuple[NeuronBounds, ...]) -> None:
        """Bounds of neurons that were proved at a node, which those below it inherit."""
        self._holds[node] = neurons

    def leaves(self, tree: int) -> list[Leaf] | None:
        """Of a tree, each with its path; None where some are not closed."""
        leaves: list[Leaf] = []
        left: list[tuple[int, tuple[SplitStep, ...], tuple[NeuronBounds, ...]]] = [(tree, (), ())]
        while left:
            node, path, inherited = left.pop()
            neurons = (*inherited, *self._holds[node]) if node in self._holds else inherited
            if node in self._leaf:
                leaves.append(replace(self._leaf[node], path=path, neurons=neurons))
            elif not self._below[node]:
                return None
            else:
                left += [(child, (*path, self._step[child]), neurons) for child in reversed(self._below[node])]
        return leaves
