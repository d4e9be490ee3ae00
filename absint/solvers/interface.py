"""Solver plug-ins: what a back end states, the registry, and the session that alone makes answers of its claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from absint.registry import Registry
from absint.solvers.model import Claim, Limits, Model, SolverError


@dataclass(frozen=True)
class Presence:
    """What was found of a solver. usable: it can be started.  limited: its licence restricts it, as `found` says."""

    usable: bool
    found: str
    mend: str = ""
    limited: bool = False
    installed: bool = True


class Engine(ABC):
    """One model inside a back end. It changes in place, so that the next solve starts warm where the back end can.

    Rows are fixed; column bounds always lie inside those of the model that it was started with.
    """

    @abstractmethod
    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of the columns `index`; all three (k,)."""

    @abstractmethod
    def set_cost(self, cost: np.ndarray) -> None:
        """A new objective, (n,)."""

    @abstractmethod
    def run(self, limits: Limits) -> Claim:
        """Solve. Raises SolverError where the back end fails; lets KeyboardInterrupt out after the back end has stopped."""

    def close(self) -> None:
        """Free everything; called once. Default: nothing to free."""
        return


class Solver(ABC):
    """A back end. The name it is registered under may be followed by ':' and a variant of its own ("pulp:COIN_CMD").

    integers: whether it decides whole columns.  Nothing it claims is believed: see `absint.solvers.session`.
    """

    integers: ClassVar[bool] = True

    @abstractmethod
    def check(self) -> Presence:
        """Whether it is installed and may be used here. Never raises."""

    @abstractmethod
    def start(self, model: Model) -> Engine:
        """Hand a model over. Raises SolverError: E-SOLVER-MISSING, E-SOLVER-LICENCE, E-SOLVER-CRASH."""


SOLVERS: Registry[Callable[..., Solver]] = Registry("solver", "absint.solvers")
S = TypeVar("S", bound=Callable[..., Solver])


def register_solver(name: str) -> Callable[[S], S]:
    """Class decorator: make a solver known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: S) -> S:
        SOLVERS.add(name, cls)
        return cls

    return enter


def solver(name: str) -> Solver:
    """The solver of that name. Raises UsageError E-SOLVER-UNKNOWN with near names, also for a variant of one that has none."""
    stem, _, variant = name.partition(":")
    make = SOLVERS.get(stem)
    if not variant:
        return make()
    try:
        return make(variant)
    except TypeError as error:
        raise SolverError("E-SOLVER-MISSING", f"the solver '{stem}' has no variants", where=name, hint=f"write {stem}") from error


def missing(name: str, package: str) -> SolverError:
    """The error of a back end whose package is not installed."""
    return SolverError("E-SOLVER-MISSING", f"the solver '{name}' is not installed", where=name, hint=f"pip install {package}")
