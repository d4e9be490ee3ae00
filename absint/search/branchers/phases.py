"""Branching on phases over one warm LP: the exact minimum of a functional over a piecewise-linear network, or its sign.

A node of the search imposes alternatives of some choices, each one column's bounds, on the one LP; the dual simplex method goes on
from where it was. A node is closed by its safe bound alone. The nodes wait in the order of their bounds, so that what is
left when a limit ends the search is as tight as that many LPs can make it.
Sources: Land and Doig, Econometrica 28 (1960); on phases of ReLUs: Katz et al., CAV 2017; Ehlers, ATVA 2017; on the choice of
the next branching: Achterberg, Koch and Martin, Branching rules revisited, Oper. Res. Letters 33 (2005), section 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.builder import Choices
from absint.numeric.outward import next_below
from absint.search.branchers.brancher import Grown
from absint.search.frontier import Frontier, Nodes
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


@dataclass(frozen=True)
class _Branch:
    """The alternatives of one choice, and how far from each of them the node's point is."""

    positions: range
    distance: tuple[float, ...]


@dataclass(eq=False)
class Gains:
    """What imposing each alternative (A,) has raised bounds by, per unit of distance: sums, and how often. Mutable."""

    total: np.ndarray
    count: np.ndarray

    @staticmethod
    def of(choices: Choices) -> Gains:
        """Nothing seen yet."""
        return Gains(np.zeros(len(choices.choice)), np.zeros(len(choices.choice)))


class Phases:
    """One LP under branching. Use as a context manager. solvers: as of `Session`.  gains: learnt before, and on the way."""

    def __init__(self, model: Model, choices: Choices, solvers: tuple[str | Solver, ...], gains: Gains | None = None) -> None:
        self.model, self.choices, self.gains = model, choices, Gains.of(choices) if gains is None else gains
        self.session = Session(model, solvers)
        self._first = np.flatnonzero(np.diff(choices.choice, prepend=-1))
        self._touched = np.zeros(0, dtype=np.int64)
        self._cost: np.ndarray | None = None
        with np.errstate(over="ignore"):
            width = model.upper - model.lower
        self._scale = np.where(width > 0, width, 1.0)[choices.column]

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
        tree, frontier = PhaseTree(self, cost, offset, goal, test), Frontier(1, 1)
        frontier.plant(0, tree.root(0))
        while tree.point is None and not tree.spent(effort):
            node = frontier.least(0, 0)
            if node is None:
                break
            if test is None and bool(frontier.held[0, 0]) and float(node.bound) >= float(frontier.left[0, 0]):
                frontier.restore(0)  # the least bound is that of a leaf that no branching raises
                break
            grown = tree.expand(node, effort)
            frontier.settle(0, grown.open, grown.closed, grown.held)
        left = int(frontier.counts[0, 0])
        complete = tree.point is not None or not (left or bool(frontier.held[0, 0]))
        late = not complete and left > 0 and effort.late
        limit = None if complete or late else tree.limit(effort, left)
        return Least(float(frontier.lower[0, 0]), tree.solved, tree.point, tree.near, complete, late, limit)

    def bound(self, cost: np.ndarray, offset: float, effort: Effort) -> SolverAnswer:
        """One LP without branching; the answer's bound is of cost.x + offset, rounded down."""
        self.aim(cost)
        self.impose(np.zeros(0, dtype=np.int64))
        answer = self.session.solve(effort.limits)
        return replace(answer, bound=_plus(answer.bound, offset))

    def aim(self, cost: np.ndarray) -> None:
        """Minimise this from now on."""
        if self._cost is not cost:
            self.session.set_cost(cost)
            self._cost = cost

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
        seen = self.gains.count.sum()
        usual = self.gains.total.sum() / seen if seen else 1.0
        expected = (self.gains.total + usual) / (self.gains.count + 1) * off
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
            self.gains.total[position] += gain / distance
            self.gains.count[position] += 1


class PhaseTree:
    """One functional over one LP under branching: how a node is bounded and divided. Mutable.

    A node is the positions of the alternatives imposed on it (column `path`, -1 where it ends), the choice that it is to be divided
    by (`choice`, -1 for a root that no LP was solved for), and how far its point is from that choice's alternatives (`distance`).
    solved: LPs.  point: columns at which the test held.  near: see `Least`.
    """

    def __init__(self, phases: Phases, cost: np.ndarray, offset: float, goal: float, test: Callable[[np.ndarray], bool] | None = None,
                 number: int = 0) -> None:
        self.phases, self.cost, self.offset, self.goal, self.test, self.number = phases, cost, offset, goal, test, number
        self.solved = 0
        self.blind = 0
        self.slow = False                  # an LP came to its own limit
        self.point: np.ndarray | None = None
        self.near: np.ndarray | None = None
        self.why: list[tuple[np.ndarray, float, SolverAnswer]] | None = None    # of closed leaves: path, bound, what closed it

    @staticmethod
    def root(number: int) -> Nodes:
        """The undivided node of a tree."""
        return _nodes(number, [(-inf, np.zeros(0, dtype=np.int64), None)])

    def spent(self, effort: Effort) -> bool:
        """Whether its LPs or the time are used up."""
        return self.solved >= effort.nodes or effort.late

    def limit(self, effort: Effort, left: int) -> str | None:
        """Which limit of the search's own left something open; None where nothing more can be done."""
        if left and self.solved >= effort.nodes:
            return f"{effort.nodes:g} LPs for one disjunct"
        if self.slow:
            return f"{effort.lp:g} s of one LP"
        return f"{_BLIND} branchings without a point to go by" if self.blind > _BLIND else None

    def expand(self, nodes: Nodes, effort: Effort) -> Grown:
        """Solve the children of nodes, one after the other, until the test holds or a limit is reached."""
        self.phases.aim(self.cost)
        found = _Leaves(self.number)
        for k in range(len(nodes)):
            path, choice = _imposed(nodes.columns["path"][k]), int(nodes.columns["choice"][k])
            above = float(nodes.bound[k])
            if choice < 0:
                self._visit(found, path, above, effort)
                continue
            branch = self.phases.branch(choice)
            # Every alternative is a child, whatever the column holds: one that is left out would count as closed.
            distances = nodes.columns["distance"][k, : len(branch.positions)].tolist()
            for position, distance in zip(branch.positions, distances, strict=True):
                if self.point is not None or self.spent(effort):
                    # What is left of it is as good as the whole.
                    found.open.append((above, path, _Branch(branch.positions, tuple(nodes.columns["distance"][k].tolist()))))
                    break
                bound = self._visit(found, np.append(path, position), above, effort)
                # An empty child is worth what closes it, no more.
                self.phases.gained(position, distance, min(bound, max(self.goal, above) + abs(above)) - above)
        return found.grown(self.phases)

    def _visit(self, found: _Leaves, path: np.ndarray, above: float, effort: Effort) -> float:
        """Solve one node: close it, test its point, or let it wait. Returns its bound."""
        self.solved += 1
        self.phases.impose(path)
        own = effort.own
        answer = self.phases.session.solve(effort.limits)
        self.slow = self.slow or (own and answer.status is Status.LIMIT)
        bound = max(above, _plus(answer.bound, self.offset))
        if bound > self.goal or bound == inf:
            found.closed.append(bound)
            if self.why is not None:
                self.why.append((path, bound, answer))
            return bound
        branch = self._next(answer, path)
        if branch is None:
            found.held.append(bound)
        else:
            found.open.append((bound, path, branch))
        return bound

    def _next(self, answer: SolverAnswer, imposed: np.ndarray) -> _Branch | None:
        """What to branch on; None for nothing."""
        if answer.point is None:
            return self._any(imposed)
        if self.test is not None and self.test(answer.point):
            self.point = answer.point
        branch = self.phases.promising(answer.point, imposed)
        if branch is not None:
            return branch
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(self.cost @ answer.point) + self.offset
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
        taken = set(self.phases.choices.choice[imposed].tolist())
        left = (k for k in range(self.phases.choices.count) if k not in taken)
        choice = next(left, None)
        return None if choice is None else self.phases.branch(choice)


class _Leaves:
    """What becomes of some nodes of one tree. Mutable."""

    def __init__(self, tree: int) -> None:
        self.tree = tree
        self.open: list[tuple[float, np.ndarray, _Branch | None]] = []
        self.closed: list[float] = []
        self.held: list[float] = []

    def grown(self, phases: Phases) -> Grown:
        """As the frontier takes it."""
        return Grown(_nodes(self.tree, self.open, phases) if self.open else None, self._leaves(self.closed), self._leaves(self.held))

    def _leaves(self, bounds: list[float]) -> tuple[Tensor, Tensor] | None:
        return (torch.full((len(bounds),), self.tree), torch.tensor(bounds, dtype=torch.float64)) if bounds else None


def _nodes(tree: int, parts: list[tuple[float, np.ndarray, _Branch | None]], phases: Phases | None = None) -> Nodes:
    """Nodes from (bound, path, what to divide them by)."""
    depth, most = max(len(path) for _, path, _ in parts), max(0 if branch is None else len(branch.distance) for _, _, branch in parts)
    path, distance = np.full((len(parts), depth), -1, dtype=np.int32), np.full((len(parts), most), -1.0)
    choice = np.full(len(parts), -1, dtype=np.int64)
    for k, (_, imposed, branch) in enumerate(parts):
        path[k, : len(imposed)] = imposed
        if branch is not None and phases is not None:
            distance[k, : len(branch.distance)] = branch.distance
            choice[k] = phases.choices.choice[branch.positions[0]]
    bound = torch.tensor([bound for bound, _, _ in parts], dtype=torch.float64)
    columns = {"path": torch.from_numpy(path), "choice": torch.from_numpy(choice), "distance": torch.from_numpy(distance)}
    return Nodes(torch.full((len(parts),), tree), bound, columns)


def _imposed(path: Tensor) -> np.ndarray:
    """The positions in one row of the column `path`."""
    found: np.ndarray = path[path >= 0].numpy().astype(np.int64)
    return found


def _plus(bound: float, offset: float) -> float:
    """bound + offset rounded down; infinities stay."""
    total = bound + offset
    return next_below(total) if abs(total) < inf else total
