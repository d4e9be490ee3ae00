"""Regions of few inputs searched evenly: many short descents from points spread over the region, the best of them again and again.

The nearest samples lie in the widest basins; a small basin far from them is met by descents that begin everywhere. The points are a
low-discrepancy sequence, not a draw: what is found hangs on no seed. Measured in benchmarks/results/falsification.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from absint.attacks.starts import FEW_INPUTS, StartWork, free_inputs, random_points
from absint.attacks.walk import Particles, descend
from absint.problem.regions.region import Region

# Particles of an instance, and their first step: of those left after each descent the nearest to a violation go on.
_ROUNDS = ((2048, 0.1), (512, 0.05), (128, 0.02), (64, 0.01))
_STEPS = 20
_PRODUCTS = 4e9     # multiplications that all this may cost an instance
_AIMS = 8           # disjuncts that particles go after, the nearest of all among them


def swarm(work: StartWork) -> None:
    """Search, and record, the instances of few free inputs that are still open."""
    free = free_inputs(work.region).to(work.search.device)
    live = ((free <= FEW_INPUTS) & ~work.best.done).nonzero().flatten()
    scale = min(1.0, _PRODUCTS / (_STEPS * work.products * sum(count for count, _ in _ROUNDS)))
    disjuncts = work.best.nearest.shape[1]
    aims = 1 if disjuncts == 1 else min(_AIMS, disjuncts + 1)
    # Whole groups of one particle for each aim.
    counts = [max(1, int(count * scale) // aims) * aims for count, _ in _ROUNDS]
    size = max(1, work.room // counts[0])
    for group in live.split(size) if len(live) else ():
        points = random_points(work.region, group.repeat_interleave(counts[0]), _spread(work.region, group, counts[0]))
        for number, (_, step) in enumerate(_ROUNDS):
            group, points = _descended(work, group, points, counts[number:], (aims, step))  # noqa: PLW2901
            if not len(group):
                break


def _spread(region: Region, group: Tensor, count: int) -> Tensor:
    """(g count, *shape): shares of the widths, the same sequence for the free entries of each instance, in order."""
    hull = region.take(group.to(region.hull.lower.device)).hull
    free = (hull.upper > hull.lower).flatten(1).to(group.device)
    sequence = torch.quasirandom.SobolEngine(FEW_INPUTS).draw(count, dtype=torch.float64).to(group.device)
    column = (free.cumsum(1) - 1).clamp(min=0)
    return sequence[:, column].transpose(0, 1).reshape(-1, *region.shape)


def _descended(work: StartWork, group: Tensor, points: Tensor, counts: list[int], how: tuple[int, float]) -> tuple[Tensor, Tensor]:
    """The instances still open of `group`, and the nearest of their particles after a descent, as many as go on."""
    aims, step = how
    count = counts[0]
    place = torch.arange(count, device=group.device).repeat(len(group))
    ranked = work.best.nearest[group].argsort(dim=1)[:, : aims - 1]
    focus = torch.cat([torch.full_like(group, -1)[:, None], ranked], 1).repeat(1, count // aims).flatten()
    soft = (place // aims % 2 == 1) & (work.spec.bias.shape[1] > work.spec.disjuncts)
    particles = Particles(group.repeat_interleave(count), points.to(work.dtype), focus, soft, place, count, step, recalled=True)
    ended = descend(work, particles, _STEPS)
    instance = torch.cat([one.particles.instance for one in ended])
    open_ = ~work.best.done[instance]
    # Of each open instance all particles are left, in order: they leave together.
    left = instance[open_].reshape(-1, count)[:, 0]
    if len(counts) == 1 or not len(left):
        return left[:0], points[:0]
    lowest = [one.lowest for one in ended if one.lowest is not None]
    points, heights = (torch.cat(parts)[open_] for parts in zip(*lowest, strict=True))
    grid = len(left), count // aims, aims
    return left, _lowest(points.reshape(*grid, *work.region.shape), heights.reshape(grid), counts[1] // aims)


def _lowest(points: Tensor, heights: Tensor, kept: int) -> Tensor:
    """(g kept aims, *shape): of the particles (g, N, aims, *shape) of each aim the lowest. heights: (g, N, aims)."""
    index = heights.topk(kept, dim=1, largest=False).indices
    every = torch.arange(len(points), device=points.device)[:, None, None]
    aim = torch.arange(points.shape[2], device=points.device)
    return points[every, index, aim].flatten(0, 2)
