"""Which points a network classifies as a given class, in exact arithmetic: proved either way, or open within what rounding leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.engine.batch_size import most_at_once
from absint.engine.context import Context
from absint.engine.cost import within
from absint.engine.evaluated import evaluated
from absint.engine.forward import boxes
from absint.model.graph import Graph
from absint.numeric.backend import Budget, default_memory, numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.search.parts import in_parts

_CPU = torch.device("cpu")
_ON_A_CPU = 512     # points that a CPU evaluates at a time: more leave its caches


@dataclass(frozen=True, eq=False)
class Classified:
    """Of points. right, wrong: (n,) bool, proved; neither is open.  predicted: (n,) int64, by the values alone; -1 where one is NaN.

    margin: (n,) float64, by how much the class leads all others, about; NaN where a value is.  All on the CPU.
    done: the first so many were decided in time; the others are open.
    """

    right: Tensor
    wrong: Tensor
    predicted: Tensor
    margin: Tensor
    done: int


def classified(graph: Graph, points: Tensor, label: int, *, end: float = inf, memory: int | None = None, batch: int | None = None,
               device: torch.device = _CPU) -> Classified:
    """Whether the exact-real network's output of that class is the strict maximum at each point (n, *shape) float64.

    Most points are decided by one bound on what their batch errs by (`evaluated`); box steps around the others, of radius zero, decide
    all but those whose classes tie within rounding. The answers do not depend on the batches but for points that close to a tie.
    end: a `time.monotonic()` instant.  memory: bytes.  batch: points together at most.
    """
    count = len(points)
    right, wrong = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    predicted, margin = torch.full((count,), -1), torch.full((count,), torch.nan, dtype=torch.float64)

    def decide(part: slice) -> None:
        right[part], wrong[part], predicted[part], margin[part] = _decided(graph, points[part].to(device), label, memory)

    with numeric_mode(), torch.no_grad():
        done = in_parts(count, _at_once(graph, memory, batch, device), decide, end)
    return Classified(right, wrong, predicted, margin, done)


def _at_once(graph: Graph, memory: int | None, batch: int | None, device: torch.device) -> int:
    room = within(memory or default_memory(device), graph)
    fit = min(Budget(room).rows(4 * 8 * (sum(node.size for node in graph.nodes) + graph.input.size)), most_at_once(graph, device))
    fit = min(fit, _ON_A_CPU) if device.type == "cpu" else fit
    return fit if batch is None else max(1, min(fit, batch))


def _decided(graph: Graph, points: Tensor, label: int, memory: int | None) -> Iterator[Tensor]:
    """right, wrong, predicted and margin of one batch, on the CPU."""
    found = evaluated(graph, points)
    right, wrong = _sides(found.lower.flatten(1), found.upper.flatten(1), label)
    open_ = (~(right | wrong)).nonzero().flatten()
    if len(open_):
        low, high = _boxed(graph, points[open_], memory)
        right[open_], wrong[open_] = _sides(low, high, label)
    scores = found.value.flatten(1)
    unknown = scores.isnan().any(1)
    margin = scores[:, label] - _others(scores, label)
    yield from (right.cpu(), wrong.cpu(), torch.where(unknown, -1, scores.argmax(1)).cpu(), torch.where(unknown, torch.nan, margin).cpu())


def _boxed(graph: Graph, points: Tensor, memory: int | None) -> tuple[Tensor, Tensor]:
    """(n, classes): box steps in float64 of radius zero, which enclose the exact outputs of each point."""
    ctx = Context(graph, BoxRegion(points, points), Numerics(device=points.device), Budget(memory or default_memory(points.device)))
    known = boxes(ctx).known[graph.output.name]
    return known.lower.flatten(1), known.upper.flatten(1)


def _sides(lower: Tensor, upper: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """Proved to be the strict maximum, proved to be below another; bounds (n, classes)."""
    return lower[:, label] > _others(upper, label), _others(lower, label) > upper[:, label]


def _others(scores: Tensor, label: int) -> Tensor:
    """(n,): the greatest of all other classes."""
    return scores.index_fill(1, torch.tensor([label], device=scores.device), -inf).amax(1)
