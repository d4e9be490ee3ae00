"""Whether a network violates a property at a point: by intervals where they suffice, in rational numbers where they meet a tie."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from fractions import Fraction

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.model.op import Input
from absint.numeric.backend import Budget, default_memory, numeric_mode
from absint.numeric.rational import BITS, Rationals
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

# Entries of dense matrices that an exact evaluation may look at: seconds. Beyond, a tie stays unproved.
_ENTRIES = 1 << 25


class Judgement(Enum):
    """What intervals say of a point or of a small box."""

    UNSAFE = "unsafe"   # every input of it violates the property
    SAFE = "safe"       # none does
    OPEN = "open"


def by_intervals(graph: Graph, spec: Spec, instance: int, box: BoxRegion) -> Judgement:
    """Box steps in float64 enclose the exact outputs; rationals over that box decide every row. box: one instance.

    Sound: UNSAFE where every output of the box lies in one disjunct of the unsafe set.
    """
    with numeric_mode(), torch.no_grad():
        known = boxes(Context(graph, box, Numerics(), Budget(default_memory()))).known[graph.output.name]
    if not bool(known.lower.isfinite().all() and known.upper.isfinite().all()):
        return Judgement.OPEN
    low, high = ([Fraction(v) for v in side[0].flatten().tolist()] for side in (known.lower, known.upper))
    holds, possible = (dict.fromkeys(range(spec.disjuncts), True) for _ in range(2))
    for row, disjunct in enumerate(spec.disjunct.tolist()):
        least = most = Fraction(float(spec.bias[instance, row]))
        for k in spec.weight[instance, row].nonzero().flatten().tolist():
            weight = Fraction(float(spec.weight[instance, row, k]))
            ends = (weight * low[k], weight * high[k])
            least, most = least + min(ends), most + max(ends)
        strict = bool(spec.strict[row])
        holds[disjunct] &= most < 0 if strict else most <= 0
        possible[disjunct] &= least < 0 if strict else least <= 0
    return Judgement.UNSAFE if any(holds.values()) else Judgement.OPEN if any(possible.values()) else Judgement.SAFE


def above_by_intervals(graph: Graph, points: Tensor, below: Tensor, above: Tensor, memory: int | None = None) -> Tensor:
    """(batch,) bool: where the exact-real network provably has f[above] > f[below] at the point; False also where intervals meet.

    points: (batch, *shape) float64, on the device that computes.  below, above: (batch,) int64, classes.
    memory: bytes for the walk of one chunk.
    Sound: box steps in float64 enclose the exact outputs of each point.
    """
    memory = default_memory() if memory is None else memory
    rows = Budget(memory).rows(8 * 8 * sum(node.size for node in graph.nodes))
    proved, numerics = torch.zeros(len(points), dtype=torch.bool, device=points.device), Numerics(device=points.device)
    with numeric_mode(), torch.no_grad():
        for part in torch.arange(len(points), device=points.device).split(rows) if len(points) else ():
            box = BoxRegion(points[part], points[part])
            known = boxes(Context(graph, box, numerics, Budget(memory))).known[graph.output.name]
            low = known.lower.flatten(1).gather(1, above[part, None])[:, 0]
            high = known.upper.flatten(1).gather(1, below[part, None])[:, 0]
            proved[part] = low.isfinite() & high.isfinite() & (low > high)
    return proved


def in_rationals(graph: Graph, spec: Spec, instance: int, point: Sequence[Fraction]) -> bool:
    """Whether the exact output at the point lies in the unsafe set; False also where it cannot be computed exactly."""
    output = exact_output(graph, point)
    return output is not None and spec.unsafe(instance, output)


def exact_output(graph: Graph, point: Sequence[Fraction]) -> list[Fraction] | None:
    """The network's output at a point (flat, row-major), in rational numbers.

    None where an operator states no exact value, or numbers or matrices grow too large.
    """
    left = _ENTRIES
    values: dict[str, Rationals] = {}
    with numeric_mode(), torch.no_grad():
        for node in graph.nodes:
            if isinstance(node.op, Input):
                values[node.name] = Rationals.fractions(point, node.shape)
                continue
            xs = tuple(values[name] for name in node.inputs)
            if isinstance(node.op, Linear) and node.op.forward_terms > 1:
                left -= sum(x.top.size for x in xs) * node.size
            value = node.op.rational(*xs) if left >= 0 else None
            if value is None or value.bits > BITS:
                return None
            values[node.name] = value
            for name in set(node.inputs):
                if graph.last_use[name] == node.name and name != graph.output.name:
                    del values[name]
    return values[graph.output.name].list()
