"""Branching by linear programs over the instances of a batch: on phases, or a mixed-integer program that the solver branches itself.

Every bound is a safe bound, unless it says that it is a MILP's word; a limit, a crash or NaN leaves what was proved before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.builder import with_binaries
from absint.engine.context import Context
from absint.engine.evidence import Leaf
from absint.numeric.backend import Budget, DeadlineError
from absint.numeric.outward import next_below
from absint.problem.spec import Spec
from absint.search.bounders.models import InstancePrograms, Models, undecided
from absint.search.branchers.brancher import Brancher, Grown, Trees
from absint.search.branchers.phases import Effort, PhaseTree
from absint.search.candidates import Candidates
from absint.search.frontier import Nodes
from absint.solvers.model import Limits, Model, ModelError, SolverAnswer, SolverError, Status
from absint.solvers.session import Session

# What a MILP's claimed bound is lowered by: answers were seen to be off by 6e-6.
_CLAIM = 1e-4
# Of the memory, what models and sessions may take.
_SHARE = 4


@dataclass(frozen=True)
class Solving:
    """What programs may use. solvers: as of `Session`.  nodes: LPs a disjunct, inf for no limit.  undecided: instances with more
    undecided entries have no programs.  lp: seconds of one LP.  milp: of one MILP, where there is one.
    """

    solvers: tuple[str, ...]
    nodes: float = inf
    undecided: float = inf
    lp: float = 60.0
    milp: float = 60.0


class ByPhases(Brancher):
    """Phases imposed on a warm LP of each disjunct; see `PhaseTree`."""

    def __init__(self, ctx: Context, spec: Spec, trees: Trees, how: Solving, candidates: Candidates) -> None:
        self.ctx, self.spec, self.trees, self.how, self.candidates = ctx, spec, trees, how, candidates
        self._notes: list[tuple[int, str]] = []
        self._limits: dict[int, str] = {}
        self.failed = torch.zeros(len(trees), dtype=torch.bool)    # no program could be made or solved
        self.unproved = torch.zeros(len(trees), dtype=torch.bool)  # what it rests on is a solver's word
        self.exact = torch.zeros(len(trees), dtype=torch.bool)     # fully divided nodes are the network itself
        self.factor = torch.ones(len(trees), dtype=torch.float64)
        self.solved = torch.zeros(len(trees), dtype=torch.int64)   # LPs
        self.models = Models(ctx, spec, how.solvers, self._report, ctx.budget.memory / _SHARE)
        self._trees: dict[int, PhaseTree] = {}
        self.recorder = ctx.recording
        self._why: dict[int, list[Leaf]] = {}

    def able(self) -> Tensor:
        """Where the instance is not void, and has few undecided entries."""
        if self.ctx.numerics.float32_semantics:
            return torch.zeros(len(self.trees), dtype=torch.bool)
        fine = (undecided(self.ctx) <= self.how.undecided) & ~self.ctx.empty.cpu()
        return fine[self.trees.instance]

    def roots(self, trees: Tensor, refuted: Tensor) -> Nodes:
        """See `PhaseTree.root`; nothing known before is carried over: bounds are in the units of the LP."""
        return Nodes.joined([PhaseTree.root(int(tree)) for tree in trees])

    @property
    def spent(self) -> Tensor:
        """Trees that have had their LPs, and those whose programs fail."""
        return self.failed | (self.solved >= self.how.nodes)

    @property
    def notes(self) -> list[tuple[int, str]]:
        """What the solvers reported."""
        return list(dict.fromkeys(self._notes))

    def limit(self, tree: int) -> str | None:
        """See `PhaseTree.limit`; a single LP is all that was wanted."""
        if tree not in self._trees or bool(self.failed[tree]):
            return None
        return self._trees[tree].limit(self._effort(inf), int(self.how.nodes > 1))

    def proved(self, lower: Tensor) -> tuple[Tensor, Tensor]:
        """In the units of the property; a model without any point proves nothing where nothing is assumed."""
        if not self.ctx.assumed and bool((lower == inf).any()):
            # Every region has an execution, and every execution is a point of the model.
            for tree in (lower == inf).nonzero().flatten().tolist():
                self._report(int(self.trees.instance[tree]), "E-SOLVER-CONTRADICTION: a model without any point, where every input is one")
            lower = torch.where(lower == inf, -inf, lower)
        finite = lower.abs() < inf
        scaled = torch.where(finite, torch.from_numpy(next_below((lower / self.factor).numpy())), lower)
        return torch.where(self.unproved, -inf, scaled), scaled

    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """Nodes of one tree: the LPs of their children."""
        tree = int(nodes.tree[0])
        effort = self._effort(budget.deadline)
        return self._programs(tree, nodes, lambda programs: self._expanded(tree, programs, nodes, effort))

    def leaves(self, tree: int) -> Sequence[Leaf] | None:
        """Each with the multipliers, or the ray, of its LP."""
        return self._why.get(tree)

    def _expanded(self, tree: int, programs: InstancePrograms, nodes: Nodes, effort: Effort) -> Grown:
        phases = self._tree(tree, programs)
        if self.recorder is None:
            return phases.expand(nodes, effort)
        phases.why = []
        grown = phases.expand(nodes, effort)
        disjunct = int(self.trees.disjunct[tree])
        closed = [programs.leaf(disjunct, *why, self.recorder) for why in phases.why]
        self._why.setdefault(tree, []).extend(closed)
        return grown

    def close(self) -> None:
        """Free the solvers."""
        self.models.close()

    def release(self, instance: int) -> None:
        """Free the programs of one instance."""
        self.models.forget(instance)

    def _effort(self, deadline: float) -> Effort:
        return Effort(self.how.nodes, deadline, self.how.lp)

    def _programs(self, tree: int, nodes: Nodes, work: Callable[[InstancePrograms], Grown]) -> Grown:
        """Some work on a tree's programs; where they fail nothing more is done for the tree, and its nodes stay as they are."""
        instance = int(self.trees.instance[tree])
        try:
            programs = self.models.of(instance)
            self.unproved[tree], self.exact[tree] = programs.encoding.unproved, programs.encoding.exact
            try:
                self.factor[tree] = programs.target(int(self.trees.disjunct[tree])).factor
                return work(programs)
            finally:
                self.solved[tree] = self._trees[tree].solved if tree in self._trees else 0
                programs.told()
        except (SolverError, ModelError) as error:
            self._report(instance, f"{error.code}: {error.what}")
            self.failed[tree], self.exact[tree] = True, False
            return Grown(held=(nodes.tree, nodes.bound))

    def _tree(self, tree: int, programs: InstancePrograms) -> PhaseTree:
        """The tree over the LP that its instance has now."""
        instance, disjunct = int(self.trees.instance[tree]), int(self.trees.disjunct[tree])
        target, phases = programs.target(disjunct), programs.phases(disjunct)
        found = self._trees.get(tree)
        if found is None:
            found = PhaseTree(phases, target.cost, target.offset, 0.0, lambda columns: self.candidates.columns(instance, columns), tree)
            self._trees[tree] = found
        found.phases, found.cost = phases, target.cost
        return found

    def _report(self, instance: int, text: str) -> None:
        self._notes.append((instance, text))


class ByMixedPrograms(ByPhases):
    """The LP of each disjunct, then one MILP: the solver's own branching. Its bound is its word.

    Source: Tjeng et al., ICLR 2019, section 4.
    """

    def __init__(self, ctx: Context, spec: Spec, trees: Trees, how: Solving, candidates: Candidates) -> None:
        super().__init__(ctx, spec, trees, how, candidates)
        self.word = torch.full((len(trees),), -inf, dtype=torch.float64)

    @property
    def spent(self) -> Tensor:
        """Trees whose programs fail: the one LP does not count, and the MILP leaves no open node."""
        return self.failed

    def proved(self, lower: Tensor) -> tuple[Tensor, Tensor]:
        """What the LPs prove; what the MILPs say beside it."""
        sound, claimed = super().proved(lower)
        return sound, torch.fmax(claimed, self.word)

    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """A root: its LP. What that leaves open: the MILP."""
        if int(nodes.columns["choice"][0]) < 0:
            return super().expand(nodes, budget)
        tree = int(nodes.tree[0])
        return self._programs(tree, nodes, lambda programs: self._mixed(tree, nodes, programs, budget.deadline))

    def _mixed(self, tree: int, nodes: Nodes, programs: InstancePrograms, deadline: float) -> Grown:
        instance, disjunct = int(self.trees.instance[tree]), int(self.trees.disjunct[tree])
        target = programs.target(disjunct)
        model = with_binaries(target.model or programs.encoding.model, programs.encoding.choices)
        cost = np.zeros(len(model.lower))
        cost[: len(target.cost)] = target.cost
        own = self.how.milp < deadline - time.monotonic()
        answer = self._asked(instance, model, cost, deadline)
        if answer.point is not None:
            self.candidates.columns(instance, answer.point)
        claimed = (_claimed(answer) + target.offset) / target.factor
        if claimed > self._at_centre(instance, disjunct) + _CLAIM / target.factor:
            self._report(instance, f"E-SOLVER-CONTRADICTION: at least {claimed:g} is claimed, where an input has less")
        elif claimed > -inf:
            self.word[tree] = max(float(self.word[tree]), float(next_below(claimed)))
        if answer.infeasible:
            return Grown(closed=(nodes.tree, torch.tensor([inf], dtype=torch.float64)))
        if answer.status is Status.LIMIT:
            if not own:
                raise DeadlineError
            self._limits[tree] = f"{self.how.milp:g} s of one MILP"
        return Grown(held=(nodes.tree, nodes.bound))

    def limit(self, tree: int) -> str | None:
        """The MILP's, or the LP's."""
        return self._limits.get(tree) or super().limit(tree)

    def _asked(self, instance: int, model: Model, cost: np.ndarray, deadline: float) -> SolverAnswer:
        """The first solver's answer to a MILP that is one."""
        for solvers in (self.how.solvers[k:] for k in range(len(self.how.solvers))):
            seconds = min(self.how.milp, deadline - time.monotonic())
            with Session(model, solvers) as session:
                session.set_cost(cost)
                answer = session.solve(Limits(max(1e-3, seconds)))
                for trouble in (*session.notes, *answer.troubles):
                    self._report(instance, f"{trouble.code}: {trouble.what}")
            if answer.status is not Status.UNKNOWN or time.monotonic() >= deadline:
                break
            self._report(instance, f"E-SOLVER-UNPROVED: {solvers[0]} has no answer to a MILP")
        return answer

    def _at_centre(self, instance: int, disjunct: int) -> float:
        """The greatest row of a disjunct at the region's centre."""
        with torch.no_grad():
            output = self.ctx.graph(self.ctx.region.center[instance : instance + 1].to(self.ctx.numerics.device)).cpu()
        spec = self.models.spec.take(torch.tensor([instance]))
        return float(spec.values(output)[0, spec.disjunct == disjunct].max())


def _claimed(answer: SolverAnswer) -> float:
    """What a MILP solver says the objective is at least, with room for its tolerances; -inf where it says nothing."""
    claimed = answer.value if answer.claimed is None and answer.status is Status.OPTIMAL else answer.claimed
    if claimed is None or not np.isfinite(claimed):
        return -inf
    return claimed - _CLAIM * (1 + abs(claimed))
