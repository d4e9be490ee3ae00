"""Falsification within a proof search: short descents from where its open nodes are worst.

A relaxation's minimiser in a node is an input of the region, near a violation where the node is what keeps a property from being proved.
What is found is a candidate, no more: whoever runs the search proves and replays it.
"""

from __future__ import annotations

import time
from math import isfinite

import torch
from torch import Tensor

from absint.attacks.from_starts import FromStarts
from absint.attacks.search import Search
from absint.engine.context import Context
from absint.model.work import work
from absint.numeric.backend import Budget
from absint.problem.spec import Spec
from absint.search.candidates import Candidates

# Seconds between two descents of an instance where time limits a search; nodes before the second one where it does not, twice as many
# before each later one: then nothing may depend on a clock.
_EVERY, _NODES = 8.0, 1024
# Starts of an instance, and multiplications that its descents may cost.
_STARTS, _PRODUCTS = 16, 2e9


class Descents:
    """When an instance's most promising points are descended from, and the descents. Mutable.

    The first ones come with the first open nodes. candidates: brings the starts, and is told what is found.
    """

    def __init__(self, ctx: Context, spec: Spec, candidates: Candidates) -> None:
        self.ctx, self.spec, self.candidates = ctx, spec.to(ctx.numerics.device), candidates
        self.attack = FromStarts()
        # Forward and back take about three times an evaluation.
        fit = _PRODUCTS / (3 * self.attack.steps * len(self.attack.lengths) * max(1, work(ctx.graph)))
        self.promising = candidates.collect(max(1, min(_STARTS, int(fit))))
        self._timed = isfinite(ctx.budget.deadline)
        self._due = torch.zeros(ctx.batch, dtype=torch.float64)      # nodes, or an instant

    def step(self, nodes: Tensor, wanted: Tensor, budget: Budget) -> Tensor:
        """Descend from the points of those instances in the mask `wanted` (batch,) whose turn it is. Returns which they were, (batch,).

        nodes: (batch,) nodes of any kind that each instance had so far: its own affair, whatever the batch.
        """
        reached = torch.full_like(self._due, time.monotonic()) if self._timed else nodes.double()
        chosen = wanted & self.promising.waiting(len(self._due)) & (reached >= self._due) & ~self.candidates.violated
        if not bool(chosen.any()):
            return chosen
        instance, starts, focus = self.promising.taken(chosen)
        self._descend(instance, starts, focus, budget)
        self._due[chosen] = time.monotonic() + _EVERY if self._timed else (2 * nodes[chosen].double()).clamp(min=_NODES)
        return chosen

    def _descend(self, instance: Tensor, starts: Tensor, focus: Tensor, budget: Budget) -> None:
        graph, region, device = self.ctx.graph, self.ctx.region, self.ctx.numerics.device
        search = Search(device, budget, starts.to(device, torch.float64), focus.to(device))
        part = region.take(instance.to(region.hull.lower.device))
        found = self.attack(graph, part, self.spec.take(instance.to(device)), search)
        with torch.no_grad():
            self.candidates.record(instance, found, graph(found))


