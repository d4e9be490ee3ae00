"""Refinement by linear programs: neurons layer by layer, then the property over the whole network at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from absint.engine.domain import DOMAINS, Context, Domain, Interval, Rows, Sense, open_rows
from absint.engine.product import Wrapper
from absint.errors import UsageError
from absint.problem.spec import Refutation, Spec
from absint.search.bounders.disjuncts import Tactic, decide, undecided
from absint.search.bounders.neurons import Tightening, tightened
from absint.search.bounders.relevance import relevance
from absint.solvers.choice import solvers_of

# Where a walk keeps what its solvers reported.
_NOTES = "notes of the solvers"


@dataclass(frozen=True)
class Programs(Wrapper):
    """What the domains that use a solver share: a base that walks, and the property over the whole network.

    base: name of the domain that walks.  solver: a registered one, or auto.  undecided: instances with more undecided entries
    than that are left to the base; 0 for no limit.
    Raises UsageError E-DOMAIN-UNKNOWN, E-SOLVER-UNKNOWN, SolverError where the solver named cannot be used.
    Under float32 semantics it proves what the base proves: models are of the exact-real network.
    """

    switched_off_by_zero: ClassVar[frozenset[str]] = frozenset()
    base: str = "deeppoly"
    solver: str = "auto"
    undecided: int = 0

    def __post_init__(self) -> None:
        _ = self.walker, self.solvers
        for option, value in vars(self).items():
            if isinstance(value, float) and not (value > 0 or (value == 0 and option in self.switched_off_by_zero)):
                name = type(self).__name__.lower()
                raise UsageError("E-DOMAIN-OPTION", f"'{value}' is no value for option '{option}' of domain '{name}'",
                                 hint="seconds are positive")

    @cached_property
    def walker(self) -> Domain[Any]:
        """The domain named by `base`; one object, by which substitutions remember things."""
        return DOMAINS.get(self.base)()

    @property
    def one_by_one(self) -> bool:
        """Yes: programs are solved for one instance at a time."""
        return True

    @property
    def differentiable(self) -> bool:
        """No: what a solver returned is a number."""
        return False

    @property
    def solvers(self) -> tuple[str, ...]:
        """Those tried in turn."""
        return solvers_of(self.solver)

    @property
    def tactic(self) -> Tactic:
        """How far the property is pursued."""
        return self._tactic()

    def _tactic(self, **more: Any) -> Tactic:
        return Tactic(self.solvers, undecided=self.undecided or inf, **more)

    def portfolio(self) -> tuple[Domain[Any], ...]:
        """The base's stages first: they decide most instances at a small part of the cost."""
        return *self.walker.portfolio(), self

    def refute(self, element: Any, spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
        """The disjuncts left open, each by the tactic."""
        base = self.walker.refute(element, spec, refuted, ctx)
        if ctx.numerics.float32_semantics or not spec.disjuncts:
            return base
        best = refuted if base is None else torch.fmax(refuted, base.lower.to(refuted))
        found = decide(ctx, spec, best, self.tactic)
        found = replace(found, notes=(*_notes(ctx), *found.notes))
        return found if base is None else base.joined(found)


@dataclass(frozen=True)
class Refine(Programs):
    """The base with neurons refined by LP where they are undecided, then one LP for each row, or conjunction of rows, of the property.

    neurons: of a layer at most, those first whose relaxations the property's LPs make use of; 0 for all.
    timeout_lp: seconds of one LP.  timeout_milp: seconds of branching for each side of a neuron; 0 for none.
    Sources: Singh et al., ICLR 2019 (RefineZono), section 4; Singh et al., POPL 2019.
    """

    source: ClassVar[str] = "Singh et al., Boosting Robustness Certification, ICLR 2019, section 4"
    switched_off_by_zero: ClassVar[frozenset[str]] = frozenset({"timeout_milp"})
    neurons: int = 0
    timeout_lp: float = 5.0
    timeout_milp: float = 0.0

    @property
    def tactic(self) -> Tactic:
        """One LP."""
        return self._tactic(lp=self.timeout_lp)

    def hull(self, element: Any, ctx: Context) -> Interval | None:
        """None: undecided entries are asked one by one."""
        return None

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """The base's, met with what LPs over the network below prove of single entries."""
        found = super().bounds(element, rows, ctx, sense)
        if rows.index is None or sense is not Sense.BOTH or ctx.numerics.float32_semantics:
            return found
        chosen = self._chosen(rows, found, ctx)
        if self.undecided:
            chosen = chosen & (undecided(replace(ctx, graph=ctx.graph.upto(rows.node))) <= self.undecided)[rows.instance.cpu()]
        branching = self.timeout_milp > 0
        how = Tightening(self.solvers, inf if branching else 1, self.timeout_lp, self.timeout_milp if branching else inf)
        return tightened(rows, found, ctx, how, lambda now: open_rows(rows, now, ctx, 0.0) & chosen.to(rows.instance.device),
                         lambda k, text: _note(ctx, (k, text)))

    def _chosen(self, rows: Rows, found: Interval, ctx: Context) -> Tensor:
        """(R,) bool: at most `neurons` of each instance, by relevance, then by width."""
        every = torch.ones(len(rows), dtype=torch.bool)
        if not self.neurons or rows.index is None:
            return every
        instance, width = rows.instance.cpu(), (found.upper - found.lower).double().cpu()
        width = width.where(open_rows(rows, found, ctx, 0.0).cpu(), torch.tensor(-1.0, dtype=torch.float64))
        score = torch.zeros_like(width)
        if ctx.target is not None and all(node.name in ctx.known for node in ctx.graph.nodes):
            score = relevance(ctx, ctx.target, rows.node, self.solvers, self.timeout_lp)[instance, rows.index.cpu()]
        order = torch.argsort(width, descending=True, stable=True)
        order = order[torch.argsort(score[order], descending=True, stable=True)]
        order = order[torch.argsort(instance[order], stable=True)]
        start = torch.searchsorted(instance[order].contiguous(), instance[order].contiguous())
        every[order] = torch.arange(len(order)) - start < self.neurons
        return every


def _note(ctx: Context, note: tuple[int, str]) -> None:
    kept = ctx.memo.setdefault(_NOTES, [])
    assert isinstance(kept, list)
    kept.append(note)


def _notes(ctx: Context) -> tuple[tuple[int, str], ...]:
    kept = ctx.memo.get(_NOTES, [])
    assert isinstance(kept, list)
    return tuple(dict.fromkeys(kept))
