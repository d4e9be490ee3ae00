"""Branch and bound in neuron space over a batch of instances: trees of cuts on the one frontier, scores that race.

No score of candidates wins everywhere, by factors of a hundred: every tree is grown by each, with as many nodes at first, and then most
nodes go where more of the tree is closed. A disjunct is refuted when one tree of it is. The instance that had the least work is next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.context import Context
from absint.numeric.backend import Budget, DeadlineError, is_out_of_memory
from absint.problem.spec import Refutation, Spec
from absint.search.branchers.by_cuts import ByCuts, Cutting, Roots
from absint.search.candidates import Candidates
from absint.search.descents import Descents
from absint.search.frontier import Frontier, Nodes
from absint.search.over_trees import OverTrees

# Of the memory, what open nodes may take: twice that while their arrays grow, and bounding nodes needs the rest.
_SHARE = 3
# Nodes after which a race is judged for the first time, and by how much the better one is preferred.
_RACE, _PREFERRED = 256, 8
# Where a search ends with open nodes, their bounds are proved: proofs for each node that was bounded, at least and at most.
_PROOFS, _LEAST_PROOFS, _MOST_PROOFS = 0.2, 64, 1024
# Of the time that a search had, what is left when these proofs begin; and that in steps, which may be long.
_LAST, _LAST_STEPS = 0.02, 2.0


@dataclass(frozen=True)
class Growing:
    """How far trees are grown. kinds: those that race.  nodes: of one instance at most.  patience: the same where there is no deadline.

    unlimited: instances with more undecided entries have no limit of `nodes`, as nothing comes after; inf for none.
    told: whether the user hears of what could not be cut.
    """

    kinds: tuple[Cutting, ...]
    nodes: float = inf
    patience: float = inf
    unlimited: float = inf
    told: bool = False


class TreeSearch(OverTrees):
    """The disjuncts that `refuted` (batch, disjuncts) leaves open, by trees of cuts. `ctx.known` must be total, with a reference."""

    kinds: list[ByCuts]

    def __init__(self, ctx: Context, spec: Spec, refuted: Tensor, relax: Relax, how: Growing) -> None:
        super().__init__(refuted, Candidates(ctx, spec))
        self.recorder, self.tells, trees = ctx.recording, how.told, self.trees
        self.descents = Descents(ctx, spec, self.candidates)
        self.shared = shared = Roots(ctx, spec, trees, relax, self.candidates.inputs)
        many = shared.net.open.sum(1).cpu() > how.unlimited
        patience = inf if isfinite(ctx.budget.deadline) else how.patience
        self.most = torch.where(many, inf, how.nodes).double().clamp(max=patience)      # (batch,) nodes
        self.kinds = [ByCuts(shared, one) for one in how.kinds]
        self.frontier = Frontier(len(self.kinds), len(trees), ctx.budget.memory / _SHARE)
        self.plant()
        self.crowded = torch.zeros_like(self.live)
        self.nodes = torch.zeros((len(self.kinds), len(trees)), dtype=torch.int64)     # bounded
        self._reached = ~self.live      # whose open nodes' bounds were proved
        self._begun, self._longest = time.monotonic(), 0.0
        self._fit = 1 << 30
        self._races: dict[int, _Race] = {}

    @property
    def open(self) -> Tensor:
        """Instances with a tree that may still grow."""
        return self._instances(self._ready().any(0))

    def _ready(self) -> Tensor:
        """(kinds, T)."""
        mine = self.trees.instance
        worth = (self.live & ~self.candidates.violated & ~self.crowded & (self._spent < self.most))[mine]
        worth = worth & ~(self.refuted[mine, self.trees.disjunct] > 0)
        return (self.frontier.counts > 0) & worth

    @property
    def _spent(self) -> Tensor:
        """(batch,) nodes."""
        return torch.zeros(len(self.live), dtype=torch.int64).index_add_(0, self.trees.instance, self.nodes.sum(0))

    # ---- steps -------------------------------------------------------------------------------------------------

    def step(self, budget: Budget) -> Refutation:
        """One batch of nodes of one instance; where there is a device, of all that wait."""
        now = time.monotonic()
        if budget.deadline - now <= max(_LAST * (now - self._begun), _LAST_STEPS * self._longest):
            # Time is about to end what is open: first what was found is proved.
            self._reach(self.live & ~self._reached, budget)
        ready = self._ready()
        if self.shared.net.device.type == "cpu":
            waiting = self._instances(ready.any(0)).nonzero().flatten()
            ready &= self.trees.instance == waiting[self._spent[waiting].argmin()]
        kind, trees = self._turn(ready)
        nodes = self.frontier.newest(kind, trees, min(self.kinds[kind].batch(budget), self._fit))
        assert nodes is not None
        self._expand(kind, nodes, budget)
        self.descents.step(self._spent, self.open, budget)
        self._longest = max(self._longest, time.monotonic() - now)
        return self._learnt(budget)

    @property
    def said(self) -> str:
        """Open nodes, nodes a second, and of one instance the bound that was found, which is no proof."""
        seconds = time.monotonic() - self._begun
        total = int(self.nodes.sum())
        text = f"{int(self.frontier.counts.sum())} nodes open, {total / seconds if seconds > 0 else 0:.0f}/s"
        mine = self._ready().any(0)
        if not total or int(self._instances(mine).sum()) != 1:
            return text
        return f"{text}, ~{float(self._found.amax(0)[mine].amin()):.3g}"

    @property
    def _found(self) -> Tensor:
        """(kinds, T): bounds of the search, not rounded."""
        least = torch.stack([self.frontier.least_column(k, "estimate") if self.frontier.waiting(k) is not None else self.frontier.left[k]
                             for k in range(len(self.kinds))])
        return torch.minimum(least, self.frontier.left)

    def _turn(self, ready: Tensor) -> tuple[int, Tensor]:
        """The kind that is next, and its trees: the one that had least, in proportion to how well it does."""
        if len(self.kinds) == 1:
            return 0, ready[0]
        worth, mine = ready.any(1), ready.any(0)
        nodes = (self.nodes * mine).sum(1)
        race = self._races.setdefault(int(self.trees.instance[mine][0]), _Race(len(self.kinds)))
        weight = torch.ones(len(self.kinds), dtype=torch.float64)
        weight[race.winner(nodes, torch.stack([(kind.done * mine).sum() for kind in self.kinds]))] = _PREFERRED
        kind = int(torch.where(worth, nodes / weight, inf).argmin())
        return kind, ready[kind]

    def _expand(self, kind: int, nodes: Nodes, budget: Budget) -> None:
        """What becomes of nodes that were taken out; whatever stops the work, they are open as before."""
        try:
            grown = self.kinds[kind].expand(nodes, budget)
        except DeadlineError:
            self.frontier.restore(kind)
            return
        except Exception as error:
            self.frontier.restore(kind)
            if not is_out_of_memory(error) or len(nodes) == 1:
                raise
            self._fit = len(nodes) // 2
            return
        except BaseException:
            self.frontier.restore(kind)
            raise
        self.frontier.settle(kind, grown.open, grown.closed, grown.held)
        self.nodes[kind].index_add_(0, nodes.tree, torch.full((len(nodes),), 2))

    # ---- what is learnt ----------------------------------------------------------------------------------------

    def _learnt(self, budget: Budget) -> Refutation:
        """What all trees prove so far."""
        if self.recorder is not None:
            self._record(self.recorder, self.frontier.lower)
        self._reach(self.live & (self._spent >= self.most) & ~self._reached, budget)
        self._tell()
        while self.frontier.full and bool(self.frontier.counts.any()):
            self._give_up(budget)
        over = self._ended()
        return Refutation(self.refuted.clone(), None, self._points(over), None, self.uncut(over), tuple(self._limits(over)))

    def uncut(self, over: Tensor) -> tuple[tuple[int, str], ...]:
        """(instance, what kept the root's relaxation) of those in the mask (batch,) that stay open, where the user is to hear of it."""
        names = self.shared.net.uncut if self.tells else []
        text = f"no cut of {', '.join(names)}: there the relaxation of the root stays"
        return tuple((k, text) for k in (over & ~(self.refuted > 0).all(1)).nonzero().flatten().tolist()) if names else ()

    def _tell(self) -> None:
        """The disjuncts' bounds are those of their trees; whose tree is proved has no nodes any more."""
        place = (self.trees.instance, self.trees.disjunct)
        for number, kind in enumerate(self.kinds):
            sound, _ = kind.proved(self.frontier.lower[number])
            self.refuted[place] = torch.fmax(self.refuted[place], sound)
        self._drop(self._done)

    def _reach(self, instances: Tensor, budget: Budget) -> None:
        """Rounded bounds of the open nodes of instances in the mask (batch,): until then they have those of nodes far above.

        So many proofs as are a small share of the work that there was; whatever ends them, what is proved stays.
        """
        self._reached |= instances
        better = self._found.argmax(0)
        try:
            for instance in (instances & ~(self.refuted > 0).all(1)).nonzero().flatten().tolist():
                most = min(_MOST_PROOFS, max(_LEAST_PROOFS, int(_PROOFS * int(self._spent[instance]))))
                for number, kind in enumerate(self.kinds):
                    nodes = self.frontier.waiting(number)
                    trees = (self.trees.instance == instance) & (better == number) & (self.frontier.counts[number] > 0)
                    if nodes is not None and bool(trees.any()):
                        places = trees[nodes.tree].nonzero().flatten()
                        for some, bound in kind.reached(nodes, places, most, budget):
                            self.frontier.raised(number, some, bound)
        except DeadlineError:
            pass
        except Exception as error:
            if not is_out_of_memory(error):
                raise

    def left_out(self, disjunct: int) -> str:
        """There was no room."""
        memory = 0 if self.recorder is None else self.recorder.memory
        return f"leaves of disjunct {disjunct} beyond {memory:g} bytes of slopes are left out"

    def _give_up(self, budget: Budget) -> None:
        """The open nodes of the instance that has most; its bounds stay, with what these nodes prove."""
        greatest, _ = self._most_open()
        self.crowded[greatest] = True
        self._reach(torch.arange(len(self.live)) == greatest, budget)
        self._tell()
        self._drop(self.trees.instance == greatest)

    def _limits(self, over: Tensor) -> list[tuple[int, str]]:
        """(instance, the limit of the method's own that left it open) where the search is over."""
        found = []
        for instance in (over & ~(self.refuted > 0).all(1)).nonzero().flatten().tolist():
            limit = "memory for open nodes" if bool(self.crowded[instance]) else f"{float(self.most[instance]):g} nodes"
            if bool(self.crowded[instance]) or int(self._spent[instance]) >= float(self.most[instance]):
                found.append((instance, f"ended by a limit of the method: {limit}"))
        return found


class _Race:
    """Of the kinds of trees of one instance: how much was closed after as many nodes of each. Mutable."""

    def __init__(self, kinds: int) -> None:
        self._closed: list[list[float]] = [[] for _ in range(kinds)]

    def winner(self, nodes: Tensor, done: Tensor) -> list[int]:
        """The kind that was ahead when all had as many nodes as the one with the fewest has; none before that."""
        for closed, count, share in zip(self._closed, nodes.tolist(), done.tolist(), strict=True):
            while count >= _RACE << len(closed):
                closed.append(share)
        judged = min(len(closed) for closed in self._closed)
        return [] if not judged else [max(range(len(self._closed)), key=lambda k: self._closed[k][judged - 1])]
