"""Branch and bound in neuron space: optimised slopes at the root, then trees of cuts over its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

from torch import Tensor

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.frozen.climb import ClimbPace
from absint.errors import UsageError
from absint.problem.spec import Refutation, Spec
from absint.search.branchers.by_cuts import SCORES, Cutting
from absint.search.names import strategy_of, walker_of
from absint.search.strategy import Stage, Strategy
from absint.search.trees import Growing, TreeSearch
from absint.search.unfolding import unfolded

RACING = "race"
# Walks over what the base proved.
_PLAIN = "deeppoly"


@dataclass(frozen=True)
class Bab(Strategy):
    """The base's stages, then trees over the bounds that it leaves: entries cut where their function bends, thousands of nodes a minute.

    Piecewise-linear functions of one operand are cut at their kinks and jumps (Relu, LeakyRelu, PRelu, Clip, Abs, Sign, Floor and others),
    maxima (MaxPool, Max, ReduceMax) by which of two operands is greater; what else there is keeps the relaxation of the root.
    base: name of the domain that walks.  score: intercept, slack, product, or race for the first and the last side by side.
    ahead: candidates that are looked ahead at.  steps: of a node's hints.  rate: of its multipliers, times the row's mean |A|.
    nodes: of one instance at most; 0 for no limit (then --timeout is what ends it).  patience: the same where no time limit is set.
    Sources: Wang et al., Beta-CROWN, NeurIPS 2021; Bunel et al., JMLR 21 (2020).
    """

    source: ClassVar[str] = "Wang et al., Beta-CROWN, NeurIPS 2021; Bunel et al., JMLR 21 (2020)"
    synonyms: ClassVar[tuple[str, ...]] = ("beta-crown", "abcrown", "alpha-beta-crown", "branch-and-bound")
    base: str = "alpha"
    score: str = RACING
    ahead: int = 4
    steps: int = 4
    rate: float = 1.0
    nodes: int = 0
    patience: int = 10_000

    def __post_init__(self) -> None:
        if self.score not in (RACING, *SCORES):
            raise UsageError("E-DOMAIN-OPTION", f"'{self.score}' is no value for option 'score' of domain 'bab'",
                             hint=f"one of {', '.join((RACING, *SCORES))}")
        for option, least in (("ahead", 1), ("steps", 0), ("nodes", 0), ("patience", 0)):
            if getattr(self, option) < least:
                raise UsageError("E-DOMAIN-OPTION", f"'{getattr(self, option)}' is no value for option '{option}' of domain 'bab'",
                                 hint=f"at least {least}")
        if not 0 < self.rate < inf:
            raise UsageError("E-DOMAIN-OPTION", f"'{self.rate}' is no value for option 'rate' of domain 'bab'", hint="above 0")
        _ = self.walker

    @property
    def walker(self) -> Domain[Any]:
        """The base's."""
        return walker_of(self.base)

    @property
    def growing(self) -> Growing:
        """The trees."""
        scores = ("intercept", "product") if self.score == RACING else (self.score,)
        pace = ClimbPace(steps=self.steps, multipliers=self.rate)
        return Growing(tuple(Cutting(score, self.ahead, node=pace) for score in scores), self.nodes or inf, self.patience or inf, told=True)

    def stages(self) -> tuple[Stage, ...]:
        """The base's, and the trees over the last one's bounds."""
        # What the base proved is known: its plain relaxation is all that a last walk needs.
        plain = walker_of(_PLAIN)
        return *strategy_of(self.base).stages(), Stage(plain, Grow(plain, self.growing), "bab", exhaustive=True)


@dataclass(frozen=True)
class Grow:
    """The trees that a stage asks for beyond its domain's rows."""

    domain: Domain[Any]
    how: Growing

    def __call__(self, ctx: Context, spec: Spec, refuted: Tensor) -> TreeSearch | Refutation | None:
        """See `Beyond`; None for a domain without a relaxation that rows walk back through."""
        relaxations = self.domain.traits.relaxations
        if not spec.disjuncts or not relaxations:
            return None
        search = TreeSearch(unfolded(ctx, spec, self.domain), spec, refuted, relaxations[0].relax, self.how)
        if bool(search.open.any()):
            return search
        return Refutation(search.refuted, notes=search.uncut(search.live))
