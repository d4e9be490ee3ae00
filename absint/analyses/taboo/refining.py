"""The greatest certified upper bound of each watched value over many boxes, without a dearer bound of every box.

Box steps bound all of them. A bound that is not above the greatest certified one so far cannot raise it, however much a dearer domain
would lower it: those alone that are above are asked of the domain, the highest first, and the rest counts with what it has. So the
greatest of min(box, domain) over all boxes comes out, whatever the order and however the boxes are divided into blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint.analyses.bounds.widths import guarded
from absint.analyses.taboo.executions import Executions
from absint.engine.batch_size import batch_size
from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import analyse, row_bounds
from absint.errors import ResourceError
from absint.numeric.backend import DeadlineError, is_out_of_memory, numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import no_upper
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec


@dataclass(frozen=True, eq=False)
class Greatest:
    """Of n boxes. upper: (k,) at least every certified upper bound, and one of them where none is open.

    refined: bounds that the domain was asked for.  open: those that time left as box steps found them, although they are above all others.
    """

    upper: Tensor
    refined: int = 0
    open: int = 0


@dataclass(frozen=True, eq=False)
class Refining:
    """Certified upper bounds of k watched values, executions in float32 included. domain: asked where box steps do not do."""

    executions: Executions
    domain: Domain[Any]
    stage: Callable[[str], None] | None = None

    def greatest(self, region: BoxRegion, floor: Tensor, end: float = inf) -> Greatest:
        """Over the boxes; of no interest is what lies not above `floor` (k,), which boxes elsewhere reach.

        end: on the monotonic clock, of the domain's work; what it leaves open counts with the bound of its box.
        """
        _, upper = self.executions.bounds(region)
        best, waiting, refined, width = floor.clone(), upper.clone(), 0, 1
        while True:
            asked = self._next(waiting, best, width)
            if not bool(asked.any()):
                return Greatest(torch.maximum(best, waiting.amax(0)), refined)
            try:
                found = torch.minimum(self._bounds(region, asked, end), upper)
            except DeadlineError:
                return Greatest(torch.maximum(best, waiting.amax(0)), refined, int((waiting > best).sum()))
            best = torch.maximum(best, torch.where(asked, found, -inf).amax(0))
            waiting[asked] = -inf
            refined, width = refined + int(asked.sum()), 2 * width

    @staticmethod
    def _next(waiting: Tensor, best: Tensor, width: int) -> Tensor:
        """(n, k) bool: of each value the highest bounds that are above the best one, `width` of them at most."""
        order = waiting.argsort(dim=0, descending=True, stable=True)[:width]
        chosen = torch.zeros_like(waiting, dtype=torch.bool).scatter_(0, order, True)
        return chosen & (waiting > best)

    def _bounds(self, region: BoxRegion, asked: Tensor, end: float) -> Tensor:
        """(n, k): the domain's upper bounds where they are asked for, infinite elsewhere. Raises DeadlineError."""
        found = torch.full(asked.shape, inf, dtype=torch.float64)
        todo, size = asked.any(1).nonzero().flatten(), self.at_once
        while len(todo):
            part = todo[:size]
            if self.stage is not None:
                self.stage(f"{len(todo)} inputs asked of the domain")
            try:
                with numeric_mode(), torch.no_grad():
                    found[part] = self._of_some(region.take(part), asked[part], end).cpu()
            except Exception as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                size = max(1, len(part) // 2)
                continue
            todo = todo[len(part):]
        return found

    def _of_some(self, region: BoxRegion, asked: Tensor, end: float) -> Tensor:
        spec = self._rows.take(torch.zeros(region.batch, dtype=torch.int64)).to(self.executions.device)
        ctx = self.executions.until(end).context(region)
        ctx.budget.check()
        asked = asked.to(self.executions.device)
        found = self._asked_of_the_domain(replace(ctx, target=spec), spec, asked)
        upper = torch.where(asked, no_upper(-found.lower.double()), inf)
        return upper if found.solver is None else torch.where(found.solver[:, None], inf, upper)

    def _asked_of_the_domain(self, ctx: Context, spec: Spec, asked: Tensor) -> Interval:
        """Whose errors go by its name. Raises DeadlineError, PluginError E-DOMAIN-RAISED."""

        def bounds() -> Interval:
            result = analyse(self.domain, ctx)
            return row_bounds(self.domain, result.element, result.ctx, spec, asked)

        try:
            return guarded(self.domain, bounds)
        except ResourceError as error:
            if isinstance(error.__cause__, DeadlineError):
                raise error.__cause__ from None
            raise

    @cached_property
    def at_once(self) -> int:
        """Boxes that the domain is asked about together."""
        executions = self.executions
        most = batch_size(executions.graph, [self.domain.traits], [executions.numerics], executions.budget.memory, executions.device)
        return min(most, executions.batch or most)

    @cached_property
    def _rows(self) -> Spec:
        """Of one box: minus each watched value, whose lower bounds are asked for."""
        count = self.executions.graph.output.size
        return Spec.rows(-torch.eye(count, dtype=torch.float64)[None], torch.zeros(1, count, dtype=torch.float64))
