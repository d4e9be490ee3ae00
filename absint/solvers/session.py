"""A model under solution: claims of back ends go in, proved bounds come out; a back end that fails makes way for the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from types import TracebackType

import numpy as np
from scipy import sparse

from absint.errors import AbsintError, InputError
from absint.solvers.interface import Engine, Solver, solver
from absint.solvers.model import Claim, Limits, Model, SolverAnswer, SolverError, Status, Trouble, check_finite, check_sides
from absint.solvers.reproved_bounds import SafeBounds

# Only notes depend on these two: how far a claim may be off before it is called contradictory.
_ROW_TOLERANCE = 1e-5
_VALUE_TOLERANCE = 1e-4


class Session:
    """One model whose column bounds and objective change between solves. Use as a context manager.

    solvers: names or solvers, tried in turn: where one is missing, has no licence, crashes or hangs, the next takes over and `notes` says
    so. Every bound and every infeasibility in an Answer is proved here, on the full model, from multipliers alone.
    """

    def __init__(self, model: Model, solvers: tuple[str | Solver, ...] = ("highs", "scipy")) -> None:
        if not solvers:
            raise InputError("E-SOLVER-NONE", "no solver was named", hint="for example highs")
        self.model = model
        self.lower, self.upper, self.cost = model.lower.copy(), model.upper.copy(), model.cost.copy()
        self.notes: list[Trouble] = []
        self._safe = SafeBounds(model)
        self._solvers = list(solvers)
        self._engine: Engine | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the back end."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    @property
    def name(self) -> str:
        """The solver in use."""
        first = self._solvers[0]
        return first if isinstance(first, str) else type(first).__name__

    def _chosen(self) -> Solver:
        first = self._solvers[0]
        return solver(first) if isinstance(first, str) else first

    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of the columns `index`, inside those of the model; all three (k,). Crossed bounds make it infeasible.

        Raises InputError E-SOLVER-MODEL for NaN and for bounds outside the model's.
        """
        check_sides("columns", lower, upper)
        if (lower < self.model.lower[index]).any() or (upper > self.model.upper[index]).any():
            raise InputError("E-SOLVER-MODEL", "new column bounds lie outside those of the model",
                             hint="start a session with a wider model")
        self.lower[index], self.upper[index] = lower, upper
        if self._engine is not None and self._proper:
            # What was not handed on while bounds were crossed goes with it.
            self._tell(self._forward)

    def set_cost(self, cost: np.ndarray) -> None:
        """A new objective, (n,). Raises InputError E-SOLVER-MODEL where it does not fit."""
        if np.shape(cost) != self.cost.shape:
            raise InputError("E-SOLVER-MODEL", f"an objective of shape {np.shape(cost)} for {len(self.cost)} columns")
        check_finite("costs", cost)
        self.cost = np.array(cost, dtype=np.float64)
        if self._engine is not None:
            self._tell(lambda engine: engine.set_cost(self.cost))

    def solve(self, limits: Limits | None = None) -> SolverAnswer:
        """Minimise. Raises SolverError where the last solver failed, and KeyboardInterrupt after the solver has stopped.

        limits: of the whole call: a second solver, or a second question to the first, has the time that is left.
        Sound: `bound` and `infeasible` are proved whatever the solver claims; NaN, limits and lies only weaken them.
        """
        limits = limits or Limits()
        end = time.monotonic() + limits.seconds
        if not self._proper or (self.model.row_lower > self.model.row_upper).any():
            return SolverAnswer(inf, True, Status.INFEASIBLE)
        if not len(self.model.row_lower) and not self.model.mixed:
            return self._judge(Claim(Status.OPTIMAL, np.zeros(0), point=np.where(self.cost >= 0, self.lower, self.upper)))
        while True:
            try:
                with _blamed(self.name):
                    claim = self._start().run(limits.until(end))
                break
            except SolverError as error:
                self._next(error)
        if claim.status is Status.INFEASIBLE and not self._safe.empty(claim.ray, self.lower, self.upper):
            claim = self._with_ray(claim, limits.until(end))
        return self._judge(claim)

    @property
    def _proper(self) -> bool:
        return bool((self.lower <= self.upper).all())

    def _start(self) -> Engine:
        if self._engine is None:
            chosen = self._chosen()
            if self.model.mixed and not chosen.integers:
                raise SolverError("E-SOLVER-INTEGERS", f"the solver '{self.name}' solves no models with whole columns", where=self.name)
            engine = chosen.start(self.model.as_solvers_see())
            engine.set_cost(self.cost)
            self._forward(engine)
            self._engine = engine
        return self._engine

    def _forward(self, engine: Engine) -> None:
        engine.set_bounds(np.arange(len(self.lower)), self.lower, self.upper)

    def _tell(self, work: Callable[[Engine], None]) -> None:
        """Hand a change on; where the engine fails the next solver starts with it."""
        assert self._engine is not None
        try:
            with _blamed(self.name):
                work(self._engine)
        except SolverError as error:
            self._next(error)

    def _next(self, error: SolverError) -> None:
        """The next solver after a failure. Raises the failure where there is none."""
        self.notes.append(Trouble(error.code, f"{self.name}: {error.what}"))
        try:
            self.close()
        except AbsintError:
            self._engine = None
        if len(self._solvers) == 1:
            raise error
        self._solvers.pop(0)

    def _with_ray(self, claim: Claim, limits: Limits) -> Claim:
        """The claim with the multipliers of a second LP, the least violation of the rows (phase one), as a ray."""
        try:
            engine = self._chosen().start(violation(self.model, self.lower, self.upper).as_solvers_see())
            try:
                found = engine.run(limits)
            finally:
                engine.close()
        except SolverError as error:
            self.notes.append(Trouble(error.code, f"{self.name}: {error.what}"))
            return claim
        return replace(claim, ray=found.multipliers)

    def _judge(self, claim: Claim) -> SolverAnswer:
        """The one place where claims become an answer."""
        if self._safe.empty(claim.ray, self.lower, self.upper):
            return SolverAnswer(inf, True, claim.status, multipliers=self._safe.usable_ray(claim.ray))
        used = self._safe.usable(claim.multipliers)
        best = self._safe.bound(used, self.cost, self.lower, self.upper)
        if claim.status is not Status.OPTIMAL or claim.value is None or not abs(claim.value - best) <= _VALUE_TOLERANCE * (1 + abs(best)):
            # The box alone is a bound, too: no multipliers at all.
            nothing = np.zeros(len(used))
            alone = self._safe.bound(nothing, self.cost, self.lower, self.upper)
            best, used = (best, used) if best >= alone else (alone, nothing)
        point = None if claim.point is None or not _fits(claim.point, self.lower) else np.asarray(claim.point, dtype=np.float64)
        return SolverAnswer(best, False, claim.status, point, claim.value, claim.bound, used, tuple(self._troubles(claim, point, best)))

    def _troubles(self, claim: Claim, point: np.ndarray | None, bound: float) -> list[Trouble]:
        """Where a claim contradicts what is proved, or itself. Notes for the user: no bound depends on them."""
        out = []
        m = self.model
        for what, values, like in (("multipliers", claim.multipliers, m.row_lower), ("point", claim.point, self.lower)):
            if values is not None and not _fits(values, like):
                out.append(Trouble("E-SOLVER-NAN", f"{self.name}: the {what} have a wrong shape or NaN or infinite entries"))
        for what, number in (("value", claim.value), ("bound", claim.bound)):
            if number is not None and np.isnan(number):
                out.append(Trouble("E-SOLVER-NAN", f"{self.name}: the {what} is NaN"))
        if claim.status is Status.INFEASIBLE:
            out.append(Trouble("E-SOLVER-UNPROVED", f"{self.name}: 'infeasible', which no multipliers prove"))
        if claim.status is not Status.OPTIMAL:
            return out
        if point is not None and not self._satisfied(point):
            out.append(Trouble("E-SOLVER-CONTRADICTION", f"{self.name}: 'optimal', but the point violates the model"))
        if claim.value is None:
            return out
        close = _VALUE_TOLERANCE * (1 + abs(claim.value))
        if claim.value < bound - close:
            out.append(Trouble("E-SOLVER-CONTRADICTION", f"{self.name}: 'optimal' {claim.value:g}, where at least {bound:g} is proved"))
        if not m.mixed and claim.value > bound + close:
            out.append(Trouble("E-SOLVER-UNPROVED", f"{self.name}: 'optimal' {claim.value:g}, where its multipliers prove {bound:g}"))
        return out

    def _satisfied(self, point: np.ndarray) -> bool:
        """Up to a tolerance; the tolerance grows with the size of the row's terms."""
        m = self.model
        image, room = m.matrix @ point, _ROW_TOLERANCE * (1 + abs(m.matrix) @ np.abs(point))
        rows = (image >= m.row_lower - room) & (image <= m.row_upper + room)
        near = _ROW_TOLERANCE * (1 + np.abs(point))
        return bool(rows.all() and ((point >= self.lower - near) & (point <= self.upper + near)).all())


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Whatever else a back end raises is its crash, no bug of absint's. Ctrl-C and lack of memory pass."""
    try:
        yield
    except (AbsintError, MemoryError):
        raise
    except Exception as error:
        raise SolverError("E-SOLVER-CRASH", f"raised {type(error).__name__}: {error}", where=name) from error


def _fits(values: np.ndarray, like: np.ndarray) -> bool:
    return np.shape(values) == like.shape and bool(np.isfinite(values).all())


def violation(model: Model, lower: np.ndarray, upper: np.ndarray) -> Model:
    """min sum of p + q  where  row_lower <= A x + p - q <= row_upper, p, q >= 0: its multipliers are a ray of an infeasible model.

    Relaxed: no column must be whole.
    """
    rows = len(model.row_lower)
    one = sparse.identity(rows, format="csr")
    wide = np.full(2 * rows, inf)
    return Model.of(sparse.hstack([model.matrix, one, -one], format="csr"), (model.row_lower, model.row_upper),
                    (np.concatenate([lower, np.zeros(2 * rows)]), np.concatenate([upper, wide])),
                    np.concatenate([np.zeros(len(lower)), np.ones(2 * rows)]))
