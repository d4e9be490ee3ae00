"""What case splits of one nonlinear node are about: its undecided entries, and the points of the graph between which it is affine.

On [l, u] a piecewise-linear f lies in the hull of its points at l, at the cuts within, and at u, and so does a staircase of many steps with
those of some corners between. So for any numbers A and B the minimum of A f(z) - B z over [l, u] is not below that over these points; a
case split leaves a range of them. Whatever A and B are,

    A f(z) >= B z + min over the points (A f - B p),

which is all that a proof needs: slopes, multipliers of splits and their signs are choices of B. docs/soundness.md, "Case splits".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.context import Context
from absint.model.families.function_pieces import CutPlaces
from absint.model.families.real_function import RealFunction, kernel_error
from absint.model.graph import Node
from absint.numeric.interval import Interval, Relaxation

# Sides of a cut are a bit of a path's code, cuts are five.
MOST_CUTS = 1 << 5


@dataclass(frozen=True, eq=False)
class Points:
    """The points of one node's graph, (I, C, U): instances, points, undecided entries; relative to the reference.

    at: p - c_z, where p is exact and the difference is rounded to nearest.  least, most: enclosure of f(p) - c_y.
    first, last: for each cut, the first point above it and the last point below it.
    """

    at: Tensor
    least: Tensor
    most: Tensor
    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def count(self) -> int:
        """C."""
        return self.at.shape[1]

    @cached_property
    def middle(self) -> Tensor:
        """Of the enclosures: what chords go through, in the search as in the proof."""
        return torch.where(self.least == self.most, self.least, self.least / 2 + self.most / 2)


@dataclass(frozen=True, eq=False)
class Splittable:
    """A node that is affine between cuts, as all nodes of its trees see it.

    name, operand: the node, its input.  entries: (U,) flat positions of those that are undecided in some instance.
    places: (I, K, U) float64, cuts from left to right, inf where there are fewer.  lower, upper: (I, U), those of the operand.
    open: (I, U) bool, undecided there.
    slope, offset: (I, size): of the line, relative to the reference, for entries decided; 0 for the others.
    low, high: (I, U) slopes of the relaxation at the root, met by A > 0 and A < 0.  steep, flat: (I, U) ends of what `low` may become.
    gap: (I, U): how far the upper line lies above f at the cuts, at most.
    """

    name: str
    operand: str
    entries: Tensor
    places: Tensor
    lower: Tensor
    upper: Tensor
    open: Tensor
    points: Points
    slope: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor
    flat: Tensor
    steep: Tensor
    gap: Tensor

    @property
    def count(self) -> int:
        """U."""
        return len(self.entries)


def splittable(node: Node, ctx: Context, relax: Relax) -> Splittable | None:
    """The node's tables; None where it is not split: it is curved, has several operands, or nothing of it is undecided."""
    op = node.op
    if not isinstance(op, RealFunction) or not op.cuttable or len(node.inputs) != 1:
        return None
    (box,) = inputs = ctx.inputs(node.inputs)
    undecided = op.undecided(inputs)[0].flatten(1)
    entries = undecided.any(0).nonzero().flatten()
    cuts = op.cuts(box) if len(entries) else None
    if cuts is None or not 0 < cuts.at.shape[1] < MOST_CUTS:
        return None
    lines = relax(node, inputs, ctx)
    reference, here = (ctx.reference[name].flatten(1) for name in (node.inputs[0], node.name))
    low, high = (slope.flatten(1)[:, entries] for slope in (lines.lower[0], lines.upper[0]))
    slope = lines.lower[0].flatten(1).clone()
    offset = slope * reference + lines.lower_offset.flatten(1) - here
    slope[:, entries], offset[:, entries] = 0, 0
    mine = _PlacesOf(cuts, entries)
    points = _points(op, mine, box, ctx, node)
    ends = _slopes(op, box, low, entries)
    left, right = (end.flatten(1)[:, entries] for end in (box.lower, box.upper))
    return Splittable(node.name, node.inputs[0], entries, mine.at, left, right, undecided[:, entries], points, slope, offset, low, high,
                      *ends, _gap(op, lines, points, here, reference, entries))


@dataclass(frozen=True, eq=False)
class _PlacesOf:
    """What an operator states of its cuts, of some entries alone, float64."""

    cuts: CutPlaces
    entries: Tensor

    def _chosen(self, values: Tensor) -> Tensor:
        return values.flatten(2)[..., self.entries].double()

    @cached_property
    def at(self) -> Tensor:
        """(I, K, U)."""
        return self._chosen(self.cuts.at)

    @cached_property
    def values(self) -> tuple[Tensor, Tensor, Tensor]:
        """Left, here, right: (I, K, U) each."""
        left, here, right = (self._chosen(v) for v in (self.cuts.left, self.cuts.here, self.cuts.right))
        return left, here, right

    @property
    def slack(self) -> Tensor:
        """(I, U)."""
        slack = self.cuts.slack
        return torch.zeros_like(self.at[:, 0]) if slack is None else slack.flatten(1)[:, self.entries].double()

    def corners(self, before: int) -> list[tuple[Tensor, Tensor]]:
        """Places and values (I, U) between the cuts `before` - 1 and `before`."""
        if self.cuts.corners is None or not before:
            return []
        at, value = (c[:, before - 1].flatten(2)[..., self.entries].double() for c in self.cuts.corners)
        return list(zip(at.unbind(1), value.unbind(1), strict=True))

    def beside(self, k: int) -> tuple[list[Tensor], list[Tensor]]:
        """What the function takes or tends to at a cut, seen from below and from above; no value twice.

        f there goes with the side that it equals in all entries, else with the upper one.
        """
        there = self.at[:, k].isfinite()
        left, here, right = (v[:, k] for v in self.values)

        def same(one: Tensor, two: Tensor) -> Tensor:
            return (one == two) | ~there

        if bool((same(left, here) & same(here, right)).all()):
            return [here], []
        own = [] if bool((same(left, here) | same(here, right)).all()) else [here]
        return [left], [*own, right]


def _points(op: RealFunction, places: _PlacesOf, box: Interval, ctx: Context, node: Node) -> Points:
    """At both ends of the known box, and at each cut within it; in float64, which holds every cut and every value as it was stated."""
    num, entries = ctx.numerics, places.entries
    reference, here = (ctx.reference[name].flatten(1)[:, entries] for name in (node.inputs[0], node.name))
    box = box.to(torch.float64)
    low, high = (end.flatten(1)[:, entries] for end in (box.lower, box.upper))
    ends = [op.range((Interval(end, end),), num) for end in (box.lower, box.upper)]
    begin, end = ([f.lower.flatten(1)[:, entries], f.upper.flatten(1)[:, entries]] for f in ends)
    found, first, last = [(low, *begin)], [], []

    def add(x: Tensor, value: Tensor, inside: Tensor) -> None:
        """A point; where it is none of this entry's, the nearer end's."""
        error = kernel_error(op.error, value, num) if op.error.ulps or op.error.absolute else torch.zeros_like(value)
        lower, upper = (torch.where(x <= low, one, two) for one, two in zip(begin, end, strict=True))
        found.append((torch.minimum(torch.maximum(x, low), high),
                      torch.where(inside, value - error, lower), torch.where(inside, value + error, upper)))

    for k, x in enumerate(places.at.unbind(1)):
        for corner, value in places.corners(k):
            add(corner, value, (low < corner) & (corner < high))
        below, above = places.beside(k)
        # At an end of the box, what lies beyond it is no limit of anything, and f itself is the end's.
        for value in below:
            add(x, value, (low < x) & (x <= high if above else x < high))
        last.append(len(found) - 1)
        first.append(len(found) if above else len(found) - 1)
        for value in above:
            add(x, value, (low <= x) & (x < high))
    found.append((high, *end))
    at, least, most = (torch.stack(list(values), 1) for values in zip(*found, strict=True))
    slack = places.slack[:, None]
    # The slack last: beside values that are huge it would be lost.
    lower, upper = (least - here[:, None]) - slack, (most - here[:, None]) + slack
    return Points(at - reference[:, None], num.down(lower), num.up(upper), tuple(first), tuple(last))


def _slopes(op: RealFunction, box: Interval, low: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Between which slopes the lower line may turn: those of the pieces beside one kink where f is convex; else it stays."""
    if len(op.knots) != 1 or op.jumps:
        return low, low
    # Entries may have slopes of their own (PRelu); what is asked beside the kink is any place on either piece.
    left, right = (op.derivative(torch.full_like(box.lower, op.knots[0].x + side)).flatten(1)[:, entries].to(low) for side in (-1, 1))
    convex = left <= right
    return torch.where(convex, left, low), torch.where(convex, right, low)


def _gap(op: RealFunction, lines: Relaxation, points: Points, here: Tensor, reference: Tensor, entries: Tensor) -> Tensor:
    """The greatest distance between both lines at the cuts; a score, no proof."""
    inner = slice(1, points.count - 1)
    at = points.at[:, inner] + reference[:, None, entries]
    slope, offset = lines.upper[0].flatten(1)[:, None, entries], lines.upper_offset.flatten(1)[:, None, entries]
    above = slope * at + offset - (points.least[:, inner] + here[:, None, entries])
    return above.amax(1).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
