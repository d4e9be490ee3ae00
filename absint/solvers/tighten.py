"""Bounds of single neurons by LP, and by branching on phases within a budget: what is undecided before a layer is asked again.

The model is that of the network up to the node; its bounds are safe bounds. The better of old and new is kept by the caller.
Sources: Singh et al., Boosting Robustness Certification of Neural Networks, ICLR 2019, section 4; Tjeng et al., ICLR 2019, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.backend import DeadlineError
from absint.context import Context, Rows
from absint.interval import Interval
from absint.op import Nonlinear
from absint.rounding import cast_down
from absint.solvers.encode import Layers, encode
from absint.solvers.model import ModelError, SolverError
from absint.solvers.phases import Effort, Phases


@dataclass(frozen=True)
class Tightening:
    """How neurons are bounded. solvers: as of `Session`.  nodes: LPs for one side of a neuron, 1 for the relaxation alone.

    lp: seconds of one LP.  neuron: seconds of one side of a neuron.
    """

    solvers: tuple[str, ...]
    nodes: float = 1
    lp: float = 5.0
    neuron: float = inf


def tightened(rows: Rows, found: Interval, ctx: Context, how: Tightening,
              left: Callable[[Interval], Tensor], report: Callable[[str], None]) -> Interval:
    """`found`, the bounds (R,) of unit rows, met with what LPs over the network up to their node prove; never worse.

    left: which rows (R,) still matter, given their bounds: rows that the lower sides decided are not asked for their upper sides.
    report: told what went wrong. Sound: safe bounds alone. Ends early at the context's deadline, with what there is.
    """
    part = replace(ctx, graph=ctx.graph.upto(rows.node), memo={})
    lower, upper = found.lower.double().clone().cpu(), found.upper.double().clone().cpu()
    layers = Layers.shared(ctx.graph)
    # A void instance has no model, and needs none.
    wanted = left(found).cpu() & ~ctx.empty.cpu()[rows.instance.cpu()]
    if not any(isinstance(node.op, Nonlinear) for node in part.graph.nodes):
        wanted = torch.zeros_like(wanted)  # the base's bounds of what is affine in the input are the best there are
    for k in rows.instance[wanted.to(rows.instance.device)].unique().tolist():
        mine = wanted & (rows.instance.cpu() == k)
        try:
            _sweep(rows, mine, (lower, upper), part, k, layers, how, lambda bounds: left(_like(bounds, found)).cpu())
        except DeadlineError:
            break
        except (SolverError, ModelError) as error:
            report(f"{error.code}: {error.what}")
    # Sound bounds of one set: where rounding lets them cross, the engine's own check speaks.
    return Interval(torch.fmax(found.lower, _down(lower, found.lower)), torch.fmin(found.upper, -_down(-upper, found.upper)), found.solver)


def _sweep(rows: Rows, mine: Tensor, sides: tuple[Tensor, Tensor], ctx: Context, k: int, layers: Layers, how: Tightening,
           left: Callable[[tuple[Tensor, Tensor]], Tensor]) -> None:
    """One instance: all lower sides first, then the upper sides of what they leave; writes into `sides`."""
    encoding = encode(ctx, k, layers)
    assert rows.index is not None
    index = rows.index.cpu()
    unit = np.zeros(ctx.graph.output.size)
    with Phases(encoding.model, encoding.choices, how.solvers) as tree:
        for side, sign in enumerate((1.0, -1.0)):
            for row in (mine & left(sides)).nonzero().flatten().tolist():
                ctx.budget.check()
                unit[int(index[row])] = sign
                target = encoding.functional(unit)
                unit[int(index[row])] = 0.0
                effort = Effort(how.nodes, min(ctx.budget.deadline, time.monotonic() + how.neuron), how.lp)
                bound = tree.minimum(target.cost, target.offset, inf, effort).lower
                if not encoding.unproved and bound > -inf:
                    sides[side][row] = max(float(sides[0][row]), bound) if sign > 0 else min(float(sides[1][row]), -bound)


def _like(bounds: tuple[Tensor, Tensor], found: Interval) -> Interval:
    return Interval(bounds[0].to(found.lower), bounds[1].to(found.upper), found.solver)


def _down(values: Tensor, like: Tensor) -> Tensor:
    """In another format, rounded down."""
    return cast_down(values.to(like.device), like.dtype)
