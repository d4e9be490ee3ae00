"""What a stage asks of the disjuncts that its domain's rows leave open, in networks of one layer: trees over phases, in batches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from absint.encode.one_layer import one_layer
from absint.engine.context import Context
from absint.numeric.backend import Budget, DeadlineError
from absint.problem.spec import Refutation, Spec
from absint.search.branchers.brancher import Trees
from absint.search.branchers.by_layer import ByLayer
from absint.search.candidates import NEAR, Candidates
from absint.search.choice import MOST_ROWS
from absint.search.frontier import Frontier
from absint.search.search import ProofSearch

# Of the memory, what open nodes may take.
_SHARE = 4
# Seconds of a step.
_TURN = 0.3


@dataclass(frozen=True)
class Layers:
    """The disjuncts left open, where the network is one of one layer and the region a box.

    nodes: of an instance at most; inf for no limit.  patience: the same where no time limit is set.
    Under float32 semantics nothing is asked, nor where evidence is recorded: its leaves have no form there yet.
    """

    nodes: float = inf
    patience: float = 200_000

    def __call__(self, ctx: Context, spec: Spec, refuted: Tensor) -> LayerSearch | None:
        """See `Beyond`."""
        if not spec.disjuncts or ctx.numerics.float32_semantics or ctx.recording is not None or ctx.assumed or ctx.region.beyond_hull:
            return None
        if int(torch.bincount(spec.disjunct.cpu()).max()) > MOST_ROWS:
            return None
        live = ~(refuted > 0).all(1).cpu() & ~ctx.empty.cpu()
        if not bool(live.any()):
            return None
        hull = ctx.region.hull
        low, high = (t.detach().cpu().double().flatten(1) for t in (hull.lower, hull.upper))
        net = one_layer(ctx.graph, low[live].amin(0), high[live].amax(0), ctx.budget)
        if net is None:
            return None
        spec = spec.to(torch.device("cpu"))
        rows = net.rows(spec.weight.double(), spec.bias.double())
        if not bool(rows[0].isfinite().all() and rows[1].isfinite().all()):
            return None
        trees = Trees.of(~(refuted > 0) & live.to(refuted.device)[:, None])
        candidates = Candidates(ctx, spec)
        brancher = ByLayer(net, trees, (low, high), rows, spec.disjunct, candidates)
        nodes = min(self.nodes, inf if isfinite(ctx.budget.deadline) else self.patience)
        return LayerSearch(brancher, refuted, candidates, nodes, ctx.budget.memory / _SHARE)


class LayerSearch(ProofSearch):
    """Trees of all instances together: the newest nodes first, about as many of each tree."""

    def __init__(self, brancher: ByLayer, refuted: Tensor, candidates: Candidates, nodes: float, memory: float) -> None:
        self.brancher, self.candidates, self.nodes = brancher, candidates, nodes
        self.trees = trees = brancher.trees
        self.refuted = refuted.detach().cpu().double().clone()
        self.frontier = Frontier(1, len(trees), memory)
        if len(trees):
            self.frontier.plant(0, brancher.roots(torch.arange(len(trees)), self.refuted[trees.instance, trees.disjunct]))
        batch = len(self.refuted)
        self.live, self._shown, self._over = (torch.full((batch,), bool(k)) for k in (1, 0, 0))
        self._crowded = torch.zeros(batch, dtype=torch.bool)

    @property
    def open(self) -> Tensor:
        """Instances with open nodes, within their limit."""
        return self._instances(self._ready())

    def _ready(self) -> Tensor:
        mine = self.trees.instance
        worth = (self.live & ~self.candidates.violated & ~self._crowded)[mine] & ~(self.refuted[mine, self.trees.disjunct] > 0)
        taken = torch.zeros(len(self.live), dtype=torch.int64).index_add_(0, mine, self.brancher.solved)
        return (self.frontier.counts[0] > 0) & worth & (taken < self.nodes)[mine]

    def _instances(self, trees: Tensor) -> Tensor:
        out = torch.zeros(len(self.live), dtype=torch.bool)
        out[self.trees.instance[trees]] = True
        return out

    def step(self, budget: Budget) -> Refutation:
        """Batches of nodes for a while."""
        end = min(time.monotonic() + _TURN, budget.deadline)
        while time.monotonic() < end:
            ready = self._ready()
            nodes = self.frontier.newest(0, ready, self.brancher.batch(budget)) if bool(ready.any()) else None
            if nodes is None:
                break
            try:
                grown = self.brancher.expand(nodes, budget)
            except DeadlineError:
                self.frontier.restore(0)
                break
            except BaseException:
                self.frontier.restore(0)
                raise
            self.frontier.settle(0, grown.open, grown.closed, grown.held)
            self._make_room()
        return self._learnt()

    def _learnt(self) -> Refutation:
        place = (self.trees.instance, self.trees.disjunct)
        self.refuted[place] = torch.fmax(self.refuted[place], self.frontier.lower[0])
        done = self.refuted[place] > 0
        if bool(done.any()):
            self.frontier.drop(done)
        over = self.live & ~self.open & ~self._over
        self._over |= over
        show = ((self.candidates.depth < NEAR) & ~self._shown) | over
        self._shown |= show
        points = torch.where(show.reshape(-1, *(1,) * (self.candidates.points.dim() - 1)), self.candidates.points, torch.nan)
        return Refutation(self.refuted.clone(), None, points)

    def _make_room(self) -> None:
        """Where open nodes take all the memory there is for them, the instance that has most is given up; its bounds stay."""
        while self.frontier.full:
            open_ = torch.zeros(len(self.live), dtype=torch.int64).index_add_(0, self.trees.instance, self.frontier.counts[0])
            greatest = int(open_.argmax())
            if not int(open_[greatest]):
                return
            self._crowded[greatest] = True
            place = (self.trees.instance, self.trees.disjunct)
            self.refuted[place] = torch.fmax(self.refuted[place], self.frontier.lower[0])
            self.frontier.drop(self.trees.instance == greatest)

    def keep(self, live: Tensor) -> None:
        """Drop the others' nodes."""
        gone = self.live & ~live.cpu()
        self.live &= live.cpu()
        if bool(gone.any()):
            self.frontier.drop(gone[self.trees.instance])
