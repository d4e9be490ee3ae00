"""Patch robustness: an input is verified if it is for every position of the patch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf

from torch import Tensor

from absint.analyses.verify.deciding import verify
from absint.analyses.verify.settings import ProofSettings
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import agreed, known_from
from absint.problem.problem import robustness
from absint.problem.regions import Patches, all_positions
from absint.verdict import InstanceResult


def verify_patches(graph: Graph, inputs: Tensor, labels: Tensor, patches: Patches, settings: ProofSettings, *,
                   targets: Tensor | None = None, index: tuple[int, ...] | None = None,
                   on_result: Callable[[InstanceResult], None] | None = None) -> list[InstanceResult]:
    """One result per input (batch, *shape), in order: what `decided_patches` yields. `on_result` is called as each is known."""
    out = []
    for result in decided_patches(graph, inputs, labels, patches, settings, targets=targets, index=index):
        out.append(result)
        if on_result is not None:
            on_result(result)
    return out


def decided_patches(graph: Graph, inputs: Tensor, labels: Tensor, patches: Patches, settings: ProofSettings, *,
                    targets: Tensor | None = None, index: tuple[int, ...] | None = None) -> Iterator[InstanceResult]:
    """One result per input (batch, *shape), in order, each as soon as its positions are known.

    Every position is an instance of `verify`, one input after the other, so that memory does not grow with their number.
    Sound: VERIFIED only where every position is. settings.timeout is shared among the positions of an input.
    """
    end = time.monotonic() + settings.total_timeout
    patches = replace(patches, layout=agreed(graph.input.shape, axes_of(graph), known_from(patches.layout)))
    places = patches.positions(graph.input.shape)
    names = tuple(range(len(inputs))) if index is None else index
    for k, name in enumerate(names):
        region, owner = patches.of(inputs[k : k + 1])
        one = owner + k
        problem = robustness(graph, region, labels[one], targets=None if targets is None else targets[one],
                             eps=f"patch {patches.height}x{patches.width}")
        left = settings.total_timeout if end == inf else max(end - time.monotonic(), 1e-9)
        found = verify(problem, replace(settings, total_timeout=left, timeout=max(settings.timeout / len(places), 1e-9)))
        yield all_positions(found, name, places)
