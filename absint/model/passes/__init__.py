"""Graph rewrites, one file each. Every pass is exact over the reals, or computes in float64 and bounds what it rounds.

`PASSES` lists them in the order of application. `exact` ones keep every float32 execution of the network, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from absint.model.graph import Graph
from absint.model.passes.drop_identity import drop_identity, drop_narrowing
from absint.model.passes.fold_affine import fold_affine
from absint.model.passes.merge_linear import merge_linear
from absint.model.passes.quotients import quotients_seen
from absint.model.passes.spelt_out import recognise


@dataclass(frozen=True)
class Pass:
    """A named rewrite. exact: it changes no computed number, not even its rounding."""

    name: str
    rewrite: Callable[[Graph], Graph]
    exact: bool


PASSES = (
    Pass("drop-identity", drop_identity, exact=True),
    Pass("drop-narrowing", drop_narrowing, exact=False),
    Pass("recognise", recognise, exact=False),
    Pass("quotients-seen", quotients_seen, exact=True),
    Pass("fold-affine", fold_affine, exact=False),
    Pass("merge-linear", merge_linear, exact=False),
)


def apply_passes(graph: Graph, *, fold: bool = True) -> Graph:
    """Apply all passes, or only the exact ones (`fold=False`, needed for float32 semantics)."""
    changed = []
    for one in PASSES:
        if one.exact or fold:
            before = graph
            graph = one.rewrite(before)
            if graph is not before and {id(node.op) for node in graph.nodes} != {id(node.op) for node in before.nodes}:
                changed.append(one.name)
    if not changed:
        return graph
    return replace(graph, source=replace(graph.source, passes=(*graph.source.passes, *changed)))
