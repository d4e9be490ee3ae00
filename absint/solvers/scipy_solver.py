"""scipy's linprog and milp (HiGHS inside): the fall-back that every installation has. Each solve starts cold.

scipy ignores Ctrl-C until a solve returns: it ends at the time limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from absint.solvers.interface import Engine, Presence, Solver
from absint.solvers.model import Claim, Limits, Model, SolverError, Status

_STATUS = {0: Status.OPTIMAL, 1: Status.LIMIT, 2: Status.INFEASIBLE, 3: Status.UNBOUNDED}


class Scipy(Solver):
    """scipy.optimize (BSD licence)."""

    def check(self) -> Presence:
        """Always there: absint depends on it."""
        return Presence(True, f"scipy {scipy.__version__}, BSD licence")

    def start(self, model: Model) -> Engine:
        """Keep the arrays."""
        return _ScipyEngine(model)


class _ScipyEngine(Engine):
    def __init__(self, model: Model) -> None:
        self._model = model
        self._lower, self._upper, self._cost = model.lower.copy(), model.upper.copy(), model.cost.copy()
        equal = model.row_lower == model.row_upper
        self._equal = equal.nonzero()[0]
        self._above = (~equal & np.isfinite(model.row_upper)).nonzero()[0]
        self._below = (~equal & np.isfinite(model.row_lower)).nonzero()[0]

    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self._lower[index], self._upper[index] = lower, upper

    def set_cost(self, cost: np.ndarray) -> None:
        self._cost = cost.copy()

    def run(self, limits: Limits) -> Claim:
        if limits.stopped:
            return Claim(Status.INTERRUPTED)
        try:
            return self._mixed(limits) if self._model.mixed else self._linear(limits)
        except (ValueError, RuntimeError, MemoryError) as error:
            raise SolverError("E-SOLVER-CRASH", f"scipy: {error}", where="scipy") from error

    def _linear(self, limits: Limits) -> Claim:
        m = self._model
        inequality = sparse.vstack([m.matrix[self._above], -m.matrix[self._below]], format="csr")
        sides = np.concatenate([m.row_upper[self._above], -m.row_lower[self._below]])
        found: Any = linprog(self._cost, inequality, sides, m.matrix[self._equal], m.row_lower[self._equal],
                             np.column_stack([self._lower, self._upper]), "highs", options={"time_limit": float(limits.seconds)})
        status = _STATUS.get(int(found.status), Status.UNKNOWN)
        if found.x is None:
            return Claim(status)
        y = np.zeros(len(m.row_lower))
        marginals = np.asarray(found.ineqlin.marginals, dtype=np.float64)
        y[self._above] += marginals[: len(self._above)]
        y[self._below] -= marginals[len(self._above):]
        y[self._equal] += np.asarray(found.eqlin.marginals, dtype=np.float64)
        return Claim(status, y, point=np.asarray(found.x), value=float(found.fun))

    def _mixed(self, limits: Limits) -> Claim:
        m = self._model
        found: Any = milp(self._cost, integrality=m.integer.astype(int), bounds=Bounds(self._lower, self._upper),
                          constraints=LinearConstraint(m.matrix, m.row_lower, m.row_upper),
                          options={"time_limit": float(limits.seconds)})
        status = _STATUS.get(int(found.status), Status.UNKNOWN)
        # None at the time limit, where nothing was found.
        bound = getattr(found, "mip_dual_bound", None)
        point = None if found.x is None else np.asarray(found.x)
        return Claim(status, point=point, value=None if point is None else float(found.fun), bound=None if bound is None else float(bound))
