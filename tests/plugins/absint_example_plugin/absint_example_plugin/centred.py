"""Centred: intervals kept as centre and radius. A whole forward domain, rounded outward."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from absint.domain import Context, Domain, Interval, Node, Numerics, Rows, Sense, Traits, box_rows, register_domain
from absint.op import Linear


@dataclass(frozen=True, eq=False)
class Disc:
    """{x : |x - center| <= radius}, entry by entry; both (batch, *shape), in the vector format."""

    center: Tensor
    radius: Tensor

    def box(self, num: Numerics) -> Interval:
        """The smallest box of floats around it: one subtraction, one addition, so one step outward."""
        return Interval(num.down(self.center - self.radius), num.up(self.center + self.radius))


@register_domain("centred")
@dataclass(frozen=True)
class Centred(Domain[Disc]):
    """Centre and radius, propagated through linear operators; the engine's own box elsewhere.

    Sound: any float may be the centre, if the radius reaches both ends from there, rounded up. A linear step charges the radius with
    what its sums may have lost: gamma_k of the sum of absolute products (Higham, Accuracy and Stability, section 3.1), plus underflow.
    Source: Rump, Fast and Parallel Interval Arithmetic, BIT 39, 1999, section 2.
    """

    stated = Traits("Rump 1999, BIT 39, section 2", mixed=False)  # it keeps no matrices: nothing is gained from matrices in float32

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> Disc:
        """The centre rounds; the radius pays for it."""
        num = ctx.numerics
        center = interval.lower * 0.5 + interval.upper * 0.5
        return Disc(center, num.up(interval.upper - center).maximum(num.up(center - interval.lower)))

    def linear(self, node: Node, args: list[Disc], ctx: Context) -> Disc:
        """L c + b, and |L| r plus what rounding lost. `forward_terms` counts the roundings of one sum, those of its constants too."""
        op, num = node.op, ctx.numerics
        assert isinstance(op, Linear)
        center, radius = op.forward(*(a.center for a in args)), op.apply_abs(*(a.radius for a in args))
        if op.exact:  # entries are selected, nothing is added: nothing rounds
            return Disc(center, radius)
        size = op.apply_abs(*(a.center.abs() + a.radius for a in args))
        if op.offset is not None:
            size = size + op.constant("offset", center, absolute=True)
        g = num.vector_gamma(2 * (op.forward_terms + 10))  # twice the roundings: those of radius and size are covered as well
        radius = (radius + g * size) * (1 + g) + 4 * (op.forward_terms + 2) * num.vector_floor
        if op.offset_error is not None:  # what folding constants may have lost
            radius = num.up(radius + op.constant("offset_error", center))
        if node.name in ctx.noise:  # --semantics float32: what an execution may add
            radius = num.up(radius + ctx.noise[node.name])
        return Disc(center, radius)

    def hull(self, element: Disc, ctx: Context) -> Interval:
        """All entries at once; without it the engine would ask for a row each."""
        return element.box(ctx.numerics)

    def bounds(self, element: Disc, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """`box_rows` accounts for every product and sum of a row. Both sides are at hand, whichever is asked for."""
        return box_rows(element.box(ctx.numerics), rows, ctx.numerics)

    def take(self, element: Disc, index: Tensor) -> Disc:
        """Every tensor of the element, in the order of `index`."""
        return Disc(element.center[index], element.radius[index])
