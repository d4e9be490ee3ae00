"""Exact truth of piecewise-linear graphs by clipping: the box is cut at every kink into cells on which all is affine.

Nothing but Python integers: points are homogeneous, (x_1, ..., x_n, w) with w > 0 stands for x / w, and functions are integer
vectors over a common denominator. A cell is kept by its vertices alone, so that no linear program is ever solved: a function
is decided where its sign is the same at all vertices, a pattern is impossible where it leaves no vertex, and an affine
function is least at a vertex. Cutting a cell makes one point on every edge that crosses; two vertices have an edge in common
where no third lies on all the faces that both lie on (Fukuda and Prodon, Double description method revisited, 1996, section 3).
Meant for at most 3 inputs and some 8 kinks; exact for any number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from math import ceil, floor, gcd, inf, lcm, prod

import torch

from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.op import Input
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.step import Ceil, Floor, Round, Truncate


@dataclass(frozen=True)
class Function:
    """(top[0] x_1 + ... + top[n-1] x_n + top[n]) / below, all integers, below > 0."""

    top: tuple[int, ...]
    below: int

    @staticmethod
    def of(values):
        """From Fractions: n coefficients and the constant."""
        below = reduce(lcm, (v.denominator for v in values), 1)
        return Function(tuple(v.numerator * (below // v.denominator) for v in values), below)

    def sign(self, point):
        """An integer of the sign that the function has at the point."""
        return sum(a * b for a, b in zip(self.top, point, strict=True))

    def at(self, point):
        """The value at a homogeneous point."""
        return Fraction(self.sign(point), self.below * point[-1])

    def affine(self, slope, shift=Fraction(0)):
        """slope f + shift."""
        return weighted([(self, slope)], shift, len(self.top))

    def minus(self, other):
        """f - g."""
        return weighted([(self, Fraction(1)), (other, Fraction(-1))], Fraction(0), len(self.top))


def weighted(terms, shift, size):
    """The sum of (function, Fraction) products, plus a constant."""
    used = [(f, w) for f, w in terms if w]
    below = reduce(lcm, (f.below * w.denominator for f, w in used), shift.denominator)
    top = [0] * size
    for f, w in used:
        factor = w.numerator * (below // (f.below * w.denominator))
        for k, v in enumerate(f.top):
            top[k] += factor * v
    top[-1] += shift.numerator * (below // shift.denominator)
    return Function(tuple(top), below)


@dataclass(frozen=True)
class Cell:
    """A polytope: its vertices, for each a bit mask of the faces it lies on, and how many faces were numbered."""

    points: tuple[tuple[int, ...], ...]
    masks: tuple[int, ...]
    faces: int

    def part(self, function):
        """Where the function is >= 0; None where it is negative all over."""
        signs = [function.sign(p) for p in self.points]
        if min(signs) >= 0:
            return self
        if max(signs) < 0:
            return None
        bit = 1 << self.faces
        kept = [(p, m | bit if s == 0 else m) for p, m, s in zip(self.points, self.masks, signs, strict=True) if s >= 0]
        for i, j in self._crossed(signs):
            a, b = self.points[i], self.points[j]
            kept.append((reduced([signs[i] * v - signs[j] * u for u, v in zip(a, b, strict=True)]), self.masks[i] & self.masks[j] | bit))
        return Cell(tuple(p for p, _ in kept), tuple(m for _, m in kept), self.faces + 1)

    def _crossed(self, signs):
        """Edges from a vertex of positive sign to one of negative sign."""
        above = [k for k, s in enumerate(signs) if s > 0]
        below = [k for k, s in enumerate(signs) if s < 0]
        for i, j in product(above, below):
            common = self.masks[i] & self.masks[j]
            if not any(m & common == common for k, m in enumerate(self.masks) if k not in (i, j)):
                yield i, j

    def split(self, function):
        """(part, whether the function is >= 0 there); one part alone where the sign is decided (a zero set is no part)."""
        signs = [function.sign(p) for p in self.points]
        if min(signs) >= 0:
            yield self, True
        elif max(signs) <= 0:
            yield self, False
        else:
            yield self.part(function), True
            yield self.part(function.affine(Fraction(-1))), False

    def least(self, function):
        """(the exact minimum, a vertex where it is attained)."""
        return min(((function.at(p), p) for p in self.points), key=lambda found: found[0])


def reduced(point):
    """The same point in smallest integers."""
    common = reduce(gcd, point)
    return tuple(v // common for v in point)


def box(lower, upper):
    """The cell of a box given in Fractions. An input of zero width is no direction: it has no faces."""
    ends = [((low, 1 << 2 * k), (high, 2 << 2 * k)) if low < high else ((low, 0),)
            for k, (low, high) in enumerate(zip(lower, upper, strict=True))]
    points, masks = [], []
    for corner in product(*ends):
        below = reduce(lcm, (v.denominator for v, _ in corner), 1)
        points.append(reduced([*(v.numerator * (below // v.denominator) for v, _ in corner), below]))
        masks.append(sum(bit for _, bit in corner))
    return Cell(tuple(points), tuple(masks), 2 * len(lower))


# ---- networks -------------------------------------------------------------------------------------------------------


def matrix(op, shapes):
    """For each input a list of (output, input, Fraction) entries, and the offset; from `apply` on unit vectors."""
    entries = []
    for position, shape in enumerate(shapes):
        xs = [torch.zeros(prod(shape), *s, dtype=torch.float64) for s in shapes]
        xs[position] = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
        columns = op.apply(*xs).reshape(prod(shape), -1)
        entries.append([(i, j, Fraction(float(columns[j, i]))) for j, i in columns.nonzero().tolist()])
    size = columns.shape[1]
    shape = op.output_shape(*shapes)
    offset = [Fraction(0)] * size if op.offset is None else [Fraction(float(b)) for b in op.offset.double().expand(shape).reshape(-1)]
    return entries, offset


def segments(op):
    """Knots, and the slope and the shift of each segment between them, from the functions' definitions."""
    zero, one = Fraction(0), Fraction(1)
    if isinstance(op, Relu):
        return [zero], [(zero, zero), (one, zero)]
    if isinstance(op, LeakyRelu):
        return [zero], [(Fraction(op.alpha), zero), (one, zero)]
    if isinstance(op, Abs):
        return [zero], [(-one, zero), (one, zero)]
    if isinstance(op, Clip):
        return _clip(op.low, op.high)
    raise TypeError(f"no exact semantics for {type(op).__name__}")


def _clip(low, high):
    zero, one = Fraction(0), Fraction(1)
    if low >= high:
        return [], [(zero, Fraction(high))]
    knots, found = [], [(one, zero)]
    if low > -inf:
        knots, found = [Fraction(low)], [(zero, Fraction(low)), (one, zero)]
    if high < inf:
        knots, found = [*knots, Fraction(high)], [*found, (zero, Fraction(high))]
    return knots, found


def stair(op, k):
    """Where a staircase has the whole value k: both ends, and whether each of them belongs to it."""
    if isinstance(op, Floor) or (isinstance(op, Truncate) and k > 0):
        return Fraction(k), True, Fraction(k + 1), False
    if isinstance(op, Ceil) or (isinstance(op, Truncate) and k < 0):
        return Fraction(k - 1), False, Fraction(k), True
    if isinstance(op, Truncate):
        return Fraction(-1), False, Fraction(1), False
    return Fraction(2 * k - 1, 2), k % 2 == 0, Fraction(2 * k + 1, 2), k % 2 == 0


def climbed(op, cell, function):
    """(cell, value) of each step, with its limits: what is least over such a cell is an infimum of the network."""
    low, high = (pick(function.at(p) for p in cell.points) for pick in (min, max))
    for k in range(floor(low) - 1, ceil(high) + 2):
        begin, with_begin, end, with_end = stair(op, k)
        if (low < end or (with_end and low == end)) and (high > begin or (with_begin and high == begin)):
            part = cell.part(function.affine(Fraction(1), -begin)).part(function.affine(Fraction(-1), end))
            yield part, Function.of([Fraction(0)] * (len(function.top) - 1) + [Fraction(k)])


def bent(op, cell, function):
    """(cell, op(function)) where that is affine."""
    if isinstance(op, (Floor, Ceil, Round, Truncate)):
        yield from climbed(op, cell, function)
        return
    knots, pieces = segments(op)
    todo = [cell]
    for knot, (slope, shift) in zip(knots, pieces[:-1], strict=True):
        rest = []
        for part in todo:
            for piece, above in part.split(function.affine(Fraction(1), -knot)):
                if above:
                    rest.append(piece)
                else:
                    yield piece, function.affine(slope, shift)
        todo = rest
    for part in todo:
        yield part, function.affine(*pieces[-1])


def greatest(cell, functions):
    """(cell, the function that is greatest there)."""
    todo = [(cell, functions[0])]
    for function in functions[1:]:
        todo = [(part, function if above else best) for whole, best in todo for part, above in whole.split(function.minus(best))]
    return todo


class Net:
    """A graph's dense layers, read once."""

    def __init__(self, graph):
        self.graph = graph
        self.layers = {node.name: matrix(node.op, graph.shapes_of(node)) for node in graph.nodes
                       if isinstance(node.op, Linear) and not isinstance(node.op, Input)}

    def cells(self, lower, upper) -> Iterator:
        """(cell, values of every node as functions) for every activation pattern that some point of the box has."""
        n = len(lower)
        unit = [Function.of([Fraction(int(k == j)) for k in range(n)] + [Fraction(0)]) for j in range(n)]
        yield from self._from(1, {self.graph.input.name: unit}, box(lower, upper))

    def _from(self, position, values, cell):
        if position == len(self.graph.nodes):
            yield cell, values
            return
        node = self.graph.nodes[position]
        for part, value in self._node(node, values, cell):
            yield from self._from(position + 1, {**values, node.name: value}, part)

    def _node(self, node, values, cell):
        if node.name in self.layers:
            entries, offset = self.layers[node.name]
            rows = [[] for _ in offset]
            for name, found in zip(node.inputs, entries, strict=True):
                for i, j, w in found:
                    rows[i].append((values[name][j], w))
            size = len(cell.points[0])
            yield cell, [weighted(row, b, size) for row, b in zip(rows, offset, strict=True)]
            return
        given = values[node.inputs[0]]
        if isinstance(node.op, Maximum):
            width = self.graph.shapes_of(node)[0][-1]
            turns = [lambda c, k=k: greatest(c, given[k : k + width]) for k in range(0, len(given), width)]
        else:
            turns = [lambda c, f=f: bent(node.op, c, f) for f in given]
        yield from _each(cell, turns, [])

    def at(self, point):
        """Exact values of every node at a point given in Fractions."""
        ((cell, values),) = self.cells(point, point)
        return {name: [f.at(cell.points[0]) for f in functions] for name, functions in values.items()}

    def size(self, lower, upper, weight, bias):
        """What the terms of weight . y + bias can add up to without any of them cancelling: a scale for tolerances."""
        sizes = {self.graph.input.name: [max(abs(a), abs(b)) for a, b in zip(lower, upper, strict=True)]}
        for node in self.graph.nodes[1:]:
            if node.name in self.layers:
                entries, offset = self.layers[node.name]
                found = [abs(b) for b in offset]
                for name, part in zip(node.inputs, entries, strict=True):
                    for i, j, w in part:
                        found[i] += abs(w) * sizes[name][j]
            elif isinstance(node.op, Maximum):
                given, width = sizes[node.inputs[0]], self.graph.shapes_of(node)[0][-1]
                found = [max(given[k : k + width]) for k in range(0, len(given), width)]
            elif isinstance(node.op, (Floor, Ceil, Round, Truncate)):
                found = [v + 1 for v in sizes[node.inputs[0]]]
            else:
                steepest = max(abs(slope) for slope, _ in segments(node.op)[1])
                highest = max(abs(shift) for _, shift in segments(node.op)[1])
                found = [steepest * v + highest for v in sizes[node.inputs[0]]]
            sizes[node.name] = found
        return sum((abs(w) * v for w, v in zip(weight, sizes[self.graph.output.name], strict=True)), abs(bias))


def _each(cell, turns, done):
    """Every combination of the turns' parts, one turn after the other."""
    if len(done) == len(turns):
        yield cell, done
        return
    for part, value in turns[len(done)](cell):
        yield from _each(part, turns, [*done, value])


# ---- properties -----------------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """Exact answers on one property over one box.

    rows: least value of each row.  disjuncts: least value of the greatest row of each disjunct.  points: where that is.
    unsafe: whether some point satisfies all of the disjunct's unsafe rows.  ranges: of every entry of every node.  cells: how many.
    """

    rows: list
    disjuncts: list
    points: list
    unsafe: list
    ranges: dict
    cells: int = 0

    @property
    def holds(self):
        """Whether no point of the box is unsafe."""
        return not any(self.unsafe)

    @property
    def margin(self):
        """The least of the disjuncts' values; None where there is none."""
        return min(self.disjuncts, default=None)


def truth(graph, lower, upper, spec, instance=0):
    """The `Truth` of one instance of a Spec over the box lower..upper (Fractions)."""
    weight = [[Fraction(w) for w in row] for row in spec.weight[instance].tolist()]
    bias = [Fraction(b) for b in spec.bias[instance].tolist()]
    groups = [[k for k, d in enumerate(spec.disjunct.tolist()) if d == which] for which in range(spec.disjuncts)]
    found = Truth([inf] * len(bias), [inf] * len(groups), [None] * len(groups), [False] * len(groups), {})
    for cell, values in Net(graph).cells(lower, upper):
        found.cells += 1
        outputs = values[graph.output.name]
        rows = [weighted(list(zip(outputs, w, strict=True)), b, len(lower) + 1) for w, b in zip(weight, bias, strict=True)]
        found.rows = [min(old, cell.least(row)[0]) for old, row in zip(found.rows, rows, strict=True)]
        for which, group in enumerate(groups):
            value, point = min((part.least(top) for part, top in greatest(cell, [rows[k] for k in group])), key=lambda v: v[0])
            if value < found.disjuncts[which]:
                found.disjuncts[which], found.points[which] = value, tuple(Fraction(v, point[-1]) for v in point[:-1])
            found.unsafe[which] |= _unsafe(cell, [(rows[k], bool(spec.strict[k])) for k in group])
        _widen(found.ranges, cell, values)
    return found


def _unsafe(cell, rows):
    """Whether all rows are <= 0, or < 0 where strict, at some point of the cell."""
    for row, strict in rows:
        cell = cell if strict or cell is None else cell.part(row.affine(Fraction(-1)))
    if cell is None:
        return False
    strict = [row for row, hard in rows if hard]
    return not strict or any(part.least(top)[0] < 0 for part, top in greatest(cell, strict))


def _widen(ranges, cell, values):
    for name, functions in values.items():
        ends = [[f.at(p) for p in cell.points] for f in functions]
        new = [(min(e), max(e)) for e in ends]
        old = ranges.get(name, new)
        ranges[name] = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(old, new, strict=True)]


def minimum(graph, lower, upper, weight, bias):
    """Exact min of weight . y + bias over the box (all Fractions)."""
    found = inf
    for cell, values in Net(graph).cells(lower, upper):
        found = min(found, cell.least(weighted(list(zip(values[graph.output.name], weight, strict=True)), bias, len(lower) + 1))[0])
    return found
