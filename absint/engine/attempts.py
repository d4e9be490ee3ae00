"""One run of a domain on a property: rows, and combinations of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import Walked, analyse, row_bounds
from absint.engine.from_relaxations import combined, least_corner
from absint.engine.rows import Rows
from absint.model.work import work
from absint.numeric.interval import Interval
from absint.problem.spec import Refutation, Spec

# Where a domain does not say what rounding costs: of the outputs' known widths, more than was ever measured in float32.
_ROUNDING_SHARE = 1e-4
# Undecided by rounding alone: the margin would be positive if a few times the rounding terms were given back.
_SLACK_FACTOR = 8.0


@dataclass(frozen=True, eq=False)
class Attempt:
    """One run of a domain on a property.

    interval: as `margins` returns it.  ctx: with `known` total.  corner: (batch, *input) float64, a point of the region's hull
    where the row that decides an instance's margin is least by the domain's relaxation; a place to start an attack, no more.
    whole: what is known of whole disjuncts by combinations of rows; None for nothing.
    """

    interval: Interval
    ctx: Context
    corner: Tensor | None = None
    whole: Refutation | None = None

    @property
    def refuted(self) -> Tensor | None:
        """(batch, disjuncts) sound bounds of whole disjuncts, -inf where there is none; None for nowhere."""
        return None if self.whole is None else self.whole.lower


def attempt(domain: Domain[Any], ctx: Context, spec: Spec, *, corner: bool = False, proved: Tensor | None = None) -> Attempt:
    """Bounds of the property's rows, and with `corner` the point that `Attempt` describes where the domain knows one.

    proved: (batch, disjuncts) sound bounds found before; rows of a disjunct refuted by them are not asked again (-inf).
    """
    # The rows of the property are walked last: whatever time intermediate bounds may take, these have theirs.
    rows = spec.bias.numel() * work(ctx.graph)
    budget = ctx.budget if domain.traits.alone else ctx.budget.keeping(rows)
    result = analyse(domain, replace(ctx, target=spec, budget=budget))
    open_ = None if proved is None else ~(proved > 0)
    found = row_bounds(domain, result.element, result.ctx, spec, None if open_ is None else open_[:, spec.disjunct])
    best = spec.refutation(found.lower)
    best = best if proved is None else torch.fmax(best, proved.to(best))
    point = _deciding_corner(domain, result, spec, found.lower, best) if corner and len(spec.disjunct) else None
    whole = combined(domain.traits, spec, best, result.ctx)
    return Attempt(found, replace(result.ctx, budget=ctx.budget), point, whole)


def refuted_by(found: Attempt, spec: Spec) -> Tensor:
    """(n, disjuncts): the best bound of each disjunct, by one of its rows or by a combination of them."""
    rows = spec.refutation(found.interval.lower)
    # In float64: a bound rounded to nearest is none.
    return rows if found.refuted is None else torch.fmax(rows.double(), found.refuted.to(rows.device, torch.float64))


def slack_of(found: Attempt, spec: Spec) -> Tensor:
    """(n,) float64: about what rounding took from the margins; a guess by the outputs' widths where the domain does not say."""
    if not spec.disjuncts:
        return torch.zeros(len(spec.bias), dtype=torch.float64)
    if found.interval.slack is not None:
        return found.interval.slack.double().amax(1)
    known = found.ctx.known[found.ctx.graph.output.name]
    width = (known.upper.double() - known.lower.double()).flatten(1)
    reach = torch.einsum("brn,bn->br", spec.weight.abs(), width).amax(1)
    return torch.nan_to_num(_ROUNDING_SHARE * reach, nan=inf, posinf=inf)


def by_rounding(margin: Tensor, slack: Tensor) -> Tensor:
    """(n,) bool: those that a finer number format may decide: the margin would be positive if the rounding terms were given back."""
    return ~(margin + _SLACK_FACTOR * slack <= 0)


def _deciding_corner(domain: Domain[Any], result: Walked[Any], spec: Spec, lower: Tensor, best: Tensor) -> Tensor | None:
    """Of the disjunct least refuted, the row that refutes it best: where that one is least, the disjunct is nearest."""
    lower = torch.nan_to_num(lower, nan=-inf, posinf=inf, neginf=-inf)
    worst = best.argmin(1)
    inside = spec.disjunct == worst[:, None]
    # argmax finds the first entry where all are -inf: that must be one of the disjunct's own.
    ranked = torch.where(inside, lower.clamp(min=torch.finfo(lower.dtype).min), torch.full_like(lower, -inf))
    live = torch.zeros_like(inside).scatter_(1, ranked.argmax(1, keepdim=True), torch.ones_like(inside))
    output = result.ctx.graph.output
    return least_corner(domain.traits, Rows.of_spec(output.name, spec, output.shape, live), result.ctx)
