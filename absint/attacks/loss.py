"""What an attack lowers: how far outputs are from each disjunct of the unsafe set."""

from __future__ import annotations

import torch
from torch import Tensor

from absint.problem.spec import Spec


def row_values(outputs: Tensor, spec: Spec, depth: float = 0.0) -> Tensor:
    """(batch, rows) float64: weight . y + bias, plus `depth` times the size of its summands; NaN counts as +inf.

    outputs: (batch, *shape) of any format, differentiable. Below zero in all rows of a disjunct: a violation so deep.
    """
    values = spec.values(outputs)
    if depth:
        sizes = torch.einsum("brn,bn->br", spec.weight.abs(), outputs.detach().flatten(1).double().abs()) + spec.bias.abs()
        # Never zero: a tie of summands that all vanish is no deep violation.
        values = values + depth * sizes + torch.finfo(torch.float64).tiny
    return torch.where(values.isnan(), torch.inf, values)


def depths(values: Tensor, spec: Spec) -> Tensor:
    """(batch, rows) row values -> (batch, disjuncts): the greatest row of each disjunct, negative inside it."""
    worst = torch.full((len(values), spec.disjuncts), -torch.inf, dtype=values.dtype, device=values.device)
    return worst.scatter_reduce(1, spec.disjunct.expand_as(values), values, "amax")


def violates(values: Tensor, spec: Spec) -> Tensor:
    """(batch,) bool: every row of some disjunct is below zero, or zero where the row is not strict. values: (batch, rows)."""
    outside = ~torch.where(spec.strict, values < 0, values <= 0)
    count = torch.zeros(len(values), spec.disjuncts, dtype=torch.int64, device=values.device)
    count = count.scatter_add(1, spec.disjunct.expand_as(values), outside.long())
    return (count == 0).any(1)


def objective(values: Tensor, spec: Spec, focus: Tensor, soft: Tensor) -> Tensor:
    """(batch,): what to lower. focus: (batch,) a disjunct, or -1 for the nearest one.  soft: (batch,) bool.

    Hard: the greatest row. Soft: also the sum of the rows that are still positive, so that a step that lowers the
    greatest row does not raise the others.
    """
    greatest = depths(values, spec)
    chosen = torch.where(focus < 0, greatest.argmin(1), focus)[:, None]
    hard = greatest.gather(1, chosen).squeeze(1)
    positive = torch.where(spec.disjunct[None] == chosen, values.clamp(min=0), 0.0).sum(1)
    return torch.where(soft, hard + positive, hard)
