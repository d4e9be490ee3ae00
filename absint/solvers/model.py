"""Linear and mixed-integer models as sparse arrays, and what is asked of and answered by a solver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from absint.errors import InputError, ResourceError
from absint.numeric.outward import next_below

# Solvers treat smaller coefficients as zero, some of them wrongly: CBC called an LP with such weights "optimal" 0.38 off.
TINY_COEFFICIENT = 1e-9
_LEAST_SECONDS = 1e-3
# Rows may miss their sides by 1e-7 or more in every solver.
EQUAL_SIDES = 1e-9


class SolverError(ResourceError):
    """A solver is missing, has no licence, crashed, hung, or answered with something that is no answer. Never a verdict."""


class ModelError(InputError):
    """Numbers that are no model: NaN or infinite coefficients (an overflow on the way to them), arrays that do not fit together."""


@dataclass(frozen=True, eq=False)
class Model:
    """min cost.x  where  row_lower <= matrix x <= row_upper,  lower <= x <= upper,  x_j whole where integer[j].

    matrix: (m, n) in compressed rows.  row_lower, row_upper: (m,).  lower, upper, cost: (n,).  integer: (n,) bool.
    All float64 and taken as exact; the sides of rows and columns may be infinite. A safe bound needs finite columns.
    Raises ModelError E-SOLVER-MODEL for NaN, for infinite coefficients, and for arrays that do not fit together.
    """

    matrix: Any
    row_lower: np.ndarray
    row_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    integer: np.ndarray

    def __post_init__(self) -> None:
        m, n = self.matrix.shape
        shapes = [v.shape for v in (self.row_lower, self.row_upper, self.lower, self.upper, self.cost, self.integer)]
        if shapes != [(m,), (m,), (n,), (n,), (n,), (n,)]:
            raise ModelError("E-SOLVER-MODEL", f"a matrix of shape {(m, n)} does not go with vectors of shapes {shapes}")
        check_finite("coefficients", self.matrix.data)
        check_finite("costs", self.cost)
        check_sides("rows", self.row_lower, self.row_upper)
        check_sides("columns", self.lower, self.upper)

    @staticmethod
    def of(matrix: Any, rows: tuple[ArrayLike, ArrayLike], box: tuple[ArrayLike, ArrayLike], cost: ArrayLike | None = None,
           integer: ArrayLike | None = None) -> Model:
        """From a dense or sparse matrix and plain sequences; no cost means zero, no `integer` means an LP."""
        stored = sparse.csr_array(matrix, dtype=np.float64, copy=True)
        stored.sum_duplicates()
        low, high, lower, upper = (np.asarray(v, dtype=np.float64) for v in (*rows, *box))
        n = stored.shape[1]
        price = np.zeros(n) if cost is None else np.asarray(cost, dtype=np.float64)
        whole = np.zeros(n, dtype=bool) if integer is None else np.asarray(integer, dtype=bool)
        return Model(stored, low, high, lower, upper, price, whole)

    @property
    def mixed(self) -> bool:
        """Whether some column must be whole."""
        return bool(self.integer.any())

    def without_tiny(self) -> Model:
        """The model that solvers see: coefficients below 1e-9 in size are dropped, their rows widened by what they can do.

        Sound: every point of this model's box that satisfies a row satisfies the widened row (gamma slack). A row that an
        infinite column would widen without end keeps no side. The bound of an answer never relies on it: it is computed on
        the full model.
        """
        small = np.abs(self.matrix.data) < TINY_COEFFICIENT
        if not small.any():
            return self
        lost, kept = self.matrix.copy(), self.matrix.copy()
        lost.data = np.where(small, np.abs(lost.data), 0.0)
        lost.eliminate_zeros()
        kept.data = np.where(small, 0.0, kept.data)
        kept.eliminate_zeros()
        size = np.maximum(np.abs(self.lower), np.abs(self.upper))
        room = np.asarray(lost @ size)
        floor = np.finfo(np.float64).tiny * (self.matrix.shape[1] + 1)
        room = np.where(room > 0, room * (1 + 1e-9) + floor, np.where(np.diff(lost.indptr) > 0, floor, 0.0))
        low = np.where(room > 0, _below(self.row_lower - room), self.row_lower)
        high = np.where(room > 0, _above(self.row_upper + room), self.row_upper)
        return Model(kept, low, high, self.lower, self.upper, self.cost, self.integer)

    def as_solvers_see(self) -> Model:
        """Without tiny coefficients, and with one value for both sides of a row narrower than any solver's tolerance.

        Most back ends split a row with two sides into two rows. Multipliers of this model are multipliers of the full one.
        """
        seen = self.without_tiny()
        low, high = seen.row_lower, seen.row_upper
        with np.errstate(invalid="ignore"):
            narrow = (high > low) & (high - low <= EQUAL_SIDES)
        middle = np.where(narrow, np.where(narrow, low, 0.0) / 2 + np.where(narrow, high, 0.0) / 2, 0.0)
        return replace(seen, row_lower=np.where(narrow, middle, low), row_upper=np.where(narrow, middle, high))


def _below(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = next_below(np.nan_to_num(x, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    return found


def _above(x: np.ndarray) -> np.ndarray:
    return -_below(-x)


def check_finite(what: str, values: np.ndarray) -> None:
    """Raise ModelError E-SOLVER-MODEL where a number is NaN or infinite."""
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ModelError("E-SOLVER-MODEL", f"{bad} {what} are NaN or infinite")


def check_sides(what: str, lower: np.ndarray, upper: np.ndarray) -> None:
    """Raise ModelError E-SOLVER-MODEL for NaN, a lower side of +inf or an upper side of -inf. Crossed sides are allowed."""
    if np.isnan(lower).any() or np.isnan(upper).any() or (lower == np.inf).any() or (upper == -np.inf).any():
        raise ModelError("E-SOLVER-MODEL", f"some {what} are bounded by NaN, from below by +inf or from above by -inf")


@dataclass(frozen=True)
class Limits:
    """What one solve may use. seconds: wall-clock time.  threads: of the solver.  stop: asked now and then; True ends the solve."""

    seconds: float = 60.0
    threads: int = 1
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.threads < 1:
            raise InputError("E-SOLVER-LIMITS", f"{self.seconds} seconds and {self.threads} threads", hint="both must be positive")

    def until(self, end: float) -> Limits:
        """The same with the time that is left to an instant of the monotonic clock."""
        return replace(self, seconds=min(self.seconds, max(_LEAST_SECONDS, end - time.monotonic())))

    @property
    def stopped(self) -> bool:
        """Whether the caller wants no more."""
        return self.stop is not None and self.stop()


class Status(Enum):
    """What a solver says of a solve. It is its word, no proof."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    LIMIT = "limit"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Claim:
    """What a back end reports of one solve, unchecked; whatever it does not know is None.

    multipliers: (m,), one per row, of the (relaxed) LP: cost - matrix' multipliers are the reduced costs.  ray: (m,), the same
    for the zero objective, where no point exists.  point: (n,).  value: its objective.  bound: of the optimum, of a MILP.
    """

    status: Status
    multipliers: np.ndarray | None = None
    ray: np.ndarray | None = None
    point: np.ndarray | None = None
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Trouble:
    """Something that a solver reported and that is not so, or that it could not do. code: stable, E-SOLVER-..."""

    code: str
    what: str


@dataclass(frozen=True, eq=False)
class SolverAnswer:
    """What is known after one solve.

    bound: every point of the model has an objective >= it: proved, in floating point; +inf where infeasible.
    infeasible: proved: the model has no point.  status, value, claimed (a MILP's bound): the solver's word alone.
    point: (n,) finite numbers, or None; not checked.  multipliers: (m,) those behind `bound`, a ray
    behind `infeasible`.  troubles: what did not fit.
    """

    bound: float
    infeasible: bool
    status: Status
    point: np.ndarray | None = None
    value: float | None = None
    claimed: float | None = None
    multipliers: np.ndarray | None = None
    troubles: tuple[Trouble, ...] = ()
