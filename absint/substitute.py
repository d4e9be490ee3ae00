"""The backward walk: rows of a node substituted through relaxations down to the input.

Rows are kept relative to the reference trajectory c (float64):  value = A (x - c) + d  with A in the matrix format and
d in float64. A row's rounding errors are then proportional to radii, not to magnitudes. docs/soundness.md, section
"Backward substitution", derives each error term below; `err` gathers them and is subtracted at every concretisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from absint.context import Context, Rows
from absint.graph import Node
from absint.interval import Interval, Relaxation
from absint.op import Input, Linear, Nonlinear
from absint.rounding import cast_down, no_lower

Relax = Callable[[Node, tuple[Interval, ...], Context], Relaxation]


@dataclass(frozen=True, eq=False)
class _Plan:
    """Per-node vectors shared by all rows of one substitution."""

    relax: Relax
    ctx: Context
    every_layer: bool

    @cached_property
    def spreads(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def relaxed(self) -> dict[str, tuple[Relaxation, Tensor, Tensor, Tensor]]:
        return {}

    @cached_property
    def linear_cost(self) -> dict[str, Tensor]:
        return {}

    def spread(self, name: str) -> Tensor:
        """|x - c| at a node."""
        if name not in self.spreads:
            self.spreads[name] = self.ctx.spread(name).detach()
        return self.spreads[name]

    def cost_of_linear(self, node: Node, op: Linear) -> Tensor:
        """(batch, *shape): what |A| is multiplied with when a row passes a linear node."""
        if node.name not in self.linear_cost:
            num, ctx = self.ctx.numerics, self.ctx
            reach = op.apply_abs(*(self.spread(i) for i in node.inputs))
            cost = reach * num.gamma(op.adjoint_terms + 3) + ctx.drift[node.name] + num.floor
            if node.name in ctx.noise:
                cost = cost + ctx.noise[node.name]
            self.linear_cost[node.name] = cost.detach()
        return self.linear_cost[node.name]

    def through(self, node: Node, op: Nonlinear) -> tuple[Relaxation, Tensor, Tensor, Tensor]:
        """Relaxation of a nonlinear node, its offsets relative to the reference, and the cost vector for |A|."""
        if node.name not in self.relaxed:
            self.relaxed[node.name] = self._relative(node)
        return self.relaxed[node.name]

    def _relative(self, node: Node) -> tuple[Relaxation, Tensor, Tensor, Tensor]:
        ctx, num = self.ctx, self.ctx.numerics
        lines = self.relax(node, ctx.inputs(node.inputs), ctx)
        here = ctx.reference[node.name]
        ends = []
        for slopes, offset, sign in ((lines.lower, lines.lower_offset, -1.0), (lines.upper, lines.upper_offset, 1.0)):
            value, size = offset - here, offset.detach().abs() + here.abs()
            for slope, name in zip(slopes, node.inputs, strict=True):
                product = slope * ctx.reference[name]
                value = value + _onto(product, here)
                size = size + _onto(product.detach().abs(), here)
            terms = 6 + max(s.shape[here.dim():].numel() for s in slopes)
            ends.append(value + sign * (num.vector_gamma(terms) * size + num.vector_floor))
        below, above = ends
        # One product A s, exact where s is 0, 1 or -1; the dot product with the offsets has N + 3 roundings.
        cost = torch.maximum(below.detach().abs(), above.detach().abs()) * num.gamma(node.size + 4) + num.floor
        for low, high, name in zip(lines.lower, lines.upper, node.inputs, strict=True):
            steep = torch.maximum(_rounded(low), _rounded(high))
            cost = cost + _onto(steep * self.spread(name), here) * num.gamma(2 + steep.shape[here.dim():].numel())
        if node.name in ctx.noise:
            cost = cost + ctx.noise[node.name]
        return lines, below, above, cost.detach()


def _rounded(slope: Tensor) -> Tensor:
    """|slope| where multiplying by it rounds, 0 where it is 0 or +-1."""
    size = slope.detach().abs()
    return torch.where((size == 0) | (size == 1), torch.zeros_like(size), size)


def _onto(value: Tensor, like: Tensor) -> Tensor:
    """Summed over the trailing axes that `like` lacks."""
    return value if value.dim() == like.dim() else value.flatten(like.dim()).sum(-1)


def _dot(rows: Tensor, vector: Tensor, instance: Tensor) -> Tensor:
    """(R,): each row with its instance's vector, in the rows' format, returned in the vector's."""
    product = rows.flatten(1) * vector.to(rows.dtype).flatten(1)[instance]
    return product.sum(1).to(vector.dtype)


def substitute(rows: Rows, relax: Relax, ctx: Context, sign: float = 1.0, *, every_layer: bool = False) -> Tensor:
    """Sound lower bounds (R,) of sign * rows over the region, in the vector format; -inf where nothing is known.

    every_layer: also concretise with the known bounds of each single node the rows pass, and keep the best.
    Rows go in chunks that fit the budget; raises DeadlineError when time runs out.
    Source: Zhang et al., NeurIPS 2018 (CROWN), equations (4)-(6); Singh et al., POPL 2019, section 4.3.
    """
    plan = _Plan(relax, ctx, every_layer)
    widest = max(node.size for node in ctx.graph.nodes)
    size = ctx.budget.rows(widest * 6 * torch.finfo(ctx.numerics.dtype).bits // 8)
    parts = []
    for chunk in rows.chunks(size):
        ctx.budget.check()
        parts.append(_Walk(plan, chunk, sign).run())
    return torch.cat(parts) if parts else torch.zeros(0, dtype=ctx.numerics.vector, device=ctx.numerics.device)


class _Walk:
    """One chunk of rows on its way down. Mutable, private to `substitute`."""

    def __init__(self, plan: _Plan, rows: Rows, sign: float) -> None:
        self.plan, self.ctx, self.num = plan, plan.ctx, plan.ctx.numerics
        self.rows, self.instance = rows, rows.instance
        start = self.ctx.graph[rows.node]
        self.frontier: dict[str, list[Tensor]] = {}
        self.units: Tensor | None = None
        reference = self.ctx.reference[start.name].flatten(1)
        zero = torch.zeros(len(rows), dtype=self.num.vector, device=self.num.device)
        bias = zero if rows.bias is None else rows.bias.to(zero)
        if rows.weight is None:
            assert rows.index is not None
            value = reference[self.instance, rows.index] + bias
            self.err = self.num.vector_gamma(2) * (value.abs() + bias.abs())
        else:
            weight = rows.weight.to(zero).flatten(1)
            value = (weight * reference[self.instance]).sum(1) + bias
            size = (weight.abs() * reference.abs()[self.instance]).sum(1) + bias.abs()
            self.err = self.num.vector_gamma(weight.shape[1] + 4) * size + start.size * self.num.vector_floor
            self.err = self.err + self._cast_cost(start, weight)
        self.d = sign * value
        self.frontier[start.name] = [sign * rows.dense(start.shape, self.num.dtype)]
        if rows.weight is None and sign in (1.0, -1.0):
            self.units = rows.index
        self.sign = sign
        self.best = torch.full_like(self.d, -torch.inf)

    def _cast_cost(self, node: Node, weight: Tensor) -> Tensor:
        """Weights converted to the matrix format: a relative error of one rounding, or an underflow."""
        spread = self.plan.spread(node.name).flatten(1)[self.instance]
        relative = self.num.gamma(1) * (weight.abs() * spread).sum(1)
        return relative * (1 + self.num.vector_gamma(node.size + 4)) + self.num.floor * spread.sum(1)

    def run(self) -> Tensor:
        """Walk to the input and concretise there."""
        graph = self.ctx.graph
        for node in reversed(graph.nodes[: graph.position[self.rows.node] + 1]):
            if node.name not in self.frontier:
                continue
            adjoint = self._gather(node)
            if isinstance(node.op, Input):
                self._concretise(node, adjoint)
                break
            if self.plan.every_layer and not self.frontier and node.name != self.rows.node:
                self._concretise(node, adjoint)
            self.ctx.budget.check()
            if isinstance(node.op, Linear):
                self._linear(node, node.op, adjoint)
            elif isinstance(node.op, Nonlinear):
                self._nonlinear(node, node.op, adjoint)
        return no_lower(self.best)

    def _gather(self, node: Node) -> Tensor:
        """Sum the adjoints that meet at a fan-out."""
        parts = self.frontier.pop(node.name)
        total = parts[0]
        if len(parts) > 1:
            size = parts[0].detach().abs()
            for part in parts[1:]:
                total, size = total + part, size + part.detach().abs()
            self.err = self.err + self._charge(size, self.plan.spread(node.name) * self.num.gamma(len(parts)) + self.num.floor)
        return total

    def _charge(self, size: Tensor, vector: Tensor) -> Tensor:
        """|A| . vector, rounded up: the dot product of nonnegative terms is low by at most gamma, plus underflow."""
        if not self.num.rounding:
            return torch.zeros_like(self.d)
        terms = size[0].numel() if len(size) else 1
        grown = _dot(size, vector, self.instance) * (1 + self.num.gamma(terms + 3))
        return grown + 2 * terms * self.num.floor

    def _linear(self, node: Node, op: Linear, adjoint: Tensor) -> None:
        shapes = self.ctx.graph.shapes_of(node)
        if self.units is not None and node.name == self.rows.node:
            pulled = tuple(self.sign * p for p in op.unit_rows(self.units, node.shape, shapes, adjoint))
        else:
            pulled = op.adjoint(adjoint, shapes)
        self.err = self.err + self._charge(adjoint.detach().abs(), self.plan.cost_of_linear(node, op))
        for name, part in zip(node.inputs, pulled, strict=True):
            self._underflow(name, op.adjoint_terms)
            self.frontier.setdefault(name, []).append(part)

    def _nonlinear(self, node: Node, op: Nonlinear, adjoint: Tensor) -> None:
        lines, below, above, cost = self.plan.through(node, op)
        positive, negative = adjoint.clamp(min=0), adjoint.clamp(max=0)
        self.d = self.d + _dot(positive, below, self.instance) + _dot(negative, above, self.instance)
        size = adjoint.detach().abs()
        self.err = self.err + self._charge(size, cost) + self.num.vector_gamma(4) * self.d.detach().abs()
        for name, low, high in zip(node.inputs, lines.lower, lines.upper, strict=True):
            lower, upper = (s.to(adjoint.dtype)[self.instance] for s in (low, high))
            view = adjoint.shape + (1,) * (lower.dim() - adjoint.dim())
            self._underflow(name, 2)
            part = positive.reshape(view) * lower + negative.reshape(view) * upper
            self.frontier.setdefault(name, []).append(part)

    def _underflow(self, name: str, terms: int) -> None:
        if self.num.rounding:
            total = self.plan.spread(name).flatten(1).sum(1)
            self.err = self.err + (2 * (terms + 1) * self.num.floor) * total[self.instance]

    def _concretise(self, node: Node, adjoint: Tensor) -> None:
        """Minimum of A (x - c) + d - err over the node's known box."""
        known, reference = self.ctx.known[node.name].filled, self.ctx.reference[node.name]
        low, high = self.num.down(known.lower - reference), self.num.up(known.upper - reference)
        middle = low / 2 + high / 2
        radius = self.num.up(torch.maximum(high - middle, middle - low))
        size = adjoint.abs()
        value = self.d + _dot(adjoint, middle, self.instance) - _dot(size, radius, self.instance)
        spread = self.plan.spread(node.name) * self.num.gamma(node.size + 6) + self.num.floor
        slack = self.err + 2 * self._charge(size.detach(), spread) + self.num.vector_gamma(6) * self.d.detach().abs()
        grown = 1 + self.num.vector_gamma(64 + 8 * len(self.ctx.graph.nodes))
        self.best = torch.maximum(self.best, no_lower(value - slack * grown))
        if isinstance(node.op, Input) and self.ctx.region.beyond_hull:
            # The region's own bound of A (x - c) has its rounding inside; the sum with d and err has three more.
            own = cast_down(self.ctx.region.lower_of(adjoint, self.instance, reference.double()), self.num.vector)
            size = own.detach().abs() + self.d.detach().abs()
            self.best = torch.maximum(self.best, no_lower(self.d + own - (self.err + self.num.vector_gamma(6) * size) * grown))
