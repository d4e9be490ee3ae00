"""The rounded bound of nodes of trees, for the very hints that were found: a walk back of `backward`, with entries cut.

What a row is charged on its way from one nonlinear node to the next is what `Charges` says of the root, whose bounds hold at every node.
At an entry the hint B is a number, not a product: nothing is lost there but what float64 loses in the minimum over the points.
docs/soundness.md, section "Case splits".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.engine.backward.block import Block, BlockWalk
from absint.engine.backward.charges import ChargedStep, Charges, Relax
from absint.engine.frozen.net import CaseSplits, FrozenNet, Hints, chords
from absint.engine.frozen.tables import Splittable
from absint.engine.rows import Rows
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.numeric.rounding import cast_down, cast_up, gamma, no_lower, smallest_normal


@dataclass(frozen=True, eq=False)
class Prover:
    """Rounded bounds of nodes over one root. dtype: format of the adjoints, that of the context or a wider one."""

    net: FrozenNet
    relax: Relax
    dtype: torch.dtype

    @cached_property
    def plan(self) -> Charges:
        """What all walks share; none ends before the input, and no node's own bounds take the place of what is below it."""
        ctx = self.net.ctx
        num = replace(ctx.numerics, dtype=self.dtype)
        return Charges(self.relax, replace(ctx, numerics=num, memo={}, row_slopes={}), every_layer=False)

    @cached_property
    def steps(self) -> dict[str, ChargedStep]:
        """Of splittable nodes, with nothing in it of the entries that are."""
        found = {}
        for name, one in self.net.split.items():
            node = self.net.graph[name]
            assert isinstance(node.op, Nonlinear)
            step = self.plan.step(node, node.op)
            low, high = (slope.clone() for slope in (step.low[0], step.high[0]))
            below, above = step.below.clone(), step.above.clone()
            for slope in (low, high):
                slope.flatten(1)[:, one.entries] = 0
            for offset in (below, above):
                offset[..., one.entries] = 0
            found[name] = ChargedStep((low,), (high,), below, above, parallel=False)
        return found

    @cached_property
    def costs(self) -> dict[str, Tensor]:
        """(I, U): what |B| is charged below each entry."""
        return {name: self.plan.arrival(one.operand).flatten(1)[:, one.entries] for name, one in self.net.split.items()}

    @cached_property
    def noise(self) -> dict[str, Tensor]:
        """(I, U): what |A| is charged for float32 executions of the entries themselves."""
        noise = self.net.ctx.noise
        return {name: noise[name].flatten(1)[:, one.entries] for name, one in self.net.split.items() if name in noise}

    def bounds(self, rows: Rows, splits: CaseSplits, hints: Hints) -> Tensor:
        """(N,) sound lower bounds of rows (N,) at the output over the regions of nodes (N,), -inf where nothing is known.

        Sound for any hints: of all inputs that lie in a node's intervals.  Raises DeadlineError.
        """
        index = torch.arange(len(rows), device=rows.instance.device)[:, None]
        block = Block(rows.instance, index, torch.ones_like(index, dtype=torch.bool))
        found: Tensor = _SplitWalk(self, rows, block, splits, hints).run()[0, 0, :, 0]
        return found


class _SplitWalk(BlockWalk):
    """One row a node. Mutable."""

    def __init__(self, prover: Prover, rows: Rows, block: Block, splits: CaseSplits, hints: Hints) -> None:
        self.prover, self.splits, self.hints = prover, splits, hints
        super().__init__(prover.plan, rows, block, (1.0,))

    def _nonlinear(self, node: Node, op: Nonlinear, adjoint: Tensor) -> None:
        one = self.prover.net.split.get(node.name)
        if one is None:
            super()._nonlinear(node, op, adjoint)
            return
        step = self.prover.steps[node.name]
        count = len(adjoint)
        flat = adjoint.reshape(count, -1)
        positive, negative = flat.clamp(min=0), flat.clamp(max=0)
        self._cut_gains(self._dots(step, positive, negative)[..., 0].to(self.num.vector))
        down = positive * step.low[0].flatten(1)[self.instance] + negative * step.high[0].flatten(1)[self.instance]
        gain, lost, hint = self._least(node, one, flat[:, one.entries])
        down[:, one.entries] = hint
        self._cut_gains(cast_down(gain, self.num.vector)[:, None])
        self.err = self.err + cast_up(lost, self.num.vector)[:, None]
        self.frontier.setdefault(node.inputs[0], []).append(down.reshape(count, *self.ctx.graph[node.inputs[0]].shape))

    def _cut_gains(self, gain: Tensor) -> None:
        """Each sum is charged its own rounding: the next one may cancel what this one was large by."""
        self.d = self.d + gain
        if self.num.rounding:
            self.err = self.err + self.num.vector_gamma(4) * self.d.abs()

    def _least(self, node: Node, one: Splittable, here: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum over the entries of the minimum of A f - B p over the points left; what that may err by, charges of B included; B."""
        part, instance, points = self.prover.net.slices[node.name], self.instance, one.points
        cut, first, last = (v[:, part] for v in (self.splits.cut, self.splits.first, self.splits.last))
        chord = chords(points.at[instance], points.middle[instance], first, last)[2].to(here.dtype)
        line = torch.where(here > 0, self.hints.ratio[:, part].to(here.dtype), one.high.to(here.dtype)[instance])
        hint = here * torch.where(cut, chord, line) + torch.where(cut, self.hints.hint[:, part].to(here.dtype), 0.0)
        a, b = here.double(), hint.double()
        least = torch.full_like(a, inf)
        for k in range(points.count):
            f = torch.where(a > 0, points.least[:, k].double()[instance], points.most[:, k].double()[instance])
            found = a * f - b * points.at[:, k].double()[instance]
            # NaN, of infinite ends, stays: minimum hands it on.
            least = torch.where((first <= k) & (k <= last), torch.minimum(least, found), least)
        least = no_lower(least)
        if not self.num.rounding:
            return least.sum(1), torch.zeros_like(least[:, 0]), hint
        most = torch.maximum(points.least.abs(), points.most.abs()).amax(1).double()
        far = points.at.abs().amax(1).double()
        size = a.abs() * most[instance] + b.abs() * far[instance]
        slack = gamma(one.count + 8, torch.float64) * size.sum(1) + 4 * (one.count + 1) * smallest_normal(torch.float64)
        charge = (b.abs() * self.prover.costs[node.name].double()[instance]).sum(1)
        if node.name in self.prover.noise:
            charge = charge + (a.abs() * self.prover.noise[node.name].double()[instance]).sum(1)
        lost = (slack + charge * (1 + gamma(one.count + 8, torch.float64))) * self.plan.grown
        return least.sum(1), lost, hint
