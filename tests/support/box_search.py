"""Boxes searched to the end, newest first, without a scheduler: frontier and brancher alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.numeric.backend import Budget
from absint.numeric.rounding import Numerics
from absint.search.branchers.boxes import ByBoxes, Splitting
from absint.search.branchers.brancher import Trees
from absint.search.frontier import Frontier, Nodes


class OneKind:
    """The frontier of boxes alone. What is taken out is the caller's until it is put back. Mutable. visited: (trees,) nodes taken."""

    def __init__(self, trees):
        self.whole, self.visited = Frontier(1, trees), torch.zeros(trees, dtype=torch.int64)
        self._planted = torch.zeros(trees, dtype=torch.bool)

    def __len__(self):
        return int(self.counts.sum())

    @property
    def lower(self):
        return self.whole.lower[0]

    @property
    def counts(self):
        return self.whole.counts[0]

    @property
    def closed(self):
        """(trees,) the least bound of leaves that are closed or held."""
        return self.whole.left[0]

    @property
    def open(self):
        return Nodes.joined(self.whole._nodes(0))

    def push(self, nodes):
        new = ~self._planted[nodes.tree]
        if bool(new.any()):
            self.whole.plant(0, nodes.take(new))
            self._planted[nodes.tree] = True
        self.whole.settle(0, nodes.take(~new), None, None)

    def newest(self, trees, count):
        taken = self.whole.newest(0, trees, count)
        if taken is not None:
            self.visited += torch.bincount(taken.tree, minlength=len(self.visited))
            self.whole.settle(0, None, None, None)
        return taken

    def close(self, tree, bound):
        self.whole.settle(0, None, (tree, bound), None)

    def hold(self, tree, bound):
        self.whole.settle(0, None, None, (tree, bound))


@dataclass
class Searched:
    """What came of it. leaves: (kind, tree, bound) of every leaf, in the order they arose.  seen: (instance, points, outputs) told."""

    boxes: ByBoxes
    frontier: OneKind
    leaves: list = field(default_factory=list)
    seen: list = field(default_factory=list)

    @property
    def refuted(self):
        """(trees,) bool."""
        return (self.frontier.lower > 0) & (self.frontier.counts == 0)


def walked(graph, region, spec, domain, numerics=None, budget=None):
    """A context whose `known` is total, and (batch, disjuncts) bounds of whole regions."""
    found = attempt(domain, Context(graph, region, numerics or Numerics(), budget or Budget()), spec)
    best = spec.refutation(found.interval.lower)
    return found.ctx, best if found.refuted is None else torch.fmax(best, found.refuted.to(best))


def branched(ctx, spec, refuted, how, *, nodes=10_000, seconds=float("inf"), batch=None, trees=None, one_each=False):
    """Halve boxes of the trees that are open, `nodes` of each tree at most. one_each: of every tree its newest, whatever the others do."""
    trees = Trees.of(~(refuted > 0)) if trees is None else trees
    seen = []
    boxes = ByBoxes(ctx, spec, trees, how, lambda *told: seen.append(told))
    frontier = OneKind(len(trees))
    found = Searched(boxes, frontier, seen=seen)
    every = torch.arange(len(trees))[boxes.able()]
    frontier.push(boxes.roots(every, refuted.cpu()[trees.instance[every], trees.disjunct[every]]))
    end = time.monotonic() + seconds
    with torch.no_grad():
        while len(frontier) and time.monotonic() < end:
            some = batch or boxes.batch(ctx.budget)
            taken = newest_of_each(frontier, nodes) if one_each else frontier.newest(frontier.visited < nodes, some)
            if taken is None:
                break
            put(frontier, boxes.expand(taken, ctx.budget), found.leaves)
    return found


def newest_of_each(frontier, nodes):
    """One node of every tree that has visited fewer than `nodes`."""
    trees = torch.arange(len(frontier.visited))
    found = [frontier.newest(trees == tree, 1) for tree in (frontier.visited < nodes).nonzero().flatten().tolist()]
    found = [part for part in found if part is not None]
    return Nodes.joined(found) if found else None


def put(frontier, grown, leaves):
    """Enter what became of some nodes."""
    for kind, enter in (("closed", frontier.close), ("held", frontier.hold)):
        if (got := getattr(grown, kind)) is not None:
            enter(*got)
            leaves += [(kind, *leaf) for leaf in zip(got[0].tolist(), got[1].tolist(), strict=True)]
    if grown.open is not None:
        frontier.push(grown.open)


__all__ = ["OneKind", "Searched", "Splitting", "branched", "put", "walked"]
