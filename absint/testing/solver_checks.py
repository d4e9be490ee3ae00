"""What every solver plug-in must satisfy; `absint.testing.kit.check_solver(MySolver())` runs and reports it.

Bounds are safe whatever a solver says (docs/solvers.md); these checks tell whether it is of any use: whether its claims are
right, its multipliers have the sign that the interface asks for, it changes in place, stops, and fails with a coded error.
The truth is known by construction, from a point and multipliers that prove each other optimal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf, isfinite

import numpy as np

from absint.solvers.interface import Solver
from absint.solvers.model import Limits, Model, Status
from absint.solvers.session import Session

Failures = Iterator[str]
_LIMITS = Limits(seconds=20.0)
_CLOSE = 1e-5
_PATIENCE = 12.0


def solver_checks() -> Iterator[tuple[str, Callable[[Solver], Failures]]]:
    """(name, check) pairs, for pytest.mark.parametrize; a check yields one line per failure."""
    for check in (_optimum, _in_place, _infeasible, _unbounded, _limit, _stop, _whole, _fresh):
        yield check.__name__.strip("_"), check


def problem(seed: int, rows: int = 12, columns: int = 8) -> tuple[Model, float]:
    """An LP with rows of every kind, and its optimum: cost = A'y + d, with y and d of the signs that the point allows."""
    rng = np.random.default_rng(seed)
    matrix = np.where(rng.random((rows, columns)) < 0.6, rng.integers(-4, 5, (rows, columns)) / 4, 0.0)
    point = rng.integers(-4, 5, columns) / 4
    image = matrix @ point
    kind = rng.integers(0, 5, rows)  # lower side active, upper side active, equality, free, a range without multiplier
    low = np.where((kind == 0) | (kind == 2), image, np.where(kind == 4, image - 1, -inf))
    high = np.where((kind == 1) | (kind == 2), image, np.where(kind == 4, image + 1, inf))
    weight = rng.integers(1, 9, rows) / 4
    y = np.select([kind == 0, kind == 1, kind == 2], [weight, -weight, weight * rng.choice([-1, 1], rows)], 0.0)
    side = rng.integers(0, 3, columns)
    reduced = np.select([side == 0, side == 1], [1.0, -1.0], 0.0)
    lower, upper = np.where(side == 0, point, point - 1.5), np.where(side == 1, point, point + 1.25)
    cost = matrix.T @ y + reduced
    return Model.of(matrix, (low, high), (lower, upper), cost), float(cost @ point)


def _optimum(solver: Solver) -> Failures:
    """The optimum is found, and its multipliers prove it."""
    for seed in range(4):
        model, truth = problem(seed)
        with Session(model, (solver,)) as session:
            answer = session.solve(_LIMITS)
        if answer.status is not Status.OPTIMAL or answer.troubles:
            yield f"problem {seed}: {answer.status.value}, {[t.what for t in answer.troubles]}"
        if answer.value is None or abs(answer.value - truth) > _CLOSE:
            yield f"problem {seed}: the optimum is {truth:g}, claimed {answer.value}"
        if not truth - _CLOSE <= answer.bound <= truth + _CLOSE:
            yield f"problem {seed}: the optimum is {truth:g}, its multipliers prove {answer.bound:g}; are their signs right?"


def _in_place(solver: Solver) -> Failures:
    """Changes of cost and bounds in place are seen: min x + y, then -x - y, then with x fixed, on x + 2y >= 2 in [0, 3] x [0, 3]."""
    model = Model.of([[1.0, 2.0]], (np.array([2.0]), np.array([inf])), (np.zeros(2), np.full(2, 3.0)), np.ones(2))
    with Session(model, (solver,)) as session:
        found = [session.solve(_LIMITS).bound]
        session.set_cost(-np.ones(2))
        found.append(session.solve(_LIMITS).bound)
        session.set_cost(np.ones(2))
        session.set_bounds(np.array([0]), np.array([1.0]), np.array([1.0]))
        found.append(session.solve(_LIMITS).bound)
        session.set_bounds(np.array([0]), np.array([0.0]), np.array([3.0]))
        found.append(session.solve(_LIMITS).bound)
    for got, truth in zip(found, (1.0, -6.0, 1.5, 1.0), strict=True):
        if abs(got - truth) > _CLOSE:
            yield f"expected {truth:g} after a change in place, got {got:g}"


def _infeasible(solver: Solver) -> Failures:
    """Infeasibility is proved: x + y >= 1.5 and x + y <= 1.2."""
    model = Model.of([[1.0, 1.0], [1.0, 1.0]], (np.array([1.5, -inf]), np.array([inf, 1.2])), (np.zeros(2), np.ones(2)), np.ones(2))
    with Session(model, (solver,)) as session:
        if not session.solve(_LIMITS).infeasible:
            yield "no proof that x + y >= 1.5 and x + y <= 1.2 have no solution"


def _unbounded(solver: Solver) -> Failures:
    """A problem that nothing bounds gets no bound, and no crash."""
    model = Model.of([[1.0, -1.0]], (np.array([0.0]), np.array([inf])), (np.zeros(2), np.full(2, inf)), np.array([-1.0, 0.0]))
    with Session(model, (solver,)) as session:
        answer = session.solve(_LIMITS)
    if answer.bound != -inf or answer.infeasible:
        yield f"an unbounded problem got the bound {answer.bound:g}"


def hard(columns: int = 60) -> Model:
    """A whole-column problem that takes long: equal knapsacks with odd weights, whose relaxation says nothing."""
    rng = np.random.default_rng(1)
    matrix = rng.integers(1, 100, (5, columns)).astype(np.float64)
    half = np.floor(matrix.sum(1) / 2)
    ends = (np.concatenate([np.zeros(columns), np.zeros(10)]), np.concatenate([np.ones(columns), np.full(10, 1000.0)]))
    slack = np.kron(np.eye(5), np.array([[1.0, -1.0]]))
    whole = np.concatenate([np.ones(columns, dtype=bool), np.zeros(10, dtype=bool)])
    return Model.of(np.hstack([matrix, slack]), (half, half), ends, np.concatenate([np.zeros(columns), np.ones(10)]), whole)


def _limit(solver: Solver) -> Failures:
    """A limit of time ends the search, and what it ends is not called optimal."""
    if not solver.integers:
        return
    begin = time.monotonic()
    with Session(hard(), (solver,)) as session:
        answer = session.solve(Limits(seconds=1.0))
    if time.monotonic() - begin > _PATIENCE:
        yield f"a limit of 1 s took {time.monotonic() - begin:.0f} s"
    if answer.status is Status.OPTIMAL and (answer.claimed is None or abs(answer.claimed - (answer.value or 0.0)) > _CLOSE):
        yield "says 'optimal' at the limit"


def _stop(solver: Solver) -> Failures:
    """A search ends when it is asked to."""
    if not solver.integers:
        return
    begin = time.monotonic()
    with Session(hard(), (solver,)) as session:
        session.solve(Limits(seconds=_PATIENCE / 6, stop=lambda: time.monotonic() - begin > 0.5))
    if time.monotonic() - begin > _PATIENCE:
        yield "does not stop when asked"


def _whole(solver: Solver) -> Failures:
    """Whole numbers are kept whole: min 2a + 3b + 4c with 3a + 5b + 7c >= 8 and a, b, c in {0, 1} is 5, the relaxation's 4.67."""
    if not solver.integers:
        return
    cost, one = np.array([2.0, 3.0, 4.0]), np.ones(3)
    model = Model.of([[3.0, 5.0, 7.0]], (np.array([8.0]), np.array([inf])), (np.zeros(3), one), cost, one)
    with Session(model, (solver,)) as session:
        answer = session.solve(_LIMITS)
    if answer.value is None or abs(answer.value - 5) > _CLOSE or answer.claimed is None or abs(answer.claimed - 5) > _CLOSE:
        yield f"the optimum is 5, claimed {answer.value} with the bound {answer.claimed}"
    if answer.bound > 5:
        yield f"the bound {answer.bound:g} is above the optimum 5"


def _fresh(solver: Solver) -> Failures:
    """Sessions do not disturb each other."""
    one, two = problem(10), problem(11)
    with Session(one[0], (solver,)) as first, Session(two[0], (solver,)) as second:
        for session, truth in ((first, one[1]), (second, two[1]), (first, one[1])):
            found = session.solve(_LIMITS).bound
            if not isfinite(found) or abs(found - truth) > _CLOSE:
                yield f"expected {truth:g} with two models open, got {found:g}"
