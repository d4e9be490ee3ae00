"""Disjuncts by LP, by branching on phases or by MILP, instance by instance: what the domains of refinement share.

A disjunct of one row is a cost of one LP that stays warm over all of them; one of several rows has a column of its own that
is at least every row, so that its least value decides the whole conjunction. Every bound is a safe bound, unless it says that
it is a MILP's word; a limit, a crash or NaN leaves what was proved before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor

from absint.encode.builder import Choices, with_binaries, with_greatest
from absint.encode.network import Encoding, Functional, Layers, encode
from absint.engine.context import Context
from absint.model.families.nonlinear import Nonlinear
from absint.numeric.backend import DeadlineError
from absint.numeric.outward import next_below
from absint.problem.spec import Refutation, Spec
from absint.search.branchers.inputs import Splitting, cover, splittable
from absint.search.branchers.phases import Effort, Phases
from absint.solvers.model import Limits, Model, ModelError, SolverAnswer, SolverError, Status
from absint.solvers.session import Session

# A violation in floats deeper than this share of its summands ends a search: shallower ones could be rounding.
_DEEP = 1e-9
# What a MILP's claimed bound is lowered by: answers were seen to be off by 6e-6.
_CLAIM = 1e-4


@dataclass(frozen=True)
class Tactic:
    """How far to go. solvers: as of `Session`.  nodes: LPs a disjunct; 1 for no branching, inf for no limit.

    patience: LPs a disjunct where the context has no deadline.  undecided: instances with more undecided entries are left alone.
    lp, milp: seconds of one LP, of one MILP; milp 0 for none.
    splitting: how regions of few inputs are halved before the search over phases goes beyond `first` LPs; None for not at all.
    """

    solvers: tuple[str, ...]
    nodes: float = 1
    patience: float = inf
    undecided: float = inf
    lp: float = 60.0
    milp: float = 0.0
    splitting: Splitting | None = None
    first: float = 100


def decide(ctx: Context, spec: Spec, refuted: Tensor, tactic: Tactic) -> Refutation:
    """Bounds of the disjuncts that `refuted` (batch, disjuncts) leaves open, and candidates for what violates the property.

    `ctx.known` must be total. The time to the context's deadline is shared by the instances that are left.
    Sound: only what is called claimed rests on a solver's word. KeyboardInterrupt passes through. Never raises DeadlineError.
    """
    open_ = ~(refuted > 0)
    lower = torch.full(open_.shape, -inf, dtype=torch.float64)
    points = torch.full((ctx.batch, *ctx.graph.input.shape), torch.nan, dtype=torch.float64)
    late = torch.zeros(ctx.batch, dtype=torch.bool)
    claimed = lower.clone()
    few = undecided(ctx).to(open_.device) <= tactic.undecided
    todo = (open_.any(1) & ~ctx.empty.to(open_.device) & few).nonzero().flatten().tolist()
    notes: list[tuple[int, str]] = []
    limits: list[tuple[int, str]] = []
    for done, k in enumerate(todo):
        now = time.monotonic()
        end = now + max(0.0, ctx.budget.deadline - now) / (len(todo) - done)
        one = _Instance(ctx, spec, k, tactic, end)
        try:
            one.run(open_[k].nonzero().flatten().tolist())
        except DeadlineError:
            one.late = True
        except (SolverError, ModelError) as error:
            one.note(f"{error.code}: {error.what}")
        for disjunct, bound in one.proved.items():
            lower[k, disjunct], claimed[k, disjunct] = bound, one.claimed[disjunct]
        late[k] = one.late
        limits += [(k, text) for disjunct, text in one.limits.items() if not one.proved[disjunct] > 0][:1]
        if one.best is not None:
            points[k] = one.best
        notes += [(k, text) for text in dict.fromkeys(one.notes)]
    return Refutation(lower, claimed if bool((claimed > lower).any()) else None, points, late, tuple(notes), tuple(limits))


def undecided(ctx: Context) -> Tensor:
    """(batch,) int64: entries of nonlinear nodes whose function is not affine over what is known of their inputs."""
    count = torch.zeros(ctx.batch, dtype=torch.int64)
    for node in ctx.graph.nodes:
        if isinstance(node.op, Nonlinear):
            for mask in node.op.undecided(ctx.inputs(node.inputs)):
                count += mask.flatten(1).sum(1).cpu()
    return count


@dataclass(frozen=True, eq=False)
class _Target:
    """One disjunct as an objective. model: its own, or None where the instance's serves.

    factor: the power of two its rows were multiplied by: tolerances of solvers are absolute.
    """

    disjunct: int
    cost: np.ndarray
    offset: float
    model: Model | None = None
    factor: float = 1.0


@dataclass(eq=False)
class _Instance:
    """One instance under decision. Mutable. end: on the monotonic clock.

    proved, claimed: by disjunct, without and with what is a solver's word.  stuck: disjuncts that no branching decides.
    late: whether time ended the last search.  limits: by disjunct, which limit of the tactic's own ended its last one.
    """

    ctx: Context
    spec: Spec
    k: int
    tactic: Tactic
    end: float
    proved: dict[int, float] = field(default_factory=dict)
    claimed: dict[int, float] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)
    best: Tensor | None = None
    late: bool = False
    limits: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._depth = inf
        self._nodes = self.tactic.nodes if isfinite(self.ctx.budget.deadline) else min(self.tactic.nodes, self.tactic.patience)
        self._row = self.spec.take(torch.tensor([self.k], device=self.spec.weight.device)).to(torch.device("cpu"))

    def note(self, text: str) -> None:
        """Something the user should know."""
        self.notes.append(text)

    def _ended(self, target: _Target, limit: str) -> None:
        """A limit of the tactic's own left the target open."""
        self.limits[target.disjunct] = f"ended by a limit of the method: {limit}"

    def run(self, disjuncts: list[int]) -> None:
        """Decide them, those nearest to a violation first; a violation that is deep enough ends it."""
        encoding = encode(self.ctx, self.k, Layers.shared(self.ctx.graph))
        self.proved, self.claimed = dict.fromkeys(disjuncts, -inf), dict.fromkeys(disjuncts, -inf)
        targets = [self._target(encoding, d) for d in disjuncts]
        with Phases(encoding.model, encoding.choices, self.tactic.solvers) as shared:
            try:
                self._all(encoding, shared, targets)
            finally:
                self.notes += [f"{t.code}: {t.what}" for t in shared.notes]

    def _all(self, encoding: Encoding, shared: Phases, targets: list[_Target]) -> None:
        for target in targets:
            self._relaxed(encoding, shared, target)
        if self.tactic.milp > 0:
            self._each(targets, lambda target: self._mixed(encoding, target))
        elif self._nodes > 1:
            split = self.tactic.splitting
            # What is assumed may leave a half without any input, which is no contradiction there.
            if split is not None and not self.ctx.assumed and not encoding.unproved and splittable(self.ctx, self.k, split.inputs):
                self._each(targets, lambda target: self._branched(encoding, shared, target, self.tactic.first))
                self._split(split, targets)
            self._each(targets, lambda target: self._branched(encoding, shared, target, self._nodes))

    def _each(self, targets: list[_Target], work: Callable[[_Target], None]) -> None:
        """The targets still open, those nearest to a violation first; a violation that is deep enough, or the clock, ends it."""
        self.late = False
        for target in sorted(targets, key=lambda t: self.proved[t.disjunct]):
            if self.proved[target.disjunct] > 0 or target.disjunct in self.stuck:
                continue
            if self._violated:
                return
            if time.monotonic() >= self.end:
                self.late = True
                return
            self.limits.pop(target.disjunct, None)
            work(target)

    def _split(self, how: Splitting, targets: list[_Target]) -> None:
        """Halve the inputs for all targets at once. Half of the time that is left: boxes do not end where a row only touches zero."""
        open_ = [t for t in targets if not self.proved[t.disjunct] > 0]
        if self._violated or any(t.disjunct in self.stuck for t in open_):
            return  # neither can be proved any more
        refuted = torch.full((self._row.disjuncts,), inf, dtype=torch.float64)
        for target in open_:
            refuted[target.disjunct] = self.proved[target.disjunct]
        now = time.monotonic()
        here = self.ctx.take(torch.tensor([self.k]))  # on the CPU: it indexes tensors of every device
        found = cover(here, self._row, refuted, replace(how, end=now + (self.end - now) / 2), self._look)
        for target in open_:
            self._learn(target, float(found.lower[target.disjunct]) * target.factor, unproved=False)

    def _target(self, encoding: Encoding, disjunct: int) -> _Target:
        rows = (self._row.disjunct == disjunct).nonzero().flatten().tolist()
        weight, bias = self._row.weight[0, rows].numpy(), self._row.bias[0, rows].numpy()
        parts = [encoding.functional(w, float(b)) for w, b in zip(weight, bias, strict=True)]
        factor = _factor(encoding, parts)
        if factor != 1:
            parts = [encoding.functional(w, float(b)) for w, b in zip(weight * factor, bias * factor, strict=True)]
        if len(parts) == 1:
            return _Target(disjunct, parts[0].cost, parts[0].offset, None, factor)
        model = with_greatest(encoding.model, np.stack([p.cost for p in parts]), np.array([p.offset for p in parts]))
        return _Target(disjunct, model.cost, 0.0, model, factor)

    def _effort(self, nodes: float) -> Effort:
        return Effort(nodes, self.end, self.tactic.lp)

    def _on(self, target: _Target, choices: Choices, shared: Phases, work: Callable[[Phases], None]) -> None:
        """On the shared LP, or on one of the target's own."""
        if target.model is None:
            work(shared)
            return
        with Phases(target.model, choices, self.tactic.solvers) as own:
            try:
                work(own)
            finally:
                shared.notes.extend(own.notes)

    def _relaxed(self, encoding: Encoding, shared: Phases, target: _Target) -> None:
        """One LP."""
        def solve(tree: Phases) -> None:
            effort = self._effort(1)
            own = effort.own
            answer = tree.bound(target.cost, target.offset, effort)
            self._learn(target, answer.bound, unproved=encoding.unproved)
            if own and answer.status is Status.LIMIT:
                self._ended(target, f"{self.tactic.lp:g} s of one LP")
            if answer.point is not None:
                self._test(answer.point)

        if time.monotonic() >= self.end:
            self.late = True
            return
        self._on(target, encoding.choices, shared, solve)

    def _branched(self, encoding: Encoding, shared: Phases, target: _Target, nodes: float) -> None:
        def search(tree: Phases) -> None:
            found = tree.minimum(target.cost, target.offset, 0.0, self._effort(min(nodes, self._nodes)), self._test)
            self._learn(target, found.lower, unproved=encoding.unproved)
            self.late = self.late or found.late
            if found.limit is not None:
                self._ended(target, found.limit)
            if not found.complete and not found.late and found.nodes < min(nodes, self._nodes):
                self.stuck.add(target.disjunct)

        self._on(target, encoding.choices, shared, search)

    def _mixed(self, encoding: Encoding, target: _Target) -> None:
        """The solver's own branching; its bound is its word, what the root's multipliers prove is not."""
        base = encoding.model if target.model is None else target.model
        model = with_binaries(base, encoding.choices)
        cost = np.zeros(len(model.lower))
        cost[: len(target.cost)] = target.cost
        own = self.tactic.milp < self.end - time.monotonic()
        answer = self._asked(model, cost)
        if answer.point is not None:
            self._test(answer.point)
        if answer.infeasible:
            self._learn(target, inf, unproved=encoding.unproved)
        claimed = _claimed(answer) + target.offset
        if claimed > self._at_centre(target.disjunct) * target.factor + _CLAIM:
            self.note(f"E-SOLVER-CONTRADICTION: at least {claimed / target.factor:g} is claimed, where an input has less")
        else:
            self._learn(target, claimed, unproved=True)
        if own and answer.status is Status.LIMIT:
            self._ended(target, f"{self.tactic.milp:g} s of one MILP")
        self.late = self.late or (answer.status is Status.LIMIT and not own)

    def _asked(self, model: Model, cost: np.ndarray) -> SolverAnswer:
        """The first solver's answer to a MILP that is one."""
        for solvers in (self.tactic.solvers[k:] for k in range(len(self.tactic.solvers))):
            seconds = min(self.tactic.milp, self.end - time.monotonic())
            with Session(model, solvers) as session:
                session.set_cost(cost)
                answer = session.solve(Limits(max(1e-3, seconds)))
                self.notes += [f"{t.code}: {t.what}" for t in (*session.notes, *answer.troubles)]
            if answer.status is not Status.UNKNOWN or time.monotonic() >= self.end:
                break
            self.note(f"E-SOLVER-UNPROVED: {solvers[0]} has no answer to a MILP")
        return answer

    def _learn(self, target: _Target, bound: float, *, unproved: bool) -> None:
        if bound == inf and not self.ctx.assumed:
            # Every region has an execution, and every execution is a point of the model.
            self.note("E-SOLVER-CONTRADICTION: a model without any point, where every input is one")
            return
        if abs(bound) < inf:
            bound = next_below(bound / target.factor)
        for book in (self.claimed,) if unproved else (self.claimed, self.proved):
            book[target.disjunct] = max(book[target.disjunct], bound)  # in this order: NaN is never the greater one

    # ---- candidates --------------------------------------------------------------------------------------------

    @property
    def _violated(self) -> bool:
        return self._depth < -_DEEP

    def _test(self, columns: np.ndarray) -> bool:
        """Look at the network itself at an LP's input; whether it violates the property beyond doubt."""
        size = self.ctx.graph.input.size
        hull = self.ctx.region.hull.take(torch.tensor([self.k], device=self.ctx.region.hull.lower.device))
        point = torch.from_numpy(columns[:size].copy()).reshape(1, *self.ctx.graph.input.shape)
        point = torch.minimum(torch.maximum(point, hull.lower.cpu()), hull.upper.cpu())
        if self.ctx.region.beyond_hull:
            point = torch.from_numpy(self.ctx.region.project(self.k, point[0].numpy()))[None]
        with torch.no_grad():
            output = self.ctx.graph(point.to(self.ctx.numerics.device)).cpu()
        return self._look(point, output) is not None

    def _at_centre(self, disjunct: int) -> float:
        """The greatest row of a disjunct at the region's centre."""
        with torch.no_grad():
            output = self.ctx.graph(self.ctx.region.center[self.k : self.k + 1].to(self.ctx.numerics.device)).cpu()
        return float(self._row.values(output)[0, self._row.disjunct == disjunct].max())

    def _greatest(self, outputs: Tensor) -> Tensor:
        """(P,): the least over the disjuncts of the greatest row at outputs (P, *shape), relative to the size of its summands."""
        spec = self._row.take(torch.zeros(len(outputs), dtype=torch.int64))
        sizes = torch.einsum("brn,bn->br", spec.weight.abs(), outputs.flatten(1).double().abs()) + spec.bias.abs()
        share = torch.nan_to_num(spec.values(outputs) / sizes.clamp(min=1e-300), nan=inf)
        greatest = torch.full((len(outputs), spec.disjuncts), -inf, dtype=torch.float64)
        return greatest.scatter_reduce(1, spec.disjunct.expand_as(share), share, "amax").amin(1)

    def _look(self, points: Tensor, outputs: Tensor) -> Tensor | None:
        """Remember the best of some points (P, *input) of the region; it, where it violates the property beyond doubt."""
        depth = self._greatest(outputs.cpu())
        best = int(depth.argmin())
        if float(depth[best]) < self._depth:
            self._depth, self.best = float(depth[best]), points[best].double().cpu()
        return self.best if self._violated else None


def _factor(encoding: Encoding, parts: list[Functional]) -> float:
    """A power of two that lifts rows whose summands are below 1 to about 1; products with it are exact."""
    reach = np.maximum(np.abs(encoding.model.lower), np.abs(encoding.model.upper))
    with np.errstate(invalid="ignore", over="ignore"):
        size = max(float(np.where(p.cost != 0, np.abs(p.cost) * reach, 0.0).sum()) + abs(p.offset) for p in parts)
    return 2.0 ** min(200, -int(np.floor(np.log2(size)))) if 0 < size < 1 else 1.0


def _claimed(answer: SolverAnswer) -> float:
    """What a MILP solver says the objective is at least, with room for its tolerances; -inf where it says nothing."""
    claimed = answer.value if answer.claimed is None and answer.status is Status.OPTIMAL else answer.claimed
    if claimed is None or not np.isfinite(claimed):
        return -inf
    return claimed - _CLAIM * (1 + abs(claimed))
