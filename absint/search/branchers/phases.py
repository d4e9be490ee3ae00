"""Branching on phases over one warm LP: the exact minimum of a functional over a piecewise-linear network, or its sign.

A node of the search imposes alternatives of some choices, each one column's bounds, on the one LP; the dual simplex method goes on
from where it was. A node is closed by its safe bound alone. The nodes wait in the order of their bounds, so that what is
left when a limit ends the search is as tight as that many LPs can make it.
Sources: Land and Doig, Econometrica 28 (1960); on phases of ReLUs: Katz et al., CAV 2017; Ehlers, ATVA 2017; on the choice of
the next branching: Achterberg, Koch and Martin, Branching rules revisited, Oper. Res. Letters 33 (2005), section 2.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from absint.encode.builder import Choices
from absint.numeric.outward import next_below
from absint.solvers.interface import Solver
from absint.solvers.model import Limits, Model, SolverAnswer, Status, Trouble
from absint.solvers.session import Session

# A choice that a point meets this well (relative to its column's width) is not worth branching on.
_MET = 1e-9
# A value so far above the goal (relative) is above it beyond the tolerances of solvers.
_NEAR = 1e-6
# How often a search may branch without a point to go by: where solvers fail for good (numbers far out of scale), not longer.
_BLIND = 64
# Gains below it count as equal.
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class Effort:
    """What a search may use. nodes: LPs.  deadline: on the monotonic clock.  lp: seconds of one LP."""

    nodes: float = inf
    deadline: float = inf
    lp: float = 60.0

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.deadline

    @property
    def own(self) -> bool:
        """Whether the next LP's limit is its own, not the deadline."""
        return self.lp < self.deadline - time.monotonic()

    @property
    def limits(self) -> Limits:
        """Of one LP."""
        return Limits(max(1e-3, min(self.lp, self.deadline - time.monotonic())))


@dataclass(frozen=True, eq=False)
class Least:
    """What a search found. lower: proved: no execution has a smaller value.  nodes: LPs solved.

    point: columns at which the caller's test held, or None.  near: columns that satisfy every choice and are not above the goal by
    the LP, where the test did not hold: a tie, mostly.  complete: the test held or every node was closed; where it is not, time
    ended the search (`late`), or one of its own limits (`limit` says which), or some nodes could be neither closed nor branched on.
    """

    lower: float
    nodes: int = 0
    point: np.ndarray | None = None
    near: np.ndarray | None = None
    complete: bool = False
    late: bool = False
    limit: str | None = None


# Positions of alternatives, the last one first; a child shares its parent's, so that a node is small however deep it lies.
_Imposed = tuple["_Imposed", int] | None


def _positions(imposed: _Imposed) -> np.ndarray:
    found = []
    while imposed is not None:
        imposed, position = imposed
        found.append(position)
    return np.array(found, dtype=np.int64)


@dataclass(order=True, frozen=True)
class _Node:
    """An open node. branch: the alternatives it is to be branched on."""

    bound: float
    order: int
    imposed: _Imposed = field(compare=False)
    branch: _Branch = field(compare=False)


@dataclass(frozen=True)
class _Branch:
    """The alternatives of one choice, and how far from each of them the node's point is."""

    positions: range
    distance: tuple[float, ...]


class Phases:
    """One LP under branching. Use as a context manager. solvers: as of `Session`."""

    def __init__(self, model: Model, choices: Choices, solvers: tuple[str | Solver, ...]) -> None:
        self.model, self.choices = model, choices
        self.session = Session(model, solvers)
        self._first = np.flatnonzero(np.diff(choices.choice, prepend=-1))
        self._touched = np.zeros(0, dtype=np.int64)
        with np.errstate(over="ignore"):
            width = model.upper - model.lower
        self._scale = np.where(width > 0, width, 1.0)[choices.column]
        # What imposing an alternative has raised bounds by, per unit of distance: sums, and how often.
        self._gain, self._count = np.zeros(len(choices.choice)), np.zeros(len(choices.choice))

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *what: object) -> None:
        self.session.close()

    @property
    def notes(self) -> list[Trouble]:
        """Of the session."""
        return self.session.notes

    def minimum(self, cost: np.ndarray, offset: float, goal: float, effort: Effort,
                test: Callable[[np.ndarray], bool] | None = None) -> Least:
        """The least value of cost.x + offset over all phases, or as much of it as shows whether it is above `goal`.

        Nodes proved above the goal are closed. test: of an LP's point that is not above the goal: True ends the search with it.
        Sound: `lower` rests on safe bounds alone.
        """
        self.session.set_cost(cost)
        return _Search(self, offset, goal, effort, test).run()

    def bound(self, cost: np.ndarray, offset: float, effort: Effort) -> SolverAnswer:
        """One LP without branching; the answer's bound is of cost.x + offset, rounded down."""
        self.impose(_positions(None))
        self.session.set_cost(cost)
        answer = self.session.solve(effort.limits)
        return replace(answer, bound=_plus(answer.bound, offset))

    def impose(self, chosen: np.ndarray) -> None:
        """The column bounds of a node, by the positions of alternatives; they stay until the next one's."""
        columns = self.choices.column[chosen]
        touched = np.union1d(self._touched, columns)
        if len(touched):
            lower, upper = self.model.lower[touched].copy(), self.model.upper[touched].copy()
            place = np.searchsorted(touched, columns)
            np.maximum.at(lower, place, self.choices.lower[chosen])
            np.minimum.at(upper, place, self.choices.upper[chosen])
            self.session.set_bounds(touched, lower, upper)
        self._touched = np.unique(columns)

    def promising(self, point: np.ndarray, imposed: np.ndarray) -> _Branch | None:
        """The choice whose alternatives, all of them violated by the point, are expected to raise the bound most; None: all are met.

        Expected: the distance from an alternative times what a unit of it raised bounds by so far (of all, where it is new).
        """
        if not self.choices.count:
            return None
        here = point[self.choices.column]
        off = np.maximum(self.choices.lower - here, here - self.choices.upper)
        off = np.where(off > _MET * self._scale, off, 0.0)
        violated = np.minimum.reduceat(off, self._first) > 0
        violated[self.choices.choice[imposed]] = False
        if not violated.any():
            return None
        seen = self._count.sum()
        usual = self._gain.sum() / seen if seen else 1.0
        expected = (self._gain + usual) / (self._count + 1) * off
        # The product of the worse and the better one: both children should gain, the lesser counts more.
        worse, better = np.minimum.reduceat(expected, self._first), np.maximum.reduceat(expected, self._first)
        score = np.maximum(worse, _LEAST_GAIN) * np.maximum(better, _LEAST_GAIN)
        return self.branch(int(np.where(violated, score, -1.0).argmax()), off)

    def branch(self, choice: int, off: np.ndarray | None = None) -> _Branch:
        """The alternatives of a choice."""
        last = self._first[choice + 1] if choice + 1 < len(self._first) else len(self.choices.choice)
        positions = range(int(self._first[choice]), int(last))
        return _Branch(positions, tuple(0.0 if off is None else float(off[k]) for k in positions))

    def gained(self, position: int, distance: float, gain: float) -> None:
        """Remember what an alternative raised a bound by."""
        if distance > 0 and np.isfinite(gain):
            self._gain[position] += gain / distance
            self._count[position] += 1


class _Search:
    """One call of `minimum`. Mutable."""

    def __init__(self, tree: Phases, offset: float, goal: float, effort: Effort, test: Callable[[np.ndarray], bool] | None) -> None:
        self.tree, self.offset, self.goal, self.effort, self.test = tree, offset, goal, effort, test
        self.heap: list[_Node] = []
        self.stuck: list[float] = []       # bounds of nodes that nothing can be done about
        self.closed = inf                  # the least bound of the nodes proved above the goal
        self.nodes = 0
        self.blind = 0
        self.slow = False                  # an LP came to its own limit
        self.point: np.ndarray | None = None
        self.near: np.ndarray | None = None

    def run(self) -> Least:
        """Until nothing is open, the test holds or a limit is reached."""
        self._visit(None, -inf)
        while self.heap and self.point is None and not self._spent and not self._settled:
            node = heapq.heappop(self.heap)
            for position, distance in zip(node.branch.positions, node.branch.distance, strict=True):
                if self.point is not None or self._spent:
                    self._push(node.bound, node.imposed, node.branch)  # what is left of it is as good as the whole
                    break
                bound = self._visit((node.imposed, position), node.bound)
                # An empty child is worth what closes it, no more.
                self.tree.gained(position, distance, min(bound, max(self.goal, node.bound) + abs(node.bound)) - node.bound)
        left = [n.bound for n in self.heap] + self.stuck
        complete = not left or self.point is not None
        late = not complete and bool(self.heap) and self.effort.late
        limit = None if complete or late else self._limit
        return Least(min([self.closed, *left]), self.nodes, self.point, self.near, complete, late, limit)

    @property
    def _limit(self) -> str | None:
        """Which limit of the search's own left something open; None where nothing more can be done."""
        if self.heap and self.nodes >= self.effort.nodes:
            return f"{self.effort.nodes:g} LPs for one disjunct"
        if self.slow:
            return f"{self.effort.lp:g} s of one LP"
        return f"{_BLIND} branchings without a point to go by" if self.blind > _BLIND else None

    @property
    def _spent(self) -> bool:
        return self.nodes >= self.effort.nodes or self.effort.late

    @property
    def _settled(self) -> bool:
        """Whether nothing that waits can change the result: the least bound is that of a node that no branching raises."""
        return self.test is None and bool(self.stuck) and self.heap[0].bound >= min(self.stuck)

    def _push(self, bound: float, imposed: _Imposed, branch: _Branch) -> None:
        heapq.heappush(self.heap, _Node(bound, -self.nodes, imposed, branch))

    def _visit(self, imposed: _Imposed, above: float) -> float:
        """Solve one node: close it, test its point, or let it wait. Returns its bound."""
        self.nodes += 1
        chosen = _positions(imposed)
        self.tree.impose(chosen)
        own = self.effort.own
        answer = self.tree.session.solve(self.effort.limits)
        self.slow = self.slow or (own and answer.status is Status.LIMIT)
        bound = max(above, _plus(answer.bound, self.offset))
        if bound > self.goal or bound == inf:
            self.closed = min(self.closed, bound)
            return bound
        branch = self._next(answer, chosen)
        if branch is None:
            self.stuck.append(bound)
        else:
            self._push(bound, imposed, branch)
        return bound

    def _next(self, answer: SolverAnswer, imposed: np.ndarray) -> _Branch | None:
        """What to branch on; None for nothing."""
        if answer.point is None:
            return self._any(imposed)
        if self.test is not None and self.test(answer.point):
            self.point = answer.point
        branch = self.tree.promising(answer.point, imposed)
        if branch is not None:
            return branch
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(self.tree.session.cost @ answer.point) + self.offset
        if value > self.goal + _NEAR * (1 + abs(value)):
            return self._any(imposed)  # the multipliers prove too little, not the relaxation
        # A child of this node has the very same point: no branching raises its bound.
        self.near = answer.point
        return None

    def _any(self, imposed: np.ndarray) -> _Branch | None:
        """A choice that nothing is imposed of: the relaxation may be loose there without the point showing it."""
        self.blind += 1
        if self.blind > _BLIND:
            return None
        taken = set(self.tree.choices.choice[imposed].tolist())
        left = (k for k in range(self.tree.choices.count) if k not in taken)
        choice = next(left, None)
        return None if choice is None else self.tree.branch(choice)


def _plus(bound: float, offset: float) -> float:
    """bound + offset rounded down; infinities stay."""
    total = bound + offset
    return next_below(total) if abs(total) < inf else total
