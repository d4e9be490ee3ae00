"""Forward linear bounds: every entry between two affine functions of the network's input, found in one walk forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from absint.domains.anchors import anchored, anchors
from absint.domains.generators import Pace
from absint.domains.input_forms import (
    Coordinates,
    InputForms,
    ends,
    entries_of,
    point_or_box,
    scaled,
    spread_out,
    symbols_of,
    through,
)
from absint.engine.domain import (
    Context,
    Cost,
    Domain,
    Interval,
    Node,
    Numerics,
    Relaxation,
    Rows,
    Sense,
    Slopes,
    Traits,
    met_lines,
    vectors_of_every_node,
)
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.work import products_of
from absint.numeric.rounding import no_upper


@dataclass(frozen=True)
class ForwardLinear(Domain[InputForms]):
    """Two affine functions of the d inputs of positive width below and above each entry: 2 (d + 1) forward passes, whatever the depth.

    Through linear operators by their positive and negative parts; through others by the lines or planes that backward substitution
    takes, free slopes included. Nothing grows with the number of neurons, so that few inputs make it far cheaper than any domain with
    symbols or rows; it is looser than backward substitution, because each layer's lines are composed from the input on, once and for all.
    anchor: narrow nodes of which all entries are substituted back to the input, where that takes no more than so many evaluations of
    what follows, and whose functions start anew from there; 0 for never.
    Sources: Xu et al., Automatic Perturbation Analysis, NeurIPS 2020, section 3.1 (forward mode); Zhang et al., NeurIPS 2018 (lines).
    """

    stated: ClassVar[Traits] = Traits("Xu et al., NeurIPS 2020, section 3.1")
    synonyms: ClassVar[tuple[str, ...]] = ("forward",)
    anchor: int = 64

    @property
    def traits(self) -> Traits:
        """What the class states, with its lines, which rows are substituted back through, and the memory that anchors need."""
        return replace(self.stated, reference=True, relaxations=(Slopes(self._relax, self.parameters),), memory=self._memory,
                       estimate=self._estimate)

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> InputForms:
        """A function of nothing: the box."""
        return point_or_box(interval, ctx.numerics)

    def start(self, node: Node, ctx: Context) -> InputForms:
        """The entries themselves, or the symbols of a region that has fewer of these."""
        given = ctx.region.generators()
        if given is not None and 0 < given[1].shape[1] < node.size:    # whatever the instances: no batch changes a bound
            return symbols_of(given, ctx.numerics)
        return entries_of(ctx.known[node.name].filled, ctx.numerics)

    def take(self, element: InputForms, index: Tensor) -> InputForms:
        """Instances."""
        return element.take(index)

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The slope that `planes` would choose itself."""
        return node.op.free_slope(ctx.inputs(node.inputs)) if isinstance(node.op, Nonlinear) else None

    # ---- linear operators ----------------------------------------------------------------------------------------

    def linear(self, node: Node, args: list[InputForms], ctx: Context) -> InputForms:
        """L+ lower + L- upper = L mean - |L| wide: one application of L and one of |L| serve both functions.

        What is rounded goes into the remainder (docs/soundness.md, section "Forward linear bounds").
        """
        op, num = node.op, ctx.numerics
        assert isinstance(op, Linear)
        shapes, coordinates = ctx.graph.shapes_of(node), _common(args)
        held = 0 if coordinates is None else 2 * coordinates.count
        ctx.budget.need(float(held * node.size * ctx.batch * torch.finfo(num.vector).bits // 8), node.name)
        pace = Pace.of(node, op, shapes, ctx, num.vector)
        mean = through(op.apply, [a.mean for a in args], shapes, pace)
        wide = through(op.apply_abs, [a.wide for a in args], shapes, pace)
        center, gap = op.forward(*(a.center for a in args)), op.apply_abs(*(a.gap for a in args))
        rest = self._moved(op, args, center, coordinates, num) if op.single else self._mixed(op, args, coordinates, num)
        if node.name in ctx.noise:
            rest = rest + ctx.noise[node.name] * (1 + num.vector_gamma(4))
        image = InputForms(center, gap, no_upper(rest), mean, wide, coordinates)
        image = image.settled(image.spread(num))
        return anchored(node, image, self._relax, ctx) if node.name in self._anchors(ctx) else image

    def _anchors(self, ctx: Context) -> frozenset[str]:
        key = ("anchors", self.anchor)
        found = ctx.memo.setdefault(key, anchors(ctx.graph, self.anchor) if key not in ctx.memo else None)
        assert isinstance(found, frozenset)
        return found

    def _mixed(self, op: Linear, args: list[InputForms], coordinates: Coordinates | None, num: Numerics) -> Tensor:
        """gamma (|L| (spread + |c| + |gap|) + |b|), db, and underflow."""
        rest = op.apply_abs(*(self._grown(arg, op, num) for arg in args))
        if not num.rounding:
            return rest
        like = args[0].center
        error: Tensor | float = 8 * op.forward_terms * num.vector_floor
        if coordinates is not None:
            error = error * (1 + spread_out(coordinates.lost, rest))
        if op.offset is not None:
            error = op.constant("offset", like, absolute=True) * num.vector_gamma(op.forward_terms + 8) + error
        if op.offset_error is not None:
            error = error + op.constant("offset_error", like) * (1 + num.vector_gamma(4))
        return rest * (1 + num.vector_gamma(2 * op.forward_terms + 12)) + error

    def _grown(self, arg: InputForms, op: Linear, num: Numerics) -> Tensor:
        """What |L| multiplies. The floor replaces what these products lose by underflow, which matters under a huge |L|."""
        if not num.rounding:
            return arg.rest
        return arg.rest + (num.vector_gamma(op.forward_terms + 6) * arg.size(num) + 4 * num.vector_floor)

    def _moved(self, op: Linear, args: list[InputForms], center: Tensor, coordinates: Coordinates | None, num: Numerics) -> Tensor:
        """Entries moved, and scaled by powers of two: only what leaves the normal numbers is charged."""
        rests = tuple(a.rest for a in args)
        rest = op.apply_abs(*rests)
        if op.exact or not num.rounding:
            return rest
        gaps = tuple(a.gap for a in args)
        error = op.lost(center, tuple(a.center for a in args), num) + op.lost(op.apply_abs(*gaps), gaps, num) + op.lost(rest, rests, num)
        if coordinates is not None:
            error = error + 4 * num.vector_floor * spread_out(coordinates.lost, rest)
        return torch.where(error != 0, num.up(num.up(rest + error)), rest)

    # ---- other operators -----------------------------------------------------------------------------------------

    def nonlinear(self, node: Node, args: list[InputForms], ctx: Context) -> InputForms:
        """The family's lines or planes, each applied to the side of the operand that its slope's sign asks for."""
        op, num = node.op, ctx.numerics
        assert isinstance(op, Nonlinear)
        intervals = ctx.inputs(node.inputs)
        lines = met_lines(node, self._relax(node, intervals, ctx), intervals, ctx)
        coordinates = _common(args)
        held = 0 if coordinates is None else 4 * coordinates.count * sum(a.center[0].numel() for a in args)
        ctx.budget.need(float(held * ctx.batch * torch.finfo(num.vector).bits // 8), node.name)
        image = _between(args, lines, coordinates, num)
        if node.name in ctx.noise:
            image = replace(image, rest=image.rest + ctx.noise[node.name] * (1 + num.vector_gamma(4)))
        return image.settled(image.spread(num))

    # ---- bounds --------------------------------------------------------------------------------------------------

    def hull(self, element: InputForms, ctx: Context) -> Interval:
        """The least of the lower function and the greatest of the upper one over the region, rounded outward."""
        num = ctx.numerics
        down, up = ends(element, ctx)
        own = num.up(element.gap + element.rest)
        return Interval(num.down(element.center - num.up(own + down)), num.up(element.center + num.up(own + up)))

    def bounds(self, element: InputForms, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """Unit rows from the hull; others as functions of the input first, so that what their entries have in common cancels."""
        i, num = rows.instance, ctx.numerics
        if rows.index is not None and rows.bias is None:
            box = self.hull(element, ctx)
            return Interval(box.lower.flatten(1)[i, rows.index], box.upper.flatten(1)[i, rows.index])
        batch = len(element.center)
        padded = rows.padded(batch, num.vector)
        size, n = padded.detach().abs(), padded.shape[2]
        bias = rows.padded_bias(batch, num.vector)
        center = _row_sums(padded, element.center) + bias
        gap = _row_sums(padded.abs(), element.gap)
        slack = _row_sums(size, element.rest)
        if num.rounding:
            grown = num.vector_gamma(n + 8) * element.size(num) + 4 * num.vector_floor
            slack = (slack + _row_sums(size, grown) + num.vector_gamma(n + 8) * bias.detach().abs()) * (1 + num.vector_gamma(n + 12))
            slack = slack + 8 * n * num.vector_floor + self._underflow(element, n, num)[:, None]
        down, up = self._row_ends(element, padded, rows, ctx)
        own = rows.unpadded(num.up(gap + slack))
        middle = rows.unpadded(center)
        lower, upper = middle - num.up(own + down), middle + num.up(own + up)
        return Interval(num.down(lower), num.up(upper), slack=rows.unpadded(slack).detach())

    def _row_ends(self, element: InputForms, weight: Tensor, rows: Rows, ctx: Context) -> tuple[Tensor, Tensor]:
        """(R,) each: how far the linear part of the lower function of each row falls over the region, and of the upper one rises."""
        coordinates = element.coordinates
        if element.mean is None or coordinates is None:
            zero = rows.unpadded(torch.zeros_like(weight[..., 0]))
            return zero, zero
        mean = weight @ element.mean.flatten(2).transpose(1, 2)
        wide = torch.zeros_like(mean) if element.wide is None else weight.abs() @ element.wide.flatten(2).transpose(1, 2)
        zero = torch.zeros_like(mean[..., 0])
        forms = InputForms(zero, zero, zero, mean.transpose(1, 2), wide.transpose(1, 2), coordinates)
        down, up = ends(forms, ctx)
        return rows.unpadded(down), rows.unpadded(up)

    def _relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        assert isinstance(node.op, Nonlinear)
        return node.op.planes(inputs, ctx.numerics, ctx.slopes.get(node.name))

    def _memory(self, graph: Graph, numerics: Numerics) -> int:
        return int(self._estimate(graph, numerics, {}).memory)

    def _estimate(self, graph: Graph, numerics: Numerics, counts: Mapping[str, float]) -> Cost:
        """Two vectors a coordinate (at most one an input entry) of a node, of what it reads and of a temporary; and the anchors' rows."""
        count, worst, products, below = counts.get(graph.input.name, float(graph.input.size)), 0, 0.0, 0.0
        restarted = anchors(graph, self.anchor)
        for node in graph.nodes:
            worst = max(worst, 2 * node.size + sum(map(prod, graph.shapes_of(node))))
            below += products_of(node)
            products += (2 * count + 3) * products_of(node) + (2 * node.size * below if node.name in restarted else 0.0)
        width = torch.finfo(numerics.vector).bits // 8
        return Cost(float(2 * count * worst * width + vectors_of_every_node(graph, numerics)), products)

    def _underflow(self, element: InputForms, n: int, num: Numerics) -> Tensor:
        """(batch,): products of row weights with coefficients, and weights that underflow on the way to a format below float64."""
        total = torch.zeros_like(element.center.flatten(1)[:, 0])
        if element.coordinates is not None:
            total = total + 4 * n * num.vector_floor * element.coordinates.lost
        if num.vector != torch.float64:
            total = total + 2 * num.vector_floor * (element.size(num) + element.rest.detach()).flatten(1).sum(1)
        return total


def _between(args: list[InputForms], lines: Relaxation, coordinates: Coordinates | None, num: Numerics) -> InputForms:
    """Operands through two planes: with p = (s_l + s_u)/2, q = (|s_u| - |s_l|)/2 and p' = (s_u - s_l)/2, q' = (|s_u| + |s_l|)/2

    the new mean is p mean + q wide, and the new wide p' mean + q' wide.
    """
    like = lines.lower_offset
    shape = tuple(like.shape[1:])
    steep = [torch.maximum(low.detach().abs(), high.detach().abs()) for low, high in zip(lines.lower, lines.upper, strict=True)]
    low, high = (_offset(args, slopes, offset, sign) for slopes, offset, sign in
                 ((lines.lower, lines.lower_offset, -1.0), (lines.upper, lines.upper_offset, 1.0)))
    passed, middle = _passed(lines), torch.where(low == high, low, low / 2 + high / 2)
    center = torch.where(passed, _sum(lines.lower, [a.center for a in args], lines.lower_offset), middle)
    gap = torch.where(passed, _sum([s.abs() for s in lines.lower], [a.gap for a in args], torch.zeros_like(like)), high - middle)
    rest, moved = _charged(args, lines, steep, coordinates, num)
    rest = torch.where(passed, _sum(steep, [a.rest for a in args], torch.zeros_like(like)), rest)
    parts: tuple[list[tuple[Tensor, Tensor | None]], list[tuple[Tensor, Tensor | None]]] = ([], [])
    for arg, below, above in zip(args, lines.lower, lines.upper, strict=True):
        if arg.mean is None:
            continue
        parts[0].append((below / 2 + above / 2, arg.mean))
        parts[0].append((above.abs() / 2 - below.abs() / 2, arg.wide))
        parts[1].append((above / 2 - below / 2, arg.mean))
        parts[1].append((above.abs() / 2 + below.abs() / 2, arg.wide))
    return InputForms(center, gap, no_upper(rest), scaled(parts[0], shape), scaled(parts[1], shape), coordinates, moved)


def _offset(args: list[InputForms], slopes: tuple[Tensor, ...], offset: Tensor, sign: float) -> Tensor:
    """The constant of one side: t + s c -+ |s| gap."""
    return _sum([sign * s.abs() for s in slopes], [a.gap for a in args], _sum(slopes, [a.center for a in args], offset))


def _charged(args: list[InputForms], lines: Relaxation, steep: list[Tensor], coordinates: Coordinates | None, num: Numerics
             ) -> tuple[Tensor, Tensor]:
    """The new remainder: max |s| rest, gamma (max |s| (spread + |c| + |gap|) + |t|), underflow; and the new spread."""
    like = lines.lower_offset.detach()
    size = lines.lower_offset.detach().abs() + lines.upper_offset.detach().abs()
    zero = torch.zeros_like(like)
    spreads = [arg.spread(num).detach() for arg in args]
    rest, moved = _sum(steep, [arg.rest for arg in args], zero), _sum(steep, spreads, zero)
    if not num.rounding:
        return rest, moved
    size = _sum(steep, [arg.size(num) for arg in args], size)
    terms = 2 * sum(slope.shape[like.dim():].numel() for slope in steep)
    # The products, and the slopes that are halved: each may underflow, and is multiplied with all of an operand.
    lost = 1 if coordinates is None else 1 + spread_out(coordinates.lost, like)
    floor = num.vector_floor * (4 * terms * lost + 2 * _sum([torch.ones_like(s) for s in steep], spreads, zero))
    grown = 1 + num.vector_gamma(terms + 12)
    return (rest + num.vector_gamma(terms + 12) * size) * grown + 2 * floor, moved * grown + 2 * floor


def _passed(lines: Relaxation) -> Tensor:
    """Mask of the entries that are one operand's entry or its negative, or a constant: there the planes are equal and nothing rounds."""
    like = lines.lower_offset.detach()
    same, total = lines.lower_offset == lines.upper_offset, torch.zeros_like(like)
    for low, high in zip(lines.lower, lines.upper, strict=True):
        size = low.detach().abs()
        fits = (low == high) & ((size == 0) | (size == 1))
        same = same & (fits if fits.dim() == like.dim() else fits.flatten(like.dim()).all(-1))
        total = total + _onto(size, like)
    return same & ((total == 0) | ((total == 1) & (like == 0)))


def _sum(slopes: Sequence[Tensor], values: Sequence[Tensor], start: Tensor) -> Tensor:
    """start + sum of slope times value, over the trailing axes that `start` lacks."""
    total = start
    for slope, value in zip(slopes, values, strict=True):
        total = total + _onto(_dropped(slope, slope * value), start)
    return total


def _dropped(slope: Tensor, product: Tensor) -> Tensor:
    """A slope of 0 drops the operand, even one of which nothing is known."""
    return torch.where(slope == 0, 0.0, product)


def _onto(value: Tensor, like: Tensor) -> Tensor:
    """Summed over the trailing axes that `like` lacks."""
    return value if value.dim() == like.dim() else value.flatten(like.dim()).sum(-1)


def _row_sums(rows: Tensor, vector: Tensor) -> Tensor:
    """(batch, k, n) times (batch, *shape) of n entries."""
    return (rows @ vector.flatten(1)[..., None])[..., 0]


def _common(args: list[InputForms]) -> Coordinates | None:
    """The coordinates of the operands: all the same, where they have any."""
    return next((arg.coordinates for arg in args if arg.coordinates is not None), None)
