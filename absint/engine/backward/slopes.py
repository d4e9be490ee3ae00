"""Optimised slopes: gradient ascent on the free slopes of a backward domain, every row with slopes of its own.

Bounds are improved node by node in the order of the walk: the undecided entries of a node first, then what is proved of them
is `known` to all later relaxations. That is worth more than one gradient through all nodes at once, and needs no memory for
it. The search runs without rounding terms; every bound that counts is found anew by `substitute` with the slopes it chose,
rounding on. Sources: Xu et al., Fast and Complete, ICLR 2021, section 3.2 (optimised slopes); Salman et al.,
NeurIPS 2019, section 4 (a row's best slopes solve the dual of its linear program); Kingma and Ba, ICLR 2015 (the step).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf, isfinite

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.backward.surrogate import Parameters, UnroundedNet, UnroundedRows, functionals
from absint.engine.backward.walk import substitute
from absint.engine.context import Context
from absint.engine.evidence import ROWS
from absint.engine.evidence_records import Chosen
from absint.engine.rows import Rows
from absint.errors import UsageError
from absint.model.families.elementwise import Elementwise
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.model.work import heaviest
from absint.numeric.backend import DeadlineError
from absint.numeric.interval import Interval

# Decay of the averages of the gradient and of its square. Shorter than usual: a search has ten or twenty steps.
_MOMENTUM, _SCALE = 0.5, 0.9
# Rows searched together: their vectors should stay near a core's cache, and a step must not outlast a deadline by much.
_ROWS, _ENTRIES = 512, 1 << 21
# What a row keeps for each entry of the nodes it passes.
_BYTES = 16


@dataclass(frozen=True)
class Ascent:
    """How slopes are searched.

    steps: for the rows of the property.  inner: for the undecided entries of every other node; 0 leaves these as they are.
    rate: length of the first step (slopes lie in [0, 1]); each further one is `decay` times as long.
    goal: rows of the property proved above it are left as they are; inf improves all.
    share: of the time that may be spent before the deadline, what one node's search may take, so that the walk reaches the output.
    Raises UsageError E-ASCENT for numbers out of range.
    """

    steps: int = 20
    inner: int = 10
    rate: float = 0.5
    decay: float = 0.9
    goal: float = 0.0
    share: float = 0.3

    def __post_init__(self) -> None:
        fine = {"steps": self.steps >= 0, "inner": self.inner >= 0, "rate": 0 < self.rate <= 1, "decay": 0 < self.decay <= 1,
                "goal": self.goal >= 0, "share": 0 < self.share < 1}
        for name, good in fine.items():
            if not good:
                raise UsageError("E-ASCENT", f"{name} is {getattr(self, name)}", where=f"ascent option '{name}'",
                                 hint="steps and inner are at least 0, rate and decay in (0, 1], goal >= 0, share in (0, 1)")

    def steps_at(self, node: str, ctx: Context) -> int:
        """For the rows of a node."""
        return self.steps if node == ctx.graph.output.name else self.inner if ctx.inner_slopes else 0


@dataclass(frozen=True)
class Slopes:
    """What a domain states of its relaxation: `relax`, the start values of its free slopes, and how these are optimised.

    ascent: None leaves the slopes at their start values.
    """

    relax: Relax
    parameters: Parameters
    ascent: Ascent | None = None


def improved(rows: Rows, found: Interval, ctx: Context, slopes: Slopes, ascent: Ascent, spent: float = 0.0) -> Interval:
    """`found`, the plain bounds (R,) of `rows`, with the ends that matter improved; never worse than it.

    A side that is infinite everywhere was not asked for. When the deadline nears, the bounds found so far stand.
    spent: seconds that the plain bounds took; so much, and more, is left for each node after this one.
    Sound: every end is the plain one or one proved by `substitute`.
    """
    steps = ascent.steps_at(rows.node, ctx)
    todo = open_rows(rows, found, ctx, ascent.goal).nonzero().flatten()
    if not steps or not len(todo):
        return found
    search = SlopeSearch(rows.node, ctx, slopes, replace(ascent, steps=steps), spent)
    if search.late or not search.net.free:
        if ctx.budget.ending:
            ctx.cut_short(f"time left no more optimised slopes from '{rows.node}' on")
        return found
    part = rows.take(todo)
    lower, upper = found.lower.clone(), found.upper.clone()
    with torch.no_grad():
        if bool((found.lower > -inf).any()):
            lower[todo] = torch.fmax(lower[todo], search.bounds(part, 1.0))
        if bool((found.upper < inf).any()):
            upper[todo] = torch.fmin(upper[todo], -search.bounds(part, -1.0))
    return Interval(lower, upper, found.solver, found.slack)


def start_slopes(node: str, ctx: Context, slopes: Slopes) -> dict[str, tuple[Tensor, Tensor]]:
    """Which entries (batch, size) of the nodes up to one have a choice, and the free slopes (batch, size) that plain relaxations take.

    As evidence, of a context that knows all that it will know of these nodes. Entries at which a function bends both ways are left
    out: there no free slope says what plain lines are.
    """
    key = ("start slopes", id(getattr(slopes.relax, "__self__", slopes.relax)), node)
    if key not in ctx.memo:
        below = ctx.graph.nodes[: ctx.graph.position[node] + 1]
        ctx.memo[key] = {one.name: found for one in below if (found := _start(one, ctx, slopes)) is not None}
    kept = ctx.memo[key]
    assert isinstance(kept, dict)
    return kept


def _start(node: Node, ctx: Context, slopes: Slopes) -> tuple[Tensor, Tensor] | None:
    if not isinstance(node.op, Nonlinear) or len(node.inputs) != 1:
        return None
    start, inputs = slopes.parameters(node, ctx), ctx.inputs(node.inputs)
    if start is None or start.shape[1:] != node.shape:
        return None
    mask = node.op.undecided(inputs)[0]
    if isinstance(node.op, Elementwise):
        mask = mask & node.op.one_way(inputs)
    return mask.flatten(1), start.flatten(1)


def open_rows(rows: Rows, found: Interval, ctx: Context, goal: float) -> Tensor:
    """(R,) bool: rows whose bounds still matter: weighted ones not above the goal, unit rows that leave a consumer undecided."""
    if rows.weight is not None:
        return ~(found.lower > goal)
    consumers = [ctx.graph[name] for name in ctx.graph.consumers[rows.node]]
    if not consumers or rows.index is None or not all(isinstance(node.op, Nonlinear) for node in consumers):
        return torch.ones(len(rows), dtype=torch.bool, device=rows.instance.device)
    before = ctx.known[rows.node]
    lower, upper = before.lower.flatten(1).clone(), before.upper.flatten(1).clone()
    place = (rows.instance, rows.index)
    lower[place], upper[place] = torch.fmax(lower[place], found.lower), torch.fmin(upper[place], found.upper)
    here = Interval(lower.reshape(before.lower.shape), upper.reshape(before.upper.shape))
    matter = torch.zeros_like(lower, dtype=torch.bool)
    for node in consumers:
        assert isinstance(node.op, Nonlinear)
        inputs = tuple(here.filled if name == rows.node else ctx.known.get(name) for name in node.inputs)
        known = tuple(i for i in inputs if i is not None)
        if len(known) < len(inputs):
            return torch.ones(len(rows), dtype=torch.bool, device=rows.instance.device)
        for name, mask in zip(node.inputs, node.op.undecided(known), strict=True):
            if name == rows.node:
                matter = matter | mask.flatten(1)
    return matter[place]


class Steps:
    """Adam's averages and the step they make, projected on [0, 1]. Mutable."""

    def __init__(self, ascent: Ascent, start: Tensor) -> None:
        self.ascent, self.count = ascent, 0
        self.mean, self.square = torch.zeros_like(start), torch.zeros_like(start)

    @property
    def rate(self) -> float:
        """Length of the step to come."""
        return self.ascent.rate * self.ascent.decay**self.count

    def __call__(self, free: Tensor, gradient: Tensor) -> Tensor:
        """The next free slopes; an entry whose gradients were all 0 stays."""
        rate, self.count = self.rate, self.count + 1
        self.mean = _MOMENTUM * self.mean + (1 - _MOMENTUM) * gradient
        self.square = _SCALE * self.square + (1 - _SCALE) * gradient * gradient
        size = (self.square / (1 - _SCALE**self.count)).sqrt() * (1 - _MOMENTUM**self.count)
        move = torch.where(size > 0, self.mean / size, torch.zeros_like(size))
        return torch.nan_to_num(free + rate * move, nan=0.5).clamp(0, 1)


class SlopeSearch:
    """The relaxed network below one node, and the clock. Mutable."""

    def __init__(self, node: str, ctx: Context, slopes: Slopes, ascent: Ascent, spent: float = 0.0) -> None:
        self.node, self.ctx, self.slopes, self.ascent = node, ctx, slopes, ascent
        now, later = time.monotonic(), ctx.graph.nodes[ctx.graph.position[node] + 1 :]
        # Rows of later nodes walk further: three times the plain bounds of this one, for each of them.
        own = node == ctx.graph.output.name
        end = ctx.budget.deadline if own else min(ctx.budget.deadline, ctx.budget.soft)
        left = end - now - 3 * spent * sum(isinstance(n.op, Nonlinear) for n in later)
        self.end = now + ascent.share * left if isfinite(left) else inf

    @property
    def late(self) -> bool:
        """Whether this node's share of the time is over."""
        return time.monotonic() > self.end

    @cached_property
    def net(self) -> UnroundedNet:
        """Every nonlinear node below, relaxed."""
        return UnroundedNet(self.node, self.ctx, self.slopes.relax, self.slopes.parameters)

    @property
    def block(self) -> int:
        """Rows searched together."""
        budget = self.ctx.budget
        fit = min(budget.rows(8 * _BYTES * self.net.entries), budget.pieces(heaviest(self.net.path)))
        return max(1, min(_ROWS, max(16, _ENTRIES // self.net.entries), fit))

    @property
    def chunk(self) -> int:
        """Rows proved together: their slopes are kept at once."""
        return max(self.block, self.ctx.budget.rows(_BYTES * self.net.entries))

    def in_time(self, work: Callable[[], Tensor], count: int) -> Tensor:
        """`work()`, (count,) bounds; -inf where time is over, before it or inside it."""
        try:
            if not self.late:
                return work()
        except DeadlineError:
            self.end = -inf
        return torch.full((count,), -inf, dtype=self.ctx.numerics.vector, device=self.ctx.numerics.device)

    def bounds(self, rows: Rows, sign: float) -> Tensor:
        """(R,) sound lower bounds of sign * rows, -inf where time ran out."""
        return torch.cat([self.in_time(partial(self._chunk, part, sign), len(part)) for part in rows.chunks(self.chunk)])

    def _chunk(self, rows: Rows, sign: float) -> Tensor:
        chosen = self.chosen(rows, sign)
        found, recorder = self.proved(rows, chosen, sign), self.ctx.recording
        if recorder is not None and rows.index is not None:
            recorder.neurons(rows, int(sign), found, self.recorded(rows.instance, chosen))
        elif recorder is not None and sign > 0:
            recorder.rows(rows, found, ROWS, self.recorded(rows.instance, chosen))
        return found

    def recorded(self, instance: Tensor, chosen: dict[str, Tensor]) -> dict[str, Chosen]:
        """Slopes (R, *shape) a node of rows of the instances (R,), where there is a choice, as evidence."""
        found = {}
        for name, values in chosen.items():
            free = self.net.lines[name].free
            assert free is not None
            found[name] = Chosen.of_rows(free.reshape(self.ctx.batch, -1), values.flatten(1), instance)
        return found

    def chosen(self, rows: Rows, sign: float) -> dict[str, Tensor]:
        """The best slopes seen for sign * rows, (R, *shape) a node; at most `chunk` rows."""
        found = []
        with torch.no_grad():
            for part in rows.chunks(self.block):
                relaxed = UnroundedRows(self.net, part.node, part.instance, functionals(self.net, part, sign))
                found.append(relaxed.dense(self._climb(relaxed)))
        return {name: torch.cat([one[name] for one in found]) for name in found[0]}

    def _climb(self, rows: UnroundedRows) -> Tensor:
        """The best flat slopes of each row that were seen."""
        free = best = rows.start
        highest = torch.full((len(rows.instance),), -inf, dtype=free.dtype, device=free.device)
        steps = Steps(self.ascent, free)
        while True:
            value, gradient, _ = rows.step(free)
            better = value > highest  # NaN is never better
            highest = torch.where(better, value, highest)
            best = torch.where(better[rows.row], free, best)
            if steps.count >= self.ascent.steps or self.late:
                return best
            free = steps(free, gradient)

    def proved(self, rows: Rows, chosen: dict[str, Tensor], sign: float) -> Tensor:
        """(R,) sound lower bounds of sign * rows with the chosen slopes, (R, *shape) a node; rounding as the context says.

        Concretising at every layer is left out: it was measured to add nothing to optimised slopes.
        """
        return substitute(rows, self.slopes.relax, replace(self.ctx, row_slopes=chosen, memo={}), sign)
