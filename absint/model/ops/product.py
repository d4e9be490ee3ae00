"""The bilinear family: y = x z of two computed tensors, and what expands into it (MatMul, Div)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.op import Composite, Linear, Nonlinear, OnnxNode, Op, Shape, middle_radius, unsupported
from absint.model.ops.power import Power
from absint.model.ops.shape import Gather, Reshape
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics, no_lower, no_upper, smallest_normal, unit_roundoff

Build = Callable[[Op, tuple[str, ...]], str]


@dataclass(frozen=True, eq=False)
class Times(Nonlinear):
    """y = x z entry by entry, both unknown and of one shape.

    x z - a x - b z is bilinear, so over a box it is extreme at a corner: planes of any float slopes (a, b) get their
    offsets from the four corners. Slopes: McCormick, Mathematical Programming 10, 1976, section 3.
    """

    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        if shapes[0] != shapes[1]:
            raise ValueError(f"shapes {shapes[0]} and {shapes[1]} differ")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """x z."""
        return xs[0] * xs[1]

    def rational(self, *xs: Rationals) -> Rationals | None:
        """x z."""
        return xs[0] * xs[1]

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Least and greatest of the four corner products, rounded outward; 0 times infinity is unbounded."""
        corners = torch.stack([x * z for x, z in _corners(intervals)])
        lower, upper = no_lower(corners).amin(0), no_upper(corners).amax(0)
        # A product may underflow by more than a step of the result.
        floor = smallest_normal(lower.dtype) if num.rounding else 0.0
        return Interval(num.down(lower - floor), num.up(upper + floor))

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """Entries where both factors vary; with one factor fixed the product is affine."""
        x, z = intervals
        both = ~(x.lower == x.upper) & ~(z.lower == z.upper)
        return both, both

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """free: share of the plane through the upper corner among the two equally good ones below (and above)."""
        x, z, bad = _finite(intervals)
        share = torch.zeros_like(x.lower) if free is None else free
        below = (z.lower + share * (z.upper - z.lower), x.lower + share * (x.upper - x.lower))
        above = (z.upper - share * (z.upper - z.lower), x.lower + share * (x.upper - x.lower))
        below, above = _matrix(below, num), _matrix(above, num)
        lower, upper = _gap(below, x, z, 1, num), _gap(above, x, z, -1, num)
        if bool(bad.any()):
            image = self.range(intervals, num)
            below, above = ((torch.where(bad, 0.0, a), torch.where(bad, 0.0, b)) for a, b in (below, above))
            lower, upper = torch.where(bad, image.lower, lower), torch.where(bad, image.upper, upper)
        return Relaxation(below, lower, above, upper)

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """Slopes at the centre: the radius is the product of the radii, the least possible."""
        x, z, bad = _finite(intervals)
        slope = _matrix((z.lower / 2 + z.upper / 2, x.lower / 2 + x.upper / 2), num)
        offset, radius = middle_radius(_gap(slope, x, z, 1, num), _gap(slope, x, z, -1, num), num)
        if bool(bad.any()):
            image = self.range(intervals, num)
            middle, wide = middle_radius(image.lower, image.upper, num)
            slope = (torch.where(bad, 0.0, slope[0]), torch.where(bad, 0.0, slope[1]))
            offset, radius = torch.where(bad, middle, offset), torch.where(bad, wide, radius)
        return Band(slope, offset, radius)

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """The plane that `planes` takes by itself."""
        return torch.zeros_like(intervals[0].lower)

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """One rounded product."""
        return image.magnitude * (2 * unit_roundoff(torch.float32)) + smallest_normal(torch.float32)


def _corners(intervals: tuple[Interval, ...]) -> list[tuple[Tensor, Tensor]]:
    x, z = intervals
    return [(a, b) for a in (x.lower, x.upper) for b in (z.lower, z.upper)]


def _gap(slope: tuple[Tensor, Tensor], x: Interval, z: Interval, side: int, num: Numerics) -> Tensor:
    """side +1: a number <= x z - a x - b z over the box; side -1: one >= it. Three products and two sums round."""
    best: Tensor | None = None
    for p, q in _corners((x, z)):
        product, first, second = p * q, slope[0] * p, slope[1] * q
        value = side * (product - first - second)
        if num.rounding:
            size = product.detach().abs() + first.detach().abs() + second.detach().abs()
            value = value - (8 * unit_roundoff(size.dtype) * size + 4 * smallest_normal(size.dtype))
        best = value if best is None else torch.minimum(best, value)
    assert best is not None
    return side * best


def _finite(intervals: tuple[Interval, ...]) -> tuple[Interval, Interval, Tensor]:
    x, z = intervals
    good = x.lower.isfinite() & x.upper.isfinite() & z.lower.isfinite() & z.upper.isfinite()
    # Corner products that overflow are as useless as infinite bounds.
    good = good & (x.magnitude * z.magnitude).isfinite()
    if bool(good.all()):
        return x, z, ~good
    zero = torch.zeros_like(x.lower)
    x, z = (Interval(torch.where(good, i.lower, zero), torch.where(good, i.upper, zero)) for i in (x, z))
    return x, z, ~good


def _matrix(slopes: tuple[Tensor, Tensor], num: Numerics) -> tuple[Tensor, Tensor]:
    """Slopes as numbers of the matrix format, for which the offsets are then computed."""
    a, b = (s if num.dtype == s.dtype else s.to(num.dtype).to(s.dtype) for s in slopes)
    return a, b


def broadcast(build: Build, name: str, shape: Shape, target: Shape) -> str:
    """The node repeated to a larger shape by NumPy's rules."""
    if shape == target:
        return name
    index = torch.arange(prod(shape)).reshape(shape).expand(target)
    return build(Gather.of(index.contiguous()), (name,))


@dataclass(frozen=True, eq=False)
class Multiply(Composite):
    """x z with broadcasting."""

    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """The broadcast shape."""
        return _broadcast_shape(*shapes)

    def forward(self, *xs: Tensor) -> Tensor:
        """x z, axes aligned from the right."""
        rank = max(x.dim() for x in xs)
        a, b = (x.reshape(len(x), *(1,) * (rank - x.dim()), *x.shape[1:]) for x in xs)
        return a * b

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Broadcast both, then multiply; a tensor times itself is its square."""
        if inputs[0] == inputs[1]:
            return build(Power(2.0), inputs[:1])
        target = self.output_shape(*shapes)
        first, second = (broadcast(build, name, shape, target) for name, shape in zip(inputs, shapes, strict=True))
        return build(Times(), (first, second))


@dataclass(frozen=True, eq=False)
class MatMul(Composite):
    """Matrix product of two computed tensors: all products x_ik z_kj, then their sums over k."""

    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., m, k), (..., k, n) -> (..., m, n)."""
        x, z = shapes
        if len(x) < 2 or len(z) < 2 or x[-1] != z[-2]:
            raise ValueError(f"shapes {x} and {z} cannot be multiplied")
        return (*_broadcast_shape(x[:-2], z[:-2]), x[-2], z[-1])

    def forward(self, *xs: Tensor) -> Tensor:
        """x z."""
        return xs[0] @ xs[1]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Gathers to (..., m, n, k), Times, sum over the last axis."""
        out = self.output_shape(*shapes)
        x, z = shapes
        inner = x[-1]
        left = torch.arange(prod(x)).reshape(*x[:-1], 1, inner).expand(*out, inner)
        right = torch.arange(prod(z)).reshape(z).transpose(-1, -2)
        right = right.reshape(*z[:-2], 1, z[-1], inner).expand(*out, inner)
        pair = tuple(build(Gather.of(index.contiguous()), (name,)) for index, name in zip((left, right), inputs, strict=True))
        products = build(Times(), (pair[0], pair[1]))
        return sum_last(build, products, (*out, inner))


@dataclass(frozen=True, eq=False)
class SumLast(Linear):
    """Sum over the last axis, which stays with size 1."""

    count: int

    @property
    def faithful(self) -> bool:
        """Ones."""
        return True

    @property
    def forward_terms(self) -> int:
        """The summands; two at least, because only 1 means that nothing is rounded."""
        return max(2, self.count)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., n) -> (..., 1)."""
        if not shapes[0] or shapes[0][-1] != self.count:
            raise ValueError(f"{shapes[0]} does not end in an axis of {self.count}")
        return (*shapes[0][:-1], 1)

    def apply(self, *xs: Tensor) -> Tensor:
        """The sum."""
        return xs[0].sum(-1, keepdim=True)

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Copied along the axis."""
        return (y.expand(len(y), *shapes[0]).contiguous(),)


def same_axes(node: OnnxNode) -> None:
    """Two computed operands broadcast from the right: with a batch axis in front, both need it, and the same rank."""
    if node.batched[0] != node.batched[1] or (node.batched[0] and len(node.shapes[0]) != len(node.shapes[1])):
        raise unsupported(node, f"operands of shapes {node.shapes[0]} and {node.shapes[1]} cannot be aligned",
                          "give both the same rank, batch axis first")


def sum_last(build: Build, name: str, shape: Shape) -> str:
    """Sum over the last axis of a node of that shape."""
    return build(Reshape(shape[:-1]), (build(SumLast(shape[-1]), (name,)),))


def _broadcast_shape(*shapes: Shape) -> Shape:
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise ValueError(f"shapes {' and '.join(map(str, shapes))} do not broadcast") from error
