"""One block of rows on its way down through relaxations, to the input.

docs/soundness.md, section "Backward substitution", derives each charge; `walk` cuts rows into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.engine.backward.charges import ChargedStep, Charges
from absint.engine.rows import Rows
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.model.op import Input
from absint.numeric.rounding import cast_down, no_lower

BOTH = (1.0, -1.0)
_FEW = 4  # rows an instance from which a batched product beats one by entries


@dataclass(frozen=True, eq=False)
class Block:
    """Rows side by side: instance (B,), row (B, K) positions among the rows asked; short instances repeat their last row.

    real: (B, K), False for such repetitions.
    """

    instance: Tensor
    row: Tensor
    real: Tensor


class BlockWalk:
    """One block of rows on its way down, B instances by K rows (every sign has its own K). Mutable.

    Through parallel lines a row and its negative go down as one: their adjoints are the same but for the sign, and every error of one
    is an error of the other. They part where the lines of a node have two slopes (docs/soundness.md, "Backward substitution").
    shape: of the adjoints, (B, K) for both signs as long as they go as one.
    """

    def __init__(self, plan: Charges, rows: Rows, block: Block, signs: tuple[float, ...]) -> None:
        self.plan, self.ctx, self.num = plan, plan.ctx, plan.ctx.numerics
        self.rows, self.block, self.signs = rows, block, signs
        self.instance = block.instance
        self.shared = signs == BOTH and not plan.ctx.row_slopes and not torch.is_grad_enabled()
        self.shape = (len(self.instance), (1 if self.shared else len(signs)) * block.row.shape[1])
        self.start = self.ctx.graph[rows.node]
        self.frontier: dict[str, list[Tensor]] = {}
        row = block.row.flatten()
        self.units = None if rows.index is None else rows.index[row]
        repeated = self.instance[:, None].expand(block.row.shape).flatten()
        value, err, self.begin = self._whole(repeated, row) if self.units is None else self._unit(repeated, row)
        self.d = torch.cat([sign * value.reshape(block.row.shape) for sign in signs], 1)
        self.err = err.reshape(block.row.shape).repeat(1, len(signs))
        self.err = self.err + plan.underflow(self.start)[self.instance, None]
        self.best = torch.full_like(self.d, -torch.inf)
        self.last: Tensor | None = None

    def _unit(self, instance: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Value at the reference and error of unit rows; their tensor is made later, if ever."""
        assert self.units is not None
        value = self.ctx.reference[self.start.name].flatten(1)[instance, self.units]
        if self.rows.bias is not None:
            value = value + self.rows.bias[row].to(value)
        err = self.num.vector_gamma(2) * 2 * (value.abs() + (value * 0 if self.rows.bias is None else self.rows.bias[row].abs().to(value)))
        if self.num.rounding:
            err = err + self.plan.unit_arrival(self.start).flatten(1)[instance, self.units] * self.plan.grown
        return value, err, None

    def _whole(self, instance: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same for rows with weights, which are converted to the matrix format: a rounding or an underflow each."""
        assert self.rows.weight is not None
        reference = self.ctx.reference[self.start.name].flatten(1)[instance]
        weight = self.rows.weight[row].to(reference).flatten(1)
        bias = torch.zeros_like(weight[:, 0]) if self.rows.bias is None else self.rows.bias[row].to(reference)
        value = (weight * reference).sum(1) + bias
        err = torch.zeros_like(value)
        if self.num.rounding:
            size = (weight.abs() * reference.abs()).sum(1) + bias.abs()
            err = self.num.vector_gamma(weight.shape[1] + 4) * size + self.start.size * self.num.vector_floor
            spread = self.plan.spread(self.start.name).flatten(1)[instance]
            arrival = self.plan.arrival(self.start.name).flatten(1)[instance]
            # What the cast to the matrix format changes is known exactly: nothing for the weights of most properties.
            exact = self.rows.weight[row].flatten(1).double()
            moved = (exact - exact.to(self.num.dtype).double()).abs().to(weight)
            charge = (moved * spread + (1 + self.num.gamma(1)) * weight.abs() * arrival).sum(1)
            charge = charge * (1 + self.num.vector_gamma(self.start.size + 8)) + self.num.floor * (spread + arrival).sum(1)
            err = err + charge * self.plan.grown
        return value, err, weight.to(self.num.dtype).reshape(-1, *self.start.shape)

    def adjoint_at_input(self) -> Tensor:
        """BlockWalk to the input and return the adjoint there; zero where no path leads to it."""
        self.run()
        zero = torch.zeros((self.d.numel(), *self.ctx.graph.input.shape), dtype=self.num.dtype, device=self.num.device)
        return zero if self.last is None else self.last

    @property
    def constant(self) -> Tensor:
        """(B, K): d less all that is charged, once the walk is over; `_keep` with nothing to add."""
        slack = self.err + self.num.vector_gamma(6) * 2 * self.d.detach().abs()
        return no_lower(self.d - slack * self.plan.grown)

    def run(self) -> Tensor:
        """BlockWalk to the input and concretise there. Returns (1, signs, B, K) sound lower bounds."""
        graph = self.ctx.graph
        self._enter()
        for node in reversed(graph.nodes[: graph.position[self.start.name] + 1]):
            if node.name not in self.frontier:
                continue
            self.ctx.budget.check()
            adjoint = self._gather(node)
            if node.name == self.plan.stop:
                self._concretise(node, adjoint)
                self.last = adjoint
                break
            if isinstance(node.op, Linear):
                self._linear(node, node.op, adjoint)
            elif isinstance(node.op, Nonlinear):
                self._nonlinear(node, node.op, adjoint)
        found = no_lower(self.best).reshape(self.shape[0], len(self.signs), -1)
        return found.transpose(0, 1)[None]

    def _enter(self) -> None:
        """Put the rows in front of the start node, or behind it where the operator knows its own rows."""
        node, plan = self.start, self.plan
        if self.begin is not None:
            self.frontier[node.name] = [self._signed(self.begin)]
        elif isinstance(node.op, Linear) and node.name != plan.stop and not plan.pays_itself(node):
            assert self.units is not None
            pulled = node.op.unit_rows(self.units, node.shape, self.ctx.graph.shapes_of(node),
                                       torch.zeros(0, dtype=self.num.dtype, device=self.num.device))
            for name, part in zip(node.inputs, pulled, strict=True):
                self.frontier.setdefault(name, []).append(self._signed(part))
        else:
            self.frontier[node.name] = [self._signed(self._dense(node))]

    def _dense(self, node: Node) -> Tensor:
        assert self.units is not None
        out = torch.zeros(len(self.units), node.size, dtype=self.num.dtype, device=self.num.device)
        out.scatter_(1, self.units[:, None], 1.0)
        return out.reshape(-1, *node.shape)

    def _signed(self, part: Tensor) -> Tensor:
        """(B K, ...) -> (B signs K, ...)."""
        if self.shared or self.signs == (1.0,):
            return part
        shape = part.shape[1:]
        part = part.reshape(self.shape[0], -1, *shape)
        return torch.cat([part if sign == 1.0 else part * sign for sign in self.signs], 1).reshape(-1, *shape)

    def _parted(self, adjoint: Tensor) -> Tensor:
        """Rows and their negatives, which go down by themselves from here on, and so do all that wait; returns those of the adjoint."""
        self.shared, self.shape = False, (self.shape[0], 2 * self.shape[1])
        self.frontier = {name: [self._signed(part) for part in parts] for name, parts in self.frontier.items()}
        return self._signed(adjoint)

    def _gather(self, node: Node) -> Tensor:
        """Sum the adjoints that meet at a fan-out; `Passage.fan_out` has charged for it."""
        parts = self.frontier.pop(node.name)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _charge(self, node: Node, size: Tensor, vector: Tensor) -> Tensor:
        """|A| . vector, rounded up: the dot product of nonnegative terms is low by at most gamma, plus underflow."""
        terms = size[0].numel()
        vectors = self._own(node, "cost", vector.flatten(1)[:, None]).to(size.dtype)
        found = torch.bmm(size.reshape(*self.shape, -1), vectors.transpose(1, 2))[..., 0].to(self.num.vector)
        found = found * (1 + self.num.gamma(terms + 3)) * self.plan.grown + 2 * terms * self.num.floor
        return torch.cat([found, found], 1) if self.shared else found

    def _linear(self, node: Node, op: Linear, adjoint: Tensor) -> None:
        self._pulled(node, op, adjoint, op.adjoint(adjoint, self.ctx.graph.shapes_of(node)))

    def _pulled(self, node: Node, op: Linear, adjoint: Tensor, parts: tuple[Tensor, ...]) -> None:
        """Rows go on below a linear node; charged here where the node pays itself."""
        if self.num.rounding and self.plan.pays_itself(node):
            self.err = self.err + self._charge(node, adjoint.detach().abs(), self.plan.cost_of_linear(node, op))
        for name, part in zip(node.inputs, parts, strict=True):
            self.frontier.setdefault(name, []).append(part)

    def _step(self, node: Node, op: Nonlinear) -> ChargedStep:
        """The node's vectors for this block."""
        if node.name in self.ctx.row_slopes:
            row = self.block.row.repeat(1, len(self.signs))
            return self.plan.of_rows(node, op, self.instance[:, None].expand(row.shape).flatten(), row.flatten())
        return self.plan.step(node, op)

    def _nonlinear(self, node: Node, op: Nonlinear, adjoint: Tensor) -> None:
        step = self._step(node, op)
        if self.shared and not step.parallel:
            adjoint = self._parted(adjoint)
        positive, negative = adjoint.clamp(min=0), adjoint.clamp(max=0)
        gain = self._dots(step, positive, negative).to(self.num.vector)
        if self.plan.every_layer and not self.frontier and node.name != self.start.name:
            self._keep(self.d + gain[..., 1])
        self.d = self.d + gain[..., 0]
        if self.num.rounding:
            self.err = self.err + self.num.vector_gamma(4) * self.d.detach().abs()
        for k, name in enumerate(node.inputs):
            part = self._relaxed(step, k, positive, negative, last=k == len(node.inputs) - 1)
            self.frontier.setdefault(name, []).append(part)

    def _own(self, node: Node, what: str, vectors: Tensor) -> Tensor:
        """(B, m, entries) of the block's instances from vectors (batch, m, size) of a node, as long as rows are there.

        what: names them among the vectors of the node, which are the same in all blocks.
        """
        return vectors[self.instance]

    def _dots(self, step: ChargedStep, positive: Tensor, negative: Tensor) -> Tensor:
        """(B, K, m) of all signs: A+ . below + A- . above, in the matrix format."""
        plus, minus = positive.reshape(*self.shape, -1), negative.reshape(*self.shape, -1)
        if step.per_row:
            below, above = (v.reshape(*self.shape, *v.shape[1:]) for v in (step.below, step.above))
            return (plus[:, :, None] * below + minus[:, :, None] * above).sum(-1)
        below, above = (step.below, step.above) if step.own else (step.below[self.instance], step.above[self.instance])
        return self._gains(plus, below, minus, above)

    def _gains(self, plus: Tensor, below: Tensor, minus: Tensor, above: Tensor) -> Tensor:
        """`_product` of all signs. Of -A the parts are -A- and -A+: both in one pass over the rows, which are read from memory."""
        if not self.shared:
            return self._product(plus, below, minus, above)
        found = self._product(plus, torch.cat([below, above], 1), minus, torch.cat([above, below], 1))
        return torch.cat([found[..., : below.shape[1]], -found[..., below.shape[1] :]], 1)

    def _product(self, plus: Tensor, below: Tensor, minus: Tensor, above: Tensor) -> Tensor:
        """(B, K, m) from rows (B, K, N) and vectors (B, m, N)."""
        if self.shape[1] < _FEW:
            return (plus[:, :, None] * below[:, None] + minus[:, :, None] * above[:, None]).sum(-1)
        return torch.baddbmm(torch.bmm(plus, below.transpose(1, 2)), minus, above.transpose(1, 2))

    def _relaxed(self, step: ChargedStep, k: int, positive: Tensor, negative: Tensor, *, last: bool) -> Tensor:
        """A+ low + A- high for the k-th input: one product an entry, because one of A+ and A- is zero."""
        low, high = step.low[k], step.high[k]
        if not step.per_row:
            low, high = (low[:, None], high[:, None]) if step.own else (low[self.instance, None], high[self.instance, None])
        shape = step.low[k].shape[1:]
        view = (*self.shape, *positive.shape[1:], *(1,) * (len(shape) - positive.dim() + 1))
        low, high = (s.reshape(self.shape[0], -1, *shape) for s in (low, high))
        plus, minus = positive.reshape(view), negative.reshape(view)
        own = last and len(view) == len(shape) + 2 and plus.shape[2:] == shape
        if own and not torch.is_grad_enabled():
            return plus.mul_(low).addcmul_(minus, high).reshape(-1, *shape)
        return (plus * low + minus * high).reshape(-1, *shape)

    def _keep(self, value: Tensor) -> None:
        """A lower bound of the rows, but for what `err` holds and the sums with d; the best counts."""
        slack = self.err + self.num.vector_gamma(6) * (self.d.detach().abs() + value.detach().abs())
        self.best = torch.maximum(self.best, no_lower(value - slack * self.plan.grown))

    def _concretise(self, node: Node, adjoint: Tensor) -> None:
        """Minimum of A (x - c) + d - err over the node's known box."""
        low, high = (self._own(node, what, end) for what, end in zip(("low", "high"), self.plan.final, strict=True))
        rows = adjoint.reshape(*self.shape, -1)
        gain = self._gains(rows.clamp(min=0), low, rows.clamp(max=0), high)
        self._keep(self.d + gain[..., 0].to(self.num.vector))
        if isinstance(node.op, Input) and self.ctx.region.beyond_hull:
            # The region's own bound of A (x - c) has its rounding inside; the sum with d and err has three more.
            instance = self.instance[:, None].expand(self.shape).flatten()
            reference = self.ctx.reference[node.name].double()
            own = [cast_down(self.ctx.region.lower_of(side, instance, reference), self.num.vector).reshape(self.shape)
                   for side in ((adjoint, -adjoint) if self.shared else (adjoint,))]
            self._keep(self.d + torch.cat(own, 1))
