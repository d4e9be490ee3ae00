"""Entries divided by a norm of theirs are seen, however the division is spelt: what is known of them then is more than of a product.

x / max(|x|, eps), x / (|x| + eps) and x / sqrt(mean(x^2) + eps) are products of two tensors that know nothing of each other, and the
second one is as large as 1 / eps where x may be 0. Nothing of the graph changes but what is said of such a product (`Node.closed`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod, sqrt

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.graph import Closed, Graph, Node
from absint.model.ops.affine import Affine
from absint.model.ops.norms import WithinNorm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.power import Power
from absint.model.ops.reduce import Reduce
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Gather, Reshape

_LONGEST = 16   # nodes between a product and the norm


def quotients_seen(graph: Graph) -> Graph:
    """Exact: no number that is computed changes."""
    made = {}
    for node in graph.nodes:
        if isinstance(node.op, Times) and node.closed is None:
            for x, inverse in (node.inputs, node.inputs[::-1]):
                found = _within(graph, node, x, inverse)
                if found is not None:
                    made[node.name] = replace(node, closed=Closed(found, (x, inverse)))
    if not made:
        return graph
    return Graph(tuple(made.get(node.name, node) for node in graph.nodes), graph.source)


@dataclass
class _Way:
    """A way back from a product. index: the entry of the present node that each entry of the product reads.

    inverted, rooted: what was met.  shift: what was added since the last of these.  plain: whether nothing made the norm larger.
    """

    index: Tensor
    inverted: bool = False
    rooted: bool = False
    shift: Fraction = Fraction(0)
    plain: bool = True

    def passes(self, node: Node, graph: Graph) -> bool:
        """Take one step back; False where it may make the denominator smaller, or is not known."""
        op = node.op
        if isinstance(op, Reshape):
            return True
        if isinstance(op, Gather):
            self.index = op.index.reshape(-1)[self.index]
            return True
        if type(op) is Power:
            return self._power(op.exponent)
        if not self.inverted or graph[node.inputs[0]].shape != node.shape:
            return False
        self.plain = False
        if isinstance(op, Affine):
            return self._shifted(op)
        return type(op) is Relu or (type(op) is Clip and op.high == torch.inf)     # max(z, c) >= z

    def _power(self, exponent: float) -> bool:
        roots, inverts = exponent in (0.5, -0.5), exponent in (-1.0, -0.5)
        if not (roots or inverts) or (roots and self.rooted) or inverts == self.inverted or self.shift < 0:
            return False
        self.inverted, self.rooted, self.shift = True, self.rooted or roots, Fraction(0)
        return True

    def _shifted(self, op: Affine) -> bool:
        if op.scale is not None or op.shift is None or op.live or op.shift_error is not None:
            return False
        if not bool(op.shift.isfinite().all()) or len(op.shift.unique()) != 1:
            return False
        self.shift += Fraction(float(op.shift.reshape(-1)[0]))
        return True


def _within(graph: Graph, node: Node, x: str, inverse: str) -> WithinNorm | None:
    way, here = _Way(torch.arange(node.size)), graph[inverse]
    for _ in range(_LONGEST):
        if isinstance(here.op, Reduce):
            break
        if len(here.inputs) != 1 or not way.passes(here, graph):
            return None
        here = graph[here.inputs[0]]
    op = here.op
    if not isinstance(op, Reduce) or len(op.axes) != 1 or not way.inverted or way.shift < 0:
        return None
    parts = graph[here.inputs[0]]
    l2 = isinstance(parts.op, Power) and parts.op.exponent == 2
    if parts.inputs != (x,) or not (l2 if way.rooted else type(parts.op) is Abs) or parts.shape != node.shape:
        return None
    if not torch.equal(_groups(parts.shape, op.axes[0]), way.index):
        return None
    if op.weight is None:
        return WithinNorm(op.axes[0], "L2" if l2 else "L1", way.plain)
    limit = (sqrt(op.count) if l2 else float(op.count)) * (1 + 1e-12)   # the rounding of 1 / count, and of its root
    return WithinNorm(op.axes[0], "L2" if l2 else "L1", exact=False, limit=limit)


def _groups(shape: tuple[int, ...], axis: int) -> Tensor:
    """(size,) the sum that each entry takes part in."""
    kept = tuple(1 if k == axis else s for k, s in enumerate(shape))
    return torch.arange(prod(kept)).reshape(kept).expand(shape).reshape(-1)
