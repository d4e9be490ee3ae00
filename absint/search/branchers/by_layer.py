"""Branching on phases of a network of one layer, on thousands of nodes a second: every node bounds the layer anew over a box of its own.

A node is a box and phases. Its affine bound cuts off what it proves, so that boxes shrink from node to node and the layer's
bounds with them; that is what the linear program over the root's bounds cannot do. A leaf closes by a rounded bound alone.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from absint.encode.one_layer import OneLayer
from absint.numeric.backend import Budget
from absint.search.branchers.boxes import best_axis
from absint.search.branchers.brancher import Brancher, Grown, Trees
from absint.search.branchers.layer_bounds import Bounded, Functionals, LayerBounds, Phased, clipped, combined
from absint.search.candidates import Candidates
from absint.search.frontier import Nodes

# Numbers of a batch: nodes times entries, so that a step's arrays stay in cache.
_TOGETHER = 1 << 16
# What cut-off pieces are proved to exceed, as a share of the functional's size.
_GOAL = 2.0**-40
_SHARE_STEP = 0.5
# Points of a batch that are followed down their slopes, from corner to corner, and how far.
_NEAREST, _FOLLOWED = 8, 5
# Entries looked at before one is divided; a gain below this share of what is needed counts as that.
_AHEAD, _LEAST = 16, 1e-4

_COLUMNS = ("lower", "upper", "phase", "slope", "price", "share")


class ByLayer(Brancher):
    """One tree a disjunct. net: over the hull of all regions.  low, high: (batch, n) the regions.

    rows: coefficients (batch, rows, n + m) and constants (batch, rows) of all rows, rounded down.  disjunct: (rows,).
    """

    def __init__(self, net: OneLayer, trees: Trees, region: tuple[Tensor, Tensor], rows: tuple[Tensor, Tensor], disjunct: Tensor,
                 candidates: Candidates) -> None:
        self.net, self.trees, self.candidates = net, trees, candidates
        self._low, self._high = region
        self.bounds = LayerBounds(net)
        ends = net.before(*region)
        self._unit = (ends[1] - ends[0]).float().clamp(min=1e-30)
        self._weight, self._constant = rows
        count = torch.bincount(disjunct)
        order = disjunct.argsort(stable=True)
        self._many = int(count.max())
        slot = torch.arange(self._many)
        # Rows of each disjunct; where it has fewer than others, one of them again.
        self._rows = order[(count.cumsum(0) - count)[:, None] + torch.minimum(slot, count[:, None] - 1)]
        size = self._weight.abs() @ torch.cat([net.reach, net.height]) + self._constant.abs()
        self._goal = (_GOAL * size.amin(1)).clamp(min=1e-200)
        self.solved = torch.zeros(len(trees), dtype=torch.int64)

    def able(self) -> Tensor:
        """All."""
        return torch.ones(len(self.trees), dtype=torch.bool)

    def roots(self, trees: Tensor, refuted: Tensor) -> Nodes:
        """Whole regions without phases."""
        instance, m = self.trees.instance[trees], len(self.net.knot)
        nothing = torch.zeros(len(trees), m)
        columns = {"lower": self._low[instance], "upper": self._high[instance], "phase": nothing.to(torch.int8),
                   "slope": nothing + 0.5, "price": nothing, "share": torch.full((len(trees), self._many), 1 / self._many).double()}
        return Nodes(trees, refuted.double(), columns)

    def batch(self, budget: Budget) -> int:
        """Nodes at once."""
        return max(8, _TOGETHER // (len(self.net.knot) + len(self.net.reach)))

    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """Bound the nodes; divide those left open into two each, which wait with their parent's bound."""
        budget.check()
        tree = nodes.tree
        self.solved += torch.bincount(tree, minlength=len(self.trees))
        boxes = Phased(*(nodes.columns[name] for name in _COLUMNS[:5]))
        of = self._functionals(tree, nodes.columns["share"])
        found, boxes = self.bounds.proved(of, boxes)
        bound, goal = torch.fmax(nodes.bound, found.bound), self._goal[self.trees.instance[tree]]
        done = bound >= goal
        closed = [(tree[done], bound[done])]
        left = (~done).nonzero().flatten()
        if len(left):
            open_ = replace(nodes.take(left), bound=bound[left])
            grown, gone = self._divided(open_, _some(of, left), _part(found, left), boxes.take(left), goal[left])
            closed.append(gone)
        else:
            grown = None
        leaves = torch.cat([t for t, _ in closed]), torch.cat([b for _, b in closed])
        stuck = None if grown is None else grown.held
        return Grown(None if grown is None else grown.open, leaves, stuck)

    def _functionals(self, tree: Tensor, share: Tensor) -> Functionals:
        """Of each node; conjunctions by a combination of their rows that the parent's worst point leads to."""
        n = len(self.net.reach)
        instance, rows = self.trees.instance[tree][:, None], self._rows[self.trees.disjunct[tree]]
        weight, constant = self._weight[instance, rows], self._constant[instance, rows]
        return combined(weight[..., :n], weight[..., n:], constant, share, self._unit[instance[:, 0]], self.net)

    def _divided(self, nodes: Nodes, of: Functionals, found: Bounded, boxes: Phased, goal: Tensor
                 ) -> tuple[Grown, tuple[Tensor, Tensor]]:
        """Children of open nodes, and the pieces that clipping closed."""
        share, bound = self._look(nodes.tree, nodes.columns["share"], found), nodes.bound
        # By the form's own bound: from the parent's, where that is greater, the form does not rise.
        cut = clipped(found, boxes, goal)
        smaller = ((cut.low > boxes.low) | (cut.high < boxes.high)).any(1)
        gone = nodes.tree[smaller], goal[smaller]
        void = (cut.low > cut.high).any(1)
        keep = (~void).nonzero().flatten()
        nodes, share, cut, bound = nodes.take(keep), share[keep], cut.take(keep), bound[keep]
        of, found = _some(of, keep), _part(found, keep)
        entry, able = self._entry(of, found, cut, goal[keep])
        axis, wide = best_axis(found.weight.abs(), cut.low, cut.high, torch.full_like(cut.low, inf))
        first, second = _children(cut, entry, able, axis)
        stuck = ~(able | wide)
        order = bound.argsort(descending=True, stable=True)
        order = order[~stuck[order]]
        parts = []
        for child in (first, second):
            columns = dict(zip(_COLUMNS, (child.low, child.high, child.phase, child.slope, child.price, share), strict=True))
            parts.append(Nodes(nodes.tree, bound, columns).take(order))
        both = Nodes.joined(parts)
        # Siblings side by side, the nearest to a violation last: the newest are taken first.
        both = both.take(torch.arange(len(both)).reshape(2, -1).T.flatten())
        return Grown(both, None, (nodes.tree[stuck], bound[stuck]) if bool(stuck.any()) else None), gone

    def _entry(self, of: Functionals, found: Bounded, boxes: Phased, goal: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) the entry to be divided at its knot, (N,) whether there is one.

        Of those with the widest gaps between the functional and its hull, concave ones before convex ones, where the hints alone are to
        blame, the one whose phases would raise the bound most, the lesser gain times the greater.
        """
        net = self.net
        low, high = found.z_low, found.z_high
        inside = (low < net.knot) & (high > net.knot)
        bend = of.layer * (net.right - net.left)
        gap = bend.abs() * (net.knot - low) * (high - net.knot) / (high - low).clamp(min=1e-300)
        most = gap.amax(1, keepdim=True)
        score = torch.where(inside & (bend != 0), torch.where(bend < 0, gap + most, gap), -1.0).nan_to_num(nan=-1.0)
        best = score.topk(min(_AHEAD, score.shape[1]), 1)
        concave = (best.values > 0) & (bend.gather(1, best.indices) < 0)
        need = (goal - found.bound).float()[:, None]
        gain = self.bounds.foreseen(of, found, boxes, best.indices) - found.bound.float()[:, None]
        gain = torch.minimum(torch.maximum(gain, _LEAST * need), need)
        value = torch.where(concave, gain.prod(0), -1.0).nan_to_num(nan=-1.0)
        place = torch.where(value.amax(1) > 0, value.argmax(1), 0)
        return best.indices.gather(1, place[:, None])[:, 0], best.values[:, 0] > 0

    def _look(self, tree: Tensor, share: Tensor, found: Bounded) -> Tensor:
        """Show the nodes' worst points, and where slopes lead from the best of them, to the candidates; shares of the rows that are
        greatest there rise.
        """
        values, _ = self._at(tree, found.worst)
        near = values.amax(1).topk(min(_NEAREST, len(values)), largest=False).indices
        x, of = found.worst[near], tree[near]
        instance = self.trees.instance[of]
        best, depth = x, values[near].amax(1)
        for _ in range(_FOLLOWED):
            here, slope = self._at(of, x)
            better = here.amax(1) < depth
            best, depth = torch.where(better[:, None], x, best), torch.where(better, here.amax(1), depth)
            steepest = slope[torch.arange(len(x)), here.argmax(1)]
            x = torch.where(steepest > 0, self._low[instance], self._high[instance])
        if bool((depth < self._goal[instance]).any()):
            points = best.reshape(-1, *self.candidates.ctx.graph.input.shape)
            self.candidates.look(instance, points, self.candidates.ctx.graph(points))
        if self._many == 1:
            return share
        size = values.abs().amax(1, keepdim=True).clamp(min=1e-300)
        moved = share * torch.exp(_SHARE_STEP * values / size)
        return moved / moved.sum(1, keepdim=True)

    def _at(self, tree: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, R) the rows at points (N, n) of trees (N,), and their slopes (N, R, n) there; of up to `_NEAREST` points, else none."""
        net, n = self.net, len(self.net.reach)
        off = x @ net.inner.T + net.z_low - net.knot
        y = net.left * off.clamp(max=0) + net.right * off.clamp(min=0) + net.y_low
        place = self.trees.instance[tree][:, None], self._rows[self.trees.disjunct[tree]]
        weight = self._weight[place]
        values = (weight @ torch.cat([x, y], 1)[..., None])[..., 0] + self._constant[place]
        if len(x) > _NEAREST:
            return values, weight[..., :0]
        rate = torch.where(off > 0, net.right, net.left)[:, None]
        return values, weight[..., :n] + (weight[..., n:] * rate) @ net.inner


def _children(boxes: Phased, entry: Tensor, able: Tensor, axis: Tensor) -> tuple[Phased, Phased]:
    """Both phases of the entry where one can be divided, else both halves of the box: together they cover it."""
    place = torch.arange(len(entry))
    right, left = boxes.phase.clone(), boxes.phase.clone()
    right[place[able], entry[able]] = 1
    left[place[able], entry[able]] = -1
    middle = (boxes.low[place, axis] / 2 + boxes.high[place, axis] / 2).clamp(min=boxes.low[place, axis], max=boxes.high[place, axis])
    low, high = boxes.low.clone(), boxes.high.clone()
    low[place[~able], axis[~able]] = middle[~able]
    high[place[~able], axis[~able]] = middle[~able]
    return (Phased(low, boxes.high, right, boxes.slope, boxes.price), Phased(boxes.low, high, left, boxes.slope, boxes.price))


def _some(of: Functionals, index: Tensor) -> Functionals:
    return Functionals(*(t[index] for t in of))


def _part(found: Bounded, index: Tensor) -> Bounded:
    return Bounded(*(t[index] for t in vars(found).values()))
