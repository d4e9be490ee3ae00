"""A search under way: what is asked of the disjuncts that a domain's rows leave open, step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.errors import PluginError
from absint.numeric.backend import Budget
from absint.problem.spec import Refutation, Spec


class ProofSearch(ABC):
    """Over the instances of one batch, by their places in it. Mutable; everything it has said stands whatever happens next."""

    @property
    @abstractmethod
    def open(self) -> Tensor:
        """(batch,) bool: instances for which a further step may prove more."""

    @abstractmethod
    def step(self, budget: Budget) -> Refutation:
        """One batched step, a few seconds at most; what is proved so far, of all instances.

        Where the budget's deadline ends it nothing is lost. `late` is left to the caller, `points`, `notes` and `limits` are told
        once. Sound: only what is called claimed rests on a solver's word.
        """

    @property
    def said(self) -> str:
        """How it stands, in a few words for whoever watches. Default: nothing. Numbers that are no proofs are marked `~`."""
        return ""

    @abstractmethod
    def keep(self, live: Tensor) -> None:
        """Only the instances in the mask (batch,) matter any more."""

    def told(self, refuted: Tensor) -> None:  # noqa: B027 (a search of one step has no use for it)
        """Bounds (batch, disjuncts) that were proved elsewhere: what they refute needs no more work here."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Free what is held."""


# What a stage asks beyond a domain's rows, over what one analysis knows (`known` is total): (context, property, (batch, disjuncts)
# best bounds so far) -> the search for more, or at once all that it has to say; None for nothing.
Beyond = Callable[[Context, Spec, Tensor], ProofSearch | Refutation | None]


class Said(ProofSearch):
    """A search of one step, whose answer is there already."""

    def __init__(self, answer: Refutation) -> None:
        self.answer = answer
        self._open = torch.ones(len(answer.lower), dtype=torch.bool)

    @property
    def open(self) -> Tensor:
        """All instances, once."""
        return self._open.clone()

    def step(self, budget: Budget) -> Refutation:
        """The answer."""
        self._open.zero_()
        return self.answer

    def keep(self, live: Tensor) -> None:
        """Only these matter."""
        self._open &= live


def begin(beyond: Beyond | None, ctx: Context, spec: Spec, refuted: Tensor) -> ProofSearch | None:
    """The search that `beyond` asks for. Raises PluginError E-PLUGIN-CONTRACT where it returns something else."""
    found = None if beyond is None else beyond(ctx, spec, refuted)
    if found is None or isinstance(found, ProofSearch):
        return found
    if not isinstance(found, Refutation):
        raise PluginError("E-PLUGIN-CONTRACT", f"what a stage asks beyond its domain returned a {type(found).__name__}",
                          hint="a ProofSearch, a Refutation, or None (docs/extending.md)")
    return Said(found)


def run_out(beyond: Beyond | None, ctx: Context, spec: Spec, refuted: Tensor) -> Refutation | None:
    """What a search proves in the time to the context's deadline; None for nothing to search."""
    search = begin(beyond, ctx, spec, refuted)
    if search is None:
        return None
    found = Refutation(torch.full(refuted.shape, -torch.inf, dtype=torch.float64))
    try:
        while bool(search.open.any()) and not ctx.budget.late:
            found = search.step(ctx.budget).joined(found)
    finally:
        late = search.open
        search.close()
    return Refutation(found.lower, found.claimed, found.points, late if bool(late.any()) else None, found.notes, found.limits)
