"""A batch of relaxed networks, one a row: the lower bound of each row and its gradient in the free slopes, not rounded.

A lower bound found backward is the value that the row takes at one point of the region when every nonlinear operator is
replaced by the line that the row's adjoint chooses there. So one walk back (adjoints, no constants) and one forward (values
at that point) give the bound, and for each free slope its derivative: the adjoint times the derivative of the chosen line at
the value found. Nothing here is a proof: it only tells an optimiser which slopes to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.context import Context
from absint.engine.rows import Rows
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.model.op import Input
from absint.numeric.interval import Relaxation

Parameters = Callable[[Node, Context], Tensor | None]



@dataclass(frozen=True, eq=False)
class Lines:
    """The relaxation of one nonlinear node for each instance, in the search's format.

    ends: its lower and upper slopes (one per input) and offsets at the start values, (batch, ...).
    free: (batch * size) bool, the entries that the free slope moves; None where there are none.
    table: (batch * size, knots, 4): lower slope, lower offset, upper slope, upper offset at evenly spaced free slopes, between
    which they are interpolated.
    start: (batch * size) start values.
    """

    lower: tuple[Tensor, ...]
    lower_offset: Tensor
    upper: tuple[Tensor, ...]
    upper_offset: Tensor
    free: Tensor | None = None
    table: Tensor | None = None
    start: Tensor | None = None

    @cached_property
    def moving(self) -> tuple[int, ...]:
        """Which of the table's four columns any free slope moves."""
        assert self.table is not None
        return tuple(k for k in range(4) if bool((self.table[:, :1, k] != self.table[:, 1:, k]).any()))


class UnroundedNet:
    """The lines of every nonlinear node below one node, shared by all of its rows."""

    def __init__(self, node: str, ctx: Context, relax: Relax, parameters: Parameters) -> None:
        self.ctx, self.relax, self.parameters = ctx, relax, parameters
        self.graph, self.instances = ctx.graph, ctx.batch
        self.dtype = ctx.numerics.dtype  # a search in float32 would leave float64 bounds depending on the batch by 1e-7
        self.path = self._below(node)
        self.lines = {n.name: self._remembered(n) for n in self.path if isinstance(n.op, Nonlinear)}
        box = ctx.known[self.graph.input.name].filled
        self.middle = (box.lower / 2 + box.upper / 2).to(self.dtype)
        self.radius = (box.upper / 2 - box.lower / 2).to(self.dtype)

    @property
    def free(self) -> bool:
        """Whether anything can be chosen at all."""
        return any(lines.free is not None for lines in self.lines.values())

    @cached_property
    def entries(self) -> int:
        """Entries of all nodes on the path: what one row keeps in memory, times a few."""
        return sum(node.size for node in self.path)

    def _below(self, name: str) -> list[Node]:
        """The node and its ancestors, in topological order."""
        wanted = {name}
        for node in reversed(self.graph.nodes[: self.graph.position[name] + 1]):
            if node.name in wanted:
                wanted.update(node.inputs)
        return [node for node in self.graph.nodes if node.name in wanted]

    def _remembered(self, node: Node) -> Lines:
        """`_lines`, made anew only where something that it depends on has changed since the last node of this walk."""
        ctx, owner = self.ctx, getattr(self.relax, "__self__", self.relax)
        key = ("lines", id(owner), node.name)
        made_of = (owner, ctx.numerics, ctx.slopes, *(ctx.known[name] for name in node.inputs))
        kept = ctx.memo.get(key)
        if isinstance(kept, tuple) and len(kept[0]) == len(made_of) and all(a is b for a, b in zip(kept[0], made_of, strict=True)):
            found: Lines = kept[1]
            return found
        lines = self._lines(node)
        ctx.memo[key] = (made_of, lines)
        return lines

    def _lines(self, node: Node) -> Lines:
        # The row's own node may be nonlinear: its relaxation needs what is known of its inputs, which the walk has found.
        start = self.parameters(node, self.ctx)
        if start is None or len(node.inputs) != 1 or start.shape[1:] != node.shape:
            return self._plain(self._relaxation(node, None))
        start = torch.nan_to_num(start.detach(), nan=0.5).clamp(0, 1)
        plain = self._plain(self._relaxation(node, start))
        if plain.lower[0].shape != start.shape:
            return plain
        ends = self._columns(node, start)
        table = torch.stack(ends, 1)
        free = (table != table[:, :1]).flatten(1).any(1) & table.isfinite().flatten(1).all(1)
        if not bool(free.any()):
            return plain
        return replace(plain, free=free, table=table, start=start.flatten().to(self.dtype))

    def _columns(self, node: Node, start: Tensor) -> list[Tensor]:
        """The table's columns: two where the lines are affine in the free slope, else one a knot."""

        def at(share: float) -> Tensor:
            return self._column(self._relaxation(node, torch.full_like(start, share)))

        first, middle, last = at(0.0), at(0.5), at(1.0)
        if torch.allclose(middle, (first + last) / 2, rtol=1e-3, atol=1e-6, equal_nan=True):
            return [first, last]
        return [first, at(0.25), middle, at(0.75), last]

    def _relaxation(self, node: Node, free: Tensor | None) -> Relaxation:
        slopes = {k: v for k, v in self.ctx.slopes.items() if k != node.name}
        ctx = replace(self.ctx, slopes=slopes if free is None else {**slopes, node.name: free})
        return self.relax(node, ctx.inputs(node.inputs), ctx)

    def _plain(self, r: Relaxation) -> Lines:
        def cast(value: Tensor) -> Tensor:
            return value.detach().to(self.dtype).contiguous()

        return Lines(tuple(map(cast, r.lower)), cast(r.lower_offset), tuple(map(cast, r.upper)), cast(r.upper_offset))

    def _column(self, r: Relaxation) -> Tensor:
        parts = (r.lower[0], r.lower_offset, r.upper[0], r.upper_offset)
        return torch.stack([p.detach().flatten().to(self.dtype) for p in parts], 1)


def functionals(net: UnroundedNet, rows: Rows, sign: float) -> dict[str, Tensor]:
    """sign * rows: of the inputs of a linear node, because that part of the walk is the same in every step."""
    node = net.graph[rows.node]
    if not isinstance(node.op, Linear):
        return {node.name: sign * rows.dense(node.shape, net.dtype)}
    shapes = net.graph.shapes_of(node)
    if rows.weight is None:
        assert rows.index is not None
        pulled = node.op.unit_rows(rows.index, node.shape, shapes, net.middle)
    else:
        pulled = node.op.adjoint(rows.dense(node.shape, net.dtype), shapes)
    out: dict[str, Tensor] = {}
    for name, part in zip(node.inputs, pulled, strict=True):
        out[name] = out[name] + sign * part if name in out else sign * part
    return out


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the free slopes of one node stand in a chunk's flat vector of them.

    part: their range.  row: the row of each.  index: flat entry in (rows, size).  cell: first knot in the flat table.
    """

    part: slice
    row: Tensor
    index: Tensor
    cell: Tensor


@dataclass(eq=False)
class _Choice:
    """The lines that a walk back chose at one node, kept for the walk forward. above: where the lower line counts."""

    adjoint: Tensor
    above: Tensor
    slopes: tuple[Tensor, ...]
    offset: Tensor


class UnroundedRows:
    """One chunk of rows and its free slopes. `step` evaluates the bounds and their gradient. Mutable.

    instance: (R,).  start: flat start values of the free slopes.  row: the row of each.  places: where each node's stand.
    top: the rows as functionals of one or more nodes; whoever changes it keeps its keys.
    """

    def __init__(self, net: UnroundedNet, node: str, instance: Tensor, top: dict[str, Tensor]) -> None:
        self.net, self.instance, self.top = net, instance, top
        self.node = net.graph[node]
        self.ends = {name: self._gathered(lines) for name, lines in net.lines.items()}
        self.places: dict[str, _Place] = {}
        self.start, self.row = self._placed()
        self.middle, self.radius = net.middle[instance], net.radius[instance]
        region = net.ctx.region
        self.region = region.take(self.instance) if region.beyond_hull else None

    def _gathered(self, lines: Lines) -> list[Tensor]:
        """Lower slope(s), lower offset, upper slope(s), upper offset of each row's instance; free entries are overwritten."""
        return [v[self.instance] for v in (*lines.lower, lines.lower_offset, *lines.upper, lines.upper_offset)]

    def _placed(self) -> tuple[Tensor, Tensor]:
        """The flat start values, and the row of each."""
        starts, rows, total = [], [], 0
        for name, lines in self.net.lines.items():
            if lines.free is None or lines.start is None or lines.table is None:
                continue
            size = self.net.graph[name].size
            row, entry = lines.free.reshape(-1, size)[self.instance].nonzero(as_tuple=True)
            source = self.instance[row] * size + entry
            part = slice(total, total + len(row))
            self.places[name] = _Place(part, row, row * size + entry, source * lines.table.shape[1])
            starts.append(lines.start[source])
            rows.append(row)
            total = part.stop
        empty = self.instance[:0]
        return torch.cat(starts) if starts else empty.to(self.net.dtype), torch.cat(rows) if rows else empty

    def step(self, free: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(R,) bounds up to a constant of each row, the gradient in the flat free slopes, and the nodes' values where attained.

        A bound is NaN where something overflows; a gradient is 0 there.
        """
        rates = self._interpolate(free)
        chosen, point = self._back()
        values = self._forward(chosen, point)
        total = torch.zeros(len(self.instance), dtype=self.net.dtype, device=self.instance.device)
        for name, part in self.top.items():
            total = total + (part * values[name]).flatten(1).sum(1)
        return total, self._gradient(free, rates, chosen, values), values

    def dense(self, free: Tensor) -> dict[str, Tensor]:
        """Per node (R, *shape) free slopes, start values where nothing moves."""
        found = {}
        for name, place in self.places.items():
            start = self.net.lines[name].start
            assert start is not None
            out = start.reshape(self.net.instances, -1)[self.instance]
            out.view(-1)[place.index] = free[place.part]
            found[name] = out.reshape(-1, *self.net.graph[name].shape)
        return found

    # ---- one step ----------------------------------------------------------------------------------------------

    def _interpolate(self, free: Tensor) -> dict[str, Tensor]:
        """Write the chosen lines into `ends`; returns their derivatives, (entries, moving columns) per node."""
        rates = {}
        for name, place in self.places.items():
            lines = self.net.lines[name]
            assert lines.table is not None
            knots = lines.table.shape[1]
            flat = lines.table.reshape(-1, 4)
            position = free[place.part] * (knots - 1)
            cell = position.long().clamp(max=knots - 2)
            share = position - cell
            at = place.cell + cell
            derivative = torch.zeros(len(at), 4, dtype=flat.dtype, device=flat.device)
            for k in lines.moving:
                column = flat[:, k]
                first = column[at]
                rise = column[at + 1] - first
                self.ends[name][k].view(-1)[place.index] = first + share * rise
                derivative[:, k] = rise * (knots - 1)
            rates[name] = derivative
        return rates

    def _back(self) -> tuple[dict[str, _Choice], Tensor]:
        """Adjoints down to the input; the lines they choose, and the point of the region where the bound is attained."""
        net, frontier, chosen = self.net, dict(self.top), {}
        point = self.middle
        for node in reversed(net.path):
            adjoint = frontier.pop(node.name, None)
            if adjoint is None:
                continue
            net.ctx.budget.check()
            if isinstance(node.op, Input):
                point = self._least(adjoint)
                continue
            if isinstance(node.op, Linear):
                parts = node.op.adjoint(adjoint, net.graph.shapes_of(node))
            else:
                chosen[node.name] = self._choose(node, adjoint)
                slopes = chosen[node.name].slopes
                parts = tuple(adjoint.reshape(adjoint.shape + (1,) * (s.dim() - adjoint.dim())) * s for s in slopes)
            for name, part in zip(node.inputs, parts, strict=True):
                frontier[name] = frontier[name] + part if name in frontier else part
        return chosen, point

    def _choose(self, node: Node, adjoint: Tensor) -> _Choice:
        ends, count = self.ends[node.name], len(node.inputs)
        above = adjoint > 0
        slopes = []
        for k in range(count):
            low, high = ends[k], ends[count + 1 + k]
            slopes.append(torch.where(above.reshape(above.shape + (1,) * (low.dim() - above.dim())), low, high))
        return _Choice(adjoint, above, tuple(slopes), torch.where(above, ends[count], ends[2 * count + 1]))

    def _least(self, adjoint: Tensor) -> Tensor:
        """The point of the hull, or about that of the region, where the adjoint is least."""
        if self.region is not None:
            near = self.region.center.to(adjoint.device)
            return self.region.pull(near + self.region.descent(adjoint)).to(adjoint)
        return torch.addcmul(self.middle, self.radius, adjoint.sign(), value=-1)

    def _forward(self, chosen: dict[str, _Choice], point: Tensor) -> dict[str, Tensor]:
        """Values of the chosen lines at the point, for the nodes that the rows depend on."""
        values: dict[str, Tensor] = {}
        for node in self.net.path:
            self.net.ctx.budget.check()
            if isinstance(node.op, Input):
                values[node.name] = point
            elif node.name in chosen:
                lines = chosen[node.name]
                here = lines.offset
                for slope, name in zip(lines.slopes, node.inputs, strict=True):
                    value = values[name]
                    flat = slope.dim() == here.dim() == value.dim()
                    here = torch.addcmul(here, slope, value) if flat else here + (slope * value).flatten(here.dim()).sum(-1)
                values[node.name] = here
            elif isinstance(node.op, Linear) and (node.name != self.node.name or node.name in self.top):
                values[node.name] = node.op.forward(*(values[n] for n in node.inputs))
        return values

    def _gradient(self, free: Tensor, rates: dict[str, Tensor], chosen: dict[str, _Choice], values: dict[str, Tensor]) -> Tensor:
        gradient = torch.zeros_like(free)
        for name, place in self.places.items():
            if name not in chosen:
                continue
            lines, rate = self.net.lines[name], rates[name]
            adjoint = chosen[name].adjoint.reshape(-1)[place.index]
            value = values[self.net.graph[name].inputs[0]].reshape(-1)[place.index]
            below = rate[:, 0] * value + rate[:, 1]
            if lines.moving[-1] > 1:
                below = torch.where(adjoint > 0, below, rate[:, 2] * value + rate[:, 3])
                gradient[place.part] = adjoint * below
            else:
                gradient[place.part] = adjoint.clamp(min=0) * below
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
