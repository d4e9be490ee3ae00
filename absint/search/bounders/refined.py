"""A domain whose undecided neurons are bounded anew by linear programs over the network below them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint.engine.domain import Context, Domain, Interval, Rows, Sense, Traits, open_rows
from absint.engine.product import Wrapper
from absint.search.bounders.models import undecided
from absint.search.bounders.neurons import Tightening, tightened
from absint.search.bounders.relevance import relevance


@dataclass(frozen=True)
class Refined(Wrapper):
    """The base, met with LPs over single entries before each nonlinear node.

    how: one LP, or branching for each side of a neuron.  undecided: instances with more undecided entries below a node are left to
    the base; inf for no limit.  neurons: of a layer at most, those first whose relaxations the property's LPs make use of; 0 for all.
    Sound: safe bounds alone. Under float32 semantics it proves what the base proves: models are of the exact-real network.
    Source: Singh et al., Boosting Robustness Certification, ICLR 2019, section 4.
    """

    base: Domain[Any]
    how: Tightening
    undecided: float = inf
    neurons: int = 0

    @property
    def walker(self) -> Domain[Any]:
        """The base."""
        return self.base

    @property
    def traits(self) -> Traits:
        """The base's, without gradients: what a solver returned is a number."""
        return replace(super().traits, differentiable=False)

    def hull(self, element: Any, ctx: Context) -> Interval | None:
        """None: undecided entries are asked one by one."""
        return None

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """The base's, met with what LPs over the network below prove of single entries."""
        found = super().bounds(element, rows, ctx, sense)
        if rows.index is None or sense is not Sense.BOTH or ctx.numerics.float32_semantics:
            return found
        chosen = self._chosen(rows, found, ctx)
        if self.undecided < inf:
            chosen = chosen & (undecided(replace(ctx, graph=ctx.graph.upto(rows.node))) <= self.undecided)[rows.instance.cpu()]
        return tightened(rows, found, ctx, self.how, lambda now: open_rows(rows, now, ctx, 0.0) & chosen.to(rows.instance.device),
                         lambda k, text: ctx.note(text, k))

    def _chosen(self, rows: Rows, found: Interval, ctx: Context) -> Tensor:
        """(R,) bool: at most `neurons` of each instance, by relevance, then by width."""
        every = torch.ones(len(rows), dtype=torch.bool)
        if not self.neurons or rows.index is None:
            return every
        instance, width = rows.instance.cpu(), (found.upper - found.lower).double().cpu()
        width = width.where(open_rows(rows, found, ctx, 0.0).cpu(), torch.tensor(-1.0, dtype=torch.float64))
        score = torch.zeros_like(width)
        if ctx.target is not None and all(node.name in ctx.known for node in ctx.graph.nodes):
            score = relevance(ctx, ctx.target, rows.node, self.how.solvers, self.how.lp)[instance, rows.index.cpu()]
        order = torch.argsort(width, descending=True, stable=True)
        order = order[torch.argsort(score[order], descending=True, stable=True)]
        order = order[torch.argsort(instance[order], stable=True)]
        start = torch.searchsorted(instance[order].contiguous(), instance[order].contiguous())
        every[order] = torch.arange(len(order)) - start < self.neurons
        return every

