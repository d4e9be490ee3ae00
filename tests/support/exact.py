"""Exact truth in Fractions: evaluation of piecewise-linear graphs, and the exact minimum of a margin over a box.

Oracles independent of absint's arithmetic. `minimum` cuts the box into cells (exact_cells.py). `minimum_by_vertices` knows
nothing of cells: it enumerates all activation patterns, and every vertex of every linear program; it is some 200 times slower,
for at most 3 inputs and 6 kinks, and there to check the other (tests only).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

from exact_cells import matrix, minimum

from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.op import Input
from absint.model.ops.relu import LeakyRelu, Relu

__all__ = ["Affine", "evaluate", "matrix", "minimum", "minimum_by_vertices"]

ZERO, ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Affine:
    """coefficients . x + constant, in Fractions."""

    coefficients: tuple
    constant: Fraction

    def __call__(self, x):
        return sum((a * b for a, b in zip(self.coefficients, x, strict=True)), self.constant)

    def times(self, factor):
        return Affine(tuple(factor * a for a in self.coefficients), factor * self.constant)

    def plus(self, other):
        return Affine(tuple(a + b for a, b in zip(self.coefficients, other.coefficients, strict=True)), self.constant + other.constant)


def evaluate(graph, x):
    """Exact output (list of Fractions) at one point given in Fractions."""
    start = [Affine((ZERO,) * len(x), v) for v in x]
    return walk(graph, start, lambda f: f.constant > 0, lambda fs: max(range(len(fs)), key=lambda k: fs[k].constant))


def walk(graph, start, positive, best):
    """Values of the output as Affine functions; `positive(f)` and `best(fs)` decide the kinks."""
    values = {}
    for node in graph.nodes:
        op, shapes = node.op, graph.shapes_of(node)
        if isinstance(op, Input):
            values[node.name] = start
        elif isinstance(op, Linear):
            entries, offset = matrix(op, shapes)
            zero = Affine((ZERO,) * len(start[0].coefficients), ZERO)
            out = [Affine(zero.coefficients, b) for b in offset]
            for name, part in zip(node.inputs, entries, strict=True):
                for i, j, w in part:
                    out[i] = out[i].plus(values[name][j].times(w))
            values[node.name] = out
        elif isinstance(op, (Relu, LeakyRelu)):
            alpha = Fraction(op.alpha) if isinstance(op, LeakyRelu) else ZERO
            values[node.name] = [f if positive(f) else f.times(alpha) for f in values[node.inputs[0]]]
        elif isinstance(op, Maximum):
            flat, width = values[node.inputs[0]], shapes[0][-1]
            groups = [flat[k : k + width] for k in range(0, len(flat), width)]
            values[node.name] = [group[best(group)] for group in groups]
        else:
            raise TypeError(f"no exact semantics for {type(op).__name__}")
    return values[graph.output.name]


def minimum_by_vertices(graph, lower, upper, weight, bias):
    """Exact min of weight . y + bias over the box, by enumerating activation patterns. None never: the box is not empty."""
    n = len(lower)
    inputs = [Affine(tuple(ONE if k == j else ZERO for k in range(n)), ZERO) for j in range(n)]
    box = [f.plus(Affine((ZERO,) * n, -low)) for f, low in zip(inputs, lower, strict=True)]
    box += [f.times(-ONE).plus(Affine((ZERO,) * n, high)) for f, high in zip(inputs, upper, strict=True)]
    smallest = None
    for choice in patterns(graph):
        constraints, target = region_of(graph, inputs, choice, weight, bias)
        value = solve(target, box + constraints)
        if value is not None and (smallest is None or value < smallest):
            smallest = value
    return smallest


def patterns(graph):
    """Every choice at every kink: bool per rectified entry, position per maximum."""
    options = []
    for node in graph.nodes:
        if isinstance(node.op, (Relu, LeakyRelu)):
            options += [(False, True)] * node.size
        elif isinstance(node.op, Maximum):
            options += [tuple(range(graph.shapes_of(node)[0][-1]))] * node.size
    return product(*options)


def region_of(graph, inputs, choice, weight, bias):
    """Constraints (f >= 0) under which the choices hold, and the margin as an affine function there."""
    remaining, constraints = iter(choice), []

    def positive(f):
        chosen = next(remaining)
        constraints.append(f if chosen else f.times(-ONE))
        return chosen

    def best(functions):
        chosen = next(remaining)
        constraints.extend(functions[chosen].plus(f.times(-ONE)) for k, f in enumerate(functions) if k != chosen)
        return chosen

    outputs = walk(graph, inputs, positive, best)
    target = Affine((ZERO,) * len(inputs), bias)
    for w, y in zip(weight, outputs, strict=True):
        target = target.plus(y.times(w))
    return constraints, target


def solve(target, constraints):
    """Exact minimum of target over a bounded polytope {f >= 0}, by its vertices; None where it is empty."""
    n = len(target.coefficients)
    cuts = list(dict.fromkeys(f for f in constraints if any(f.coefficients)))
    if any(f.constant < 0 for f in constraints if not any(f.coefficients)):
        return None
    smallest = None
    for active in combinations(cuts, n):
        x = intersection(active, n)
        if x is not None and all(f(x) >= 0 for f in cuts):
            value = target(x)
            smallest = value if smallest is None or value < smallest else smallest
    return smallest


def intersection(planes, n):
    """The point where n hyperplanes meet, by elimination in Fractions; None where they do not meet in one point."""
    rows = [[*f.coefficients, -f.constant] for f in planes]
    for k in range(n):
        pivot = next((r for r in range(k, n) if rows[r][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for r in range(n):
            if r != k and rows[r][k] != 0:
                factor = rows[r][k]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[k], strict=True)]
    return tuple(row[n] for row in rows)
