"""Projected gradient descent on the property's rows, batched over instances, starts and disjuncts.

Source: Madry et al., ICLR 2018, section 2.1; the momentum is that of Dong et al., CVPR 2018, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from absint.attacks.best import Best
from absint.attacks.coordinates import coordinates
from absint.attacks.corners import corners
from absint.attacks.loss import depths, row_values, violates
from absint.attacks.search import Search, register_attack
from absint.attacks.starts import StartWork, free_inputs, pushed, random_points, sampled
from absint.attacks.swarm import swarm
from absint.attacks.walk import Particles, descend
from absint.model.graph import Graph
from absint.numeric.backend import DeadlineError
from absint.problem.regions.region import Region
from absint.problem.spec import Spec

_ROUGH = 2.0**-16        # a free input narrower than this beside its size is lost in float32
_COPIES = 4              # copies an instance gets in each later round, each after a disjunct of its own


@register_attack("pgd")
@dataclass(frozen=True)
class Pgd:
    """Steps that shrink, down the gradient (its sign, in a box), from the centre, given, sampled and random starts.

    steps: per start.  restarts: rounds of random starts after the first ones. Both are scaled by `Search.effort`.
    seed: added to that of the search.
    """

    steps: int = 20
    restarts: int = 2
    seed: int = 0

    def __call__(self, graph: Graph, region: Region, spec: Spec, search: Search) -> Tensor:
        """See `Attack`."""
        return searched(graph, region, spec, replace(search, seed=search.seed + self.seed),
                        lambda work: ((particles, self._count(work)) for particles in self._rounds(work)))

    def _count(self, work: StartWork) -> int:
        return max(1, round(self.steps * sqrt(work.search.effort)))

    def _rounds(self, work: StartWork) -> Iterator[Particles]:
        """Starting points, the most promising first; each round only for the instances still open."""
        center = work.region.center.to(work.search.device)[:, None]
        given = center if work.search.starts is None else torch.cat([center, work.search.starts.double()], 1)
        yield aimed(work, given, 1.0)
        # A single point is decided by one evaluation.
        work.best.done |= (free_inputs(work.region) == 0).to(work.search.device)
        found = sampled(work)
        if found is not None:
            yield aimed(work, found, 0.25)
        # A deep violation is no tie, and a quick pass looks for what is easily found.
        thorough = work.search.depth == 0 and work.search.effort >= 1
        if thorough:
            corners(work)
            swarm(work)
        for number in range(max(1, round(self.restarts * work.search.effort))):
            live = _live(work)
            if not len(live):
                return
            yield _scattered(work, live, number)
        if thorough:
            coordinates(work)


Rounds = Callable[[StartWork], Iterator[tuple[Particles, int]]]


def searched(graph: Graph, region: Region, spec: Spec, search: Search, rounds: Rounds) -> Tensor:
    """(batch, *shape) float64: the best points met in some rounds, which yield particles and how many steps they take. See `Attack`.

    In float32 where the graph and the set's widths allow it, then polished in float64.
    """
    points = region.center.to(search.device).double().clone()
    rough = _needs_float64(graph, region)
    spec = spec.to(search.device)
    for wanted, dtype in ((~rough, torch.float32), (rough, torch.float64)):
        index = wanted.nonzero().flatten()
        if len(index) and spec.disjuncts:
            there, part = index.to(search.device), region.take(index).to(search.device)
            work = StartWork(graph, part, spec.take(there), search.of(there), dtype, Best(part, spec.take(there), search.device))
            points[there] = _best(work, rounds)
    return points


def _best(work: StartWork, rounds: Rounds) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        try:
            for particles, steps in rounds(work):
                descend(work, particles, steps)
        except DeadlineError:
            return work.best.points
        return work.best.points if work.dtype == torch.float64 else _polished(work)


def violation(graph: Graph, x: Tensor, spec: Spec) -> Tensor:
    """(batch,): least over disjuncts of the greatest row; negative where the float evaluation violates the property."""
    return depths(row_values(graph(x), spec), spec).amin(1)


def _needs_float64(graph: Graph, region: Region) -> Tensor:
    """(batch,) bool: the graph's constants or the set's widths are lost in float32."""
    lower, upper = region.hull.lower.flatten(1).cpu(), region.hull.upper.flatten(1).cpu()
    free, size = upper > lower, torch.maximum(lower.abs(), upper.abs())
    # Widths beyond float32 are as lost as very narrow ones.
    narrow = (free & ((upper - lower < _ROUGH * size) | (upper - lower > torch.finfo(torch.float32).max))).any(1)
    return narrow if graph.fits(torch.float32) else torch.ones_like(narrow)


def _live(work: StartWork) -> Tensor:
    """(L,): instances still open."""
    return (~work.best.done).nonzero().flatten()


def aimed(work: StartWork, starts: Tensor, step: float, focus: Tensor | None = None) -> Particles:
    """Particles of the instances still open at starts (batch, k, *shape), all after the nearest disjunct, or that of `focus` (batch, k)."""
    live, count = _live(work), starts.shape[1]
    points = starts[live].flatten(0, 1).to(work.dtype)
    place = torch.arange(count, device=live.device).repeat(len(live))
    after = torch.full_like(place, -1) if focus is None else focus[live].flatten()
    return Particles(live.repeat_interleave(count), points, after, _soft(work, place), place, count, step)


def _soft(work: StartWork, place: Tensor) -> Tensor:
    """(P,) bool: every other particle of an instance, where disjuncts have several rows at all."""
    return (place % 2 == 1) & (work.spec.bias.shape[1] > work.spec.disjuncts)


def _scattered(work: StartWork, live: Tensor, number: int) -> Particles:
    """Copies of every open instance (L,) at random points, corners in turn, each after one of its most promising disjuncts."""
    device = work.search.device
    # The best disjuncts so far, in turn; the first copy stays with whichever is nearest.
    ranked = work.best.nearest[live].argsort(dim=1)
    copies = min(_COPIES, 1 + ranked.shape[1]) if ranked.shape[1] > 1 else 2
    turn = (torch.arange(copies - 1, device=device) + number * (copies - 1)) % ranked.shape[1]
    focus = torch.cat([live.new_full((len(live), 1), -1), ranked[:, turn]], 1)
    generator = torch.Generator().manual_seed(work.search.seed * 1009 + number)
    share = torch.rand(copies, *work.region.shape, generator=generator, dtype=torch.float64)
    # Corners in every third round; else interior points, pushed apart.
    share = share.round() if number % 3 == 2 else share
    instance = live.repeat_interleave(copies)
    every = share.to(device).repeat(len(live), *(1,) * len(work.region.shape))
    points = random_points(work.region, instance, every).to(work.dtype)
    if number % 3 != 2:
        points = pushed(work, instance, points, copies, number // 3 * 2 + number % 3)
    place = torch.arange(copies, device=device).repeat(len(live))
    return Particles(instance, points, focus.flatten(), _soft(work, place + number), place, copies, salt=number + 1)


def _polished(work: StartWork) -> Tensor:
    """Best points in float64: moved into the sets, and a little further down where float32 alone saw a violation."""
    search, region = work.search, work.region
    fine = StartWork(work.graph, region, work.spec, search, torch.float64, Best(region, work.spec, search.device))
    near = work.best.values <= 1e-4 * (1 + work.spec.bias.abs().amax(1))
    with torch.no_grad():
        points = region.pull(work.best.points)
        values = row_values(work.graph(points), work.spec, search.depth)
    every = torch.arange(region.batch, device=search.device)
    fine.best.see(every, points, values, work.spec)
    fine.best.done |= violates(values, work.spec) | ~near
    if not bool(fine.best.done.all()):
        try:
            descend(fine, aimed(fine, points[:, None], 0.01), 5)
        except DeadlineError:
            return fine.best.points
    return fine.best.points
