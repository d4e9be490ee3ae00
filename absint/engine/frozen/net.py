"""A batch of case splits of one network over the bounds of their root: each one's lower bound and its gradient, not rounded.

One walk back gives a bound, one forward its gradient, written out by hand: where a minimum over points is attained decides both. Nothing
here is a proof; `proof` makes one of what was chosen. Every step has the same shapes for as many nodes, so that a device can record it.
Sources: Wang et al., Beta-CROWN, NeurIPS 2021, equations (8) to (12); the sign of a multiplier is left free, the minimum over the
points of the child's own interval (tables.py) takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.context import Context
from absint.engine.frozen.tables import Splittable, splittable
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.model.op import Input


@dataclass(frozen=True, eq=False)
class CaseSplits:
    """N nodes of trees. instance: (N,).  first, last: (N, U) int8, the points that are left of each entry.

    Entries are those of all splittable nodes, side by side.
    """

    instance: Tensor
    first: Tensor
    last: Tensor
    cut: Tensor     # (N, U) bool: an entry that was split, whose hint is free

    def take(self, index: Tensor) -> CaseSplits:
        """Some of them, repeats allowed."""
        return CaseSplits(self.instance[index], self.first[index], self.last[index], self.cut[index])


@dataclass(frozen=True, eq=False)
class Hints:
    """What a bound is made with; any numbers prove something. ratio: (N, U) slopes of lower lines.  hint: (N, U), see `chords`.

    share: (N, k) weights of the rows of the disjunct.
    """

    ratio: Tensor
    hint: Tensor
    share: Tensor

    def take(self, index: Tensor) -> Hints:
        """Some of them, repeats allowed."""
        return Hints(self.ratio[index], self.hint[index], self.share[index])

    def where(self, mask: Tensor, other: Hints) -> Hints:
        """These in the mask (N,), the others elsewhere."""
        wide = mask[:, None]
        return Hints(*(torch.where(wide, mine, theirs) for mine, theirs in
                       ((self.ratio, other.ratio), (self.hint, other.hint), (self.share, other.share))))


@dataclass(frozen=True, eq=False)
class WalkedBack:
    """What one walk back found. bound: (N,).  adjoint: (N, U), A at each entry.  corner: (N, *input), G there.

    at, value: (N, U), the point of the graph where each entry's minimum is attained, relative to the reference.
    slope: (N, U), of the line that the walk went on with; a cut entry's hint was added to it.  signs: A of the nodes that are not split.
    begin, end: (N, U), what is left of each entry.
    """

    bound: Tensor
    corner: Tensor
    signs: dict[str, Tensor]
    adjoint: Tensor
    at: Tensor
    value: Tensor
    slope: Tensor
    begin: Tensor
    end: Tensor


@dataclass(frozen=True, eq=False)
class Carried:
    """Values of the relaxed network at the minimiser: operand and result (N, U) of each entry, and the function itself there.

    All are relative to the reference. point: (N, *input).  output: (N, outputs).
    """

    operand: Tensor
    value: Tensor
    true: Tensor
    point: Tensor
    output: Tensor


class FrozenNet:
    """The root of a batch of trees: all that its nodes share. dtype: of the search."""

    def __init__(self, ctx: Context, relax: Relax, dtype: torch.dtype = torch.float32) -> None:
        self.ctx, self.relax, self.dtype = ctx, relax, dtype
        self.graph = ctx.graph
        self.device = ctx.numerics.device
        with torch.no_grad():
            found = {node.name: splittable(node, ctx, relax) for node in self.graph.nodes if isinstance(node.op, Nonlinear)}
            self.split: dict[str, Splittable] = {name: one for name, one in found.items() if one is not None}
            self.slices: dict[str, slice] = {}
            begin = 0
            for name, one in self.split.items():
                self.slices[name] = slice(begin, begin + one.count)
                begin += one.count
            self.entries = begin
            self._tables = {name: _SearchTable.of(one, dtype) for name, one in self.split.items()}
            self._lines = {node.name: self._shared(node) for node in self.graph.nodes
                           if isinstance(node.op, Nonlinear) and node.name not in self.split}
            box, center = ctx.known[self.graph.input.name].filled, ctx.reference[self.graph.input.name]
            self._ends = tuple((end - center).to(dtype) for end in (box.lower, box.upper))

    # ---- what nodes share --------------------------------------------------------------------------------------

    def _shared(self, node: Node) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Slopes and offsets, relative to the reference, of a node that is not split."""
        ctx = self.ctx
        lines = self.relax(node, ctx.inputs(node.inputs), ctx)
        here = ctx.reference[node.name]
        offsets = []
        for slopes, offset in ((lines.lower, lines.lower_offset), (lines.upper, lines.upper_offset)):
            value = offset - here
            for slope, name in zip(slopes, node.inputs, strict=True):
                product = slope * ctx.reference[name]
                value = value + (product if product.dim() == here.dim() else product.flatten(here.dim()).sum(-1))
            offsets.append(value.to(self.dtype))
        return [s.to(self.dtype) for s in lines.lower], [s.to(self.dtype) for s in lines.upper], offsets[0], offsets[1]

    @cached_property
    def limits(self) -> tuple[Tensor, Tensor]:
        """(1, U) int8 each: the first and the last point of entries that nothing is assumed of."""
        none = torch.zeros(0, dtype=torch.int8, device=self.device)
        last = torch.cat([none, *(torch.full_like(one.entries, one.points.count - 1, dtype=torch.int8) for one in self.split.values())])
        return torch.zeros_like(last)[None], last[None]

    @cached_property
    def uncut(self) -> list[str]:
        """What is nonlinear, undecided somewhere and keeps the relaxation of the root: classes of operators, sorted."""
        ctx = self.ctx
        return sorted({type(node.op).__name__ for node in self.graph.nodes if node.name in self._lines and isinstance(node.op, Nonlinear)
                       and any(bool(mask.any()) for mask in node.op.undecided(ctx.inputs(node.inputs)))})

    def _joined(self, get: Callable[[Splittable], Tensor]) -> Tensor:
        none = torch.zeros((self.ctx.batch, 0), device=self.device)
        return torch.cat([get(one) for one in self.split.values()], 1) if self.split else none

    @cached_property
    def start(self) -> Tensor:
        """(I, U): slopes of lower lines at the root."""
        return self._joined(lambda one: one.low).to(self.dtype)

    @cached_property
    def turning(self) -> tuple[Tensor, Tensor]:
        """(I, U) each: between which slopes lower lines may turn; what is decided in an instance has its own one there, as if alone."""
        open_, start = self.open, self._joined(lambda one: one.low)
        flat, steep = (torch.where(open_, self._joined(get), start) for get in (lambda one: one.flat, lambda one: one.steep))
        return flat.to(self.dtype), steep.to(self.dtype)

    @cached_property
    def gap(self) -> Tensor:
        """(I, U): see `Splittable`."""
        return self._joined(lambda one: one.gap).to(self.dtype)

    @cached_property
    def open(self) -> Tensor:
        """(I, U) bool: undecided at the root."""
        return self._joined(lambda one: one.open) if self.split else torch.zeros((self.ctx.batch, 0), dtype=torch.bool, device=self.device)

    @cached_property
    def bytes_per_node(self) -> int:
        """About what a node takes while it is walked through."""
        width = torch.finfo(self.dtype).bits // 8
        return width * (6 * max(node.size for node in self.graph.nodes) + 24 * self.entries + sum(
            node.size for node in self.graph.nodes if node.name in self._lines))

    def root(self, instance: Tensor, shares: int) -> tuple[CaseSplits, Hints]:
        """Nodes that assume nothing, of instances (N,), with equal shares of all rows."""
        first, last = (end.expand(len(instance), -1) for end in self.limits)
        splits = CaseSplits(instance, first, last, torch.zeros_like(first, dtype=torch.bool))
        start = _of(self.start, instance).expand(len(instance), -1)
        share = torch.full((len(instance), shares), 1 / shares, dtype=self.dtype, device=self.device)
        return splits, Hints(start.clone(), torch.zeros_like(start), share)

    # ---- the walks ---------------------------------------------------------------------------------------------

    def back(self, top: Tensor, base: Tensor, splits: CaseSplits, hints: Hints) -> WalkedBack:
        """top: (N, *output), rows in the search's format.  base: (N,), their values at the reference."""
        graph, count, instance = self.graph, len(top), splits.instance
        frontier = {graph.output.name: top}
        bound, signs = base.clone(), {}
        shape = (count, self.entries)
        found = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(6)]
        corner = torch.zeros((count, *graph.input.shape), dtype=self.dtype, device=self.device)
        for node in reversed(graph.nodes):
            if node.name not in frontier:
                continue
            here = frontier.pop(node.name)
            if isinstance(node.op, Input):
                corner = here
                continue
            if isinstance(node.op, Linear):
                parts: Sequence[Tensor] = node.op.adjoint(here, graph.shapes_of(node))
            elif node.name in self.split:
                flat, part = here.reshape(count, -1), self.slices[node.name]
                met = self._met(node.name, flat, splits, hints, instance)
                gain, down = met[0], met[1]
                bound = bound + gain
                for whole, mine in zip(found, met[2:], strict=True):
                    whole[:, part] = mine
                parts = (down.reshape(count, *graph[node.inputs[0]].shape),)
            else:
                gain, parts = self._passed(node, here, instance)
                bound, signs[node.name] = bound + gain, here
            for name, part_ in zip(node.inputs, parts, strict=True):
                frontier[name] = frontier[name] + part_ if name in frontier else part_
        low, high = (_of(end, instance) for end in self._ends)
        bound = bound + torch.where(corner > 0, corner * low, corner * high).flatten(1).sum(1)
        return WalkedBack(bound, corner, signs, *found)

    def _met(self, name: str, flat: Tensor, splits: CaseSplits, hints: Hints, instance: Tensor) -> tuple[Tensor, ...]:
        """Gain (N,), adjoint of the operand (N, size), and A, point, value and slope (N, U) of the entries."""
        table, part = self._tables[name], self.slices[name]
        here = flat[:, table.entries]
        first, last, cut = splits.first[:, part], splits.last[:, part], splits.cut[:, part]
        begin, end, chord = chords(_of(table.at, instance), _of(table.value, instance), first, last)
        slope = torch.where(cut, chord, torch.where(here > 0, hints.ratio[:, part], _of(table.high, instance)))
        hint = here * slope + torch.where(cut, hints.hint[:, part], 0.0)
        least = torch.full_like(here, inf)
        at, value = torch.zeros_like(here), torch.zeros_like(here)
        for k in range(table.count):
            p, f = _of(table.at[:, k], instance), _of(table.value[:, k], instance)
            found = here * f - hint * p
            better = (found < least) & (first <= k) & (k <= last)
            least, at, value = torch.where(better, found, least), torch.where(better, p, at), torch.where(better, f, value)
        # A lower line that turns about the one kink is least there: at its last slopes an end is as low, and would mislead.
        about = ~cut & (here > 0) & _of(table.turns, instance)
        at = torch.where(about, _of(table.at[:, 1], instance), at)
        value = torch.where(about, _of(table.value[:, 1], instance), value)
        down = flat * _of(table.slope, instance)
        down[:, table.entries] = hint
        least = torch.where(least < inf, least, -inf)      # a NaN is no minimum
        gain = least.sum(1) + (flat * _of(table.offset, instance)).sum(1)
        return gain, down, here, at, value, slope, begin, end

    def _passed(self, node: Node, here: Tensor, instance: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gain and adjoints of the operands of a node that is not split."""
        low, high, below, above = self._lines[node.name]
        plus, minus = here.clamp(min=0), here.clamp(max=0)
        gain = (plus * _of(below, instance) + minus * _of(above, instance)).flatten(1).sum(1)
        parts = []
        for one, two in zip(low, high, strict=True):
            view = (*plus.shape, *(1,) * (one.dim() - plus.dim()))
            parts.append(plus.reshape(view) * _of(one, instance) + minus.reshape(view) * _of(two, instance))
        return gain, parts

    def forward(self, walked: WalkedBack, splits: CaseSplits) -> Carried:
        """The relaxed network at the point of the region where the bound is attained."""
        graph, instance = self.graph, splits.instance
        count = len(walked.bound)
        low, high = (_of(end, instance) for end in self._ends)
        values: dict[str, Tensor] = {}
        operand, value, true = (torch.zeros_like(walked.adjoint) for _ in range(3))
        point = torch.where(walked.corner > 0, low, high)
        reference = self._references
        for node in graph.nodes:
            if isinstance(node.op, Input):
                values[node.name] = point + _of(reference[node.name], instance)
            elif isinstance(node.op, Linear):
                values[node.name] = node.op.forward(*(values[name] for name in node.inputs))
            elif node.name in self.split:
                table, part = self._tables[node.name], self.slices[node.name]
                z = values[node.inputs[0]]
                assert isinstance(node.op, Nonlinear)
                flat = z.reshape(count, -1) - _of(reference[node.inputs[0]], instance).flatten(1)
                y = flat * _of(table.slope, instance) + _of(table.offset, instance)
                operand[:, part] = mine = flat[:, table.entries]
                at, f = walked.at[:, part], walked.value[:, part]
                value[:, part] = chosen = f + walked.slope[:, part] * (mine - at)
                here = _of(reference[node.name], instance).flatten(1)
                true[:, part] = node.op.forward(z).reshape(count, -1)[:, table.entries] - here[:, table.entries]
                y[:, table.entries] = chosen
                values[node.name] = (y + here).reshape(count, *node.shape)
            else:
                values[node.name] = self._carried(node, walked.signs.get(node.name), values, instance, count)
        output = values[graph.output.name].reshape(count, -1)
        return Carried(operand, value, true, point + _of(reference[graph.input.name], instance), output)

    def _carried(self, node: Node, sign: Tensor | None, values: dict[str, Tensor], instance: Tensor, count: int) -> Tensor:
        low, high, below, above = self._lines[node.name]
        here = _of(self._references[node.name], instance).expand(count, *node.shape)
        if sign is None:
            return here
        total = torch.where(sign > 0, _of(below, instance), _of(above, instance)) + here
        for one, two, name in zip(low, high, node.inputs, strict=True):
            view = (*sign.shape, *(1,) * (one.dim() - sign.dim()))
            lines = torch.where(sign.reshape(view) > 0, _of(one, instance), _of(two, instance))
            product = lines * (values[name] - _of(self._references[name], instance))
            total = total + (product if product.dim() == total.dim() else product.flatten(total.dim()).sum(-1))
        return total

    @cached_property
    def _references(self) -> dict[str, Tensor]:
        return {name: value.to(self.dtype) for name, value in self.ctx.reference.items()}


@dataclass(frozen=True, eq=False)
class _SearchTable:
    """A splittable node's tables in the search's format: the middle of each enclosure."""

    entries: Tensor
    at: Tensor
    value: Tensor
    slope: Tensor
    offset: Tensor
    high: Tensor
    turns: Tensor
    count: int

    @staticmethod
    def of(one: Splittable, dtype: torch.dtype) -> _SearchTable:
        p = one.points
        at, value, slope, offset, high = (v.to(dtype) for v in (p.at, p.middle, one.slope, one.offset, one.high))
        return _SearchTable(one.entries, at, value, slope, offset, high, one.open & (one.flat < one.steep), p.count)


def chords(at: Tensor, value: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, U) each: the first and the last point left, and the slope between; of what is affine there, its own. at, value: (1 or N, C, U).

    The hint of a cut entry is B less A times it: B follows A as the hints of later layers change, and what the child's interval
    adds is the hint alone.
    """
    here, there = first[:, None].long(), last[:, None].long()
    at, value = (table.expand(len(first), -1, -1) for table in (at, value))
    begin, end = at.gather(1, here)[:, 0], at.gather(1, there)[:, 0]
    rise = (value.gather(1, there) - value.gather(1, here))[:, 0]
    return begin, end, torch.where(end > begin, rise / (end - begin), 0.0).nan_to_num(0.0, 0.0, 0.0)


def _of(table: Tensor, instance: Tensor) -> Tensor:
    """The table's rows of instances; of a single one, that row to be broadcast, not copied."""
    return table if len(table) == 1 else table[instance]
