"""Several searches over one batch that share the time: each has its turns, and each hears of what the others refuted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.numeric.backend import Budget
from absint.problem.spec import Refutation, Spec
from absint.search.search import Beyond, ProofSearch, begin


@dataclass(frozen=True)
class SideBySide:
    """What a stage asks beyond its domain's rows: all of these, with shares of the time while they have something to do.

    shares: of a context, one for each part; a size model's business (choice.py).
    """

    parts: tuple[Beyond, ...]
    shares: Callable[[Context], tuple[float, ...]]

    def __call__(self, ctx: Context, spec: Spec, refuted: Tensor) -> ProofSearch | None:
        """See `Beyond`."""
        found = [(begin(part, ctx, spec, refuted), share) for part, share in zip(self.parts, self.shares(ctx), strict=True)]
        there = [(search, share) for search, share in found if search is not None]
        return _SideBySide(there, refuted) if len(there) > 1 else there[0][0] if there else None


class _SideBySide(ProofSearch):
    """Turns by time: that of the search which had least of it, for its share."""

    def __init__(self, parts: Sequence[tuple[ProofSearch, float]], refuted: Tensor) -> None:
        self.searches, self.shares = [search for search, _ in parts], [share for _, share in parts]
        self.refuted = refuted.detach().cpu().double()
        self.spent = [0.0] * len(parts)
        self._limits: list[tuple[int, str]] = []

    @property
    def open(self) -> Tensor:
        """Instances that any of them may prove more of."""
        return torch.stack([search.open for search in self.searches]).any(0)

    def step(self, budget: Budget) -> Refutation:
        """One step of the next."""
        waiting = [k for k, search in enumerate(self.searches) if bool(search.open.any())]
        chosen = min(waiting, key=lambda k: self.spent[k] / self.shares[k], default=None)
        if chosen is None:
            return Refutation(self.refuted.clone())
        started = time.monotonic()
        found = self.searches[chosen].step(budget)
        self.spent[chosen] += time.monotonic() - started
        new = found.lower.cpu().double() > self.refuted
        self.refuted = torch.fmax(self.refuted, found.lower.cpu().double())
        if bool((new & (self.refuted > 0)).any()):
            for k, search in enumerate(self.searches):
                if k != chosen:
                    search.told(self.refuted)
        return Refutation(self.refuted.clone(), found.claimed, found.points, None, found.notes, self._ended(found.limits))

    def _ended(self, limits: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
        """The limits that ended the search of an instance: while one of the others goes on, none did."""
        self._limits += limits
        open_ = self.open.tolist()
        told = tuple(one for one in self._limits if not open_[one[0]])
        self._limits = [one for one in self._limits if open_[one[0]]]
        return told

    @property
    def said(self) -> str:
        """What each of them says."""
        return "; ".join(text for search in self.searches if (text := search.said))

    def told(self, refuted: Tensor) -> None:
        """Handed on."""
        self.refuted = torch.fmax(self.refuted, refuted.to(self.refuted))
        for search in self.searches:
            search.told(refuted)

    def keep(self, live: Tensor) -> None:
        """Handed on."""
        for search in self.searches:
            search.keep(live)

    def close(self) -> None:
        """All of them."""
        for search in self.searches:
            search.close()
