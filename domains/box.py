"""Box (interval bound propagation)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from torch import Tensor

from absint.engine.domain import Context, Domain, Interval, Node, RowForm, Rows, Sense, Traits, box_rows, row_products
from absint.model.families.linear import Linear


@dataclass(frozen=True)
class Box(Domain[Interval]):
    """Boxes: gamma(lower, upper) = {x : lower <= x <= upper}, entry by entry.

    The engine's own box step is this domain: exact up to rounding for increasing elementwise operators, losing every
    relation between entries. Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
    """

    stated: ClassVar[Traits] = Traits("Gowal et al. 2018, arXiv:1810.12715, section 3", mixed=False)
    synonyms: ClassVar[tuple[str, ...]] = ("ibp", "interval", "intervals", "hyperbox")

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
        if rows.index is not None and rows.bias is None:
            return box_rows(element, rows, ctx.numerics)
        node, box = ctx.graph[rows.node], element.filled
        form = RowForm.of(rows, ctx.known[rows.node].filled, ctx.numerics)
        while isinstance(node.op, Linear) and len(node.inputs) == 1:
            form = _pulled(form, node, node.op, ctx)
            node = ctx.graph[node.inputs[0]]
            box = ctx.known[node.name].filled
        lower, upper = form.over(box, ctx.numerics)
        return Interval(rows.unpadded(lower), rows.unpadded(upper))


def _pulled(form: RowForm, node: Node, op: Linear, ctx: Context) -> RowForm:
    """The same functional of the node's input: L^T A, bias + A b (docs/soundness.md, "Backward substitution")."""
    num, shapes = ctx.numerics, ctx.graph.shapes_of(node)
    batch, k, n = form.weight.shape
    (back,) = op.adjoint(form.weight.reshape(batch * k, *node.shape), shapes)
    if op.exact and op.adjoint_terms <= 1:
        return RowForm(back.reshape(batch, k, prod(shapes[0])), form.bias, form.error)
    size = ctx.known[node.inputs[0]].filled.magnitude
    if op.single and op.offset is None and op.adjoint_terms <= 1 and node.name not in ctx.noise:
        floor = 2 * num.vector_floor * size.flatten(1).sum(1, keepdim=True)
        return RowForm(back.reshape(batch, k, -1), form.bias, (form.error + floor).detach())
    cost = op.apply_abs(size) * num.vector_gamma(op.adjoint_terms + 4)
    bias, g = form.bias, num.vector_gamma(n + 6)
    if op.offset is not None:
        offset = op.constant("offset", size)
        bias = bias + form.weight.flatten(2) @ offset.expand(node.shape).flatten()
        cost = cost + offset.abs() * g
    if op.offset_error is not None:
        cost = cost + op.constant("offset_error", size) * (1 + num.vector_gamma(2))
    if node.name in ctx.noise:
        cost = cost + ctx.noise[node.name]
    lost = 2 * (op.adjoint_terms + 2) * num.vector_floor * size.flatten(1).sum(1, keepdim=True)
    error = form.error + row_products(form.weight.abs(), cost.expand(batch, *node.shape).flatten(1)) * (1 + g)
    error = (error + g * (form.bias.abs() + bias.abs())) * (1 + num.vector_gamma(4)) + lost + 4 * n * num.vector_floor
    return RowForm(back.reshape(batch, k, prod(shapes[0])), bias, error.detach())
