"""Box (interval bound propagation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from absint.domain import Context, Domain, Interval, Node, Numerics, Rows, Sense
from absint.op import Linear
from absint.rounding import no_lower, no_upper


@dataclass(frozen=True)
class Box(Domain[Interval]):
    """Boxes: gamma(lower, upper) = {x : lower <= x <= upper}, entry by entry.

    The engine's own box step is this domain: exact up to rounding for increasing elementwise operators, losing every
    relation between entries. Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
    """

    source: ClassVar[str] = "Gowal et al. 2018, arXiv:1810.12715, section 3"
    mixed: ClassVar[bool] = False

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> Interval:
        """The box itself."""
        return interval

    def linear(self, node: Node, args: list[Interval], ctx: Context) -> Interval:
        """What the engine found."""
        return ctx.known[node.name]

    nonlinear = linear

    def take(self, element: Interval, index: Tensor) -> Interval:
        """Instances."""
        return element.take(index)

    def hull(self, element: Interval, ctx: Context) -> Interval:
        """Itself."""
        return element

    def bounds(self, element: Interval, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """Unit rows from the box; others pulled back through the linear operators that made the node first.

        Composing rows with the last linear layer keeps what its outputs have in common (Gowal et al. 2018, section 3).
        """
        box = element.filled
        if rows.index is not None and rows.bias is None:
            return Interval(box.lower.flatten(1)[rows.instance, rows.index], box.upper.flatten(1)[rows.instance, rows.index])
        form = _Form.of(rows, ctx)
        node = ctx.graph[rows.node]
        while isinstance(node.op, Linear) and len(node.inputs) == 1:
            form = form.pulled(node, node.op, ctx)
            node = ctx.graph[node.inputs[0]]
            box = ctx.known[node.name].filled
        lower, upper = form.over(box, ctx.numerics)
        return Interval(rows.unpadded(lower), rows.unpadded(upper))


@dataclass(frozen=True, eq=False)
class _Form:
    """weight . x + bias with everything that rounding may have cost: (batch, k, n), (batch, k), (batch, k)."""

    weight: Tensor
    bias: Tensor
    error: Tensor

    @staticmethod
    def of(rows: Rows, ctx: Context) -> _Form:
        """Rows in the vector format; what the conversion may cost is charged against the known magnitudes."""
        num = ctx.numerics
        weight = rows.padded(ctx.batch, num.vector)
        bias = rows.padded_bias(ctx.batch, num.vector)
        size = ctx.known[rows.node].filled.magnitude.flatten(1)
        error = _times(weight.abs(), size) * num.vector_gamma(weight.shape[2] + 4) + num.vector_gamma(1) * bias.abs()
        return _Form(weight, bias, error + num.vector_floor * (size.sum(1, keepdim=True) + weight.shape[2] + 1))

    def pulled(self, node: Node, op: Linear, ctx: Context) -> _Form:
        """The same functional of the node's input: L^T A, bias + A b (docs/soundness.md, "Backward substitution")."""
        num, shapes = ctx.numerics, ctx.graph.shapes_of(node)
        batch, k, n = self.weight.shape
        (back,) = op.adjoint(self.weight.reshape(batch * k, *node.shape), shapes)
        if op.exact and op.adjoint_terms <= 1:
            return _Form(back.reshape(batch, k, -1), self.bias, self.error)
        size = ctx.known[node.inputs[0]].filled.magnitude
        if op.single and op.offset is None and op.adjoint_terms <= 1 and node.name not in ctx.noise:
            floor = 2 * num.vector_floor * size.flatten(1).sum(1, keepdim=True)
            return _Form(back.reshape(batch, k, -1), self.bias, (self.error + floor).detach())
        cost = op.apply_abs(size) * num.vector_gamma(op.adjoint_terms + 4)
        bias, g = self.bias, num.vector_gamma(n + 6)
        if op.offset is not None:
            offset = op.constant("offset", size)
            bias = bias + self.weight.flatten(2) @ offset.expand(node.shape).flatten()
            cost = cost + offset.abs() * g
        if op.offset_error is not None:
            cost = cost + op.constant("offset_error", size) * (1 + num.vector_gamma(2))
        if node.name in ctx.noise:
            cost = cost + ctx.noise[node.name]
        lost = 2 * (op.adjoint_terms + 2) * num.vector_floor * size.flatten(1).sum(1, keepdim=True)
        error = self.error + _times(self.weight.abs(), cost.expand(batch, *node.shape).flatten(1)) * (1 + g)
        error = (error + g * (self.bias.abs() + bias.abs())) * (1 + num.vector_gamma(4)) + lost + 4 * n * num.vector_floor
        return _Form(back.reshape(batch, k, -1), bias, error.detach())

    def over(self, box: Interval, num: Numerics) -> tuple[Tensor, Tensor]:
        """Bounds over a box: centre and radius as in a linear step of n terms (docs/soundness.md, "Box")."""
        n = self.weight.shape[2]
        g, floor = num.vector_gamma(2 * (n + 9)), num.vector_floor
        lower, upper = box.lower.flatten(1), box.upper.flatten(1)
        total = lower + upper
        rho = ((upper - lower) * 0.5 + total.detach().abs() * (0.5 * g)) * (1 + g) + 2 * floor
        center = _times(self.weight, total * 0.5) + self.bias
        reach = (_times(self.weight.abs(), rho) + g * self.bias.detach().abs() + self.error) * (1 + g) + 4 * n * floor
        return no_lower(center - reach), no_upper(center + reach)


def _times(weight: Tensor, vector: Tensor) -> Tensor:
    """(batch, k, n) times (batch, n). Several times faster here than a batched product with one column."""
    return (weight * vector[:, None]).sum(2)
