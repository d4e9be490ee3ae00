"""What searches over trees on one frontier have in common: who is alive, what is told to whom, and whose leaves are recorded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from absint.engine.recorder import Recorder
from absint.search.branchers.brancher import Brancher, Trees
from absint.search.candidates import NEAR, Candidates
from absint.search.frontier import Frontier
from absint.search.search import ProofSearch


class OverTrees(ProofSearch):
    """One tree for each open disjunct and kind of division. Mutable.

    refuted: (batch, disjuncts) float64, the best bounds so far.  live: (batch,) bool.
    """

    kinds: Sequence[Brancher]
    frontier: Frontier
    recorder: Recorder | None

    def __init__(self, refuted: Tensor, candidates: Candidates) -> None:
        self.refuted = refuted.detach().cpu().double()
        self.trees = Trees.of(~(self.refuted > 0))
        self.candidates = candidates
        self.live = torch.ones(len(self.refuted), dtype=torch.bool)
        self._shown, self._over = ~self.live, ~self.live

    def plant(self) -> Tensor:
        """The roots of all trees that a kind may prove; (kinds, T) which these are."""
        able = torch.stack([kind.able() for kind in self.kinds])
        for number, kind in enumerate(self.kinds):
            mine = able[number].nonzero().flatten()
            if len(mine):
                self.frontier.plant(number, kind.roots(mine, self.refuted[self.trees.instance[mine], self.trees.disjunct[mine]]))
        return able

    @abstractmethod
    def left_out(self, disjunct: int) -> str:
        """Why the leaves of a closed tree are not recorded."""

    def _instances(self, trees: Tensor) -> Tensor:
        """(batch,) those with a tree in the mask (T,)."""
        out = torch.zeros(len(self.live), dtype=torch.bool)
        out[self.trees.instance[trees]] = True
        return out

    @property
    def _done(self) -> Tensor:
        """(T,) bool: trees whose disjunct is refuted."""
        return self.refuted[self.trees.instance, self.trees.disjunct] > 0

    def _record(self, recorder: Recorder, proved: Tensor) -> None:
        """The leaves of trees that are proved now, by bounds (kinds, T), of the kind that proves most."""
        for tree in (~self._done & (proved > 0).any(0)).nonzero().flatten().tolist():
            instance, disjunct = int(self.trees.instance[tree]), int(self.trees.disjunct[tree])
            leaves = self.kinds[int(proved[:, tree].argmax())].leaves(tree)
            if leaves is None:
                recorder.note(instance, self.left_out(disjunct))
            else:
                recorder.tree(instance, disjunct, leaves)
        recorder.commit()

    def _points(self, over: Tensor) -> Tensor:
        """(batch, *input): points that violate the property or touch its border, once each; the best one where nothing is left to do."""
        show = ((self.candidates.depth < NEAR) & ~self._shown) | over
        self._shown |= show
        return torch.where(show.reshape(-1, *(1,) * (self.candidates.points.dim() - 1)), self.candidates.points, torch.nan)

    def _ended(self) -> Tensor:
        """(batch,) bool: instances of which nothing more will be said from now on."""
        over = self.live & ~self.open & ~self._over
        self._over |= over
        return over

    def _most_open(self) -> tuple[int, int]:
        """The instance that has most open nodes, and how many."""
        open_ = torch.zeros(len(self.live), dtype=torch.int64).index_add_(0, self.trees.instance, self.frontier.counts.sum(0))
        greatest = int(open_.argmax())
        return greatest, int(open_[greatest])

    def told(self, refuted: Tensor) -> None:
        """The trees of disjuncts that are refuted elsewhere are given up."""
        self.refuted = torch.fmax(self.refuted, refuted.to(self.refuted))
        self._drop(self._done)

    def keep(self, live: Tensor) -> None:
        """Drop the others' nodes."""
        gone = self.live & ~live.cpu()
        self.live &= live.cpu()
        self._drop(gone[self.trees.instance])

    def _drop(self, trees: Tensor) -> None:
        """Nothing more is done about the trees in the mask (T,)."""
        if bool(trees.any()):
            self.frontier.drop(trees)
            for kind in self.kinds:
                kind.forget(trees)
