"""Whether an analysis can end within the memory and the time at all: what cannot is not begun."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from math import isfinite

import torch

from absint.engine.context import Context
from absint.engine.cost import Cost
from absint.engine.domain import Traits
from absint.engine.forward import boxes
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.numeric.backend import in_bytes
from absint.numeric.interval import Interval
from absint.verdict import Reason

# Of the entries that boxes leave undecided, how many a tighter domain is expected to leave so.
_LEFT_OPEN = 0.5
_PROBE = 512


def out_of_reach(traits: Traits, ctx: Context) -> tuple[Reason, str] | None:
    """Why a domain is not to begin on a batch: what exceeds memory or time, in words; None where it may.

    Estimates: half of what boxes leave undecided stays so; products at the rate of a plain matrix product, which no network's
    evaluation exceeds. They may be wrong in either direction, which costs or saves a stage, never a proof.
    """
    most = traits.cost(ctx.graph, ctx.numerics, {node.name: float(node.size) for node in ctx.graph.nodes if isinstance(node.op, Nonlinear)})
    if most is None or _excess(most, ctx) is None:
        return None
    known = ctx.known if len(ctx.known) == len(ctx.graph.nodes) else boxes(ctx).known
    counts = {name: _LEFT_OPEN * count for name, count in open_entries(ctx.graph, known).items()}
    cost = traits.cost(ctx.graph, ctx.numerics, counts)
    return None if cost is None else _excess(cost, ctx)


def _excess(cost: Cost, ctx: Context) -> tuple[Reason, str] | None:
    budget = ctx.budget
    if not budget.fits(cost.memory):
        return Reason.MEMORY, f"not begun: an instance needs about {in_bytes(cost.memory)}, of {in_bytes(budget.memory)} (--memory)"
    left = budget.deadline - time.monotonic()
    if isfinite(left):
        seconds = cost.products / peak(ctx.numerics.device, ctx.numerics.dtype, torch.get_num_threads())
        if seconds * ctx.batch > left:
            share = max(0.0, left) / ctx.batch
            return Reason.TIMEOUT, f"not begun: an instance needs more than {seconds:.0f} s, of {share:.0f} s left"
    return None


def open_entries(graph: Graph, known: Mapping[str, Interval]) -> dict[str, float]:
    """Undecided entries of every nonlinear node: of the instance that has fewest there, as the known bounds say."""
    found: dict[str, float] = {}
    for node in graph.nodes:
        if isinstance(node.op, Nonlinear):
            inputs = tuple(known[name].filled for name in node.inputs)
            counts = [mask.flatten(1).sum(1).amin() for mask in node.op.undecided(inputs)]
            found[node.name] = min(float(node.size), float(max(counts)))
    return found


@cache
def peak(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Products a second of a plain matrix product on the device. threads: of the CPU, part of what is remembered."""
    left = torch.ones(_PROBE, _PROBE, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):
        begin = time.perf_counter()
        float((left @ left)[0, 0])
        best = min(best, time.perf_counter() - begin)
    return float(_PROBE**3 / max(best, 1e-9))
