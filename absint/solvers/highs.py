"""HiGHS through highspy's arrays: the default back end, warm between solves, stopped by Ctrl-C in every solve."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from absint.solvers.interface import Engine, Presence, Solver, missing
from absint.solvers.model import Claim, Limits, Model, SolverError, Status

_POLL = 0.05     # seconds between looks at the clock, the caller's wish, and Ctrl-C
_GRACE = 5.0     # seconds that a solve may take to stop
_LEFT_RUNNING: list[Any] = []  # models whose thread would not end: never freed under it


class Highs(Solver):
    """HiGHS (MIT licence). Source: Huangfu and Hall, Math. Prog. Comp. 10 (2018)."""

    def check(self) -> Presence:
        """Installed or not; it needs no licence."""
        return present("highspy", "MIT licence")

    def start(self, model: Model) -> Engine:
        """Pass the arrays."""
        if find_spec("highspy") is None:
            raise missing("highs", "highspy")
        return _HighsEngine(model)


def present(package: str, licence: str) -> Presence:
    """What the installed packages say of one."""
    try:
        return Presence(True, f"{package} {version(package)}, {licence}")
    except PackageNotFoundError:
        return Presence(False, "not installed", f"pip install {package}", installed=False)


class _HighsEngine(Engine):
    def __init__(self, model: Model) -> None:
        import highspy

        self._api: Any = highspy
        self._shape = model.matrix.shape
        self._mixed = model.mixed
        self._running = False
        self._highs: Any = self._api.Highs()
        self._highs.setOptionValue("output_flag", False)
        # Ctrl-C and the caller's `stop` are looked at while the solve runs in a thread.
        self._highs.HandleUserInterrupt = True
        m, n = self._shape
        matrix = model.matrix
        arrays = [model.cost, model.lower, model.upper, model.row_lower, model.row_upper]
        start, index = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
        whole = model.integer.astype(np.int32)
        # row-wise (2), minimise (1), no constant
        status = self._highs.passModel(n, m, matrix.nnz, 2, 1, 0.0, *arrays, start, index, matrix.data, whole)
        if status == highspy.HighsStatus.kError:
            raise SolverError("E-SOLVER-CRASH", "HiGHS does not accept the model", where="highs")

    def set_bounds(self, index: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self._highs.changeColsBounds(len(index), index.astype(np.int32), lower.astype(np.float64), upper.astype(np.float64))

    def set_cost(self, cost: np.ndarray) -> None:
        self._highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost.astype(np.float64))

    def run(self, limits: Limits) -> Claim:
        self._highs.setOptionValue("threads", limits.threads)
        end = time.monotonic() + limits.seconds
        claim = self._claim(self._solve(limits))
        if claim.status is Status.INFEASIBLE and claim.ray is None and not self._mixed:
            # Presolve says 'infeasible' without a ray, at times where a point exists: the simplex method is asked.
            self._highs.setOptionValue("presolve", "off")
            try:
                claim = self._claim(self._solve(limits.until(end)))
            finally:
                self._highs.setOptionValue("presolve", "choose")
        return claim

    def _claim(self, interrupted: bool) -> Claim:
        status = self._status(interrupted)
        info, solution = self._highs.getInfo(), self._highs.getSolution()
        # At a limit they may be there, if not called valid; none are needed valid to prove a bound.
        multipliers = None if self._mixed or len(solution.row_dual) != self._shape[0] else np.asarray(solution.row_dual, dtype=np.float64)
        point = np.asarray(solution.col_value, dtype=np.float64) if solution.value_valid else None
        ray = self._ray() if status is Status.INFEASIBLE and not self._mixed else None
        value = None if point is None else float(info.objective_function_value)
        return Claim(status, multipliers, ray, point, value, float(info.mip_dual_bound) if self._mixed else None)

    def _ray(self) -> np.ndarray | None:
        _, exists, ray = self._highs.getDualRay()
        return np.asarray(ray, dtype=np.float64) if exists else None

    def _solve(self, limits: Limits) -> bool:
        """Run in a thread; True where the caller's `stop` ended it. Lets KeyboardInterrupt out once the solve has stopped."""
        # HiGHS counts its time over all solves of one object.
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + limits.seconds)
        deadline = time.monotonic() + limits.seconds + _GRACE
        stopped = False
        self._running = True  # before it is: Ctrl-C may come inside the start
        try:
            self._highs.startSolve()
            while not self._highs.wait(_POLL)[0]:
                if not stopped and limits.stopped:
                    stopped = True
                    deadline = time.monotonic() + _GRACE
                    self._highs.cancelSolve()
                if time.monotonic() > deadline:
                    self._abandon(0.0)
                    raise SolverError("E-SOLVER-HANG", f"HiGHS runs {_GRACE:g} s past its limit", where="highs")
        except KeyboardInterrupt:
            self._abandon(_GRACE)
            raise
        self._running = False
        return stopped

    def _abandon(self, patience: float) -> None:
        """Ask the solve to end. One that does not is left to its thread, which must not find its model gone."""
        self._highs.cancelSolve()
        self._running = not self._highs.wait(patience)[0]

    def _status(self, interrupted: bool) -> Status:
        kinds = self._api.HighsModelStatus
        found = self._highs.getModelStatus()
        if interrupted or found == kinds.kInterrupt:
            return Status.INTERRUPTED
        names = {kinds.kOptimal: Status.OPTIMAL, kinds.kInfeasible: Status.INFEASIBLE, kinds.kUnbounded: Status.UNBOUNDED,
                 kinds.kTimeLimit: Status.LIMIT, kinds.kIterationLimit: Status.LIMIT, kinds.kMemoryLimit: Status.LIMIT}
        return names.get(found, Status.UNKNOWN)

    def close(self) -> None:
        if self._running:
            _LEFT_RUNNING.append(self._highs)
        else:
            self._highs.clear()
            # Options are cleared, too: a solve that an interrupt caught before its first step must not print.
            self._highs.setOptionValue("output_flag", False)
