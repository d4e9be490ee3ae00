"""A network of one layer of piecewise-linear functions as two matrices, over the hull of many regions at once.

x: the n entries of the input.  z: the m entries that the functions read, y_j = f_j(z_j).  The constants take in every rounding, so that
the numbers of the matrices are exact from there on:

    z_j = inner_j . x + something in [z_low_j, z_high_j]
    y_j = left_j min(z_j - knot_j, 0) + right_j max(z_j - knot_j, 0) + something in [y_low_j, y_high_j]
    out = outer . (x, y) + something in [out_low, out_high]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from absint.encode.expressions import Expressions, columns_as_values, stacked
from absint.encode.linear_rows import linear_rows
from absint.encode.segments import kinks
from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node
from absint.model.op import Input
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, gamma, smallest_normal

_NUMERICS = Numerics(torch.float64)
# Entries of a matrix: what is larger is no small network, and sparse matrices serve it better.
_MOST = 1 << 20
_INFLATE = 1 + 1e-6


@dataclass(frozen=True, eq=False)
class OneLayer:
    """See above; float64, on the CPU. inner: (m, n).  outer: (o, n + m).  reach: (n,) bounds of |x|.  depth: (m,) of |z|, of
    what any of its enclosures below may come to, and of the summed terms behind it.  height: (m,) of |y|, likewise.
    """

    inner: Tensor
    z_low: Tensor
    z_high: Tensor
    knot: Tensor
    left: Tensor
    right: Tensor
    y_low: Tensor
    y_high: Tensor
    outer: Tensor
    out_low: Tensor
    out_high: Tensor
    reach: Tensor
    depth: Tensor
    height: Tensor

    def rows(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(..., n + m) coefficients of weight . out + bias from below, and their constants (...), rounded down."""
        terms = gamma(weight.shape[-1] + 8, torch.float64)
        size = self.outer.abs() @ torch.cat([self.reach, self.height]) + torch.maximum(self.out_low.abs(), self.out_high.abs())
        charge = terms * (weight.abs() @ size + bias.abs()) * _INFLATE + _floor(self.outer.numel())
        low = weight.clamp(min=0) @ self.out_low + weight.clamp(max=0) @ self.out_high + bias
        return weight @ self.outer, low - 2 * charge

    def before(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m) both ends of z over boxes (N, n) inside the hull, rounded outward."""
        up, down = self._signed
        return low @ up + high @ down + (self.z_low - self._error), high @ up + low @ down + (self.z_high + self._error)

    def __post_init__(self) -> None:
        transposed = self.inner.T
        object.__setattr__(self, "_signed", (transposed.clamp(min=0).contiguous(), transposed.clamp(max=0).contiguous()))
        error = gamma(2 * len(self.reach) + 16, torch.float64) * self.depth * _INFLATE
        object.__setattr__(self, "_error", error + _floor(self.inner.numel()))

    _signed: tuple[Tensor, Tensor] = None  # type: ignore[assignment]
    _error: Tensor = None  # type: ignore[assignment]


def _floor(products: int) -> float:
    """What so many products and a few more operations may lose by underflow."""
    return 16 * (products + 64) * smallest_normal(torch.float64)


def single(graph: Graph) -> Node | None:
    """The one nonlinear node of a network that has one, of a continuous piecewise-linear function of one operand; else None."""
    found = [node for node in graph.nodes if not isinstance(node.op, (Input, Linear))]
    if len(found) != 1 or not isinstance(found[0].op, Elementwise) or len(found[0].inputs) != 1:
        return None
    op, size = found[0].op, max(found[0].size, graph.output.size)
    fits = size * (graph.input.size + found[0].size) <= _MOST
    return found[0] if op.piecewise_linear and not op.jumps and fits else None


def one_layer(graph: Graph, low: Tensor, high: Tensor, budget: Budget) -> OneLayer | None:
    """The network over the box between `low` and `high` (n,); None where it is none of one layer, or some entry has two kinks there.

    Raises DeadlineError.
    """
    node = single(graph)
    if node is None:
        return None
    reach = torch.maximum(low.abs(), high.abs()).double()
    values = {graph.input.name: columns_as_values(np.arange(graph.input.size), graph.input.size)}
    _walk(graph, graph.upto(node.inputs[0]).nodes, values, reach.numpy(), budget)
    z = values[node.inputs[0]]
    inner, z_low, z_high = _dense(z, graph.input.size)
    depth = (inner.abs() @ reach + torch.maximum(z_low.abs(), z_high.abs())) * _INFLATE + _floor(inner.numel())
    pieces = _pieces(node, depth)
    if pieces is None or not bool(depth.isfinite().all()):
        return None
    knot, left, right, y_low, y_high = pieces
    steep = torch.maximum(left.abs(), right.abs())
    height = (steep * (depth + knot.abs()) + torch.maximum(y_low.abs(), y_high.abs())) * _INFLATE + _floor(1)
    size = torch.cat([reach, height])
    values[node.name] = columns_as_values(len(reach) + np.arange(node.size), len(size))
    _walk(graph, graph.nodes, values, size.numpy(), budget)
    outer, out_low, out_high = _dense(values[graph.output.name], len(size))
    made = OneLayer(inner, z_low, z_high, knot, left, right, y_low, y_high, outer, out_low, out_high, reach, depth, height)
    finite = all(bool(t.isfinite().all()) for t in vars(made).values() if isinstance(t, Tensor))
    return made if finite else None


def _walk(graph: Graph, nodes: Iterable[Node], values: dict[str, Expressions], size: np.ndarray, budget: Budget) -> None:
    """The values of linear nodes whose inputs have one."""
    for node in nodes:
        if isinstance(node.op, Linear) and node.name not in values and all(i in values for i in node.inputs):
            rows = linear_rows(graph, node, node.op, budget)
            values[node.name] = stacked([values[i] for i in node.inputs], len(size)).image(rows, size, budget)


def _dense(value: Expressions, width: int) -> tuple[Tensor, Tensor, Tensor]:
    matrix = torch.zeros(len(value), width, dtype=torch.float64)
    matrix[:, : value.matrix.shape[1]] = torch.from_numpy(value.matrix.toarray())
    return matrix, torch.from_numpy(np.array(value.low)), torch.from_numpy(np.array(value.high))


def _pieces(node: Node, depth: Tensor) -> tuple[Tensor, ...] | None:
    """knot, left, right, y_low, y_high: (m,) each; None where an entry has more than one kink."""
    op = node.op
    assert isinstance(op, Elementwise)
    interval = Interval(-depth.reshape(1, *node.shape), depth.reshape(1, *node.shape))
    undecided = op.undecided((interval,))[0]
    lines = op.planes((interval,), _NUMERICS)
    knot = torch.zeros(node.size, dtype=torch.float64)
    left, right = (lines.lower[0].expand_as(interval.lower).flatten().double().clone() for _ in range(2))
    y_low, y_high = (o.expand_as(interval.lower).flatten().double().clone() for o in (lines.lower_offset, lines.upper_offset))
    done = ~undecided.flatten() & (lines.lower[0] == lines.upper[0]).expand_as(interval.lower).flatten()
    for group in kinks(op, interval, undecided, _NUMERICS):
        if len(group.knots) > 1:
            return None
        at = torch.from_numpy(group.entry)
        knot[at] = group.knots[0]
        for target, value in ((left, group.slope[0]), (right, group.slope[1]), (y_low, group.low), (y_high, group.high)):
            target[at] = torch.from_numpy(value)
        done[at] = True
    return (knot, left, right, y_low, y_high) if bool(done.all()) else None
