"""Strategies: what decides the order of bounders, their shares of the time, and how far a search goes.

A domain bounds, it never schedules; a strategy schedules, and bounds nothing itself. It is made of stages, each a domain that walks
and what is asked of the disjuncts which that domain leaves open. Whoever runs them, `verify` say, knows neither.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from absint.engine.attempts import Attempt, attempt
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.model.graph import Graph
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.registry import Registry
from absint.search.scouts import pays
from absint.search.search import Beyond, ProofSearch, begin

S = TypeVar("S", bound="type[Strategy]")

STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "absint.strategies", beside=DOMAINS)


@dataclass(frozen=True)
class Stage:
    """One bounder, on what is undecided when its turn comes. Two equal stages prove the same.

    domain: walks.  beyond: asked of the disjuncts that its rows leave open, such as `Programs`; None for the domain alone.
    name: what reports call it; empty for the name of its domain, or of the domain's class where it has none.
    inner_slopes: whether free slopes are optimised at inner nodes, too; without them a stage takes a tenth of the time.
    exhaustive: it may use all the time there is, so that whatever else may decide an instance comes first.
    inputs: only instances of which at most so many input entries vary are given to it, of networks where its helpers pay; 0 for all.
    share: of the time that is left when it begins, at most; where that ends it, what it found so far stands.
    one_by_one: its domain works on one instance after the other, or its search cannot go from one to another: then each is given
    to it alone, within its own time, and told at once.
    graphs: the networks that it is for, by their graphs alone; None for all.
    """

    domain: Domain[Any]
    beyond: Beyond | None = None
    name: str = ""
    inner_slopes: bool = True
    exhaustive: bool = False
    one_by_one: bool = False
    inputs: int = 0
    share: float = 1.0
    graphs: Callable[[Graph], bool] | None = None

    def takes(self, graph: Graph, region: Region) -> Tensor:
        """(batch,) bool, on the CPU: the instances that it is for. Each one's own affair, whatever the batch."""
        if self.graphs is not None and not self.graphs(graph):
            return torch.zeros(region.batch, dtype=torch.bool)
        if not self.inputs:
            return torch.ones(region.batch, dtype=torch.bool)
        few: Tensor = (region.hull.upper > region.hull.lower).flatten(1).sum(1).cpu() <= self.inputs
        return few & pays(self.domain, graph, Numerics(), self.inputs)

    @property
    def label(self) -> str:
        """Its name in reports."""
        return self.name or DOMAINS.name_of(type(self.domain)) or type(self.domain).__name__.lower()

    def attempt(self, ctx: Context, spec: Spec, *, corner: bool = False, proved: Tensor | None = None) -> Attempt:
        """What it proves of a property; see `absint.engine.attempts.attempt`."""
        ctx = ctx if self.inner_slopes else replace(ctx, inner_slopes=False)
        return attempt(self.domain, ctx, spec, corner=corner, proved=proved)

    def search(self, found: Attempt, spec: Spec, refuted: Tensor) -> ProofSearch | None:
        """What it searches for beyond an attempt, given (batch, disjuncts) all bounds so far; None for nothing."""
        return begin(self.beyond, found.ctx, spec, refuted)

    def notes(self, found: Attempt) -> tuple[tuple[int, str], ...]:
        """(instance, what the user should know) of an attempt."""
        return found.ctx.notes


@dataclass(frozen=True)
class Falsification:
    """A search for counterexamples of what is undecided when its turn comes.

    effort: of the whole search, 1 is the usual one.  corners: only from where a relaxation was worst, and only where one was.
    """

    effort: float = 1.0
    corners: bool = False


# Before any proof, from relaxations' worst corners, and after the last proof failed.
_SHORT, _CORNERS, _LONG = Falsification(0.25), Falsification(0.25, corners=True), Falsification(4.0)


class Strategy(ABC):
    """How a verdict is looked for. Its options are the fields of its dataclass; `--domain NAME:options` names it.

    Sound whatever its stages are: a verdict rests on what one of them proves, and nothing is inherited but proved bounds.
    """

    source: ClassVar[str] = ""        # citation, with section
    synonyms: ClassVar[tuple[str, ...]] = ()      # what papers and other tools call it: for advice alone, a class's own

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """At least one, in order, each on what those before it left undecided and with what they proved."""

    def plan(self) -> tuple[Stage | Falsification, ...]:
        """Proofs and searches for counterexamples, in order. Default: a short search before any proof, short ones from the worst
        corners between stages, and a long one after the last, but before whatever may use all the time.
        """
        return planned(self.stages())

    @property
    def walker(self) -> Domain[Any]:
        """The domain that stands for it where bounds of tensors are asked for, or a base. Default: that of the last stage."""
        return self.stages()[-1].domain


def planned(stages: tuple[Stage, ...]) -> tuple[Stage | Falsification, ...]:
    """Stages with searches for counterexamples around them; see `Strategy.plan`."""
    searched = False
    plan: list[Stage | Falsification] = [_SHORT]
    for stage in stages:
        if stage.exhaustive and not searched:
            plan, searched = [*plan, _LONG], True
        plan += [stage] if stage is stages[-1] else [stage, _CORNERS]
    return (*plan, *(() if searched else (_LONG,)))


def register_strategy(name: str) -> Callable[[S], S]:
    """Class decorator: make the strategy known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: S) -> S:
        STRATEGIES.add(name, cls)
        return cls

    return enter
