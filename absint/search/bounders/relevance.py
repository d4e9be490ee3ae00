"""Which undecided neurons matter for a property: those whose relaxation its linear programs make use of.

Where an LP's point meets a neuron's function exactly, a tighter relaxation of it leaves the point, and the bound, as they are.
"""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.network import Encoding, encode
from absint.engine.context import Context
from absint.model.families.nonlinear import Nonlinear
from absint.numeric.backend import DeadlineError
from absint.problem.spec import Spec
from absint.search.branchers.phases import Effort, Phases
from absint.solvers.model import ModelError, SolverError


def relevance(ctx: Context, spec: Spec, node: str, solvers: tuple[str, ...], lp: float) -> Tensor:
    """(batch, entries of `node`) float64: how far the property's LP points are from the functions that read each entry; +inf where unknown.

    `ctx.known` must be total. Sums over the rows not proved by their LP. A heuristic: no bound depends on it.
    """
    out = torch.full((ctx.batch, ctx.graph[node].size), inf, dtype=torch.float64)
    for k in (~ctx.empty).nonzero().flatten().tolist():
        total = np.zeros(out.shape[1])
        try:
            encoding = encode(ctx, k)
            with Phases(encoding.model, encoding.choices, solvers) as tree:
                for weight, bias in zip(spec.weight[k].cpu(), spec.bias[k].cpu(), strict=True):
                    ctx.budget.check()
                    row = encoding.functional(weight.numpy(), float(bias))
                    answer = tree.bound(row.cost, row.offset, Effort(1, ctx.budget.deadline, lp))
                    if answer.point is not None and not answer.bound > 0:
                        total += _distances(ctx, encoding, answer.point, node, len(total))
        except (SolverError, ModelError):
            continue
        except DeadlineError:
            break
        out[k] = torch.from_numpy(total)
    return out


def _distances(ctx: Context, encoding: Encoding, point: np.ndarray, node: str, size: int) -> np.ndarray:
    """(size,): of each entry, how far the point is from meeting the choices of the functions that read it."""
    choices, out = encoding.choices, np.zeros(size)
    if not choices.count:
        return out
    here = point[choices.column]
    off = np.maximum(np.maximum(choices.lower - here, here - choices.upper), 0.0)
    least = np.minimum.reduceat(off, np.flatnonzero(np.diff(choices.choice, prepend=-1)))
    of_column = np.zeros(len(point))
    np.maximum.at(of_column, choices.column, least[choices.choice])
    for block in encoding.blocks:
        reader = ctx.graph[block.node]
        if block.role != "value" and isinstance(reader.op, Nonlinear) and node in reader.inputs:
            np.add.at(out, block.entry if block.other is None else block.other, of_column[block.column])
    return out
