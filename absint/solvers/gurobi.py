"""Gurobi, where gurobipy is installed and licensed: on request, or by `auto` under a full licence. A size-limited one is recognised."""

from __future__ import annotations

import signal
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import sparse

from absint.solvers.highs import present
from absint.solvers.interface import Engine, Presence, Solver, missing
from absint.solvers.model import Claim, Limits, Model, SolverError, Status

LIMIT = 2000           # rows and columns that the licence inside the Python package allows
_SIZE_LIMITED = 10010  # error: the model is larger than the licence allows
_NO_LICENCE = 10009
_MEND = "grbgetkey KEY, with a key from gurobi.com (free for academic use)"


class Gurobi(Solver):
    """Gurobi Optimizer (commercial; the Python package brings a licence for 2000 rows and columns, non-production)."""

    def check(self) -> Presence:
        """Installed, licensed, and how far the licence reaches."""
        found = present("gurobipy", "")
        if not found.installed:
            return found
        text = found.found.rstrip(", ")
        try:
            env = _environment()
            with env:
                limited = is_limited(env)
        except SolverError as error:
            return Presence(False, f"{text}, but no licence: {error.what}", _MEND, limited=True)
        except ImportError as error:
            return Presence(False, f"{text}, which cannot be loaded: {error}", "pip install --force-reinstall gurobipy")
        kind = f"licence limited to {LIMIT} rows and columns, non-production" if limited else "full licence"
        return Presence(True, f"{text}, {kind}", _MEND, limited=limited)

    def start(self, model: Model) -> Engine:
        """Pass the arrays."""
        if find_spec("gurobipy") is None:
            raise missing("gurobi", "gurobipy")
        return _GurobiEngine(model)


def _environment() -> Any:
    """A silent environment. Raises SolverError E-SOLVER-LICENCE where none can be had."""
    import gurobipy

    try:
        env = gurobipy.Env(empty=True)
        env.setParam("OutputFlag", 0)
        env.start()
    except gurobipy.GurobiError as error:
        raise _failure(error) from error
    return env


def is_limited(env: Any) -> bool:
    """Whether the licence refuses a model just above the free size."""
    import gurobipy

    with gurobipy.Model(env=env) as model:
        model.addVars(LIMIT + 1)
        try:
            model.optimize()
        except gurobipy.GurobiError as error:
            return bool(error.errno == _SIZE_LIMITED)
    return False


def _failure(error: Any) -> SolverError:
    if error.errno == _SIZE_LIMITED:
        return SolverError("E-SOLVER-LICENCE", f"the model is larger than Gurobi's licence allows ({LIMIT} rows and columns)",
                           where="gurobi", hint=f"{_MEND}; or another solver")
    code = "E-SOLVER-LICENCE" if error.errno == _NO_LICENCE else "E-SOLVER-CRASH"
    return SolverError(code, f"Gurobi: {error}", where="gurobi", hint=_MEND if error.errno == _NO_LICENCE else None)


class _CtrlC:
    """Ctrl-C during a solve. Gurobi's own handler, set as a solve starts, writes to stdout, where results belong: it is replaced."""

    def __init__(self) -> None:
        self.pressed = False
        self._outer: Any = signal.getsignal(signal.SIGINT)
        self._taken = False
        self._main = threading.current_thread() is threading.main_thread()

    def take(self) -> None:
        """From inside the solve; the first call counts. Only the main thread may set handlers."""
        if self._main and not self._taken:
            self._taken = True
            signal.signal(signal.SIGINT, self._press)

    def _press(self, number: int, frame: object) -> None:
        self.pressed = True

    def give_back(self) -> None:
        """The handler of before the solve."""
        if self._main and self._outer is not None:
            signal.signal(signal.SIGINT, self._outer)


class _GurobiEngine(Engine):
    def __init__(self, model: Model) -> None:
        import gurobipy

        self._api: Any = gurobipy
        self._env = _environment()
        self._mixed = model.mixed
        self._rows = len(model.row_lower)
        self._model: Any = gurobipy.Model(env=self._env)
        kind = np.where(model.integer, "I", "C")
        self._columns: Any = self._model.addMVar(len(model.lower), lb=model.lower, ub=model.upper, obj=model.cost, vtype=kind)
        equal = model.row_lower == model.row_upper
        above, below = ~equal & np.isfinite(model.row_upper), ~equal & np.isfinite(model.row_lower)
        # A row with two sides stands twice.
        self._index = np.concatenate([equal.nonzero()[0], above.nonzero()[0], below.nonzero()[0]])
        side = np.concatenate([model.row_upper[equal], model.row_upper[above], model.row_lower[below]])
        sense = np.repeat(["=", "<", ">"], [int(equal.sum()), int(above.sum()), int(below.sum())])
        self._model.addMConstr(sparse.csr_matrix(model.matrix)[self._index], self._columns, sense, side)
        self._model.Params.InfUnbdInfo = 1
        self._model.Params.DualReductions = 0
        self._lower, self._upper = model.lower.copy(), model.upper.copy()
        self._model.update()

    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self._lower[index], self._upper[index] = lower, upper
        self._columns.LB, self._columns.UB = self._lower, self._upper

    def set_cost(self, cost: np.ndarray) -> None:
        self._columns.Obj = cost

    def run(self, limits: Limits) -> Claim:
        self._model.Params.TimeLimit, self._model.Params.Threads = limits.seconds, limits.threads
        stopped: list[int] = []
        ctrl_c = _CtrlC()

        def look(model: Any, where: int) -> None:
            ctrl_c.take()
            if not stopped and (ctrl_c.pressed or limits.stopped):
                stopped.append(where)
                model.terminate()

        try:
            self._model.optimize(look)
        except self._api.GurobiError as error:
            raise _failure(error) from error
        finally:
            ctrl_c.give_back()
        if ctrl_c.pressed:
            raise KeyboardInterrupt
        kinds = self._api.GRB
        if self._model.Status == kinds.INTERRUPTED and not stopped:
            raise KeyboardInterrupt  # Gurobi takes Ctrl-C for itself
        names = {kinds.OPTIMAL: Status.OPTIMAL, kinds.INFEASIBLE: Status.INFEASIBLE, kinds.UNBOUNDED: Status.UNBOUNDED,
                 kinds.TIME_LIMIT: Status.LIMIT, kinds.INTERRUPTED: Status.INTERRUPTED}
        return self._claim(names.get(self._model.Status, Status.UNKNOWN))

    def _claim(self, status: Status) -> Claim:
        model = self._model
        point = np.asarray(self._columns.X) if model.SolCount else None
        value = float(model.ObjVal) if model.SolCount else None
        if self._mixed:
            return Claim(status, point=point, value=value, bound=float(model.ObjBound))
        if status is Status.INFEASIBLE:
            return Claim(status, ray=-self._per_row("FarkasDual"))  # Gurobi's sign: the ray's rows sum to something below
        return Claim(status, self._per_row("Pi") if status is Status.OPTIMAL else None, point=point, value=value)

    def _per_row(self, attribute: str) -> np.ndarray:
        try:
            values = self._model.getAttr(attribute, self._model.getConstrs())
        except self._api.GurobiError:
            return np.zeros(self._rows)
        y = np.zeros(self._rows)
        np.add.at(y, self._index, np.asarray(values, dtype=np.float64))
        return y

    def close(self) -> None:
        self._model.dispose()
        self._env.dispose()
