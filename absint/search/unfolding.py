"""What trees of cuts grow over: the network with its undecided maxima written in operators that have cuts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import analyse
from absint.model.families.nonlinear import Nonlinear
from absint.model.passes.expand_maxima import expand_maxima
from absint.problem.spec import Spec


def unfolded(ctx: Context, spec: Spec, domain: Domain[Any]) -> Context:
    """The same question about the network with its undecided maxima as sums of ReLUs of differences, and all that is known of it.

    Itself where there are none. `domain` bounds the differences. What is proved there holds of the given network: it is the same function.
    Evidence names nodes of the given network alone, so that nobody records what is proved there. Raises what `analyse` raises.
    """
    graph = ctx.graph
    undecided = [node.name for node in graph.nodes if isinstance(node.op, Nonlinear)
                 and any(bool(mask.any()) for mask in node.op.undecided(ctx.inputs(node.inputs)))]
    wider = expand_maxima(graph, undecided)
    if len(wider.nodes) == len(graph.nodes):
        return ctx
    if ctx.recording is not None:
        for instance in range(ctx.batch):
            ctx.recording.note(instance, "what trees prove by cuts of maxima is not recorded")
    return analyse(domain, replace(ctx, graph=wider, target=spec, slopes={}, row_slopes={}, recorder=None)).ctx
