"""The parts of evidence: why a leaf is closed, bounds of neurons, programs. `Evidence` (evidence.py) holds those of one instance.

`Recorder` (recorder.py) collects it for a batch; a `Context` carries one, or none. Nothing here is trusted by anybody: whoever holds
the network and the statement recomputes every bound, with the slopes, shares and multipliers as hints, and a wrong hint proves less.

Signs. A row  w.y + b  of the property is to be shown positive (its disjunct's rows are the unsafe conjunction  w.y + b <= 0).
side +1 speaks of values >= a number, side -1 of values <= it. Multipliers y of a program's rows prove
    cost.x + offset >= offset + sum_i y_i s_i + min over the columns' box of (cost - A'y).x,
where s_i is the row's lower side for y_i > 0 and its upper side for y_i < 0; a ray does the same for the zero cost and proves, by a
positive number, that no point of the box satisfies the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from absint.numeric.short_repr import short_repr

# How a leaf is closed.
ROWS, COMBINATION, PROGRAM, INFEASIBLE, CLIP, BOX, VOID = "rows", "combination", "program", "infeasible", "clip", "known box", "void"
BYS = (ROWS, COMBINATION, PROGRAM, INFEASIBLE, CLIP, BOX, VOID)


@dataclass(frozen=True, slots=True)
class SplitStep:
    """One step of a path: the node's value at the flat entry is <= cut (side -1) or >= cut (side +1).

    Inputs are entries of the input node, phases entries of the operand of a nonlinear node. Where its function jumps at the cut, a value
    right there is on the side whose limit it takes: both sides together hold every value. winner: of a maximum, whose node and
    entry these are, the flat entry of its input that attains it; side is 0 and cut unused. It has a child for each candidate.
    """

    node: str
    entry: int
    cut: float
    side: int
    winner: int | None = None

    def __str__(self) -> str:
        if self.winner is not None:
            return f"{self.node}[{self.entry}] is its input's entry {self.winner}"
        return f"{self.node}[{self.entry}] {'<=' if self.side < 0 else '>='} {self.cut:g}"

    @property
    def place(self) -> tuple[str, int, float]:
        """What its siblings share."""
        return self.node, self.entry, 0.0 if self.winner is not None else self.cut


@dataclass(frozen=True, eq=False, slots=True)
class Ratios:
    """Free slopes at the undecided entries of one nonlinear node; everywhere else its relaxation has one choice, or its default is meant.

    entry: (n,) int32, flat.  ratio: (n,) or (k, n) float32 in [0, 1], as `planes` of the node's family reads it: of a convex f the slope
    of the lower line is f'(l) + ratio (f'(u) - f'(l)), which for a ReLU is the ratio itself.
    """

    __repr__ = short_repr

    entry: np.ndarray
    ratio: np.ndarray

    def dense(self, size: int, rest: float = 0.5) -> np.ndarray:
        """(size,) or (k, size), `rest` where nothing is stored."""
        out = np.full((*self.ratio.shape[:-1], size), rest, dtype=np.float64)
        out[..., self.entry] = self.ratio
        return out

    def take(self, rows: np.ndarray) -> Ratios:
        """Of some of the k rows."""
        return Ratios(self.entry, self.ratio[rows])


SlopeTable = Mapping[str, Ratios]


@dataclass(frozen=True, eq=False, slots=True)
class CutHints:
    """How a substitution passes entries of one nonlinear node y = f(z) that a path cuts: where A meets y, B = slope A + added goes on.

    What it gains there is the least of A f(z) - B z over the z that the path leaves, which any B bounds rightly.
    entry: (n,) int32, flat.  slope, added: (n,) float32.
    """

    __repr__ = short_repr

    entry: np.ndarray
    slope: np.ndarray
    added: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class Leaf:
    """Why a disjunct holds for no input on one path. bound: at most its greatest row there; it is refuted where this is positive.

    by: "rows", one row's bound by a domain's walk; "combination", a sum of rows; "program", multipliers; "infeasible", a ray;
    "clip", cut off by a row; "known box", that of the output; "void", crossed bounds.
    shares: (rows of the disjunct,) >= 0, the sum of rows that was bounded.  slopes: of the substitution, None for a domain without
    any: then its name, in `stage`, is the hint.  hints: of the entries that the path cuts, where these have such; they take the place of
    slopes there.  program: position in `Evidence.programs`.  multipliers, ray: (m,) of its rows.
    neurons: bounds of inner entries that hold on its path.  stage: the bounder and its number format.
    disjunct: -1 until an `Evidence` holds it.
    """

    __repr__ = short_repr

    bound: float
    by: str
    path: tuple[SplitStep, ...] = ()
    shares: np.ndarray | None = None
    slopes: SlopeTable | None = None
    hints: Mapping[str, CutHints] | None = None
    program: int | None = None
    multipliers: np.ndarray | None = None
    ray: np.ndarray | None = None
    neurons: tuple[NeuronBounds, ...] = ()
    stage: str = ""
    disjunct: int = -1


@dataclass(frozen=True)
class Columns:
    """What some columns of a program stand for, entry by entry of a node (flat). See `absint.encode.builder.ColumnBlock`."""

    role: str
    node: str
    entry: np.ndarray
    column: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    other: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Values:
    """Entries of a node over a program's columns: entry e lies between row e . x + low[e] and row e . x + high[e].

    data, indices, indptr: the rows, compressed.
    """

    __repr__ = short_repr

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def objective(self, entry: int, side: int, columns: int) -> tuple[np.ndarray, float]:
        """cost (columns,) and offset of  side * entry  from below."""
        cost, part = np.zeros(columns), slice(self.indptr[entry], self.indptr[entry + 1])
        cost[self.indices[part]] = side * self.data[part]
        return cost, float(self.low[entry] if side > 0 else -self.high[entry])


@dataclass(frozen=True, eq=False)
class Program:
    """min cost.x + offset  where  row_lower <= A x <= row_upper, lower <= x <= upper: every execution of the region is a point of it.

    data, indices, indptr: A (m, n) in compressed rows.  factor: a row of the property times it is bounded by the objective.
    A leaf's path narrows columns: `columns` says which.  values: of the node whose entries are bounded by it, instead of a cost.
    """

    __repr__ = short_repr

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    offset: float = 0.0
    factor: float = 1.0
    columns: tuple[Columns, ...] = ()
    values: Values | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of A."""
        return len(self.row_lower), len(self.lower)

    def dense(self) -> np.ndarray:
        """A, (m, n)."""
        out = np.zeros(self.shape)
        out[np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices] = self.data
        return out


@dataclass(frozen=True, eq=False)
class NeuronBounds:
    """Bounds of inner entries that later relaxations used. entry: (k,) flat.  side: (k,) int8: +1, value >= bound; -1, value <= bound.

    slopes: of the substitution of  side * entry, ratios (k, n).  Or a program, whose `values` has the objective, and multipliers (k, m).
    stage: the bounder and its number format.
    """

    __repr__ = short_repr

    node: str
    entry: np.ndarray
    side: np.ndarray
    bound: np.ndarray
    slopes: SlopeTable | None = None
    program: int | None = None
    multipliers: np.ndarray | None = None
    stage: str = ""

    def __len__(self) -> int:
        return len(self.entry)

    def take(self, rows: np.ndarray) -> NeuronBounds:
        """Some of them."""
        some = None if self.multipliers is None else self.multipliers[rows]
        slopes = None if self.slopes is None else {name: ratios.take(rows) for name, ratios in self.slopes.items()}
        return NeuronBounds(self.node, self.entry[rows], self.side[rows], self.bound[rows], slopes, self.program, some, self.stage)


def covers(paths: Sequence[tuple[SplitStep, ...]]) -> bool:
    """Whether paths are those of the leaves of one tree, each inner node with all of its children: then they cover the root.

    A binary step has both sides; of a maximum's step only that the winners differ is looked at: who can win is the network's matter.
    """
    left = [(list(paths), 0)]
    while left:
        here, depth = left.pop()
        if len(here) == 1 and len(here[0]) == depth:
            continue
        if not here or any(len(path) <= depth for path in here):
            return False
        same: dict[int, list[tuple[SplitStep, ...]]] = {}       # the paths of one growth share their steps: most are told apart by that
        for path in here:
            same.setdefault(id(path[depth]), []).append(path)
        below: dict[SplitStep, list[tuple[SplitStep, ...]]] = {}
        for part in same.values():
            below.setdefault(part[0][depth], []).extend(part)
        sides = {step.side for step in below}
        if len({step.place for step in below}) != 1 or sides != ({0} if any(step.winner is not None for step in below) else {-1, 1}):
            return False
        left += [(part, depth + 1) for part in below.values()]
    return True
