"""What a leaf of cuts proves, recomputed in float64 from the network, the bounds of inner entries at the root, its path and its hints.

Nothing of the engine's tables or walks is used: points are made of the operator's own function and cuts, lines of its relaxation at the
root. Not rounded; whoever compares leaves room for that.
"""

from __future__ import annotations

import numpy as np
import torch

from absint.domains.deeppoly import DeepPoly
from absint.model.families.linear import Linear
from absint.model.families.real_function import RealFunction
from absint.model.op import Input
from absint.numeric.interval import Interval


def doubles(tensor):
    return tensor.detach().double().numpy()


class LeafBounds:
    """Of one instance. ctx: knows all nodes; one instance is taken from it."""

    def __init__(self, ctx, instance):
        self.graph = ctx.graph
        one = ctx.take(torch.tensor([instance]))
        self.box = {name: (doubles(i.lower[0]).ravel(), doubles(i.upper[0]).ravel()) for name, i in one.known.items()}
        self.lines = {}
        for node in self.graph.nodes:
            if not isinstance(node.op, (Linear, Input)):
                self.lines[node.name] = DeepPoly().relax(node, one.inputs(node.inputs), one)

    def bound(self, leaf, weight, bias):
        """Of the sum of rows (k, outputs), (k,) with the leaf's shares."""
        share = np.asarray(leaf.shares, dtype=np.float64)
        assert len(share) == len(bias)
        assert (share >= 0).all()
        front = {self.graph.output.name: share @ np.asarray(weight)}
        total = float(share @ np.asarray(bias))
        for node in reversed(self.graph.nodes):
            a = front.pop(node.name, None)
            if a is None:
                continue
            if isinstance(node.op, Input):
                low, high = self.box[node.name]
                return (total + float(np.where(a > 0, a * low, a * high).sum())) / share.sum()
            if isinstance(node.op, Linear):
                gain, parts = self._linear(node, a)
            elif isinstance(node.op, RealFunction) and node.op.cuttable:
                gain, parts = self._cut(node, a, leaf)
            else:
                gain, parts = self._lines(node, a)
            total += gain
            for name, part in zip(node.inputs, parts, strict=True):
                front[name] = front.get(name, 0.0) + part
        return total / share.sum()

    def _linear(self, node, a):
        shapes = self.graph.shapes_of(node)
        here = torch.tensor(a).reshape(1, *node.shape)
        constant = node.op.forward(*(torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes))
        return float((here * constant.double()).sum()), [doubles(part).ravel() for part in node.op.adjoint(here, shapes)]

    def _lines(self, node, a):
        lines, here = self.lines[node.name], torch.tensor(a).reshape(1, *node.shape)
        plus, minus = here.clamp(min=0), here.clamp(max=0)
        gain = float((plus * lines.lower_offset.double() + minus * lines.upper_offset.double()).sum())
        parts = []
        for low, high in zip(lines.lower, lines.upper, strict=True):
            view = (*plus.shape, *(1,) * (low.dim() - plus.dim()))
            parts.append(doubles(plus.reshape(view) * low + minus.reshape(view) * high).ravel())
        return gain, parts

    def _cut(self, node, a, leaf):
        op, (operand,), lines = node.op, node.inputs, self.lines[node.name]
        low, high = (end.copy() for end in self.box[operand])
        if (low == high).all():
            return self._lines(node, a)
        slope = self._slopes(op, (low, high), lines, a, (leaf.slopes or {}).get(node.name))
        added = np.zeros_like(a)
        hints = (leaf.hints or {}).get(node.name)
        stated = self._stated(op, operand)
        ends = [None] * len(a), [None] * len(a)      # values at ends that are cuts of the path
        if hints is not None:
            slope[hints.entry], added[hints.entry] = hints.slope, hints.added
        for step in leaf.path:
            if step.node == operand and hints is not None and step.entry in hints.entry:
                ((_, below, above),) = [cut for cut in stated[0][step.entry] if cut[0] == step.cut]
                end, which, values = (high, 1, below) if step.side < 0 else (low, 0, above)
                if (step.cut < end[step.entry]) == (step.side < 0) or step.cut == end[step.entry]:
                    end[step.entry], ends[which][step.entry] = step.cut, values
        b = slope * a + added
        if not (low <= high).all():
            return -np.inf, [b]     # no path of a tree is empty
        return self._least(op, (low, high), ends, a, b, stated), [b]

    def _stated(self, op, operand):
        """Of each entry its cuts, (place, values from below, values from above), and its corners, (place, value)."""
        box = [torch.tensor(end).reshape(1, *self.graph[operand].shape) for end in self.box[operand]]
        found = op.cuts(Interval(*box))
        count = box[0].numel()
        if found is None:
            return [[]] * count, [[]] * count
        rows = [doubles(v).reshape(v.shape[1], -1).T.tolist() for v in (found.at, found.left, found.here, found.right)]
        cuts = [[(x, (left,), (right,) if here == left else (here, right)) for x, left, here, right in zip(*entry, strict=True)]
                for entry in zip(*rows, strict=True)]
        if found.corners is None:
            return cuts, [[]] * count
        places, values = (doubles(v).reshape(-1, count).T.tolist() for v in found.corners)
        return cuts, [list(zip(*entry, strict=True)) for entry in zip(places, values, strict=True)]

    def _slopes(self, op, box, lines, a, ratios):
        """Of the line that each adjoint meets."""
        lower, upper = doubles(lines.lower[0]).ravel(), doubles(lines.upper[0]).ravel()
        if ratios is not None:
            first, last = (doubles(op.derivative(torch.tensor(end)[None]))[0] for end in box)
            lower = lower.copy()
            lower[ratios.entry] = (first + np.asarray(ratios.dense(len(a)), dtype=np.float64) * (last - first))[ratios.entry]
        return np.where(a > 0, lower, upper)

    @staticmethod
    def _least(op, box, ends, a, b, stated):
        """Sum over the entries of the least of A f(z) - B z over what is left of z."""
        error = op.error.absolute
        values = [doubles(op.evaluate(torch.tensor(end)[None]))[0] for end in box]
        total = 0.0
        for k, (low, high) in enumerate(zip(*box, strict=True)):
            found = []
            for which, z in ((0, low), (1, high)):
                for f in (values[which][k],) if ends[which][k] is None else ends[which][k]:
                    found += [(z, f - error), (z, f + error)]
            for x, below, above in stated[0][k]:
                # At an end of what is known the limit from within counts, at one of the path what its side says.
                seen = (*(below if low < x <= high and not (x == high and ends[1][k] is not None) else ()),
                        *(above if low <= x < high and not (x == low and ends[0][k] is not None) else ()))
                found += [(x, f + e) for f in seen for e in (-error, error)]
            found += [(x, f) for x, f in stated[1][k] if low < x < high]
            total += min(a[k] * f - b[k] * z for z, f in found)
        return total
