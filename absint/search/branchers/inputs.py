"""Branching on the input: boxes of few inputs halved again and again, all boxes of a step bounded as one batch by any domain.

Where a network has few inputs, halving them tightens every relaxation below at once; phases are for inputs with many entries.
A box inherits what is known of the one it was cut from. Sources: Wang et al., Formal Security Analysis of Neural Networks using
Symbolic Intervals, USENIX Security 2018, section 4.2 (bisection along the input of greatest influence); Bak et al., CAV 2020.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.model.work import work
from absint.numeric.backend import DeadlineError
from absint.numeric.interval import Interval
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

# Boxes bounded together: enough to fill a core's cache with small networks, few enough to look at the clock often.
_BATCH = 256
# Influence is a gradient at the middle; what it does not see is split by width alone, at this share.
_BLIND = 1e-2


@dataclass(frozen=True)
class Splitting:
    """How far to split. domain: bounds the boxes.  inputs: regions with more entries of positive width are left alone.

    boxes: of one instance at most.  end: on the monotonic clock.
    """

    domain: Domain[Any]
    inputs: int
    boxes: float = inf
    end: float = inf


@dataclass(frozen=True, eq=False)
class Cover:
    """What splitting one instance proved. lower: (disjuncts,) sound bounds over the whole region.  boxes: bounded so far.

    complete: no box is left.  late: time ended it.  limit: which other limit did, or None.
    point: (*input) where the caller's test held, or None.
    """

    lower: Tensor
    boxes: int
    complete: bool
    late: bool
    limit: str | None = None
    point: Tensor | None = None


def splittable(ctx: Context, instance: int, most: int) -> bool:
    """Whether the instance's region is a box with at most `most` entries of positive width."""
    hull = ctx.region.hull
    return not ctx.region.beyond_hull and 0 < int((hull.upper[instance] > hull.lower[instance]).sum()) <= most


Test = Callable[[Tensor, Tensor], Tensor | None]


def cover(ctx: Context, spec: Spec, refuted: Tensor, how: Splitting, test: Test) -> Cover:
    """Bounds of the disjuncts that `refuted` (disjuncts,) leaves open, from boxes that cover the region of a context of one instance.

    test: of points (P, *input) and outputs, one that violates the property beyond doubt or None.
    Sound: the boxes' union is the region's hull at every step, and a box is dropped only when every open disjunct is refuted
    on it; bounds are the least over the boxes, those that are left included.
    """
    return _Cover(ctx, spec, refuted, how, test).run()


@dataclass(eq=False)
class _Boxes:
    """Some open boxes. low, high: (B, *input).  refuted: (B, disjuncts).  known: of each."""

    low: Tensor
    high: Tensor
    refuted: Tensor
    known: dict[str, Interval]

    def __len__(self) -> int:
        return len(self.low)

    def take(self, index: Tensor) -> _Boxes:
        return _Boxes(self.low[index], self.high[index], self.refuted[index], {n: i.take(index) for n, i in self.known.items()})

    def joined(self, other: _Boxes) -> _Boxes:
        known = {name: Interval(torch.cat([i.lower, other.known[name].lower]), torch.cat([i.upper, other.known[name].upper]))
                 for name, i in self.known.items()}
        low, high = torch.cat([self.low, other.low]), torch.cat([self.high, other.high])
        return _Boxes(low, high, torch.cat([self.refuted, other.refuted]), known)


class _Cover:
    """One call of `cover`. Mutable."""

    def __init__(self, ctx: Context, spec: Spec, refuted: Tensor, how: Splitting, test: Test) -> None:
        device = ctx.numerics.device
        self.ctx, self.spec, self.how, self.test, self.seen = ctx, spec.to(device), how, test, 0
        self.end = how.end
        hull = ctx.region.hull.to(torch.float64)
        self.width = (hull.upper - hull.lower).to(device)
        known = {name: Interval(i.lower, i.upper) for name, i in ctx.known.items()}
        root = _Boxes(hull.lower.to(device), hull.upper.to(device), refuted[None].to(device, torch.float64), known)
        self.open = [root]                                  # a stack of batches, those to be cut next at the end
        self.least = torch.full_like(root.refuted[0], inf)  # over the boxes that are dropped
        self.point: Tensor | None = None
        entries = sum(node.size for node in ctx.graph.nodes)
        self.room = ctx.budget.memory // (2 * 2 * 8 * entries)
        fit = ctx.budget.memory // max(1, 2 * how.domain.traits.bytes_of(ctx.graph, ctx.numerics))
        self.batch = max(1, min(_BATCH, ctx.budget.pieces(work(ctx.graph)), fit))

    def run(self) -> Cover:
        """Until no box is left, the test holds or a limit is reached."""
        while self.open and self.point is None and not self._spent:
            halves = self._halved(self._next())
            try:
                self._push(self._bounded(halves))
            except DeadlineError:
                self._push(halves)
                self.end = -inf
        lower = torch.stack([self.least, *(boxes.refuted.amin(0) for boxes in self.open)]).amin(0)
        late = bool(self.open) and self._late
        return Cover(lower.cpu(), self.seen, not self.open, late, self._limit if self.open and not late else None, self.point)

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self.end

    @property
    def _limit(self) -> str | None:
        """Which limit but time is reached."""
        if self.seen >= self.how.boxes:
            return f"{self.how.boxes:g} boxes"
        return "memory for open boxes" if sum(map(len, self.open)) >= self.room else None

    @property
    def _spent(self) -> bool:
        return self._limit is not None or self._late

    def _next(self) -> _Boxes:
        """A batch from the end of the stack, filled up from below."""
        part = self.open.pop()
        while self.open and len(part) < self.batch:
            part = part.joined(self.open.pop())
        every = torch.arange(len(part), device=part.low.device)
        self._push(part.take(every[self.batch :]))
        return part.take(every[: self.batch])

    def _push(self, boxes: _Boxes) -> None:
        if len(boxes):
            self.open.append(boxes)

    def _halved(self, boxes: _Boxes) -> _Boxes:
        """Each box cut in two across the input of greatest influence; (2 B) boxes that cover the B exactly."""
        axis = self._influence(boxes).flatten(1).argmax(1, keepdim=True)
        low, high = boxes.low.flatten(1), boxes.high.flatten(1)
        # Halves of subnormal numbers are rounded: the middle must not leave the box.
        middle = torch.minimum(torch.maximum(low / 2 + high / 2, low), high).gather(1, axis)
        every = torch.arange(len(boxes), device=low.device)
        both = boxes.take(torch.cat([every, every]))
        upper, lower = high.scatter(1, axis, middle), low.scatter(1, axis, middle)
        shape = boxes.low.shape
        both.low, both.high = torch.cat([low, lower]).reshape(-1, *shape[1:]), torch.cat([upper, high]).reshape(-1, *shape[1:])
        return both

    def _influence(self, boxes: _Boxes) -> Tensor:
        """(B, *input): width times the size of the gradient, at the middle, of the row that decides the box; looks at the middles, too."""
        middle = boxes.low / 2 + boxes.high / 2
        with torch.enable_grad():
            x = middle.clone().requires_grad_()
            output = self.ctx.graph(x)
            values = self._repeated(len(boxes)).values(output)
            worst = boxes.refuted.argmin(1)
            mine = self.spec.disjunct == worst[:, None]
            total = torch.where(mine, values, 0.0).sum()
            (slope,) = torch.autograd.grad(total, x, allow_unused=True) if total.requires_grad else (None,)
        self._look(middle, output.detach())
        width = boxes.high - boxes.low
        share = width / torch.where(self.width > 0, self.width, 1.0)
        if slope is None:
            return share
        size = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0).abs() * width
        most = size.flatten(1).amax(1).reshape(-1, *(1,) * (size.dim() - 1))
        return size + _BLIND * most * share + torch.where(most > 0, 0.0, share)

    def _look(self, points: Tensor, outputs: Tensor) -> None:
        found = self.test(points, outputs)
        self.point = self.point if found is None else found

    def _repeated(self, count: int) -> Spec:
        return self.spec.take(torch.zeros(count, dtype=torch.int64, device=self.spec.weight.device))

    def _bounded(self, boxes: _Boxes) -> _Boxes:
        """Bound every box; keep those that are not refuted."""
        self.seen += len(boxes)
        ctx = replace(self.ctx, region=BoxRegion(boxes.low, boxes.high), known=boxes.known, assumed={}, reference={}, drift={}, noise={},
                      slopes={}, row_slopes={}, memo={}, target=None)
        spec = self._repeated(len(boxes))
        found = attempt(self.how.domain, ctx, spec, proved=boxes.refuted, corner=True)
        if found.corner is not None:
            corner = torch.minimum(torch.maximum(found.corner.to(boxes.low), boxes.low), boxes.high)
            self._look(corner, self.ctx.graph(corner))
        refuted = torch.fmax(boxes.refuted, spec.refutation(found.interval.lower).to(boxes.refuted))
        if found.refuted is not None:
            refuted = torch.fmax(refuted, found.refuted.to(refuted))
        # Nothing is assumed here: a void box contradicts itself and proves nothing. What rests on a solver's word does not, either.
        distrusted = found.ctx.empty.to(refuted.device)
        if found.interval.solver is not None:
            distrusted = distrusted | found.interval.solver.to(refuted.device)
        refuted = torch.where(distrusted[:, None], boxes.refuted, refuted)
        gone = (refuted > 0).all(1)
        if bool(gone.any()):
            self.least = torch.minimum(self.least, refuted[gone].amin(0))
        known = {name: _but(distrusted, old, found.ctx.known[name]) for name, old in boxes.known.items()}
        kept = _Boxes(boxes.low, boxes.high, refuted, known).take((~gone).nonzero().flatten())
        # The nearest to a violation first: they are cut first.
        return kept.take(kept.refuted.amin(1).argsort()) if len(kept) else kept


def _but(distrusted: Tensor, old: Interval, new: Interval) -> Interval:
    """The new bounds, the old ones where the mask (B,) says so."""
    mask = distrusted.reshape(-1, *(1,) * (old.lower.dim() - 1))
    return Interval(torch.where(mask, old.lower, new.lower), torch.where(mask, old.upper, new.upper))
