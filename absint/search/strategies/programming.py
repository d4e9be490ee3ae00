"""What the strategies that use a solver share: a base that walks, its stages first, and a tactic over the whole network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, ClassVar

from absint.engine.domain import Domain
from absint.errors import UsageError
from absint.search.bounders.programs import Programs
from absint.search.branching import Tactic
from absint.search.names import strategy_of, walker_of
from absint.search.strategy import Stage, Strategy
from absint.solvers.choice import solvers_of


@dataclass(frozen=True)
class Programming(Strategy):
    """The base's stages first: they decide most instances at a small part of the cost. Then programs over its relaxations.

    base: name of the domain that walks.  solver: a registered one, or auto.  undecided: instances with more undecided entries
    than that are left to the base; 0 for no limit.
    Raises UsageError E-DOMAIN-UNKNOWN, E-SOLVER-UNKNOWN, SolverError where the solver named cannot be used.
    Under float32 semantics it proves what the base proves: models are of the exact-real network.
    """

    switched_off_by_zero: ClassVar[frozenset[str]] = frozenset()
    exhaustive: ClassVar[bool] = True    # also a search with a count of LPs may be a long one; a MILP's time is no function of its size
    one_by_one: ClassVar[bool] = False
    base: str = "deeppoly"
    solver: str = "auto"
    undecided: int = 0

    def __post_init__(self) -> None:
        _ = self.walker, self.solvers
        for option, value in vars(self).items():
            if isinstance(value, float) and not (value > 0 or (value == 0 and option in self.switched_off_by_zero)):
                name = type(self).__name__.lower()
                raise UsageError("E-DOMAIN-OPTION", f"'{value}' is no value for option '{option}' of domain '{name}'",
                                 hint="a number of seconds above 0")

    @cached_property
    def walker(self) -> Domain[Any]:
        """The domain named by `base`, or that of a strategy of the name; one object, by which substitutions remember things."""
        return walker_of(self.base)

    @property
    def solvers(self) -> tuple[str, ...]:
        """Those tried in turn."""
        return solvers_of(self.solver)

    @property
    @abstractmethod
    def tactic(self) -> Tactic:
        """How far the property is pursued."""

    def _tactic(self, **more: Any) -> Tactic:
        return Tactic(self.solvers, undecided=self.undecided or inf, **more)

    @property
    def last(self) -> Stage:
        """The stage that the strategy adds to its base's."""
        name = type(self).__name__.lower()
        return Stage(self.walker, Programs(self.tactic), name, exhaustive=self.exhaustive, one_by_one=self.one_by_one)

    def stages(self) -> tuple[Stage, ...]:
        """The base's, and the last."""
        return *strategy_of(self.base).stages(), self.last
