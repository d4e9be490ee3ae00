"""Search entry by entry: each is moved to its ends and by a step, alone and together with others that help; the best goes on.

It needs no gradient and feels every jump. Where many entries vary, whole blocks of them move, ever smaller ones.

Source: Hooke and Jeeves, Direct Search Solution of Numerical and Statistical Problems, J. ACM 8 (1961); blocks as in Andriushchenko et
al., Square Attack, ECCV 2020, here without draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

from absint.attacks.loss import objective
from absint.attacks.starts import FEW_INPUTS, StartWork, free_inputs, products, sets_of

_ROUNDS = 10
_BLOCKS = 16        # of many entries in the first round, twice as many in each later one
_PRODUCTS = 2e9     # multiplications that all this may cost an instance


def coordinates(work: StartWork) -> None:
    """Improve, and record, the best points of the instances still open: those of few free inputs, and all where gradients are guesses."""
    free = free_inputs(work.region).to(work.search.device)
    wanted = (free > 0) & ~work.best.done
    if not work.graph.jumps_somewhere:
        wanted &= free <= FEW_INPUTS
    few = wanted & (free <= FEW_INPUTS)
    for mask in (few, wanted & ~few):
        live = mask.nonzero().flatten()
        if len(live):
            blocks = _blocks(work, int(free[live].max()))
            for group in live.split(max(1, work.room // (4 * max(blocks, default=1)))):
                _climb(work, group, blocks)


def _blocks(work: StartWork, free: int) -> list[int]:
    """How many blocks the free entries make in each round, as far as there are products for."""
    found: list[int] = []
    left = _PRODUCTS / products(work.graph)
    for number in range(_ROUNDS):
        count = free if free <= FEW_INPUTS else min(free, _BLOCKS * 2**number)
        left -= 4 * count
        if left < 0:
            break
        found.append(count)
    return found


def _climb(work: StartWork, group: Tensor, blocks: list[int]) -> None:
    """One group of instances (g,), all rounds."""
    hull = sets_of(work.region, group).hull
    low, high = (end.flatten(1).to(work.search.device, torch.float64) for end in (hull.lower, hull.upper))
    free = high > low
    rank = free.cumsum(1) - 1
    home = work.best.points[group].flatten(1)
    value = _values(work, group, home[:, None])[:, 0]
    for number, count in enumerate(blocks):
        if bool(work.best.done[group].all()):
            return
        block = torch.where(free, rank * count // free.sum(1, keepdim=True).clamp(min=1), -1)
        step = 0.5 ** (number + 1) * (high - low)
        targets = torch.stack([low, high, (home - step).maximum(low), (home + step).minimum(high)], 1)
        home, value = _moved(work, group, (home, value), (block, targets, count))


def _moved(work: StartWork, group: Tensor, at: tuple[Tensor, Tensor], moves: tuple[Tensor, Tensor, int]) -> tuple[Tensor, Tensor]:
    """The best of staying at (home (g, n), value (g,)), of every move of one block, and of the best moves of several blocks together.

    moves: the block (g, n) of each entry, where it may go (g, 4, n), and how many blocks there are.
    """
    (home, value), (block, targets, count) = at, moves
    own = block[:, None] == torch.arange(count, device=block.device)[:, None]                   # (g, count, n)
    alone = torch.where(own[:, None], targets[:, :, None], home[:, None, None])                 # (g, 4, count, n)
    found = _values(work, group, alone.flatten(1, 2)).reshape(len(group), 4, count)
    best = found.amin(1)
    target = targets.gather(1, found.argmin(1).gather(1, block.clamp(min=0))[:, None])[:, 0]    # (g, n), each block's best
    order = best.argsort(dim=1, stable=True).argsort(dim=1)
    turn = torch.where((best < value[:, None]).gather(1, block.clamp(min=0)) & (block >= 0), order.gather(1, block.clamp(min=0)), count)
    sizes = torch.tensor([1, *(2**k for k in range(1, 12) if 2**k < 2 * count)], device=block.device)
    several = torch.where(turn[:, None] < sizes[:, None], target[:, None], home[:, None])       # (g, sizes, n)
    heights = torch.cat([value[:, None], _values(work, group, several)], 1)
    points = torch.cat([home[:, None], several], 1)
    index = heights.argmin(1)
    every = torch.arange(len(group), device=block.device)
    return points[every, index], heights[every, index]


def _values(work: StartWork, group: Tensor, points: Tensor) -> Tensor:
    """(g, N): what to lower at points (g, N, n) of the instances, recorded, in chunks."""
    work_instance = group.repeat_interleave(points.shape[1])
    flat, counted = points.reshape(-1, *work.region.shape), ~work.best.done
    found: list[Tensor] = []
    for part, mine in zip(flat.split(work.room), work_instance.split(work.room), strict=True):
        work.search.budget.check()
        spec = work.spec.take(mine)
        with torch.no_grad():
            inside = sets_of(work.region, mine).pull(part).to(work.dtype)
            values = work.evaluate(mine, inside, spec=spec, counted=counted[mine])
            found.append(objective(values, spec, torch.full_like(mine, -1), torch.ones_like(mine, dtype=torch.bool)))
    return torch.cat(found).reshape(points.shape[:2])
