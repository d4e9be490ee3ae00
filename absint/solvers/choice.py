"""Which solvers to try, from the name a user gives: the one asked for must be there, others take over where it fails."""

from __future__ import annotations

from functools import lru_cache

from absint.solvers.interface import Presence, solver
from absint.solvers.model import SolverError

_AUTO = "auto"
_OPEN = ("highs", "scipy")


def solvers_of(name: str) -> tuple[str, ...]:
    """'auto': Gurobi where it has a full licence, then HiGHS, then scipy. A name: that solver first, then the open ones.

    Raises UsageError E-SOLVER-UNKNOWN, SolverError E-SOLVER-MISSING or E-SOLVER-LICENCE where the one named cannot be used.
    A licence for small models is no reason to refuse: where a model is too large, the next solver takes over and a note says so.
    """
    if name == _AUTO:
        return (*(("gurobi",) if _full("gurobi") else ()), *_OPEN)
    found = _presence(name)
    if not found.usable:
        code = "E-SOLVER-LICENCE" if found.limited else "E-SOLVER-MISSING"
        raise SolverError(code, f"the solver '{name}' cannot be used: {found.found}", where=name,
                          hint=found.mend or "absint doctor lists those that are there; --solver auto takes one of them")
    return (name, *(other for other in _OPEN if other != name))


def _full(name: str) -> bool:
    found = _presence(name)
    return found.usable and not found.limited


@lru_cache(maxsize=32)
def _presence(name: str) -> Presence:
    """Looking for a licence takes a while: once a process."""
    return solver(name).check()
