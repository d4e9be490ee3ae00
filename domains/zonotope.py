"""Zonotope (DeepZ): affine forms over shared noise symbols, with float32 generators and a float64 centre."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from absint.domains.generators import Dense, GeneratorBlock, Pace, Sparse, fresh_symbols, join, merge_smallest
from absint.domains.patches import localised
from absint.domains.zonotope_cost import carried
from absint.engine.cost import held_bytes
from absint.engine.domain import Band, Context, Cost, Domain, Interval, Node, Numerics, Rows, Sense, Traits, met_band
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.graph import Graph
from absint.model.op import Shape
from absint.numeric.rounding import cast_up, gamma

# Where symbols come from: a node's name, or a tuple for what an order reduction kept or merged. Tuples, because a string
# made of names could be some other node's name.
Symbols = Hashable


@dataclass(frozen=True, eq=False)
class Zono:
    """{center + sum_i e_i g_i + r : |e_i| <= 1, |r| <= rest}, entry by entry.

    center, rest: (batch, *shape) in the vector format.  blocks: generators by the node whose symbols they carry; a
    symbol's identity is (node, slot), so residual branches align by it.  rest gathers every rounding error.
    moved_spread: an upper bound of sum |g_i| carried over from the previous node, or None to compute it.
    """

    center: Tensor
    blocks: dict[Symbols, GeneratorBlock]
    rest: Tensor
    gamma: float
    moved_spread: Tensor | None = None

    @cached_property
    def spread(self) -> Tensor:
        """(batch, *shape): sum of |g_i| over all symbols, rounded up, in the vector format."""
        if self.moved_spread is not None:
            return self.moved_spread
        total = torch.zeros_like(self.center)
        for block in self.blocks.values():
            total = total + block.spread(self.center)
        # Each block's sum of m terms is low by at most gamma_m; the few block sums are added in float64.
        return total * (1 + self.gamma)

    @property
    def count(self) -> int:
        """Number of symbols."""
        return sum(block.count for block in self.blocks.values())


@dataclass(frozen=True)
class Zonotope(Domain[Zono]):
    """DeepZ with a remainder for rounding, in a reduced product with Box.

    product: False takes relaxation intervals from the zonotope alone, as DeepZ does.  max_generators: merge the
    smallest symbols into a box once there are more (sound, looser); 0 for no limit.
    Source: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, section 3.
    """

    stated: ClassVar[Traits] = Traits("Singh et al., NeurIPS 2018, section 3")
    synonyms: ClassVar[tuple[str, ...]] = ("deepz", "deepzono")
    product: bool = True
    max_generators: int = 0

    @property
    def traits(self) -> Traits:
        """What the class states, with the memory that the options need."""
        return replace(self.stated, memory=self._memory, estimate=self._estimate)

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> Zono:
        """One fresh symbol per entry of positive radius, kept as a diagonal; infinite radii go to the remainder."""
        num = ctx.numerics
        center, radius = middle_radius(interval.lower, interval.upper, num)
        block, rest = fresh_symbols(radius, radius > 0, num)
        return Zono(center, _only(node.name, block), rest, _spread_gamma(num, 0 if block is None else block.count))

    def start(self, node: Node, ctx: Context) -> Zono:
        """A region that has generators keeps them, cast to the matrix format; what the cast moves goes to the remainder."""
        given = ctx.region.generators()
        if given is None or not given[1].shape[1]:
            return super().start(node, ctx)
        num = ctx.numerics
        middle, exact, rest = (part.to(num.device) for part in given)
        center, generators = middle.to(num.vector), exact.to(num.dtype)
        moved = (generators.double() - exact).abs().sum(1) + (center.double() - middle).abs()
        # Differences of neighbouring formats are exact; the sum of m + 2 terms is low by its gamma.
        rest = num.up(cast_up((rest + moved) * (1 + gamma(exact.shape[1] + 6, torch.float64)), num.vector))
        blocks: dict[Symbols, GeneratorBlock] = {node.name: Dense(generators)}
        # What is more than rounding becomes symbols, so that its sign is known further on.
        coarse = rest > (exact.abs().sum(1) + middle.abs()).to(num.vector) * 2.0**-30
        fresh, rest = fresh_symbols(_no_nan(rest), coarse, num)
        if fresh is not None:
            blocks["rest", node.name] = fresh
        return Zono(center, blocks, rest, _spread_gamma(num, sum(b.count for b in blocks.values())))

    def take(self, element: Zono, index: Tensor) -> Zono:
        """Instances."""
        blocks = {name: block.take(index) for name, block in element.blocks.items()}
        moved = None if element.moved_spread is None else element.moved_spread[index]
        return Zono(element.center[index], blocks, element.rest[index], element.gamma, moved)

    # ---- transformers ------------------------------------------------------------------------------------------

    def linear(self, node: Node, args: list[Zono], ctx: Context) -> Zono:
        """Exact but for rounding, which the remainder takes up (docs/soundness.md, section "Zonotope")."""
        op, num = node.op, ctx.numerics
        assert isinstance(op, Linear)
        shapes = ctx.graph.shapes_of(node)
        if len(args) == 1:
            args = [replace(args[0], blocks={name: localised(block, op, shapes[0]) for name, block in args[0].blocks.items()})]
        ctx.budget.need(_image_bytes(node, op, args, shapes, num), node.name)
        pace = Pace.of(node, op, shapes, ctx, num.dtype)
        blocks = {name: join(op, [a.blocks.get(name) for a in args], shapes, pace)
                  for name in dict.fromkeys(k for a in args for k in a.blocks)}
        center = op.forward(*(a.center for a in args))
        count = sum(b.count for b in blocks.values())
        if op.single:
            return self._moved(node, op, args, Zono(center, blocks, torch.zeros_like(center), _spread_gamma(num, count)), ctx)
        rest = op.apply_abs(*(self._grown(a, op, num) for a in args))
        if num.rounding:
            rest = rest * (1 + num.vector_gamma(2 * op.forward_terms + 10)) + self._constant_error(op, rest, count, num)
        if node.name in ctx.noise:
            rest = rest + ctx.noise[node.name] * (1 + num.vector_gamma(4))
        image = Zono(center, blocks, _no_nan(rest), _spread_gamma(num, count))
        return self._narrowed(node, image, ctx) if ctx.region.beyond_hull else image

    def _moved(self, node: Node, op: Linear, args: list[Zono], image: Zono, ctx: Context) -> Zono:
        """Entries moved, and scaled by powers of two: only what leaves the normal numbers is charged."""
        num, rests = ctx.numerics, tuple(a.rest for a in args)
        rest = op.apply_abs(*rests)
        if not op.exact and num.rounding:
            generators = (_underflows(op, args, num) * (2 * image.count * num.floor)).reshape(-1, *(1,) * len(node.shape))
            error = op.lost(image.center, tuple(a.center for a in args), num) + op.lost(rest, rests, num) + generators
            rest = torch.where(error != 0, num.up(num.up(rest + error)), rest)
        if node.name in ctx.noise:
            rest = rest + ctx.noise[node.name] * (1 + num.vector_gamma(4))
        moved = self._moved_spread(op, args[0].spread, num) if len(args) == 1 else None
        return Zono(image.center, image.blocks, _no_nan(rest), image.gamma, moved)

    def _moved_spread(self, op: Linear, spread: Tensor, num: Numerics) -> Tensor:
        moved = op.apply_abs(spread)
        if op.exact:
            return moved
        error = op.lost(moved, (spread,), num)
        return _no_nan(torch.where(error != 0, num.up(moved + error), moved))

    def _narrowed(self, node: Node, image: Zono, ctx: Context) -> Zono:
        """Instances whose known box is less than half as wide (summed over entries) restart from it, with fresh symbols.

        One symbol per input entry spans the hull of a norm ball, not the ball; its dual norm bounds each entry far better.
        """
        box, num = ctx.known[node.name].filled, ctx.numerics
        width, own = ((box.upper - box.lower).flatten(1).sum(1), (image.spread + image.rest).flatten(1).sum(1))
        better = (width < own).reshape(-1, *(1,) * len(node.shape))
        if not bool(better.any()):
            return image
        fresh = self.enclose(node, box, ctx)
        if bool(better.all()):
            return fresh
        blocks: dict[Symbols, GeneratorBlock] = {}
        for source, chosen in ((image, ~better), (fresh, better)):
            mask = chosen.expand(-1, *node.shape).to(num.dtype)
            blocks |= {name: block.scaled(mask, node.shape) for name, block in source.blocks.items()}
        center, rest = torch.where(better, fresh.center, image.center), torch.where(better, fresh.rest, image.rest)
        return Zono(center, blocks, rest, _spread_gamma(num, sum(b.count for b in blocks.values())))

    def _grown(self, arg: Zono, op: Linear, num: Numerics) -> Tensor:
        """E + gamma S + gamma |c|: generators err in the matrix format against S, the centre in the vector format."""
        if not num.rounding:
            return arg.rest
        terms = op.forward_terms + 5
        size = num.gamma(terms) * arg.spread.detach() + num.vector_gamma(terms) * arg.center.detach().abs()
        # The floor replaces what these products lose by underflow, which matters under a huge |L|.
        return arg.rest + (size + 2 * num.vector_floor)

    def _constant_error(self, op: Linear, like: Tensor, count: int, num: Numerics) -> Tensor | float:
        """gamma |b| + db + underflow of every product of every generator."""
        error: Tensor | float = 4 * op.forward_terms * ((count + 1) * num.floor + num.vector_floor)
        if op.offset is not None:
            error = op.constant("offset", like, absolute=True) * num.vector_gamma(op.forward_terms + 5) + error
        if op.offset_error is not None:
            error = error + op.constant("offset_error", like) * (1 + num.vector_gamma(4))
        return error

    def nonlinear(self, node: Node, args: list[Zono], ctx: Context) -> Zono:
        """The family's parallel band: slopes scale the symbols, the radius becomes one fresh symbol per undecided entry."""
        op, num = node.op, ctx.numerics
        assert isinstance(op, Nonlinear)
        intervals = ctx.inputs(node.inputs) if self.product else tuple(self.hull(a, ctx).filled for a in args)
        band = op.band(intervals, num)
        band = met_band(node, band, ctx) if self.product else band
        undecided = torch.zeros_like(band.radius, dtype=torch.bool)
        if node.closed is not None:
            undecided = undecided | (band.radius > 0)
        for mask in op.undecided(intervals):
            undecided = undecided | (mask if mask.dim() == undecided.dim() else mask.flatten(undecided.dim()).any(-1))
        return self._banded(node, args, band, undecided, ctx)

    def _banded(self, node: Node, args: list[Zono], band: Band, undecided: Tensor, ctx: Context) -> Zono:
        num, like = ctx.numerics, band.offset
        # Scaled entry by entry: as much again as the operands hold.
        ctx.budget.need(sum(held_bytes(arg.blocks) for arg in args), node.name)
        center, rest, spread = band.offset, torch.zeros_like(like), torch.zeros_like(like)
        size = band.offset.detach().abs()
        blocks: dict[Symbols, GeneratorBlock] = {}
        for arg, slope in zip(args, band.slope, strict=True):
            steep = slope.abs()
            # A slope of 0 drops the operand, even one of which nothing is known.
            product, rests, spreads = (torch.where(slope == 0, 0.0, v) for v in (slope * arg.center, steep * arg.rest, steep * arg.spread))
            center = center + _onto(product, like)
            rest = rest + _onto(rests, like)
            spread = spread + _onto(spreads, like)
            size = size + _onto(product.detach().abs(), like)
            rest = rest + _rounding_of_scaling(arg, slope, like, len(args), num)
            for name, block in arg.blocks.items():
                scaled = block.scaled(slope.to(num.dtype), tuple(like.shape[1:]))
                blocks[name] = scaled if name not in blocks else blocks[name].plus(scaled)
        terms = 3 + sum(s.shape[like.dim():].numel() for s in band.slope)
        if num.rounding:
            exact = (size == 0) | _exact_center(band)
            center_error = num.vector_gamma(terms) * size + num.vector_floor
            rest = (rest + torch.where(exact, torch.zeros_like(size), center_error)) * (1 + num.vector_gamma(terms + 8))
            spread = spread * (1 + num.gamma(terms + 4)) + self._floor(blocks, num)
        fresh, left = self._fresh(band.radius, undecided & (band.radius > 0), num)
        rest = _no_nan(rest + left)
        if node.name in ctx.noise:
            rest = rest + ctx.noise[node.name]
        if fresh is not None:
            blocks[node.name] = fresh
            spread = (spread + fresh.spread(like)) * (1 + num.vector_gamma(2))
        out = Zono(center, blocks, rest, _spread_gamma(num, 0), _no_nan(spread))
        return self._reduced(node, out, ctx)

    def _fresh(self, radius: Tensor, mask: Tensor, num: Numerics) -> tuple[Sparse | None, Tensor]:
        """New symbols of the entries in the mask, and what is left of the radii."""
        return fresh_symbols(radius, mask, num)

    def _floor(self, blocks: dict[Symbols, GeneratorBlock], num: Numerics) -> float:
        return 2 * sum(b.count for b in blocks.values()) * num.floor

    def _reduced(self, node: Node, zono: Zono, ctx: Context) -> Zono:
        """Order reduction: sound, because a merged symbol is replaced by fresh independent ones around it.

        Where it happens depends on the graph alone, and what is merged on the instance alone: never on the batch.
        """
        if not self.max_generators or not zono.blocks or _most_symbols(ctx.graph, node) <= self.max_generators:
            return zono
        kept, radius = merge_smallest(zono.blocks, self.max_generators, zono.center)
        num = ctx.numerics
        radius = radius * (1 + _spread_gamma(num, zono.count))
        fresh, rest = fresh_symbols(radius, radius > 0, num)
        blocks: dict[Symbols, GeneratorBlock] = {("kept", name, node.name): block for name, block in kept.items()}
        if fresh is not None:
            blocks["merged", node.name] = fresh
        count = sum(b.count for b in blocks.values())
        return Zono(zono.center, blocks, _no_nan(zono.rest + rest), _spread_gamma(num, count))

    # ---- bounds ------------------------------------------------------------------------------------------------

    def hull(self, element: Zono, ctx: Context) -> Interval:
        """center -+ (spread + rest), rounded outward."""
        num = ctx.numerics
        radius = num.up((element.spread + element.rest) * (1 + num.vector_gamma(2)))
        return Interval(num.down(element.center - radius), num.up(element.center + radius))

    def bounds(self, element: Zono, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """Unit rows from the hull; others by a batched product with the generators, correlations kept."""
        i = rows.instance
        if rows.index is not None and rows.bias is None:
            box = self.hull(element, ctx)
            return Interval(box.lower.flatten(1)[i, rows.index], box.upper.flatten(1)[i, rows.index])
        num, batch = ctx.numerics, len(element.center)
        padded = rows.padded(batch, num.vector)
        n = padded.shape[2]
        narrow = padded.to(num.dtype)
        reach = torch.zeros_like(padded[..., 0])
        for block in element.blocks.values():
            reach = reach + block.reach(narrow).to(reach.dtype)
        reach = rows.unpadded(reach) * (1 + _spread_gamma(num, element.count + 4))
        size = padded.detach().abs()
        bias = torch.zeros_like(reach) if rows.bias is None else rows.bias.to(reach)
        center = rows.unpadded((padded @ element.center.flatten(1)[..., None])[..., 0]) + bias
        slack = rows.unpadded((size @ element.rest.flatten(1)[..., None])[..., 0])
        if num.rounding:
            generators = num.gamma(n + 5) * element.spread.flatten(1) + num.vector_gamma(n + 5) * element.center.flatten(1).abs()
            slack = slack + rows.unpadded((size @ (generators.detach() + 2 * num.vector_floor)[..., None])[..., 0])
            slack = (slack + num.vector_gamma(n + 5) * bias.abs()) * (1 + num.vector_gamma(n + 8))
            slack = slack + 2 * n * ((element.count + 1) * num.floor + num.vector_floor) + self._cast_floor(element, num)[i]
        radius = num.up((reach + slack) * (1 + num.vector_gamma(4)))
        return Interval(num.down(center - radius), num.up(center + radius), slack=slack.detach())

    def _cast_floor(self, element: Zono, num: Numerics) -> Tensor:
        """Row weights may underflow on the way to the matrix format: at most floor per entry, times the spread."""
        return num.floor * element.spread.detach().flatten(1).sum(1)

    def _memory(self, graph: Graph, numerics: Numerics) -> int:
        """Of the worst node, counting half of the neurons before it as undecided."""
        half = {node.name: node.size / 2 for node in graph.nodes if isinstance(node.op, Nonlinear)}
        return int(self._estimate(graph, numerics, half).memory)

    def _estimate(self, graph: Graph, numerics: Numerics, counts: Mapping[str, float]) -> Cost:
        """Those of the input, and of what is said of nonlinear nodes."""
        return carried(graph, numerics, {graph.input.name: float(graph.input.size), **counts}, self.max_generators)


def _image_bytes(node: Node, op: Linear, args: list[Zono], shapes: tuple[Shape, ...], num: Numerics) -> float:
    """What the images of all generators take."""
    vectors = sum(block.images(op, shape) for arg, shape in zip(args, shapes, strict=True) for block in arg.blocks.values())
    return float(vectors * node.size * len(args[0].center) * torch.finfo(num.dtype).bits // 8)


def _only(name: Symbols, block: GeneratorBlock | None) -> dict[Symbols, GeneratorBlock]:
    return {} if block is None else {name: block}


def _most_symbols(graph: Graph, last: Node) -> int:
    """Symbols an instance may carry after `last`: one per input entry and one per entry of a nonlinear node."""
    walked = graph.nodes[: graph.position[last.name] + 1]
    return graph.input.size + sum(node.size for node in walked if isinstance(node.op, Nonlinear))


def _rounding_of_scaling(arg: Zono, slope: Tensor, like: Tensor, summands: int, num: Numerics) -> Tensor:
    """gamma |slope| S in the matrix format and underflow; exactly 0 where an entry is only passed on or dropped.

    Each output entry sums `summands` inputs times the entries of the trailing axes that it lacks.
    """
    if not num.rounding:
        return torch.zeros_like(like)
    size = slope.detach().abs()
    terms = summands * slope.shape[like.dim():].numel()
    scaled = torch.where(size == 0, 0.0, num.gamma(terms + 1) * size * arg.spread.detach())
    error = _onto(scaled, like) + 2 * terms * (arg.count + 3) * num.floor
    return torch.where(_passed(slope, like), torch.zeros_like(error), error) if summands == 1 else error


def _passed(slope: Tensor, like: Tensor) -> Tensor:
    """Mask of the entries to which an operand passes at most one entry, with a slope of +-1."""
    size = slope.detach().abs()
    fits = (size == 0) | (size == 1)
    return fits if size.dim() == like.dim() else fits.flatten(like.dim()).all(-1) & ((size != 0).flatten(like.dim()).sum(-1) <= 1)


def _exact_center(band: Band) -> Tensor:
    """Mask of the entries whose new centre is the offset alone, or without one the only operand's, or its negative."""
    dropped = torch.stack([(s == 0) if s.dim() == band.offset.dim() else (s == 0).flatten(band.offset.dim()).all(-1) for s in band.slope])
    exact = dropped.all(0)
    return exact | (_passed(band.slope[0], band.offset) & (band.offset == 0)) if len(band.slope) == 1 else exact


def _underflows(op: Linear, args: list[Zono], num: Numerics) -> Tensor:
    """(batch,) 1 where some generator times some coefficient +-2^k of a `single` operator may not be normal, else 0."""
    like = args[0].center[:1]

    def least() -> Tensor:
        sizes = op.apply_abs(*(torch.ones_like(a.center[:1]) for a in args))
        return torch.where(sizes > 0, sizes, 1.0).amin().clamp(max=1.0)

    limit = num.floor / op.derived(("least coefficient", *(a.center.shape[1:] for a in args)), like, least)
    small = [((g != 0) & (g.abs() < limit)).flatten(1).any(1) for a in args for g in (b.numbers() for b in a.blocks.values())]
    return torch.stack(small).any(0).to(like) if small else like.new_zeros(len(args[0].center))


def _spread_gamma(num: Numerics, count: int) -> float:
    """A sum of `count` absolute values in the matrix format, plus a few block sums in the vector format."""
    return num.gamma(count + 2) + num.vector_gamma(64) if num.rounding else 0.0


def _onto(value: Tensor, like: Tensor) -> Tensor:
    """Summed over the trailing axes that `like` lacks."""
    return value if value.dim() == like.dim() else value.flatten(like.dim()).sum(-1)


def _no_nan(rest: Tensor) -> Tensor:
    """0 * inf arose somewhere: nothing is known there."""
    return torch.nan_to_num(rest, nan=torch.inf, posinf=torch.inf)


