"""Any solver that PuLP knows by name, the bundled CBC by default: each solve in a session of its own, killed with its group."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from absint.solvers.child_interpreter import python_command
from absint.solvers.highs import present
from absint.solvers.interface import Engine, Presence, Solver, missing
from absint.solvers.isolated_process import run_isolated
from absint.solvers.model import Claim, Limits, Model, SolverError, Status

_CBC = "PULP_CBC_CMD"
_GRACE = 10.0  # seconds past the limit: the child imports PuLP, builds the model and reads the answer
_STATUS = {1: Status.OPTIMAL, -1: Status.INFEASIBLE, -2: Status.UNBOUNDED, 0: Status.LIMIT, 2: Status.LIMIT}


@dataclass(frozen=True)
class Pulp(Solver):
    """PuLP (MIT licence) with its bundled CBC (EPL licence), or any solver of `pulp.listSolvers()`: "pulp:SCIP_CMD"."""

    name: str = _CBC

    def check(self) -> Presence:
        """Whether PuLP is installed and finds the solver's program."""
        found = present("pulp", "MIT licence")
        if not found.installed:
            return found
        try:
            usable = self._available()
        except SolverError as error:
            return Presence(False, error.what, error.hint or "")
        return found if usable else Presence(False, f"{found.found}: {self.name} does not run here", "absint doctor")

    def _available(self) -> bool:
        import pulp

        if self.name not in pulp.listSolvers():
            names = ", ".join(pulp.listSolvers())
            raise SolverError("E-SOLVER-MISSING", f"PuLP knows no solver '{self.name}'", where=f"pulp:{self.name}", hint=f"known: {names}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of interfaces that its next version drops
            return bool(pulp.getSolver(self.name, msg=False).available())

    def start(self, model: Model) -> Engine:
        """Keep the arrays."""
        if find_spec("pulp") is None:
            raise missing("pulp", "PuLP")
        if not self._available():
            raise SolverError("E-SOLVER-MISSING", f"PuLP finds no program for '{self.name}'", where=f"pulp:{self.name}",
                              hint="install it and put it on the path")
        return _PulpEngine(model, self.name)


class _PulpEngine(Engine):
    def __init__(self, model: Model, name: str) -> None:
        self._model = model
        self._name = name
        self._lower, self._upper, self._cost = model.lower.copy(), model.upper.copy(), model.cost.copy()

    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self._lower[index], self._upper[index] = lower, upper

    def set_cost(self, cost: np.ndarray) -> None:
        self._cost = cost.copy()

    def run(self, limits: Limits) -> Claim:
        with tempfile.TemporaryDirectory(prefix="absint-") as place:
            folder = Path(place)
            self._write(folder / "model.npz")
            script = str(Path(__file__).with_name("pulp_child.py"))
            if not run_isolated(python_command(script, self._name, repr(float(limits.seconds))), folder, limits, _GRACE):
                return Claim(Status.INTERRUPTED)
            try:
                with np.load(folder / "answer.npz", allow_pickle=False) as answer:
                    return self._claim(answer)
            except (OSError, ValueError, KeyError) as error:
                raise SolverError("E-SOLVER-CRASH", f"left no readable answer: {error}", where=f"pulp:{self._name}") from error

    def _write(self, path: Path) -> None:
        m = self._model
        np.savez(path, start=m.matrix.indptr, index=m.matrix.indices, value=m.matrix.data, row_lower=m.row_lower, row_upper=m.row_upper,
                 lower=self._lower, upper=self._upper, cost=self._cost, integer=m.integer)

    def _claim(self, answer: Any) -> Claim:
        """`sol_status` counts: at the time limit CBC's status says 'optimal'."""
        status = _STATUS.get(int(answer["sol_status"]), Status.UNKNOWN)
        point = np.asarray(answer["point"], dtype=np.float64)
        missing = np.isnan(point)
        if status not in (Status.OPTIMAL, Status.LIMIT) or (missing.all() and status is Status.LIMIT):
            return Claim(status)
        # PuLP reports no value of a column that stands in no row.
        point = np.where(missing, np.where(self._cost >= 0, self._lower, self._upper), point)
        value = float(self._cost @ point)
        # Nor does it report a MILP's bound: an optimal value is one, up to the solver's tolerance.
        bound = value if status is Status.OPTIMAL and self._model.mixed else None
        return Claim(status, None if self._model.mixed else answer["multipliers"], point=point, value=value, bound=bound)
