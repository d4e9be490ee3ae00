"""Whether the LP and MILP solvers that are registered solve a small problem, and under which licence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LIMIT = 20.0  # seconds


@dataclass(frozen=True)
class FoundSolver:
    """What was found of one solver. limited: it works, but its licence restricts it."""

    name: str
    ok: bool
    found: str
    mend: str
    present: bool = True
    limited: bool = False


def found_solvers() -> Iterator[FoundSolver]:
    """One entry per registered solver; one that fails while it is looked at is a failing entry."""
    from absint.solvers import SOLVERS

    for name in SOLVERS:
        try:
            yield _checked(name)
        except Exception as error:  # a stranger's code, or a broken binary: it raises whatever it likes
            text = (str(error).splitlines() or [""])[0]
            yield FoundSolver(name, False, f"does not work: {type(error).__name__}: {text}", "pip install --force-reinstall absint")


def _checked(name: str) -> FoundSolver:
    from absint.solvers import solver

    presence = solver(name).check()
    if not presence.installed:
        return FoundSolver(name, True, f"{presence.found}; optional", presence.mend, present=False)
    if not presence.usable:
        return FoundSolver(name, presence.limited, presence.found, presence.mend, limited=presence.limited)
    right, found = _small(name)
    mend = presence.mend if right else "pip install --force-reinstall absint"
    return FoundSolver(name, right, f"{presence.found}, {found}", mend, limited=presence.limited)


def _small(name: str) -> tuple[bool, str]:
    """Minimise x + y where x + 2 y >= 2 in [0, 9] x [0, 9]: the minimum is 1, and the multipliers must prove it."""
    import numpy as np

    from absint.solvers import Limits, Model, Session

    model = Model.of([[1.0, 2.0]], (np.array([2.0]), np.array([np.inf])), (np.zeros(2), np.full(2, 9.0)), np.ones(2))
    with Session(model, (name,)) as session:
        answer = session.solve(Limits(_LIMIT))
    if answer.value is None or abs(answer.value - 1) > 1e-6 or abs(answer.bound - 1) > 1e-6:
        return False, f"claims {answer.value} and proves {answer.bound:g} as the minimum of a small LP, which is 1"
    return True, "solves a small LP"
