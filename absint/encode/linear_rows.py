"""Linear nodes as sparse rows, extracted once per graph by the adjoint of unit rows."""

from __future__ import annotations

from math import prod
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from scipy import sparse

from absint.encode.expressions import LinearRows, down, up
from absint.model.families.linear import Linear as LinearOp
from absint.model.graph import Graph, Node
from absint.model.work import work_of
from absint.numeric.backend import Budget, numeric_mode


class Layers:
    """Sparse rows of the linear nodes of one graph, each extracted when first asked for; shared by all instances.

    They also serve the subgraphs of `Graph.upto`, whose nodes have the same names. The graph must outlive them.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = ref(graph)
        self._found: dict[str, LinearRows] = {}

    @staticmethod
    def shared(graph: Graph) -> Layers:
        """Those that are kept as long as the graph itself."""
        if graph not in _SHARED:
            _SHARED[graph] = Layers(graph)
        return _SHARED[graph]

    def of(self, node: Node, op: LinearOp, budget: Budget) -> LinearRows:
        """The node's map over its inputs, flattened and side by side, in their order. Raises DeadlineError."""
        if node.name not in self._found:
            self._found[node.name] = self._extract(node, op, budget)
        return self._found[node.name]

    def _extract(self, node: Node, op: LinearOp, budget: Budget) -> LinearRows:
        """In chunks of dense rows, so that memory stays bounded."""
        graph = self._graph()
        assert graph is not None
        shapes = graph.shapes_of(node)
        like = torch.zeros(0, dtype=torch.float64)
        chunk = min(budget.rows(16 * (sum(map(prod, shapes)) + node.size)), budget.pieces(work_of(node)))
        parts = []
        with numeric_mode(), torch.no_grad():
            for start in range(0, node.size, chunk):
                budget.check()
                index = torch.arange(start, min(start + chunk, node.size))
                rows = op.unit_rows(index, node.shape, shapes, like)
                parts.append(sparse.hstack([sparse.csr_array(r.reshape(len(index), -1).numpy()) for r in rows], format="csr"))
        low, high = _offset(op, node)
        # One adjoint term means that entries are only moved; more count the roundings inside coefficients, too.
        roundings = 0 if op.adjoint_terms <= 1 else op.adjoint_terms
        return LinearRows(sparse.csr_array(sparse.vstack(parts, format="csr")), low, high, roundings)


_SHARED: WeakKeyDictionary[Graph, Layers] = WeakKeyDictionary()


def _offset(op: LinearOp, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of b, flat: exact, or with the errors of passes."""
    def flat(value: torch.Tensor | None) -> np.ndarray:
        return np.zeros(node.size) if value is None else np.array(value.detach().double().cpu().expand(node.shape).reshape(-1).numpy())

    middle, error = flat(op.offset), flat(op.offset_error)
    return down(middle, error), up(middle, error)
