"""Where ties lie: points at which a row of the property is zero, or an operand meets a knot or a jump.

Gradients lead to such points only by chance, and random points never hit them. Between its corners a network is affine, or
nearly so: one step along one input, with the slope felt at a base point, lands on a corner exactly where the numbers are simple.
"""

from __future__ import annotations

import torch
from torch import Tensor

from absint.attacks.starts import FEW_INPUTS, StartWork, free_inputs, products, sets_of
from absint.model.families.nonlinear import Nonlinear

_TARGETS = 48        # rows and operands aimed at, the nearest of them
_PRODUCTS = 1e9      # multiplications that all this may cost an instance


def corners(work: StartWork) -> None:
    """Evaluate, and so record, such points of the instances of few free inputs that are still open."""
    few = (free_inputs(work.region).to(work.search.device) <= FEW_INPUTS) & ~work.best.done
    for slot in few.nonzero()[:, 0].tolist():
        for base in (work.best.points[slot], work.region.center[slot].to(work.search.device)):
            if not bool(work.best.done[slot]):
                work.search.budget.check()
                _around(work, slot, base.double())


def _around(work: StartWork, slot: int, base: Tensor) -> None:
    """All steps from one base point (*shape) of one instance.

    Gaps and slopes are found where the network is. What is chosen by them is chosen on the host, from a few hundred numbers:
    one choice rests on the one before.
    """
    index = torch.full((1,), slot, device=base.device)
    x = base[None].clone().requires_grad_()
    there = _gaps(work, index, x)
    gaps = there.detach().cpu()
    chosen = _nearest(gaps, len(work.spec.strict), _affordable(work, x.numel()))
    if not len(chosen):
        return
    hull = sets_of(work.region, index).hull
    ends = (side.to(base).reshape(-1) for side in (hull.lower, hull.upper))
    flat, low, high, *columns = torch.stack([base.reshape(-1), *ends, *(_slope(there[k], x) for k in chosen.tolist())]).cpu()
    slopes, wanted = torch.stack(columns), -gaps[chosen]
    steps = wanted[:, None] / slopes
    target, entry = (steps.isfinite() & (steps != 0) & (flat + steps >= low) & (flat + steps <= high)).nonzero(as_tuple=True)
    moved = flat.repeat(len(target), 1)
    moved[torch.arange(len(target)), entry] += steps[target, entry]
    points = torch.cat([moved, _jointly(flat, wanted, slopes, (low, high))]).to(base)
    size = max(1, work.room // 2)
    with torch.no_grad():
        for part in points.reshape(-1, *base.shape).split(size):
            work.search.budget.check()
            work.evaluate(index.expand(len(part)), sets_of(work.region, index.expand(len(part))).pull(part).to(x))


def _gaps(work: StartWork, index: Tensor, x: Tensor) -> Tensor:
    """(T,): the rows' values, then how far each operand is from its nearest corner. x: one point in float64."""
    readers = [(name, node.op) for node in work.graph.nodes if isinstance(node.op, Nonlinear) for name in node.inputs]
    values = work.graph.evaluate(x, {name for name, _ in readers})
    found = [work.spec.take(index).values(values[work.graph.output.name])[0]]
    for name, op in readers:
        near = op.corner_near(values[name].detach())
        if near is not None:
            found.append((values[name] - near).reshape(-1))
    return torch.cat(found)


def _nearest(gaps: Tensor, rows: int, count: int) -> Tensor:
    """Positions of what to aim at: rows first, then operands, the nearest first; what is met already needs no step."""
    order = torch.cat([gaps[:rows].abs().argsort(), rows + gaps[rows:].abs().argsort()])
    return order[gaps[order].isfinite() & (gaps[order] != 0)][:count]


def _affordable(work: StartWork, inputs: int) -> int:
    return int(max(1, min(_TARGETS, _PRODUCTS / (products(work.graph) * (inputs + 2)))))


def _slope(gap: Tensor, x: Tensor) -> Tensor:
    """(n,): of one target by the inputs."""
    if not gap.requires_grad:
        return torch.zeros_like(x).reshape(-1)
    (slope,) = torch.autograd.grad(gap, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x).reshape(-1) if slope is None else torch.nan_to_num(slope.detach()).reshape(-1)


def _jointly(flat: Tensor, wanted: Tensor, slopes: Tensor, ends: tuple[Tensor, Tensor]) -> Tensor:
    """(targets, n): after each further target the point that meets all before it, each by an input of its own."""
    step, used, out = torch.zeros_like(flat), ends[0] >= ends[1], []
    for want, slope in zip(wanted, slopes, strict=True):
        free = torch.where(used, 0.0, slope.abs() * (ends[1] - ends[0]))
        entry = int(free.argmax())
        if float(free[entry]) == 0.0:
            continue
        length = (want - (slope * step).sum()) / slope[entry]
        if bool(ends[0][entry] <= flat[entry] + length) and bool(flat[entry] + length <= ends[1][entry]):
            step[entry], used[entry] = length, True
            out.append(flat + step)
    return torch.stack(out) if out else flat[None]
