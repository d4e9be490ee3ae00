"""Bounds of single neurons by LP, and by branching on phases within a budget: what is undecided before a layer is asked again.

The model is that of the network up to the node; its bounds are safe bounds. The better of old and new is kept by the caller.
Sources: Singh et al., Boosting Robustness Certification of Neural Networks, ICLR 2019, section 4; Tjeng et al., ICLR 2019, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.network import Encoding, encode
from absint.encode.recorded import program_of_node
from absint.engine.context import Context
from absint.engine.evidence import NeuronBounds
from absint.engine.rows import Rows
from absint.model.families.nonlinear import Nonlinear
from absint.numeric.backend import DeadlineError
from absint.numeric.interval import Interval
from absint.numeric.rounding import cast_down
from absint.search.branchers.phases import Effort, Phases
from absint.solvers.model import ModelError, SolverAnswer, SolverError, Status

# So many LPs of a layer in a row that end without an optimum: the numbers are beyond the solver, the others are left alone.
_FAILURES = 8


@dataclass(frozen=True)
class Tightening:
    """How neurons are bounded. solvers: as of `Session`.  nodes: LPs for one side of a neuron, 1 for the relaxation alone.

    lp: seconds of one LP.  neuron: seconds of one side of a neuron.  end: of the whole sweep, on the monotonic clock.
    """

    solvers: tuple[str, ...]
    nodes: float = 1
    lp: float = 5.0
    neuron: float = inf
    end: float = inf


def tightened(rows: Rows, found: Interval, ctx: Context, how: Tightening,
              left: Callable[[Interval], Tensor], report: Callable[[int, str], None]) -> Interval:
    """`found`, the bounds (R,) of unit rows, met with what LPs over the network up to their node prove; never worse.

    left: which rows (R,) still matter, given their bounds: rows that the lower sides decided are not asked for their upper sides.
    report: told what went wrong with which instance. Sound: safe bounds alone. Takes at most half of the time to the context's
    deadline, in equal shares: later layers and the property itself have the rest.
    """
    part = replace(ctx, graph=ctx.graph.upto(rows.node), memo={})
    lower, upper = found.lower.double().clone().cpu(), found.upper.double().clone().cpu()
    sweep = _Sweep(rows, part, lower, upper)
    # A void instance has no model, and needs none.
    wanted = left(found).cpu() & ~ctx.empty.cpu()[rows.instance.cpu()]
    if not any(isinstance(node.op, Nonlinear) for node in part.graph.nodes):
        wanted = torch.zeros_like(wanted)  # the base's bounds of what is affine in the input are the best there are
    todo = rows.instance[wanted.to(rows.instance.device)].unique().tolist()
    end = time.monotonic() + (ctx.budget.deadline - time.monotonic()) / 2
    for done, k in enumerate(todo):
        now = time.monotonic()
        share = now + (end - now) / (len(todo) - done)
        mine = wanted & (rows.instance.cpu() == k)
        try:
            sweep.run(k, mine, replace(how, end=share), lambda low, high: left(_like(low, high, found)).cpu())
        except DeadlineError:
            break
        except (SolverError, ModelError) as error:
            report(k, f"{error.code}: {error.what}")
    # Sound bounds of one set: where rounding lets them cross, the engine's own check speaks.
    return Interval(torch.fmax(found.lower, _down(lower, found.lower)), torch.fmin(found.upper, -_down(-upper, found.upper)), found.solver)


@dataclass(frozen=True, eq=False)
class _Sweep:
    """The rows of one node under tightening. lower, upper: (R,) float64, written in place."""

    rows: Rows
    ctx: Context
    lower: Tensor
    upper: Tensor

    def run(self, k: int, mine: Tensor, how: Tightening, left: Callable[[Tensor, Tensor], Tensor]) -> None:
        """One instance's rows in the mask (R,): all lower sides first, then the upper sides of what they leave."""
        encoding = encode(self.ctx, k)
        if encoding.unproved:
            return
        noted = None if self.ctx.recording is None else _Noted()
        try:
            with Phases(encoding.model, encoding.choices, how.solvers) as tree:
                self._sides(tree, encoding, mine, how, left, noted)
        finally:
            if noted is not None:
                self._record(noted, k, encoding, how)

    def _sides(self, tree: Phases, encoding: Encoding, mine: Tensor, how: Tightening, left: Callable[[Tensor, Tensor], Tensor],
               noted: _Noted | None) -> None:
        failures = 0
        for sign in (1.0, -1.0):
            for row in (mine & left(self.lower, self.upper)).nonzero().flatten().tolist():
                if time.monotonic() >= how.end or failures >= _FAILURES:
                    return
                bound, answer, solved = self._bound(tree, encoding, row, sign, how)
                failures = 0 if solved else failures + 1
                before = float(self.lower[row]) if sign > 0 else -float(self.upper[row])
                if noted is not None and before < bound < inf:
                    noted.add(row, int(sign), bound, answer)
                if sign > 0:
                    self.lower[row] = max(before, bound)  # in this order: NaN is never the greater one
                else:
                    self.upper[row] = -max(before, bound)

    def _record(self, noted: _Noted, k: int, encoding: Encoding, how: Tightening) -> None:
        """Tell the recorder what multipliers proved of one instance's entries; of branching only that it took place."""
        recorder = self.ctx.recording
        assert recorder is not None
        assert self.rows.index is not None
        if how.nodes > 1:
            if noted.row:
                recorder.note(k, f"bounds of entries of '{self.rows.node}' by branching are not recorded")
            return
        if noted.row:
            program = program_of_node(encoding.model, encoding.blocks, self.ctx.graph, encoding.values[self.rows.node])
            side = np.array(noted.side, dtype=np.int8)
            recorder.programmed(k, NeuronBounds(
                self.rows.node, self.rows.index.cpu().numpy()[noted.row], side, side * np.array(noted.bound),
                program=recorder.program(program), multipliers=np.stack(noted.multipliers)))

    def _bound(self, tree: Phases, encoding: Encoding, row: int, sign: float, how: Tightening
               ) -> tuple[float, SolverAnswer | None, bool]:
        """Of sign times one entry, from below, the answer that says so where it is one LP's, and whether the solver could do its work."""
        assert self.rows.index is not None
        unit = np.zeros(self.ctx.graph.output.size)
        unit[int(self.rows.index[row])] = sign
        target = encoding.functional(unit)
        effort = Effort(how.nodes, min(how.end, time.monotonic() + how.neuron), how.lp)
        if how.nodes <= 1:
            answer = tree.bound(target.cost, target.offset, effort)
            return answer.bound, answer, answer.status is Status.OPTIMAL
        return tree.minimum(target.cost, target.offset, inf, effort).lower, None, True


@dataclass(eq=False)
class _Noted:
    """Sides of rows that were tightened, as evidence. Mutable."""

    row: list[int] = field(default_factory=list)
    side: list[int] = field(default_factory=list)
    bound: list[float] = field(default_factory=list)
    multipliers: list[np.ndarray] = field(default_factory=list)

    def add(self, row: int, side: int, bound: float, answer: SolverAnswer | None) -> None:
        """One side. answer: None where branching found it."""
        self.row.append(row)
        self.side.append(side)
        self.bound.append(bound)
        if answer is not None and answer.multipliers is not None:
            self.multipliers.append(answer.multipliers)


def _like(lower: Tensor, upper: Tensor, found: Interval) -> Interval:
    return Interval(lower.to(found.lower), upper.to(found.upper), found.solver)


def _down(values: Tensor, like: Tensor) -> Tensor:
    """In another format, rounded down."""
    return cast_down(values.to(like.device), like.dtype)
