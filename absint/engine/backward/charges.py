"""What rows meet on their way backward: per node, the vectors of one batch that all rows of a substitution share.

Rows are  A (x - c) + d  with c the reference trajectory. Whatever is charged in proportion to |A| is one vector per
instance and node; `Passage` pushes it up to the next nonlinear nodes and pays it there, inside the offsets of the relaxation.
docs/soundness.md, section "Backward substitution", derives each term.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from absint.engine.closed_forms import met_lines
from absint.engine.context import Context
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.numeric.interval import Interval, Relaxation

Relax = Callable[[Node, tuple[Interval, ...], Context], Relaxation]


@dataclass(frozen=True, eq=False)
class ChargedStep:
    """A nonlinear node as rows meet it, in the matrix format. One entry per instance; per row where `per_row`; where `own`, per instance
    of the block that it was made for.  parallel: whether low and high are the same slopes.

    low, high: slopes (count, *input).  below, above: (count, m, N) vectors for A+ and A-: the offsets with all that is
    charged for this passage and, where the node's own bounds are used too, its ends with what is charged for those.
    """

    low: tuple[Tensor, ...]
    high: tuple[Tensor, ...]
    below: Tensor
    above: Tensor
    parallel: bool
    per_row: bool = False
    own: bool = False


@dataclass(frozen=True, eq=False)
class Charges:
    """Per-node vectors shared by all rows of one substitution, and by all substitutions of one analysis."""

    relax: Relax
    ctx: Context
    every_layer: bool
    to_input: bool = False

    @cached_property
    def _kept(self) -> dict[tuple[str, str], Tensor]:
        """(what, node) -> vector."""
        return {}

    @cached_property
    def _steps(self) -> dict[str, ChargedStep]:
        return {}

    def _once(self, what: str, name: str, make: Callable[[], Tensor]) -> Tensor:
        found = self._kept.get((what, name))
        if found is None:
            found = self._kept[what, name] = make().detach()
        return found

    @cached_property
    def grown(self) -> float:
        """1 + gamma for vectors that are sums and products of nonnegative numbers: above what they lost by rounding."""
        terms = [n.op.forward_terms for n in self.ctx.graph.nodes if isinstance(n.op, Linear)]
        return 1 + self.ctx.numerics.vector_gamma(64 + 8 * len(self.ctx.graph.nodes) + 2 * max(terms, default=0))

    @cached_property
    def stop(self) -> str:
        """The last node of the diagonal chain that starts at the input: a box is still a box there, with the same minimum."""
        graph = self.ctx.graph
        node = graph.input
        if self.to_input or self.ctx.region.beyond_hull:
            return node.name
        while len(graph.consumers[node.name]) == 1:
            user = graph[graph.consumers[node.name][0]]
            if not isinstance(user.op, Linear) or len(user.inputs) != 1 or not _one_to_one(user.op, node, user):
                break
            node = user
        return node.name

    def forget(self, name: str) -> None:
        """Drop what depends on the bounds of a node that is about to be tightened."""
        for what in ("spread", "arrival", "unit arrival", "underflow"):
            self._kept.pop((what, name), None)

    def spread(self, name: str) -> Tensor:
        """(batch, *shape): |x - c| at a node."""
        return self._once("spread", name, lambda: self.ctx.spread(name))

    def cost_of_linear(self, node: Node, op: Linear) -> Tensor:
        """(batch, *shape): what |A| is multiplied with when a row passes a linear node."""
        return self._once("linear", node.name, lambda: self._cost_of_linear(node, op))

    def _cost_of_linear(self, node: Node, op: Linear) -> Tensor:
        num, ctx = self.ctx.numerics, self.ctx
        cost = ctx.drift[node.name] + num.floor
        if op.adjoint_terms > 1:
            cost = cost + op.apply_abs(*(self.spread(i) for i in node.inputs)) * num.gamma(op.adjoint_terms + 3)
        return cost + ctx.noise[node.name] if node.name in ctx.noise else cost

    def pays_itself(self, node: Node) -> bool:
        """Whether rows are charged at this very node: where a product stands above a product, |L||L'| may be far above |L L'|."""
        return isinstance(node.op, Linear) and node.op.adjoint_terms > 1 and self._under_product(node)

    def _under_product(self, node: Node) -> bool:
        graph = self.ctx.graph
        users = [graph[name] for name in graph.consumers[node.name]]
        return any(isinstance(u.op, Linear) and (_spreads_out(u.op) or self._under_product(u)) for u in users)

    def arrival(self, name: str) -> Tensor:
        """(batch, *shape): what |A| is charged for every adjoint A that arrives at a node."""
        return self._once("arrival", name, lambda: self._arrival(self.ctx.graph[name]))

    def _arrival(self, node: Node) -> Tensor:
        """The sum at a fan-out, and the linear nodes below down to the next nonlinear ones: |L^T A| c <= |A| |L| c."""
        num, graph = self.ctx.numerics, self.ctx.graph
        meeting = len(graph.consumers[node.name])
        total = self.fan_out(node, meeting)
        if isinstance(node.op, Linear) and node.name != self.stop:
            below = node.op.apply_abs(*(self.arrival(i) for i in node.inputs))
            if node.op.adjoint_terms > 1:  # else |fl(L^T A)| is |L|^T |A| itself, or less
                below = below * (1 + num.gamma(node.op.adjoint_terms + 3))
            if not self.pays_itself(node):
                below = below + self.cost_of_linear(node, node.op)
            total = total + (below * (1 + num.gamma(meeting)) if meeting > 1 else below)
        return total

    def unit_arrival(self, node: Node) -> Tensor:
        """(batch, *shape): `arrival` for unit rows that start at a node: those of `single` operators stay such rows."""
        op = node.op
        if not isinstance(op, Linear) or not op.single or node.name == self.stop or self.pays_itself(node):
            return self.arrival(node.name)
        return self._once("unit arrival", node.name, lambda: self._charged_beyond_units(node, op))

    def _charged_beyond_units(self, node: Node, op: Linear) -> Tensor:
        below = op.apply_abs(*(self.unit_arrival(self.ctx.graph[i]) for i in node.inputs))
        cost = self.ctx.drift[node.name] + self.ctx.numerics.floor + below
        return cost + self.ctx.noise[node.name] if node.name in self.ctx.noise else cost

    def fan_out(self, node: Node, meeting: int) -> Tensor:
        """Summing the adjoints of `meeting` consumers."""
        spread = self.spread(node.name)
        return spread * self.ctx.numerics.gamma(meeting) + self.ctx.numerics.floor if meeting > 1 else torch.zeros_like(spread)

    def underflow(self, start: Node) -> Tensor:
        """(batch,): what all products of a walk from `start` may lose by underflow, whatever the rows."""
        return self._once("underflow", start.name, lambda: self._underflow(start))

    def _underflow(self, start: Node) -> Tensor:
        graph, floor = self.ctx.graph, self.ctx.numerics.floor
        total = torch.zeros(self.ctx.batch, dtype=self.ctx.numerics.vector, device=self.ctx.numerics.device)
        if not floor:
            return total
        live = {start.name}
        for node in reversed(graph.nodes[: graph.position[start.name] + 1]):
            if node.name not in live:
                continue
            live.update(node.inputs)
            terms = node.op.adjoint_terms if isinstance(node.op, Linear) else 2
            for name in node.inputs:
                # An entry of a new adjoint that lost `floor` a product costs that times X, and times what X is charged below.
                total = total + 4 * (terms + 1) * floor * (self.spread(name) + self.arrival(name)).flatten(1).sum(1)
            total = total + 16 * (node.size + 1) * floor
        return total * self.grown

    def through(self, node: Node, op: Nonlinear) -> tuple[Relaxation, Tensor, Tensor, Tensor]:
        """Relaxation of a nonlinear node, its offsets relative to the reference, and the cost vector for |A|."""
        ctx, num = self.ctx, self.ctx.numerics
        inputs = ctx.inputs(node.inputs)
        lines = met_lines(node, self.relax(node, inputs, ctx), inputs, ctx)
        here = ctx.reference[node.name]
        ends = []
        for slopes, offset, sign in ((lines.lower, lines.lower_offset, -1.0), (lines.upper, lines.upper_offset, 1.0)):
            value, size = offset - here, offset.detach().abs() + here.abs()
            for slope, name in zip(slopes, node.inputs, strict=True):
                product = slope * ctx.reference[name]
                value = value + _onto(product, here)
                size = size + _onto(product.detach().abs(), here)
            if num.rounding:
                terms = 6 + max(s.shape[here.dim():].numel() for s in slopes)
                value = value + sign * (num.vector_gamma(terms) * size + num.vector_floor)
            ends.append(value)
        below, above = ends
        # One product A s, exact where s is 0, 1 or -1; the dot product with the offsets has N + 8 roundings, casts included.
        cost = torch.maximum(below.detach().abs(), above.detach().abs()) * num.gamma(node.size + 8) + 4 * num.floor
        for low, high, name in zip(lines.lower, lines.upper, node.inputs, strict=True):
            steep = torch.maximum(_rounded(low), _rounded(high))
            cost = cost + _onto(steep * self.spread(name), here) * num.gamma(2 + steep.shape[here.dim():].numel())
        if node.name in ctx.noise:
            cost = cost + ctx.noise[node.name]
        return lines, below, above, cost.detach()

    def step(self, node: Node, op: Nonlinear) -> ChargedStep:
        """The node with everything that is charged on the way to the next nonlinear nodes inside its offsets."""
        if node.name not in self._steps:
            self._steps[node.name] = self._made(node, op)
        return self._steps[node.name]

    def _made(self, node: Node, op: Nonlinear) -> ChargedStep:
        num = self.ctx.numerics
        lines, below, above, cost = self.through(node, op)
        if num.rounding:
            for low, high, name in zip(lines.lower, lines.upper, node.inputs, strict=True):
                steep = torch.maximum(low.detach().abs(), high.detach().abs())
                cost = cost + _onto(steep * self.arrival(name), below) * (1 + num.gamma(2))
            cost = self._paid(cost, node)
            below, above = below - cost, above + cost
        sides: tuple[list[Tensor], list[Tensor]] = ([below], [above])
        if self.every_layer:
            for side, end in zip(sides, self.ends(node), strict=True):
                side.append(end)
        below, above = (_vectors(side, num.dtype) for side in sides)
        # By identity: to compare the numbers would be to wait for a device.
        parallel = all(low is high for low, high in zip(lines.lower, lines.upper, strict=True))
        return ChargedStep(_cast(lines.lower, num.dtype), _cast(lines.upper, num.dtype), below, above, parallel)

    @cached_property
    def final(self) -> tuple[Tensor, Tensor]:
        """The ends where rows are concretised for good, (batch, 1, N) in the matrix format."""
        low, high = (_vectors([end], self.ctx.numerics.dtype) for end in self.ends(self.ctx.graph[self.stop]))
        return low, high

    def _paid(self, cost: Tensor, node: Node) -> Tensor:
        """The least c' with c' >= cost + gamma c': the cost makes the offsets larger whose dot product errs."""
        g = self.ctx.numerics.gamma(node.size + 8)
        return cost * (self.grown / (1 - g)) if g < 1 else torch.full_like(cost, torch.inf)

    def ends(self, node: Node) -> tuple[Tensor, Tensor]:
        """Known bounds relative to the reference, with the rounding of a dot product of A with them paid."""
        num, known, reference = self.ctx.numerics, self.ctx.known[node.name].filled, self.ctx.reference[node.name]
        low, high = num.down(known.lower - reference), num.up(known.upper - reference)
        if num.rounding:
            cost = self._paid(self.spread(node.name) * num.gamma(node.size + 8) + 4 * num.floor, node)
            low, high = low - cost, high + cost
        return low, high

    def of_rows(self, node: Node, op: Nonlinear, instance: Tensor, row: Tensor) -> ChargedStep:
        """`step` with slopes of its own for each row: only this node's vectors are repeated, and only for a block."""
        ctx, names = self.ctx, (node.name, *node.inputs)
        own = replace(ctx, known={n: ctx.known[n].take(instance) for n in names},
                      reference={n: ctx.reference[n][instance] for n in names},
                      noise={n: v[instance] for n, v in ctx.noise.items() if n == node.name},
                      slopes={node.name: ctx.row_slopes[node.name][row]}, row_slopes={})
        plan = Charges(self.relax, own, self.every_layer)
        plan._kept.update({("spread", n): self.spread(n)[instance] for n in names})
        plan._kept.update({("arrival", n): self.arrival(n)[instance] for n in node.inputs})
        return replace(plan.step(node, op), per_row=True)


def _cast(values: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(v.to(dtype) for v in values)


def _vectors(values: list[Tensor], dtype: torch.dtype) -> Tensor:
    """(count, m, N)."""
    return torch.stack([v.flatten(1).to(dtype) for v in values], 1)


def _one_to_one(op: Linear, node: Node, user: Node) -> bool:
    """Every entry of the result is one entry of the input, scaled and shifted, and none is read twice."""
    moved = op.monomial(node.shape)
    return moved is not None and node.size == user.size and len(moved.target.unique()) == node.size


def _spreads_out(op: Linear) -> bool:
    """Whether an entry of the adjoint sums several products."""
    return op.adjoint_terms > 2


def _rounded(slope: Tensor) -> Tensor:
    """|slope| where multiplying by it rounds, 0 where it is 0 or +-1."""
    size = slope.detach().abs()
    return size * (size != 1)


def _onto(value: Tensor, like: Tensor) -> Tensor:
    """Summed over the trailing axes that `like` lacks."""
    return value if value.dim() == like.dim() else value.flatten(like.dim()).sum(-1)
