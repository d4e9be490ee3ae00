"""A model under construction: columns with their meaning, rows, and the choices that make a relaxation exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from absint.encode.expressions import Expressions, add_down, add_up, over
from absint.numeric.outward import next_below
from absint.solvers.model import Model

# HiGHS refuses models with coefficients from 1e15 on, and lower bounds from 1e20 on, which it takes for +inf.
_GREATEST, _INFINITE = 1e14, 1e19


@dataclass(frozen=True, eq=False)
class ColumnBlock:
    """What some columns stand for in an execution, entry by entry of a node (flat indices).

    role "value": the node's value.  "left": max(low - z, 0), "right": z - low clamped to [0, high - low], with z the value of
    the node's input.  "gap": the node's value less that of entry `other` of its input.
    """

    role: str
    node: str
    entry: np.ndarray
    column: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    other: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Choices:
    """Alternatives, flat: every execution satisfies at least one alternative of every choice, each one column's bounds.

    choice: (A,) number of the choice.  column, lower, upper: (A,).  With one alternative of each imposed the relaxation of a
    piecewise-linear node is exact.
    """

    choice: np.ndarray
    column: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def count(self) -> int:
        """Number of choices."""
        return int(self.choice.max()) + 1 if len(self.choice) else 0


@dataclass(eq=False)
class Builder:
    """Collects columns, rows and choices. `lower`, `upper`: of all columns so far."""

    lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    upper: np.ndarray = field(default_factory=lambda: np.zeros(0))
    blocks: list[ColumnBlock] = field(default_factory=list)
    _rows: list[tuple[Any, np.ndarray, np.ndarray]] = field(default_factory=list)
    _choices: list[Choices] = field(default_factory=list)
    _decisions: int = 0

    @property
    def width(self) -> int:
        """Columns so far."""
        return len(self.lower)

    @property
    def size(self) -> np.ndarray:
        """Bounds on |x|."""
        found: np.ndarray = np.maximum(np.abs(self.lower), np.abs(self.upper))
        return found

    def columns(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Indices of new columns."""
        index = np.arange(self.width, self.width + len(lower))
        self.lower, self.upper = np.concatenate([self.lower, lower]), np.concatenate([self.upper, upper])
        return index

    def rows(self, new: list[tuple[np.ndarray, np.ndarray]], value: Expressions, low: np.ndarray, high: np.ndarray) -> None:
        """low <= sum of factor * column - value <= high, for each of the value's entries; `new` lists (columns, factors).

        The columns of `new` must not occur in `value`: then every coefficient is exact.
        """
        bottom, top = add_down(low, value.low), add_up(high, value.high)
        count = len(value)
        index = np.concatenate([np.arange(count)] * len(new))
        factors = np.concatenate([f for _, f in new])
        columns = np.concatenate([c for c, _ in new])
        own = sparse.coo_array((factors, (index, columns)), shape=(count, self.width)).tocsr()
        self._rows.append((sparse.csr_array(own - over(value.matrix, self.width)), bottom, top))

    def choose(self, alternatives: list[tuple[np.ndarray, np.ndarray, np.ndarray]], number: np.ndarray | None = None) -> None:
        """New choices; each alternative (column, lower, upper), (k,) each. number: (k,) which of them; default 0 .. k-1."""
        for column, lower, upper in alternatives:
            which = np.arange(len(column)) if number is None else number
            self._choices.append(Choices(which + self._decisions, column, lower, upper))
        used = [c.choice for c in self._choices if len(c.choice)]
        self._decisions = 1 + max((int(c.max()) for c in used), default=-1)

    def choices(self) -> Choices:
        """All of them, sorted by number."""
        if not self._choices:
            none = np.zeros(0)
            return Choices(none.astype(np.int64), none.astype(np.int64), none, none)
        joined = [np.concatenate([getattr(c, name) for c in self._choices]) for name in ("choice", "column", "lower", "upper")]
        order = np.argsort(joined[0], kind="stable")
        return Choices(*(v[order] for v in joined))

    def model(self) -> Model:
        """The relaxation, without an objective. Rows with no finite side, or with numbers that no solver takes, are left out, and
        ends beyond what solvers take for infinite are moved back to it: every execution still satisfies it.
        """
        matrices = [over(m, self.width) for m, _, _ in self._rows] or [sparse.csr_array((0, self.width))]
        none = [np.zeros(0)]
        low = np.concatenate([low for _, low, _ in self._rows] or none)
        high = np.concatenate([high for _, _, high in self._rows] or none)
        matrix = sparse.csr_array(sparse.vstack(matrices, format="csr"))
        kept = np.isfinite(low) | np.isfinite(high)
        wild = ~(np.abs(matrix.data) <= _GREATEST)
        kept[np.repeat(np.arange(len(kept)), np.diff(matrix.indptr))[wild]] = False
        return Model.of(matrix[kept.nonzero()[0]], _within(low[kept], high[kept]), _within(self.lower, self.upper))


def _within(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(low, _INFINITE), np.maximum(high, -_INFINITE)


def with_binaries(model: Model, choices: Choices) -> Model:
    """The exact model: a whole column in [0, 1] per alternative, one at least per choice, each imposing its column's bounds.

    The whole columns follow the model's own. Sound: every execution satisfies it with the alternatives that hold there at 1.
    """
    n, count = len(model.lower), len(choices.column)
    if not count:
        return model
    binary, every = n + np.arange(count), np.arange(count)
    low, high = model.lower[choices.column], model.upper[choices.column]
    # Imposed: x <= upper + (high - upper)(1 - d), x >= lower - (lower - low)(1 - d); the coefficients rounded towards weaker.
    fall, rise = _toward_zero(high, choices.upper), _toward_zero(choices.lower, low)
    entries = [(every, choices.column, np.ones(count)), (every, binary, fall), (count + every, choices.column, np.ones(count)),
               (count + every, binary, -rise), (2 * count + choices.choice, binary, np.ones(count))]
    index, column, value = (np.concatenate([e[k] for e in entries]) for k in range(3))
    extra = sparse.coo_array((value, (index, column)), shape=(2 * count + choices.count, n + count)).tocsr()
    wide = np.full(count, np.inf)
    sides = (np.concatenate([-wide, low, np.ones(choices.count)]), np.concatenate([high, wide, np.full(choices.count, np.inf)]))
    rows = sparse.vstack([over(model.matrix, n + count), extra], format="csr")
    whole = np.concatenate([model.integer, np.ones(count, dtype=bool)])
    return Model.of(rows, (np.concatenate([model.row_lower, sides[0]]), np.concatenate([model.row_upper, sides[1]])),
                    (np.concatenate([model.lower, np.zeros(count)]), np.concatenate([model.upper, np.ones(count)])),
                    np.concatenate([model.cost, np.zeros(count)]), whole)


def _toward_zero(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - b >= 0 rounded down; exact where b is 0 or both are equal."""
    difference = a - b
    found: np.ndarray = np.where((b == 0) | (difference == 0), difference, np.maximum(next_below(difference), 0.0))
    return found


def with_greatest(model: Model, costs: np.ndarray, offsets: np.ndarray) -> Model:
    """The model with a last column t >= costs[k].x + offsets[k] for every k, minimised. costs: (K, n), offsets: (K,).

    Sound: at each of the model's points the greatest of these functionals is a value of t that satisfies it.
    """
    count, n = costs.shape
    reach = np.maximum(np.abs(model.lower), np.abs(model.upper))
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.where(costs != 0, np.abs(costs) * reach, 0.0).sum(1) + np.abs(offsets)
    # Far more than the rounding of this sum of up to 1e9 terms. Infinite where a column is: then it proves nothing.
    most = float(np.nan_to_num(size, nan=np.inf).max()) * (1 + 1e-6) + 1.0
    extra = sparse.hstack([sparse.csr_array(-costs), sparse.csr_array(np.ones((count, 1)))], format="csr")
    rows = sparse.vstack([over(model.matrix, n + 1), extra], format="csr")
    sides = np.concatenate([model.row_lower, offsets]), np.concatenate([model.row_upper, np.full(count, np.inf)])
    box = np.concatenate([model.lower, [-most]]), np.concatenate([model.upper, [most]])
    return Model.of(rows, sides, box, np.concatenate([np.zeros(n), [1.0]]), np.concatenate([model.integer, [False]]))
