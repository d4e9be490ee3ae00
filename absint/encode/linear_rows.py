"""Linear nodes as sparse rows, extracted once per operator by the adjoint of unit rows."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from scipy import sparse

from absint.encode.expressions import LinearRows, down, up
from absint.model.families.linear import Linear as LinearOp
from absint.model.graph import Graph, Node
from absint.model.op import Shape
from absint.model.work import work_of
from absint.numeric.backend import Budget, numeric_mode


def linear_rows(graph: Graph, node: Node, op: LinearOp, budget: Budget) -> LinearRows:
    """The node's map over its inputs, flattened and side by side, in their order; kept with the operator while its constants stay.

    Raises DeadlineError.
    """
    shapes = graph.shapes_of(node)
    return op.known(("sparse rows", node.shape, shapes), lambda: _extract(node, op, shapes, budget))


def _extract(node: Node, op: LinearOp, shapes: tuple[Shape, ...], budget: Budget) -> LinearRows:
    """In chunks of dense rows, so that memory stays bounded."""
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


def _offset(op: LinearOp, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of b, flat: exact, or with the errors of passes."""
    def flat(value: torch.Tensor | None) -> np.ndarray:
        return np.zeros(node.size) if value is None else np.array(value.detach().double().cpu().expand(node.shape).reshape(-1).numpy())

    middle, error = flat(op.offset), flat(op.offset_error)
    return down(middle, error), up(middle, error)
