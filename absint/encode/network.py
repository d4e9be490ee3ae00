"""Any graph of the IR as a linear relaxation, from the operators' families alone, in the form with the fewest nonzeros.

Columns are the inputs, what undecided entries need, and the values of other nonlinear nodes that are not constant; linear
nodes are expressions of these, with the network's own weights as coefficients. Every real execution inside the region
satisfies the model, with all roundings taken in by its rows. docs/solvers.md, section "Encodings", has the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from absint.encode.builder import Builder, Choices, ColumnBlock, with_binaries
from absint.encode.expressions import Expressions, LinearRows, add_up, columns_as_values, constant, product, stacked
from absint.encode.linear_rows import linear_rows
from absint.encode.segments import Kinks, kinks
from absint.engine.context import Context
from absint.errors import UnsupportedError, UsageError
from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.op import Input
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval, Relaxation
from absint.numeric.outward import next_above
from absint.numeric.rounding import Numerics
from absint.solvers.model import Model

__all__ = ["Encoding", "Functional", "encode"]

_NUMERICS = Numerics()  # float64 throughout, outward


@dataclass(frozen=True, eq=False)
class Functional:
    """A linear functional of a node's value over a model: it is at least  cost.x + offset  in every execution. cost: (n,)."""

    cost: np.ndarray
    offset: float


@dataclass(frozen=True, eq=False)
class Encoding:
    """The relaxation of one instance.

    model: without an objective, every column bounded.  values: of each node, over its columns.  choices: what makes it exact
    where `exact`: every nonlinear node is piecewise linear and continuous.  blocks: what the columns stand for.
    unproved: some bound it rests on is a solver's number that nobody re-proved; so is every bound found with it.
    """

    model: Model
    values: Mapping[str, Expressions]
    choices: Choices
    blocks: tuple[ColumnBlock, ...]
    output: str
    exact: bool
    unproved: bool

    def functional(self, weight: np.ndarray, bias: float = 0.0, node: str | None = None) -> Functional:
        """weight . value + bias from below, for a node (default: the output) and exact weights, flat over its entries."""
        value = self.values[self.output if node is None else node]
        row = sparse.csr_array(np.asarray(weight, dtype=np.float64).reshape(1, -1))
        size = np.maximum(np.abs(self.model.lower), np.abs(self.model.upper))
        # An exact row counts as one that may be rounded once, so that products of weights are always paid for.
        found = value.image(LinearRows(row, np.array([bias]), np.array([bias]), 1), size)
        cost = np.zeros(len(self.model.lower))
        cost[: found.matrix.shape[1]] = found.matrix.toarray()[0]
        return Functional(cost, float(found.low[0]))

    def mixed(self) -> Model:
        """The exact model, with a whole column for each alternative."""
        return with_binaries(self.model, self.choices)


def encode(ctx: Context, instance: int) -> Encoding:
    """The relaxation of one instance under what is known of its nodes (`ctx.known` must be total: `interpret.boxes` or an analysis).

    Splits that are already met into `known` hold in the model.
    Raises UsageError E-SOLVER-VOID where what is known leaves no input, UnsupportedError E-SOLVER-SEMANTICS under float32
    semantics and E-SOLVER-ENCODE for a node of no family, DeadlineError.
    """
    if ctx.numerics.float32_semantics:
        raise UnsupportedError("E-SOLVER-SEMANTICS", "LP and MILP models are of the exact-real network",
                               where="--semantics float32", hint="leave out --semantics float32")
    work = _Encoder(ctx.graph, _bounds(ctx, instance), ctx.budget)
    for node in ctx.graph.nodes:
        ctx.budget.check()
        work.visit(node)
    solver = [i.solver for i in ctx.known.values() if i.solver is not None]
    unproved = any(bool(s[instance]) for s in solver)
    build = work.build
    return Encoding(build.model(), work.values, build.choices(), tuple(build.blocks), ctx.graph.output.name, work.exact, unproved)


def _bounds(ctx: Context, instance: int) -> dict[str, Interval]:
    """(1, *shape) float64 per node."""
    index = torch.tensor([instance])
    out = {}
    for node in ctx.graph.nodes:
        found = ctx.known[node.name].take(index.to(ctx.known[node.name].lower.device))
        if bool((found.lower > found.upper).any()):
            raise UsageError("E-SOLVER-VOID", f"what is known of node '{node.name}' leaves no input",
                             hint="leave the instance out: it is decided already")
        out[node.name] = Interval(found.lower.detach().cpu(), found.upper.detach().cpu()).to(torch.float64)
    return out


def _flat(x: Tensor) -> np.ndarray:
    return np.array(x.detach().reshape(-1).numpy())


@dataclass(eq=False)
class _Encoder:
    """One walk through the graph."""

    graph: Graph
    known: Mapping[str, Interval]
    budget: Budget

    def __post_init__(self) -> None:
        self.build = Builder()
        self.values: dict[str, Expressions] = {}
        self.exact = True

    def visit(self, node: Node) -> None:
        """The value of one node from those before it."""
        op = node.op
        if isinstance(op, Input):
            self.values[node.name] = self._column_values(node.name)
        elif isinstance(op, Linear):
            self.values[node.name] = self._linear(node, op)
        elif isinstance(op, Maximum):
            self.values[node.name] = self._maximum(node)
        elif isinstance(op, Elementwise):
            self.values[node.name] = self._elementwise(node, op)
        elif isinstance(op, Nonlinear):
            self.values[node.name] = self._by_planes(node, op, np.arange(node.size))
        else:
            raise UnsupportedError("E-SOLVER-ENCODE", f"{type(op).__name__} belongs to no family", where=node.name)

    def ends(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Flat bounds of a node."""
        return _flat(self.known[name].lower), _flat(self.known[name].upper)

    def _column_values(self, name: str, entry: np.ndarray | None = None) -> Expressions:
        """A column for each entry, within what is known of it."""
        low, high = self.ends(name)
        entry = np.arange(len(low)) if entry is None else entry
        column = self.build.columns(low[entry], high[entry])
        self.build.blocks.append(ColumnBlock("value", name, entry, column))
        return columns_as_values(column, self.build.width)

    # ---- linear ------------------------------------------------------------------------------------------------

    def _linear(self, node: Node, op: Linear) -> Expressions:
        """L of the inputs' expressions. An input that would fill the rows with products of weights becomes columns first."""
        rows = linear_rows(self.graph, node, op, self.budget)
        start = 0
        for name in node.inputs:
            stop = start + self.graph[name].size
            self._spread(name, rows.matrix[:, start:stop])
            start = stop
        return stacked([self.values[i] for i in node.inputs], self.build.width).image(rows, self.build.size, self.budget)

    def _spread(self, name: str, rows: sparse.csr_array) -> None:
        value = self.values[name]
        if value.simple:
            return
        pattern = product((rows != 0).astype(np.float64), (value.matrix != 0).astype(np.float64), self.budget)
        if pattern.nnz > rows.nnz + value.matrix.nnz:
            made = self._column_values(name)
            self._tie(made, value)
            self.values[name] = made

    def _tie(self, columns: Expressions, value: Expressions) -> None:
        """Rows: column = value."""
        zero = np.zeros(len(value))
        self.build.rows([(columns.matrix.indices, np.ones(len(value)))], value, zero, zero)

    # ---- nonlinear ---------------------------------------------------------------------------------------------

    def _elementwise(self, node: Node, op: Elementwise) -> Expressions:
        """Entries with kinks segment by segment; the rest, decided entries among them, by their lines."""
        (name,) = node.inputs
        interval = self.known[name]
        undecided = op.undecided((interval,))[0]
        groups = list(kinks(op, interval, undecided, _NUMERICS))
        parts = [self._segments(node, group) for group in groups]
        done = np.concatenate([g.entry for g in groups]) if groups else np.zeros(0, dtype=np.int64)
        rest = np.setdiff1d(np.arange(node.size), done)
        self.exact = self.exact and not bool(undecided.flatten()[torch.from_numpy(rest)].any())
        parts.append(self._by_planes(node, op, rest))
        joined = stacked(parts, self.build.width)
        return joined.take(np.argsort(np.concatenate([done, rest]), kind="stable"))

    def _segments(self, node: Node, group: Kinks) -> Expressions:
        """Columns and rows of `kinks` for one group."""
        build, (name,) = self.build, node.inputs
        value = self.values[name].take(group.entry)
        count, knots = len(value), group.knots
        columns = [build.columns(np.zeros(count), w) for w in group.width]
        ends = [*knots, np.inf]
        build.blocks.append(ColumnBlock("left", node.name, group.entry, columns[0], np.full(count, knots[0])))
        for column, low, high in zip(columns[1:], knots, ends[1:], strict=True):
            build.blocks.append(ColumnBlock("right", node.name, group.entry, column, np.full(count, low), np.full(count, high)))
        shift = np.full(count, -knots[0])
        build.rows([(columns[0], -np.ones(count)), *((c, np.ones(count)) for c in columns[1:])], value, shift, shift)
        self._hull(columns, group)
        self._phases(columns, group)
        return self._segment_values(node, columns, group)

    def _hull(self, columns: list[np.ndarray], group: Kinks) -> None:
        """The first two segments share a budget; a later one fills no faster than the one before. Ill-scaled rows are left out."""
        width, inner = group.width, group.inner
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            share = width[1] / width[0]
            limit = np.maximum(width[1], add_up(share * width[0], np.full(len(share), np.finfo(np.float64).tiny)))
            self._bounded([(columns[1], np.ones(len(share))), (columns[0], share)], share, limit)
            for k in range(2, len(columns)):
                pace = next_above(next_above(width[k] / inner[k - 1]))
                self._bounded([(columns[k], np.ones(len(pace))), (columns[k - 1], -pace)], pace, np.zeros(len(pace)))

    def _bounded(self, terms: list[tuple[np.ndarray, np.ndarray]], scale: np.ndarray, limit: np.ndarray) -> None:
        """Rows: sum of factor * column <= limit, where the scale is one that solvers can handle."""
        keep = (scale > 1e-7) & (scale < 1e7) & np.isfinite(limit)
        chosen = [(c[keep], f[keep]) for c, f in terms]
        nothing = constant(np.zeros(int(keep.sum())), np.zeros(int(keep.sum())))
        self.build.rows(chosen, nothing, np.full(len(nothing), -np.inf), limit[keep])

    def _phases(self, columns: list[np.ndarray], group: Kinks) -> None:
        """Each knot is a choice: z is left of it or right of it (or on it), each one column's bound."""
        zero = np.zeros(len(group.entry))
        self.build.choose([(columns[0], zero, zero), (columns[1], zero, zero)])
        for k in range(2, len(columns)):
            self.build.choose([(columns[k], zero, zero), (columns[k - 1], group.inner[k - 1], group.width[k - 1])])

    def _segment_values(self, node: Node, columns: list[np.ndarray], group: Kinks) -> Expressions:
        """The one column with factor 1 where there is no other; else a column of its own, so that later rows stay short."""
        factors = group.slope * np.array([-1.0] + [1.0] * len(group.knots))[:, None]
        if bool(((factors != 0).sum(0) == 1).all() and (factors.sum(0) == 1).all()):
            column = np.stack(columns)[(factors != 0).argmax(0), np.arange(len(group.entry))]
            value = columns_as_values(column, self.build.width)
            return Expressions(value.matrix, group.low, group.high)
        made = self._column_values(node.name, group.entry)
        terms = [(made.matrix.indices, np.ones(len(group.entry))), *((c, -f) for c, f in zip(columns, factors, strict=True))]
        nothing = constant(np.zeros(len(group.entry)), np.zeros(len(group.entry)))
        self.build.rows(terms, nothing, group.low, group.high)
        return made

    def _maximum(self, node: Node) -> Expressions:
        """y - t_k = z_k with t_k >= 0 for every entry that can win, one of the t_k zero; the winner itself where it has won."""
        build, (name,) = self.build, node.inputs
        interval = self.known[name]
        open_ = node.op.undecided((interval,))[0].reshape(node.size, -1).numpy()  # type: ignore[attr-defined]
        low, high = (v.reshape(node.size, -1) for v in self.ends(name))
        undecided = open_.any(1).nonzero()[0]
        decided = np.setdiff1d(np.arange(node.size), undecided)
        group = low.shape[1]
        won = self.values[name].take(decided * group + low[decided].argmax(1))
        made = self._column_values(node.name, undecided)
        which, place = open_[undecided].nonzero()
        source = undecided[which] * group + place
        top = high.max(1)[undecided[which]]
        gap = build.columns(np.zeros(len(source)), np.maximum(add_up(top, -low.reshape(-1)[source]), 0.0))
        build.blocks.append(ColumnBlock("gap", node.name, undecided[which], gap, other=source))
        zero = np.zeros(len(source))
        one = np.ones(len(source))
        build.rows([(made.matrix.indices[which], one), (gap, -one)], self.values[name].take(source), zero, zero)
        build.choose([(gap, zero, zero)], which)
        joined = stacked([made, won], build.width)
        return joined.take(np.argsort(np.concatenate([undecided, decided]), kind="stable"))

    def _by_planes(self, node: Node, op: Nonlinear, entry: np.ndarray) -> Expressions:
        """A column between the lines of each entry; no column where the lines are one constant."""
        inputs = tuple(self.known[i] for i in node.inputs)
        if not isinstance(op, Elementwise):
            self.exact = False
        lines = op.planes(inputs, _NUMERICS)
        below, above = self._line(node, lines, entry, -1), self._line(node, lines, entry, 1)
        level = (np.diff(below.matrix.indptr) == 0) & (np.diff(above.matrix.indptr) == 0) & np.isfinite(below.low) & np.isfinite(above.high)
        flat, sloped = level.nonzero()[0], (~level).nonzero()[0]
        fixed = constant(below.low[flat], above.high[flat])
        made = self._column_values(node.name, entry[sloped])
        unit = [(made.matrix.indices, np.ones(len(sloped)))]
        zero, wide = np.zeros(len(sloped)), np.full(len(sloped), np.inf)
        one = below.take(sloped)
        if (below.matrix != above.matrix).nnz == 0:
            both = Expressions(one.matrix, one.low, above.high[sloped])
            self.build.rows(unit, both, zero, zero)
        else:
            self.build.rows(unit, one, zero, wide)
            self.build.rows(unit, above.take(sloped), -wide, zero)
        joined = stacked([fixed, made], self.build.width)
        return joined.take(np.argsort(np.concatenate([flat, sloped]), kind="stable"))

    def _line(self, node: Node, lines: Relaxation, entry: np.ndarray, side: int) -> Expressions:
        """The lower (-1) or upper line of some entries over the inputs' expressions; its constants hold on that side."""
        slopes, offset = (lines.lower, lines.lower_offset) if side < 0 else (lines.upper, lines.upper_offset)
        blocks = [_placed(_flat(s), node.size, node.name)[entry] for s in slopes]
        shift = _flat(offset)[entry]
        rows = LinearRows(sparse.csr_array(sparse.hstack(blocks, format="csr")), shift, shift, _roundings(blocks))
        return stacked([self.values[i] for i in node.inputs], self.build.width).image(rows, self.build.size, self.budget)


def _roundings(blocks: list[sparse.csr_array]) -> int:
    """Of a product with the slopes: none where all are 1 or -1 (zeros are not stored)."""
    return 0 if all(np.isin(b.data, (-1.0, 1.0)).all() for b in blocks) else 1


def _placed(slope: np.ndarray, outputs: int, name: str) -> sparse.csr_array:
    """Slopes of an input with the output's shape, or with trailing axes that are summed over: (outputs, inputs), sparse."""
    if outputs == 0 or len(slope) % outputs:
        raise UnsupportedError("E-SOLVER-ENCODE", f"slopes of {len(slope)} entries for {outputs} results", where=name)
    index = np.arange(len(slope))
    matrix = sparse.csr_array((slope, (index // (len(slope) // outputs), index)), shape=(outputs, len(slope)))
    matrix.eliminate_zeros()
    return matrix
