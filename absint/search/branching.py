"""Branch and bound over a batch of instances: one frontier, any kinds of division, and the order in which nodes are taken from it.

The instance that had the least time has the next turn. Within an instance the kinds of division alternate, each with a budget that
doubles in every round and is counted in nodes, so that what an instance is answered depends on no clock but that which ends it, and
on nobody beside it. The disjuncts nearest to a violation come first; a disjunct is refuted when one tree of any kind is closed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.numeric.backend import Budget, DeadlineError, is_out_of_memory
from absint.problem.spec import Refutation, Spec
from absint.search.branchers.boxes import ByBoxes, Splitting
from absint.search.branchers.brancher import Brancher
from absint.search.branchers.by_phases import ByMixedPrograms, ByPhases, Solving
from absint.search.candidates import Candidates
from absint.search.descents import Descents
from absint.search.frontier import Frontier, Nodes
from absint.search.over_trees import OverTrees

# Of the memory, what open nodes may take: bounding them needs the rest.
_SHARE = 4
# LPs and boxes of an instance in the first round; each round doubles both. An LP of a small network takes about as long as 25 boxes.
_FIRST_LPS, _FIRST_BOXES = 8, 512
# Where no time ends a search: boxes for each LP that it may take.
_BOXES_FOR_AN_LP = 8
# Seconds of one instance's LPs before another one's turn comes.
_TURN = 0.3


@dataclass(frozen=True)
class Tactic:
    """How far to go. solvers: as of `Session`.  nodes: LPs a disjunct; 1 for no branching, 0 for no LP, inf for no limit.

    patience: LPs a disjunct where the context has no deadline, and eight boxes an instance for each.  undecided: instances with
    more undecided entries have no LPs.  lp, milp: seconds of one LP, of one MILP; milp 0 for none.
    splitting: how regions of few inputs are halved; None for not at all.
    """

    solvers: tuple[str, ...]
    nodes: float = 1
    patience: float = inf
    undecided: float = inf
    lp: float = 60.0
    milp: float = 0.0
    splitting: Splitting | None = None


class Branching(OverTrees):
    """The disjuncts that `refuted` (batch, disjuncts) leaves open, by the tactic. `ctx.known` must be total."""

    def __init__(self, ctx: Context, spec: Spec, refuted: Tensor, tactic: Tactic) -> None:
        super().__init__(refuted, Candidates(ctx, spec))
        self.tactic, self.recorder, trees = tactic, ctx.recording, self.trees
        self.claimed = self.refuted.clone()
        self.descents = Descents(ctx, spec, self.candidates)
        self._patience = inf if isfinite(ctx.budget.deadline) else tactic.patience
        nodes = min(tactic.nodes, self._patience)
        self.nodes = inf if tactic.milp else nodes               # after one LP a MILP, and nothing more
        how = Solving(tactic.solvers, nodes, tactic.undecided, tactic.lp, tactic.milp or inf)
        self.phases = (ByMixedPrograms if tactic.milp else ByPhases)(ctx, spec, trees, how, self.candidates)
        self.kinds: list[Brancher] = [self.phases]
        if tactic.splitting is not None:
            self.kinds.append(ByBoxes(ctx, spec, trees, tactic.splitting, self.candidates.look))
        self.frontier = Frontier(len(self.kinds), len(trees), ctx.budget.memory / _SHARE)
        able = self.plant()
        batch = len(self.refuted)
        self.spent = torch.zeros(batch, dtype=torch.float64)     # seconds
        self.boxes = torch.zeros(batch, dtype=torch.int64)       # taken from the frontier
        self.round = torch.zeros(batch, dtype=torch.int64)
        self._divisible = torch.zeros_like(self.live)            # by more than one kind
        self._divisible[trees.instance[able[1:].any(0)]] = True
        self._root = torch.full((len(trees),), -inf, dtype=torch.float64)
        self._crowded = torch.zeros_like(self.live)              # gave up its open nodes, which took all the memory
        self._told = 0                                           # notes
        self._fit = 1 << 30                                      # boxes that memory was seen to suffice for

    # ---- what is open ------------------------------------------------------------------------------------------

    @property
    def open(self) -> Tensor:
        """Instances with a tree that may still be divided, none of whose points violates the property beyond doubt."""
        return self._instances(self._ready().any(0))

    def _ready(self) -> Tensor:
        """(kinds, T) trees with open nodes that are worth a look."""
        mine = self.trees.instance
        worth = (self.live & ~self.candidates.violated)[mine] & ~(self.refuted[mine, self.trees.disjunct] > 0)
        ready = (self.frontier.counts > 0) & worth & torch.stack([~kind.spent for kind in self.kinds])
        ready &= ~self._crowded[mine]
        if len(self.kinds) > 1:
            # What a fully divided leaf of an exact relaxation does not prove, no halves do.
            vain = self._instances(self.frontier.held[0] & self.phases.exact)
            ready[1] &= ((self.boxes < self._most_boxes) & ~vain)[mine]
        return ready

    @property
    def _most_boxes(self) -> float:
        return 0 if self.tactic.splitting is None else min(self.tactic.splitting.boxes, _BOXES_FOR_AN_LP * self._patience)

    # ---- steps -------------------------------------------------------------------------------------------------

    def step(self, budget: Budget) -> Refutation:
        """One turn: LPs of one instance, or a batch of boxes of all instances whose turn is for boxes."""
        begin = time.monotonic()
        ready, boxing = self._turn()
        if boxing is not None:
            sharing = boxing
            self._halve(ready[1] & boxing[self.trees.instance], budget)
        else:
            instances = self.trees.instance[ready[0]]
            chosen = int(instances[self.spent[instances].argmin()])
            sharing = torch.arange(len(self.live)) == chosen
            self._solve(ready[0] & (self.trees.instance == chosen), budget)
        self._descend(budget)
        self.spent[sharing] += (time.monotonic() - begin) / max(1, int(sharing.sum()))
        return self._learnt()

    def _descend(self, budget: Budget) -> None:
        """Where it is time, from what the open nodes of instances showed, after boxes and LPs of their own."""
        programs = torch.zeros_like(self.boxes).index_add_(0, self.trees.instance, self.phases.solved)
        self.descents.step(self.boxes + programs, self.open, budget)

    def _turn(self) -> tuple[Tensor, Tensor | None]:
        """(kinds, T) what this round has left, and the instances (batch,) to be halved where the next turn is one of boxes."""
        ready, mine = self._ready(), self.trees.instance
        while True:
            due = ready.clone()
            due[0] &= self.phases.solved < self._lps[mine]
            if len(self.kinds) > 1:
                due[1] &= (~self._instances(due[0]) & (self.boxes < _FIRST_BOXES * 2.0**self.round))[mine]
            idle = self._instances(ready.any(0)) & ~self._instances(due.any(0))
            if not bool(idle.any()):
                break
            self.round[idle] += 1
        boxing = self._instances(due[1:].any(0))
        waiting = self._instances(due.any(0)).nonzero().flatten()
        next_ = waiting[self.spent[waiting].argmin()]
        return due, boxing if bool(boxing[next_]) else None

    @property
    def _lps(self) -> Tensor:
        """(batch,) LPs of a disjunct until this round ends; where there is no other kind of division, nothing is to be waited for."""
        left = torch.bincount(self.trees.instance[self.frontier.counts[0] > 0], minlength=len(self.live))
        share = (_FIRST_LPS / left.clamp(min=1)).ceil() * 2.0**self.round
        return torch.where(self._divisible, share.clamp(max=self.nodes), self.nodes)

    def _halve(self, trees: Tensor, budget: Budget) -> None:
        """One batch of boxes; half of it where memory does not suffice."""
        most = min(self.kinds[1].batch(budget), self._fit)
        nodes = self.frontier.newest(1, trees, most)
        assert nodes is not None
        try:
            if self._expand(1, nodes, budget):
                self._fit = min(2 * self._fit, 1 << 30)
                self.boxes += torch.bincount(self.trees.instance[nodes.tree], minlength=len(self.boxes))
        except Exception as error:
            if not is_out_of_memory(error) or len(nodes) == 1:
                raise
            self._fit = len(nodes) // 2

    def _solve(self, trees: Tensor, budget: Budget) -> None:
        """One instance's LPs for a while: every root first, then the disjunct nearest to a violation, as far as this round goes."""
        end = min(time.monotonic() + _TURN, budget.deadline)
        todo = trees.nonzero().flatten().tolist()
        instance = int(self.trees.instance[todo[0]])
        most = float(self._lps[instance])
        new = [tree for tree in todo if not self.phases.solved[tree]]
        nearest = sorted((tree for tree in todo if self.phases.solved[tree]), key=lambda tree: float(self._root[tree]))
        for tree in new or nearest:
            while self.phases.solved[tree] < most:
                nodes = self.frontier.least(0, tree)
                if nodes is None or not self._expand(0, nodes, budget):
                    break
                if new:
                    # One disjunct after the other, in this order: an LP that changes its objective is not warm.
                    self._root[tree] = self.frontier.lower[0, tree]
                    break
                if bool(self.candidates.violated[instance]) or bool(self.phases.spent[tree]) or time.monotonic() >= end:
                    break
            if bool(self.candidates.violated[instance]) or time.monotonic() >= end:
                return

    def _expand(self, kind: int, nodes: Nodes, budget: Budget) -> bool:
        """What becomes of nodes that were taken out; whatever stops the work, they are open as before."""
        try:
            grown = self.kinds[kind].expand(nodes, budget)
        except DeadlineError:
            self.frontier.restore(kind)
            return False
        except BaseException:
            self.frontier.restore(kind)
            raise
        self.frontier.settle(kind, grown.open, grown.closed, grown.held)
        return True

    # ---- what is learnt ----------------------------------------------------------------------------------------

    def _learnt(self) -> Refutation:
        """What all trees prove so far."""
        lower = self.frontier.lower
        place = (self.trees.instance, self.trees.disjunct)
        proved = [kind.proved(lower[number]) for number, kind in enumerate(self.kinds)]
        if self.recorder is not None:
            self._record(self.recorder, torch.stack([sound for sound, _ in proved]))
        for sound, claimed in proved:
            self.refuted[place] = torch.fmax(self.refuted[place], sound)
            self.claimed[place] = torch.fmax(self.claimed[place], torch.fmax(sound, claimed))
        self._drop(self._done)
        self._make_room()
        notes = [note for kind in self.kinds for note in kind.notes]
        new, self._told = notes[self._told :], len(notes)
        words = self.claimed.clone() if bool((self.claimed > self.refuted).any()) else None
        over = self._ended()
        return Refutation(self.refuted.clone(), words, self._points(over), None, tuple(new), tuple(self._limits(over)))

    def _make_room(self) -> None:
        """Where open nodes take all the memory there is for them, those of the instance that has most are given up; its bounds stay."""
        while self.frontier.full:
            greatest, count = self._most_open()
            if not count:
                return
            self._crowded[greatest] = True
            self._drop(self.trees.instance == greatest)

    def left_out(self, disjunct: int) -> str:
        """Some kinds know of no leaves."""
        return f"why the leaves of disjunct {disjunct} are closed is not recorded"

    def _limits(self, over: Tensor) -> list[tuple[int, str]]:
        """(instance, the limit of the method's own that left it open) where the search is over."""
        found: list[tuple[int, str]] = []
        mine = self.trees.instance
        for tree in (over[mine] & ~(self.refuted[mine, self.trees.disjunct] > 0)).nonzero().flatten().tolist():
            instance = int(self.trees.instance[tree])
            limit = self.phases.limit(tree)
            if limit is None and bool(self._crowded[instance]):
                limit = "memory for open nodes"
            if limit is None and len(self.kinds) > 1 and self._most_boxes <= int(self.boxes[instance]):
                limit = f"{self._most_boxes:g} boxes"
            if limit is not None and not any(k == instance for k, _ in found):
                found.append((instance, f"ended by a limit of the method: {limit}"))
        return found

    def keep(self, live: Tensor) -> None:
        """Drop the others' nodes and programs."""
        gone = self.live & ~live.cpu()
        super().keep(live)
        for instance in gone.nonzero().flatten().tolist():
            self.phases.release(instance)

    def close(self) -> None:
        """Free the solvers."""
        for kind in self.kinds:
            kind.close()
