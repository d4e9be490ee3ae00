"""Branching on the input: boxes of few inputs clipped and halved again and again, all boxes of a step bounded as one batch by any domain.

Where a network has few inputs, halving them tightens every relaxation below at once, curved ones too; phases are for inputs with many
entries. Each disjunct has boxes of its own: what refutes it on a box, cuts it and is halved depends on its rows alone. Sources:
Wang et al., Formal Security Analysis of Neural Networks using Symbolic Intervals, USENIX Security 2018, section 4.2; Bak et al., CAV 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from absint.engine.attempts import Attempt, attempt
from absint.engine.backward.slopes import start_slopes
from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.evidence import Leaf
from absint.engine.from_relaxations import lower_forms
from absint.engine.rows import Rows
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.work import work
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.branchers.box_evidence import PLACE, BoxEvidence
from absint.search.branchers.brancher import Brancher, Grown, Trees
from absint.search.branchers.clipping import Clipped, LowerForms, RowCuts, clipped
from absint.search.frontier import Nodes
from absint.search.scouts import pays

# Boxes bounded together: on a CPU enough to fill a core's cache with small networks, few enough to look at the clock often.
_TOGETHER = {"cpu": 256, "cuda": 4096}
# Influence knows the network by one relaxation alone: an entry may have none there and decide all the same. So width counts, too, at
# this share. Too small, and whole trees are caught in boxes that are wide where nothing seems to depend on them; measured on acasxu.
_BLIND = 0.5
# What is known of a box is kept where the memory has room for that of so many. Measured on acasxu: a third less time, 2.4 KB a box.
_OPEN = 1 << 16
# Entries of less width (in the network's units) are not counted: halving them gains nothing. Relative to the widest where all are.
_WIDE = 1e-6

Look = Callable[[Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Splitting:
    """How far to split. domain: bounds the boxes.  inputs: regions with more wide entries are left alone.  boxes: of one instance.

    scouted: bounds the boxes instead, as tightly, where what it asks first takes a small part of the rows of all entries; None for never.
    """

    domain: Domain[Any]
    inputs: int
    boxes: float = inf
    scouted: Domain[Any] | None = None

    def bounder(self, graph: Graph, numerics: Numerics) -> Domain[Any]:
        """Which of both, by the graph alone."""
        return self.domain if self.scouted is None or not pays(self.scouted, graph, numerics, self.inputs) else self.scouted


def wide(low: Tensor, high: Tensor) -> Tensor:
    """(batch, n) bool: entries of regions [low, high] (batch, n) that are worth halving."""
    width = high - low
    widest = width.amax(1, keepdim=True)
    return (width > torch.where(widest > _WIDE, _WIDE, _WIDE * widest)) & (width > 0)


class ByBoxes(Brancher):
    """Division of a batch's regions. A node is a box with the axis it is halved along, or a root, for which -1 stands.

    ctx: the batch, with `known` total.  spec: of the batch.  look: told inputs of open boxes, as (instance (P,), points (P, *input),
    outputs (P, *output)): the middles, and the corners where the row that refutes best is least.
    A box inherits what was proved of the one that contains it, where there is room to keep that; nothing learnt of one box reaches
    another, and nothing that rests on a solver's word is kept.
    """

    unit: ClassVar[str] = "boxes"

    def __init__(self, ctx: Context, spec: Spec, trees: Trees, how: Splitting, look: Look) -> None:
        self.trees, self.how, self.look = trees, replace(how, domain=how.bounder(ctx.graph, ctx.numerics)), look
        self.spec = spec.to(ctx.numerics.device)
        self._disjuncts = _Kinds.of(spec)
        self._able = self._divisible(ctx)
        recorder = ctx.recording
        self.evidence = None if recorder is None else BoxEvidence(recorder, len(trees), ctx.graph.input.name)
        self.ctx = replace(ctx, assumed={}, reference={}, drift={}, noise={}, slopes={}, row_slopes={}, memo={}, target=None,
                           recorder=None)
        hull = ctx.region.hull
        self._low, self._high = (end.to(ctx.numerics.device, torch.float64) for end in (hull.lower, hull.upper))
        counted = wide(self._low.flatten(1), self._high.flatten(1))
        self._width = torch.where(counted, (self._high - self._low).flatten(1), inf)
        names = {name for node in ctx.graph.nodes if isinstance(node.op, Nonlinear) for name in node.inputs}
        size = sum(2 * 4 * ctx.graph[name].size for name in names)
        self._kept = tuple(sorted(names)) if size * _OPEN <= ctx.budget.memory else ()

    def able(self) -> Tensor:
        """(T,) bool: the region is a box with few wide entries, nothing is assumed, and nothing known is void or a solver's word."""
        return self._able

    def _divisible(self, ctx: Context) -> Tensor:
        if ctx.region.beyond_hull or ctx.assumed:
            return torch.zeros(len(self.trees), dtype=torch.bool)
        hull = ctx.region.hull
        count = wide(hull.lower.flatten(1), hull.upper.flatten(1)).sum(1).cpu()
        good = (count > 0) & (count <= self.how.inputs) & ~ctx.empty.cpu()
        for known in ctx.known.values():
            if known.solver is not None:
                good = good & ~known.solver.cpu()
        return good[self.trees.instance]

    def roots(self, trees: Tensor, refuted: Tensor) -> Nodes:
        """Whole regions, outward."""
        instance = self.trees.instance[trees].to(self._low.device)
        columns = {"lower": self._low[instance], "upper": self._high[instance], "axis": torch.full_like(instance, -1)}
        columns |= self._ends(self.ctx.known, instance) | ({} if self.evidence is None else {PLACE: trees.to(instance)})
        return Nodes(trees, refuted.double(), columns)

    def batch(self, budget: Budget) -> int:
        """How many nodes to take at once: each makes two boxes."""
        graph = self.ctx.graph
        fit = budget.memory // max(1, 2 * self.how.domain.traits.bytes_of(graph, self.ctx.numerics))
        together = _TOGETHER.get(self.ctx.numerics.device.type, _TOGETHER["cpu"])
        return max(1, min(together, budget.pieces(work(graph)), fit) // 2)

    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """Both halves of each box, roots as they are: bounded, those left open clipped, each with the axis it is halved along next."""
        boxes = halves(nodes)
        if self.evidence is not None:
            axis = nodes.columns["axis"]
            boxes = self.evidence.halved(boxes, axis[axis >= 0])
        kinds = self._disjuncts.kind[self.trees.disjunct[boxes.tree]]
        return Grown.joined([self._bounded(boxes.take(kinds == kind), kind, budget) for kind in kinds.unique().tolist()])

    # ---- boxes whose disjuncts have as many rows, as strict ---------------------------------------------------------

    def _bounded(self, boxes: Nodes, kind: int, budget: Budget) -> Grown:
        spec, ctx = self._spec(boxes.tree, kind), self._context(boxes, budget)
        recorder = None if self.evidence is None else self.evidence.over(ctx.region)
        found = attempt(self.how.domain, replace(ctx, recorder=recorder), spec)
        trusted = _trusted(found).cpu()
        best = spec.refutation(found.interval.lower)[:, 0].cpu().double()
        if found.refuted is not None:
            best = torch.fmax(best, found.refuted[:, 0].cpu().double())
        bound = torch.where(trusted, torch.fmax(boxes.bound, best), boxes.bound)
        boxes, done = replace(boxes, bound=bound), bound > 0
        if self.evidence is not None and recorder is not None:
            self.evidence.closed(boxes, done, recorder, spec.strict)
        closed = boxes.tree[done], bound[done]
        left = (~done).nonzero().flatten()
        if not len(left):
            return Grown(closed=closed)
        forms = self._forms(spec, found.ctx, left, trusted)
        there = left.to(self._low.device)
        boxes = replace(boxes, columns={**boxes.columns, **self._learnt(boxes.columns, found.ctx.known, trusted)})
        grown = self._divided(boxes.take(left), spec.take(there), forms, found.interval.lower[there], self._start(found.ctx, there))
        return Grown.joined([Grown(closed=closed), grown])

    def _spec(self, tree: Tensor, kind: int) -> Spec:
        """Of each box the rows of its tree's disjunct."""
        device = self.spec.weight.device
        rows = self._disjuncts.rows(self.trees.disjunct[tree], kind).to(device)
        instance = self.trees.instance[tree].to(device)[:, None]
        return Spec(self.spec.weight[instance, rows], self.spec.bias[instance, rows], torch.zeros_like(rows[0]),
                    self._disjuncts.strict(kind).to(device))

    def _context(self, boxes: Nodes, budget: Budget) -> Context:
        instance = self.trees.instance[boxes.tree].to(self._low.device)
        known = {name: interval.take(instance) for name, interval in self.ctx.known.items()}
        for name in self._kept:
            inherited = Interval(boxes.columns[f"least {name}"], boxes.columns[f"most {name}"])
            known[name] = known[name].meet(inherited.to(self.ctx.numerics.vector))
        return replace(self.ctx, region=BoxRegion(boxes.columns["lower"], boxes.columns["upper"]), known=known, budget=budget)

    def _ends(self, known: Mapping[str, Interval], index: Tensor) -> dict[str, Tensor]:
        """What is kept of the boxes at `index`, in float32, outward."""
        kept = {name: known[name].take(index).to(torch.float32) for name in self._kept}
        return {f"least {name}": i.lower for name, i in kept.items()} | {f"most {name}": i.upper for name, i in kept.items()}

    def _learnt(self, columns: Mapping[str, Tensor], known: Mapping[str, Interval], trusted: Tensor) -> dict[str, Tensor]:
        """What halves inherit: of boxes (N,) whose context proves nothing, what they inherited themselves."""
        found = self._ends(known, torch.arange(len(trusted), device=self._low.device))
        mask = trusted.to(self._low.device)
        return {name: torch.where(mask.reshape(-1, *(1,) * (new.dim() - 1)), new, columns[name]) for name, new in found.items()}

    def _start(self, ctx: Context, boxes: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The free slopes of some boxes' plain relaxations, as evidence; nothing where nobody asked."""
        relaxations = self.how.domain.traits.relaxations
        if self.evidence is None or not relaxations:
            return {}
        found = start_slopes(ctx.graph.output.name, ctx, relaxations[0])
        return {name: (mask[boxes], value[boxes]) for name, (mask, value) in found.items()}

    def _divided(self, boxes: Nodes, spec: Spec, forms: LowerForms | None, lower: Tensor, start: Mapping[str, tuple[Tensor, Tensor]]
                 ) -> Grown:
        """Open boxes clipped, looked at, and given an axis. lower: (N, rows) bounds of their rows.  start: see `_start`."""
        low, high = (boxes.columns[name].flatten(1) for name in ("lower", "upper"))
        if forms is None:
            cut = Clipped(low, high, torch.zeros_like(low[:, 0], dtype=torch.bool), torch.full_like(low[:, 0], inf))
            slopes = self._gradients(spec, low, high)
        else:
            told: list[RowCuts] | None = None if self.evidence is None else []
            cut, slopes = clipped(forms, spec.strict, low, high, told), forms.weight
            if self.evidence is not None and told is not None:
                boxes = replace(boxes, columns={**boxes.columns, PLACE: self.evidence.clipped(boxes.columns[PLACE], told, start)})
        pieces = cut.proved.cpu()
        closed = boxes.tree[pieces < inf], pieces[pieces < inf]
        # A box is gone only where a number proved it.
        left = (~(cut.void & (cut.proved < inf))).nonzero().flatten()
        low, high, slopes = cut.low[left], cut.high[left], slopes[left]
        boxes = boxes.take(left.cpu())
        instance = self.trees.instance[boxes.tree]
        self._show(instance, low, high, slopes, lower[left])
        axis, able = best_axis(slopes.abs().nan_to_num(0.0, 0.0, 0.0).sum(1), low, high, self._width[instance.to(low.device)])
        shape = (-1, *self.ctx.graph.input.shape)
        boxes = replace(boxes, columns={**boxes.columns, "lower": low.reshape(shape), "upper": high.reshape(shape), "axis": axis})
        able = able.cpu()
        stuck = boxes.tree[~able], boxes.bound[~able]
        # The nearest to a violation last: the newest are cut first.
        open_ = boxes.take(able)
        return Grown(open_.take(open_.bound.argsort(descending=True, stable=True)), closed, stuck)

    def leaves(self, tree: int) -> Sequence[Leaf] | None:
        """Halves and pieces, each with what bounded it."""
        return None if self.evidence is None else self.evidence.growth.leaves(tree)

    def _forms(self, spec: Spec, ctx: Context, left: Tensor, trusted: Tensor) -> LowerForms | None:
        """Of all rows of the boxes `left` (N,); those of contexts that prove nothing (all boxes,) are known nowhere."""
        output, device = ctx.graph.output, self._low.device
        live = torch.zeros_like(spec.bias, dtype=torch.bool)
        live[left.to(device)] = True
        found = lower_forms(self.how.domain.traits, Rows.of_spec(output.name, spec, output.shape, live), ctx)
        if found is None:
            return None
        weight, offset, center = found
        grid = (len(left), spec.bias.shape[1])
        offset = torch.where(trusted[left].to(device)[:, None], offset.reshape(grid), -inf)
        return LowerForms(weight.reshape(*grid, -1), offset, center.reshape(*grid, -1)[:, 0])

    def _gradients(self, spec: Spec, low: Tensor, high: Tensor) -> Tensor:
        """(N, rows, n): of each row, at the middle; zero where there is none."""
        graph = self.ctx.graph
        with torch.enable_grad():
            x = (low / 2 + high / 2).reshape(-1, *graph.input.shape).requires_grad_()
            values = spec.values(graph(x)).sum(0)
            if not values.requires_grad:
                return low.new_zeros((len(low), len(values), low.shape[1]))
            found = [torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)[0] for value in values]
        return torch.stack([torch.zeros_like(low) if slope is None else slope.flatten(1) for slope in found], 1)

    def _show(self, instance: Tensor, low: Tensor, high: Tensor, slopes: Tensor, lower: Tensor) -> None:
        """Middles and worst corners: a box is nearest to a violation where the row that refutes it best is least."""
        if not len(low):
            return
        middle = low / 2 + high / 2
        deciding = slopes[torch.arange(len(low), device=low.device), lower.nan_to_num(-inf).argmax(1)]
        corner = torch.where(deciding > 0, low, torch.where(deciding < 0, high, middle))
        points = torch.cat([middle, corner]).reshape(-1, *self.ctx.graph.input.shape)
        self.look(torch.cat([instance, instance]), points, self.ctx.graph(points))


# ---- cutting --------------------------------------------------------------------------------------------------------


def halves(nodes: Nodes) -> Nodes:
    """Each box cut in two across its axis, both halves with its bound: they cover it. Roots stay whole."""
    low, high, axis = (nodes.columns[name] for name in ("lower", "upper", "axis"))
    cut = axis >= 0
    where = axis.clamp(min=0)[:, None]
    flat_low, flat_high = low.flatten(1), high.flatten(1)
    middle = _middles(flat_low, flat_high).gather(1, where)
    lower = replace(nodes, columns={**nodes.columns, "upper": flat_high.scatter(1, where, middle).reshape(high.shape)})
    upper = replace(nodes, columns={**nodes.columns, "lower": flat_low.scatter(1, where, middle).reshape(low.shape)})
    cut = cut.cpu()
    return Nodes.joined([nodes.take(~cut), lower.take(cut), upper.take(cut)])


def best_axis(influence: Tensor, low: Tensor, high: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) the entry to be halved, one of great influence times width; (N,) bool, whether any can be.

    influence: (N, n) >= 0, the sum over the disjunct's rows.  whole: (N, n) widths of the regions, inf for entries not counted.
    Influence times width and the share that is left of the region's width each count relative to the box's greatest.
    """
    width = high - low
    score = _relative(influence * width) + _BLIND * _relative(width / whole)
    middle = _middles(low, high)
    # Between neighbours there is no number: such a half would be the box itself.
    able = (middle > low) & (middle < high)
    score = torch.where(able, score, -1.0)
    return score.argmax(1), able.any(1)


def _relative(size: Tensor) -> Tensor:
    """(N, n) >= 0 as shares of each row's greatest; 0 where that is 0 or not finite."""
    most = size.amax(1, keepdim=True)
    return (size / torch.where(most > 0, most, 1.0)).nan_to_num(0.0, 0.0, 0.0)


def _middles(low: Tensor, high: Tensor) -> Tensor:
    """Halves of subnormal numbers are rounded: the middle must not leave the box."""
    return torch.minimum(torch.maximum(low / 2 + high / 2, low), high)


def _trusted(found: Attempt) -> Tensor:
    """(N,) bool: a void box where nothing is assumed contradicts itself and proves nothing, nor does a solver's word."""
    doubted = found.ctx.empty
    return ~doubted if found.interval.solver is None else ~(doubted | found.interval.solver)


@dataclass(frozen=True, eq=False)
class _Kinds:
    """Disjuncts sorted by how many rows they have and which are strict, so that boxes of one kind make a batch without padding.

    kind: (disjuncts,).  member: (disjuncts, most), positions of their rows, repeated at the end.
    pattern: (kinds, most), 1 for a strict row, 0 for another, -1 for none.
    """

    kind: Tensor
    member: Tensor
    pattern: Tensor

    @staticmethod
    def of(spec: Spec) -> _Kinds:
        disjunct, strict = spec.disjunct.cpu(), spec.strict.cpu()
        count = torch.bincount(disjunct, minlength=spec.disjuncts)
        order = disjunct.argsort(stable=True)
        slot = torch.arange(int(count.max()) if len(count) else 1)
        first = (count.cumsum(0) - count)[:, None]
        member = order[first + torch.minimum(slot, count[:, None] - 1)]
        pattern = torch.where(slot < count[:, None], strict[member].long(), -1)
        found, kind = pattern.unique(dim=0, return_inverse=True)
        return _Kinds(kind, member, found)

    def strict(self, kind: int) -> Tensor:
        """(rows,) bool."""
        return self.pattern[kind][self.pattern[kind] >= 0] == 1

    def rows(self, disjuncts: Tensor, kind: int) -> Tensor:
        """(D, rows) positions of the rows of disjuncts of the kind."""
        return self.member[disjuncts][:, : len(self.strict(kind))]


