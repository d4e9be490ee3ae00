"""Unsound plug-ins: the example domain of docs/extending.md with one line changed, and operators with one lie each.

A change must apply exactly once: one that no longer fits the file is an error, never a pass. Killers are checks of the kit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

import torch
from places import ROOT

from absint.model.families.elementwise import Curvature, Elementwise, Jump, KernelError, Knot, Piece
from absint.model.families.function_pieces import CutPlaces
from absint.model.ops.step import Floor

SOURCE = ROOT / "tests" / "plugins/absint_example_plugin/absint_example_plugin/centred.py"
BOUNDS = "return box_rows(element.box(ctx.numerics), rows, ctx.numerics)"
BOX = "return Interval(num.down(self.center - self.radius), num.up(self.center + self.radius))"
WEIGHTED = """num, box = ctx.numerics, element.box(ctx.numerics)
        if rows.index is not None:
            return box_rows(box, rows, num)
        w, b = rows.padded(ctx.batch, num.vector), rows.padded_bias(ctx.batch, num.vector)
        c, r = element.center.flatten(1)[:, None], element.radius.flatten(1)[:, None]
        terms, size = w.shape[2], (w.abs() * (c.abs() + r)).sum(2) + b.abs()
        middle, reach = (w * c).sum(2) + b, (w.abs() * r).sum(2)
        {charge}
        return Interval(rows.unpadded({lower}), rows.unpadded({upper}))"""


def weighted(charge="pass", lower="middle - reach", upper="middle + reach"):
    """Rows bounded by hand."""
    return WEIGHTED.format(charge=charge, lower=lower, upper=upper)


CHARGED = "reach = reach + num.vector_gamma(2 * terms + 20) * size + num.vector_floor * (4 * terms + size + c.abs().sum(2) + r.sum(2))"
# name: (changes of the file, the checks that must notice)
DOMAINS = {
    "sums of weights are not rounded": ({BOUNDS: weighted()}, ("rows/cancelling", "rows/products", "rows/long")),
    "one rounding stands for many": (
        {BOUNDS: weighted("pass", "num.down(middle - reach)", "num.up(middle + reach)")}, ("rows/cancelling",)),
    "two roundings stand for many": (
        {BOUNDS: weighted("reach = reach + num.vector_gamma(2) * size + num.vector_floor * 8")}, ("rows/long",)),
    "underflow costs nothing": ({BOUNDS: weighted("reach = reach + num.vector_gamma(2 * terms + 20) * size")}, ("rows/magnitudes",)),
    "the rows' bias is forgotten": (
        {BOUNDS: "return box_rows(element.box(ctx.numerics), Rows(rows.node, rows.instance, rows.weight, rows.index), ctx.numerics)"},
        ("rows/cancelling", "rows/layout", "net/gemm")),
    "float32 products count as exact": (
        {BOUNDS: weighted("middle = (w.float() * c.float()).to(w.dtype).sum(2) + b; " + CHARGED)}, ("rows/products", "rows/cancelling")),
    "products of the radius in float32": (
        {BOUNDS: weighted("reach = (w.float().abs() * r.float()).to(w.dtype).sum(2); " + CHARGED)}, ("rows/boxes",)),
    "weighted rows lose the sign": (
        {BOUNDS: weighted("middle = (w.abs() * c).sum(2) + b; " + CHARGED)}, ("rows/boxes", "rows/senses")),
    "the radius is weighted with sign": ({BOUNDS: weighted("reach = (w * r).sum(2); " + CHARGED)}, ("rows/boxes", "net/relu")),
    "every row is the first instance's": (
        {BOUNDS: "return box_rows(element.box(ctx.numerics).take(torch.zeros(ctx.batch, dtype=torch.int64)), rows, ctx.numerics)"},
        ("rows/boxes", "rows/layout")),
    "rows of the upper side are negated": (
        {BOUNDS: """found = box_rows(element.box(ctx.numerics), rows, ctx.numerics)
        return Interval(-found.upper, -found.lower) if sense is Sense.UPPER else found"""}, ("rows/senses",)),
    "the upper side is never given": (
        {BOUNDS: """found = box_rows(element.box(ctx.numerics), rows, ctx.numerics)
        return Interval(found.lower, torch.full_like(found.upper, torch.inf))"""}, ("rows/senses",)),
    "bounds in a finer format": (
        {BOUNDS: """found = box_rows(element.box(ctx.numerics), rows, ctx.numerics)
        return Interval(found.lower.double(), found.upper.double())"""}, ("rows/boxes",)),
    "infinite bounds become large ones": (
        {BOUNDS: """found = box_rows(element.box(ctx.numerics), rows, ctx.numerics)
        return Interval(torch.nan_to_num(found.lower), torch.nan_to_num(found.upper))"""}, ("rows/infinite", "rows/magnitudes")),
    "NaN gets out": ({BOX: "return Interval(self.center - self.radius, self.center + self.radius)", BOUNDS: weighted(CHARGED)},
                     ("rows/infinite", "rows/magnitudes")),
    "the hull is not rounded": (
        {BOX: "return Interval(self.center - self.radius, self.center + self.radius)",
         "g = num.vector_gamma(2 * (op.forward_terms + 10))": "g = num.vector_gamma(op.forward_terms / 2)"}, ("rows/products",)),
    "the hull of a ball is not rounded": (
        {BOX: "return Interval(self.center - self.radius, self.center + self.radius)",
         "    def linear(": """    def start(self, node: Node, ctx: Context) -> Disc:
        region = ctx.region
        if not hasattr(region, "eps"):
            return super().start(node, ctx)
        return Disc(region.center.to(ctx.numerics.vector), region.eps.to(ctx.numerics.vector))

    def linear("""}, ("rows/balls",)),
    "centre and radius of a box are not rounded": (
        {"return Disc(center, num.up(interval.upper - center).maximum(num.up(center - interval.lower)))":
         "return Disc(center, (interval.upper - interval.lower) * 0.5)"}, ("rows/boxes",)),
    "linear operators are not rounded": (
        {"g = num.vector_gamma(2 * (op.forward_terms + 10))": "g = 0.0"}, ("net/cancelling", "rows/long")),
    "linear operators count too few terms": (
        {"g = num.vector_gamma(2 * (op.forward_terms + 10))": "g = num.vector_gamma(2)"}, ("rows/long",)),
    "linear operators do not underflow": ({" + 4 * (op.forward_terms + 2) * num.vector_floor": ""}, ("underflow",)),
    "folded constants are exact": ({'radius = num.up(radius + op.constant("offset_error", center))': "pass"}, ("rows/offset-error",)),
    "executions add nothing": ({"radius = num.up(radius + ctx.noise[node.name])": "pass"}, ("float32-semantics",)),
    "radii keep the coefficients' signs": (
        {"op.apply_abs(*(a.radius for a in args))": "op.apply(*(a.radius for a in args))"}, ("net/gemm",)),
    "the graph's bias is forgotten": ({"op.forward(*(a.center for a in args))": "op.apply(*(a.center for a in args))"}, ("net/gemm",)),
    "take moves half of the element": (
        {"return Disc(element.center[index], element.radius[index])": "return Disc(element.center[index], element.radius[: len(index)])"},
        ("take",)),
    "assumptions are remembered": (
        {"    def hull(": """    def nonlinear(self, node: Node, args: list[Disc], ctx: Context) -> Disc:
        seen = _SEEN.setdefault((node.name, ctx.numerics.vector), ctx.known[node.name])
        return self.enclose(node, seen.filled, ctx)

    def hull(""", '@register_domain("centred")\n': "_SEEN: dict = {}\n\n\n"}, ("memory",)),
    "the centre is all of a nonlinear image": (
        {"    def hull(": """    def nonlinear(self, node: Node, args: list[Disc], ctx: Context) -> Disc:
        return Disc(node.op.forward(*(a.center for a in args)), args[0].radius * 0)

    def hull("""}, ("net/relu", "net/tanh")),
}


def domain(changes):
    """A fresh class made of the example file with the changes applied; without changes, the example itself. It registers nothing."""
    text = SOURCE.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {SOURCE.name}"
        text = text.replace(old, new)
    space = {"__name__": __name__, "torch": torch}  # dataclasses look their module up
    exec(compile(text.replace('@register_domain("centred")\n', ""), str(SOURCE), "exec", dont_inherit=True), space)
    return space["Centred"]


# ---- operators ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Square(Elementwise):
    """x^2, honestly."""

    error = KernelError(ulps=1)
    codomain = (0.0, inf)
    pieces = (Piece(-inf, 0.0, -1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONVEX))

    def evaluate(self, x):
        return x * x

    def derivative(self, x):
        return 2 * x

    def forward(self, *xs):
        return self.evaluate(xs[0]).nan_to_num()


class Increasing(Square):
    pieces = (Piece(-inf, inf, 1, Curvature.CONVEX),)


class Concave(Square):
    pieces = tuple(Piece(p.low, p.high, p.direction, Curvature.CONCAVE) for p in Square.pieces)


class Straight(Square):
    """Affine between knots that do not exist."""

    piecewise_linear = True


class Shallow(Square):
    """f' = x."""

    def derivative(self, x):
        return x


class Bounded(Square):
    codomain = (1.0, inf)


class Sloppy(Square):
    """Off by 2^-30, said to be within an ulp."""

    def evaluate(self, x):
        return x * x * (1 + 2.0**-30)


class Displaced(Square):
    """Turns at 1/4."""

    pieces = (Piece(-inf, 0.25, -1, Curvature.CONVEX), Piece(0.25, inf, 1, Curvature.CONVEX))


@dataclass(frozen=True, eq=False)
class Bend(Elementwise):
    """|x|, honestly."""

    piecewise_linear = True
    pieces = (Piece(-inf, 0.0, -1, Curvature.LINEAR), Piece(0.0, inf, 1, Curvature.LINEAR))
    knots = (Knot(0.0, -1.0, 1.0),)

    def evaluate(self, x):
        return x.abs()

    def derivative(self, x):
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)


class Knotless(Bend):
    knots = ()


@dataclass(frozen=True, eq=False)
class Step(Elementwise):
    """0 below 0, 1 from there, honestly."""

    piecewise_linear = True
    pieces = (Piece(-inf, 0.0, 0, Curvature.LINEAR), Piece(0.0, inf, 0, Curvature.LINEAR))
    jumps = (Jump(0.0, 0.0, 1.0),)

    def evaluate(self, x):
        return (x >= 0).to(x.dtype)

    def derivative(self, x):
        return torch.zeros_like(x)


class Jumpless(Step):
    jumps = ()


@dataclass(frozen=True, eq=False)
class Root(Elementwise):
    """sqrt(x) where x >= 0, honestly."""

    error = KernelError(ulps=1)
    derivative_error = KernelError(ulps=3)
    codomain = (0.0, inf)
    anchor = 1.0
    pieces = (Piece(-inf, inf, 1, Curvature.CONCAVE),)

    def defined(self, low, high):
        return low >= 0

    def evaluate(self, x):
        return x.sqrt()

    def derivative(self, x):
        return 0.5 / x.sqrt()

    def forward(self, *xs):
        return self.evaluate(xs[0]).nan_to_num()


class Everywhere(Root):
    def defined(self, low, high):
        return None


class CutElsewhere(Bend):
    """Cut at 1/8 for a kink at 0."""

    def cuts(self, interval):
        found = super().cuts(interval)
        return replace(found, at=found.at + 0.125)


class CutOtherwise(Step):
    """Cut where it jumps, to another value."""

    def cuts(self, interval):
        found = super().cuts(interval)
        return replace(found, right=found.right + 1)


class CutBetween(Step):
    """Cut where it jumps, with a value of its own there that is not f's."""

    def cuts(self, interval):
        found = super().cuts(interval)
        return replace(found, here=found.here - 0.5)


class Cornerless(Floor):
    """Of many steps some are cut, and nothing is said of those between."""

    def cuts(self, interval):
        return replace(super().cuts(interval), corners=None)


class FewerCuts(Floor):
    """One step in two is forgotten."""

    def cuts(self, interval):
        found = super().cuts(interval)
        return CutPlaces(*(v[:, ::2] for v in (found.at, found.left, found.here, found.right)))


def square(x):
    return x * x


def bend(x):
    return abs(x)


def step(x):
    return Fraction(int(x >= 0))


HONEST = {"Square": (Square, square), "Bend": (Bend, bend), "Step": (Step, step), "Root": (Root, None)}
# name: (operator, exact function, the checks that must notice, without their format)
OPERATORS = {
    "monotony": (Increasing, square, ("range",)),
    "monotony, without a reference": (Increasing, None, ("range",)),
    "curvature": (Concave, square, ("planes", "band")),
    "no curvature": (Straight, square, ("planes", "band")),
    "derivative": (Shallow, square, ("planes",)),
    "codomain": (Bounded, square, ("range",)),
    "kernel error": (Sloppy, square, ("range", "planes", "band")),
    "turning point": (Displaced, square, ("range",)),
    "knots": (Knotless, bend, ("planes", "band")),
    "jumps": (Jumpless, step, ("band",)),
    "where it is defined": (Everywhere, None, ("defined",)),
    "the place of a cut": (CutElsewhere, bend, ("cuts",)),
    "the limit at a cut": (CutOtherwise, step, ("cuts",)),
    "the value at a cut": (CutBetween, step, ("cuts",)),
    "corners between cuts": (Cornerless, None, ("cuts",)),
    "cuts that are forgotten": (FewerCuts, None, ("cuts",)),
}
