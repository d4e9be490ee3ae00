"""Evidence followed in Fractions, from the network and the statement alone: what is recorded is used as hints and never believed.

Graphs of linear operators and ReLUs. By the lemma: where  A relu(z)  is met with  low <= z <= high, it is at least  A s z  for A > 0 (any
slope s in [0, 1]) and at least  A high (z - low) / (high - low)  for A < 0; where the sign of z is known it is exact. A hint is a B of its
own:  A relu(z) >= B z + the least of  A relu(z) - B z  at both ends and at 0, where that lies between.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

from exact_cells import matrix

from absint.engine.evidence import covers
from absint.model.families.linear import Linear
from absint.model.op import Input
from absint.model.ops.relu import Relu

ZERO, ONE = Fraction(0), Fraction(1)


def fractions(values):
    return [Fraction(float(v)) for v in values]


class Follower:
    """One network and one box. bounds: of the entries of every node, exact ends of what is proved so far.

    above: of a path that this one goes on from: what holds there holds here.
    """

    def __init__(self, graph, evidence, path=(), above=None):
        self.graph, self.evidence, self.path, self.above = graph, evidence, path, above
        self.maps = {n.name: matrix(n.op, graph.shapes_of(n)) for n in graph.nodes if isinstance(n.op, Linear)}
        self.bounds, self.void = {}, False
        for node in graph.nodes:
            if isinstance(node.op, Input):
                self.bounds[node.name] = list(zip(fractions(evidence.lower), fractions(evidence.upper), strict=True))
            elif isinstance(node.op, Relu):
                self._refine(node.inputs[0])
                self.bounds[node.name] = [(max(low, ZERO), max(high, ZERO)) for low, high in self.bounds[node.inputs[0]]]
            else:
                self.bounds[node.name] = self._box(node)
            self._impose(node.name)

    def _box(self, node):
        entries, offset = self.maps[node.name]
        out = [(b, b) for b in offset]
        for name, part in zip(node.inputs, entries, strict=True):
            for i, j, w in part:
                ends = [w * end for end in self.bounds[name][j]]
                out[i] = (out[i][0] + min(ends), out[i][1] + max(ends))
        return out

    def _impose(self, name):
        if self.above is not None:
            pairs = zip(self.bounds[name], self.above.bounds[name], strict=True)
            self.bounds[name] = [(max(a, c), min(b, d)) for (a, b), (c, d) in pairs]
        for step in self.path:
            if step.node == name:
                low, high = self.bounds[name][step.entry]
                cut = Fraction(step.cut)
                self.bounds[name][step.entry] = (low, min(high, cut)) if step.side < 0 else (max(low, cut), high)
        self.void = self.void or any(low > high for low, high in self.bounds[name])

    def _refine(self, name):
        """Both sides of every entry by default slopes, then what the evidence has of single ones."""
        for k in range(len(self.bounds[name])):
            unit = [ONE if j == k else ZERO for j in range(len(self.bounds[name]))]
            self._meet(name, k, 1, self.lower(name, unit, {}))
            self._meet(name, k, -1, self.lower(name, [-v for v in unit], {}))
        for group in (group for group in self.evidence.neurons if group.node == name):
            for row, (k, side) in enumerate(zip(group.entry.tolist(), group.side.tolist(), strict=True)):
                self._meet(name, k, side, self._neuron(group, row, k, side))

    def _neuron(self, group, row, k, side):
        """What the hints of one of a group's rows prove of  side * entry k."""
        if group.program is not None:
            program = self.evidence.programs[group.program]
            return multiplied(program, group.multipliers[row], (), program.values.objective(k, side, program.shape[1]))
        unit = [Fraction(side) if j == k else ZERO for j in range(len(self.bounds[group.node]))]
        return self.lower(group.node, unit, {n: one.take([row]) for n, one in group.slopes.items()})

    def _meet(self, name, k, side, bound):
        low, high = self.bounds[name][k]
        self.bounds[name][k] = (max(low, bound), high) if side > 0 else (low, min(high, -bound))

    def slope(self, name, k, ratios, low, high):
        """Of the lower line: the recorded one, else what DeepPoly takes."""
        if name in ratios and k in ratios[name].entry.tolist():
            place = ratios[name].entry.tolist().index(k)
            return Fraction(float(ratios[name].ratio.reshape(-1)[place]))
        return ONE if high > -low else ZERO

    def lower(self, name, weight, ratios, hints=None):
        """A lower bound of  weight . value of the node, at the best layer."""
        front, constant, best = {name: list(weight)}, ZERO, None
        for node in reversed(self.graph.nodes[: self.graph.position[name] + 1]):
            if len(front) == 1 and node.name in front and node.name != name and node.name in self.bounds:
                here = constant + self._least(front[node.name], self.bounds[node.name])
                best = here if best is None else max(best, here)
            adjoint = front.pop(node.name, None)
            if adjoint is None or isinstance(node.op, Input):
                continue
            if isinstance(node.op, Relu):
                parts, add = self._relu(node, adjoint, ratios, hints or {})
            else:
                parts, add = self._linear(node, adjoint)
            constant += add
            for into, part in zip(node.inputs, parts, strict=True):
                front[into] = [a + b for a, b in zip(front[into], part, strict=True)] if into in front else part
        assert best is not None
        return best

    @staticmethod
    def _least(adjoint, box):
        return sum((a * (low if a > 0 else high) for a, (low, high) in zip(adjoint, box, strict=True)), ZERO)

    def _linear(self, node, adjoint):
        entries, offset = self.maps[node.name]
        parts = []
        for name, part in zip(node.inputs, entries, strict=True):
            here = [ZERO] * len(self.bounds[name])
            for i, j, w in part:
                here[j] += adjoint[i] * w
            parts.append(here)
        return parts, sum((a * b for a, b in zip(adjoint, offset, strict=True)), ZERO)

    def _relu(self, node, adjoint, ratios, hints):
        out, constant = [], ZERO
        for k, (a, (low, high)) in enumerate(zip(adjoint, self.bounds[node.inputs[0]], strict=True)):
            if (node.name, k) in hints:
                slope, added, left, right = hints[node.name, k]
                b = slope * a + added
                out.append(b)
                constant += min(a * max(z, ZERO) - b * z for z in (left, right, min(max(ZERO, left), right)))
            elif low >= 0 or high <= 0:
                out.append(a if low >= 0 else ZERO)
            elif a > 0:
                out.append(a * self.slope(node.name, k, ratios, low, high))
            else:
                out.append(a * high / (high - low))
                constant -= a * high * low / (high - low)
        return [out], constant


def follow(graph, evidence, path, leaf=None, found=None):
    """The follower of a path, over those of all paths that it goes on from. found: those made before."""
    found = {} if found is None else found
    if path not in found:
        above = follow(graph, evidence, path[:-1], None, found) if path else None
        if leaf is None:
            found[path] = Follower(graph, evidence, path, above)
            return found[path]
        return Follower(graph, replace(evidence, neurons=(*evidence.neurons, *leaf.neurons)), path, above)
    return found[path]


def row_bound(follower, leaf):
    """What a leaf of rows, with shares and slopes, proves of its disjunct's greatest row."""
    e = follower.evidence
    rows = [k for k, d in enumerate(e.disjunct.tolist()) if d == leaf.disjunct]
    share = fractions(leaf.shares)
    assert len(share) == len(rows)
    assert min(share) >= 0
    weight = [sum((s * Fraction(float(e.weight[r, j])) for s, r in zip(share, rows, strict=True)), ZERO) for j in range(e.weight.shape[1])]
    bias = sum((s * Fraction(float(e.bias[r])) for s, r in zip(share, rows, strict=True)), ZERO)
    return (follower.lower(follower.graph.output.name, weight, leaf.slopes or {}, cut_entries(follower, leaf)) + bias) / sum(share)


def cut_entries(follower, leaf):
    """(node, entry) -> slope, added, and the ends that a path leaves of the operand's bounds. follower: of the root."""
    found = {}
    for name, one in (leaf.hints or {}).items():
        operand = follower.graph[name].inputs[0]
        for k, slope, added in zip(one.entry.tolist(), fractions(one.slope), fractions(one.added), strict=True):
            low, high = follower.bounds[operand][k]
            cuts = [step for step in leaf.path if (step.node, step.entry) == (operand, k)]
            assert cuts, "a hint where nothing is cut"
            low = max(low, *(Fraction(step.cut) for step in cuts if step.side > 0), low)
            high = min(high, *(Fraction(step.cut) for step in cuts if step.side < 0), high)
            assert low <= high
            found[name, k] = slope, added, low, high
    return found


def multiplied(program, multipliers, path=(), objective=None):
    """What multipliers of a program prove on a path of its objective, or of another one, (cost, offset): of 0 for a ray.

    -inf where a multiplier chooses an infinite side.
    """
    cost, offset = (program.cost, program.offset) if objective is None else objective
    y, reduced, total = fractions(multipliers), fractions(cost), Fraction(float(offset))
    box = [list(pair) for pair in zip(fractions(program.lower), fractions(program.upper), strict=True)]
    for column, end, value in narrowed(program, path):
        box[column][end] = value
    for i, v in enumerate(y):
        if v:
            side = float(program.row_lower[i] if v > 0 else program.row_upper[i])
            if abs(side) == inf:
                return -inf
            total += v * Fraction(side)
            for at in range(program.indptr[i], program.indptr[i + 1]):
                reduced[program.indices[at]] -= v * Fraction(float(program.data[at]))
    return total + sum((r * pair[0 if r > 0 else 1] for r, pair in zip(reduced, box, strict=True) if r), ZERO)


def narrowed(program, path):
    """(column, 0 or 1, end) that a path imposes on columns: z <= p leaves nothing right of p, z >= p nothing left of it."""
    for step in path:
        ends = list(_narrowed_by(program, step))
        assert ends, f"no column of the program is narrowed by {step}"
        yield from ends


def _narrowed_by(program, step):
    for block in program.columns:
        if block.node != step.node or step.winner is not None:
            continue
        for place in (block.entry == step.entry).nonzero()[0].tolist():
            column = int(block.column[place])
            if block.role == "value":
                yield column, 1 if step.side < 0 else 0, Fraction(step.cut)
            elif block.low[place] == step.cut and (block.role == "left") == (step.side > 0):
                yield column, 1, ZERO


def covered(evidence):
    """Whether the paths of every disjunct's leaves are those of one whole tree."""
    return all(covers([leaf.path for leaf in evidence.of(d)]) for d in range(evidence.disjuncts))
