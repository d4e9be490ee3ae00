"""Rows divided by their norm: LpNormalization, and the Normalizer of ai.onnx.ml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, register_import, unsupported
from absint.model.ops.assemble import steps
from absint.model.ops.piecewise import Abs
from absint.model.ops.power import Power
from absint.model.ops.product import Build, SumLast, broadcast
from absint.model.ops.reduce import maximum_over
from absint.model.ops.shape import Transpose
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_upper


@dataclass(frozen=True, eq=False)
class InverseOfNorm(Power):
    """1 / n of a norm; 1 where it is 0, so that a row of zeros stays one. Nothing is claimed of intervals that hold 0."""

    exponent: float = -1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """As runtimes do: they divide by no zero."""
        return torch.where(x == 0, torch.ones_like(x), 1 / x)


@dataclass(frozen=True, eq=False)
class DividedByNorm(Composite):
    """x / n along the last axis, n = sum |x_j| (L1), sqrt(sum x_j^2) (L2) or max x_j (MAX, which may be negative); x where n = 0."""

    norm: str
    norms: ClassVar[tuple[str, ...]] = ("L1", "L2", "MAX")

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        (x,) = xs
        n = {"L1": lambda: x.abs().sum(-1, keepdim=True), "L2": lambda: x.square().sum(-1, keepdim=True).sqrt(),
             "MAX": lambda: x.amax(-1, keepdim=True)}[self.norm]()
        return x / torch.where(n == 0, torch.ones_like(n), n)

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """x_i / (|x_i| + s) for L1, x_i / sqrt(x_i^2 + s) for L2: it rises in x_i, and its magnitude falls in s, the sum of |x_j| or
        x_j^2 over the others. A row of zeros, whose entries are 0, is within either.
        """
        (box,) = intervals
        low, high = box.lower.detach().double(), box.upper.detach().double()
        if self.norm == "MAX":
            return Interval(torch.full_like(low, -inf), torch.full_like(high, inf)).to(num.vector)
        lower, upper = torch.where(low >= 0, 0.0, -1.0).double(), torch.where(high <= 0, 0.0, 1.0).double()
        exact = replace(num, vector=torch.float64)
        root = self.norm == "L2"
        least, most = _others(low, high, exact, squares=root)
        ends = (_share(low, least, most, exact, up=False, root=root), _share(high, least, most, exact, up=True, root=root))
        lower, upper = torch.fmax(lower, ends[0]), torch.fmin(upper, ends[1])
        return Interval(no_lower(lower), no_upper(upper)).to(num.vector)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """The norm, its inverse, and products."""
        (shape,), (name,) = shapes, inputs
        if self.norm == "MAX":
            norm = build(maximum_over((len(shape) - 1,), shape, keep=True), (name,))
        else:
            parts = build(Abs() if self.norm == "L1" else Power(2.0), (name,))
            norm = build(SumLast(shape[-1]), (parts,))
            norm = norm if self.norm == "L1" else build(Power(0.5), (norm,))
        inverse = broadcast(build, build(InverseOfNorm(), (norm,)), (*shape[:-1], 1), shape)
        return build(Times(), (name, inverse))


def _others(low: Tensor, high: Tensor, num: Numerics, *, squares: bool) -> tuple[Tensor, Tensor]:
    """Bounds of sum_{j != i} |x_j|, or of x_j^2, (..., n) in float64, never below 0."""
    n = low.shape[-1]
    far = torch.maximum(low.abs(), high.abs())
    near = torch.where((low <= 0) & (high >= 0), 0.0, torch.minimum(low.abs(), high.abs()))
    near, far = (near.square(), far.square()) if squares else (near, far)
    totals = [end.sum(-1, keepdim=True) for end in (near, far)]
    # A total minus one of its summands errs by the roundings of the total, squares by one each and by underflow.
    slack = 4 * totals[1] * num.vector_gamma(n + 6) + 4 * n * num.vector_floor
    return (totals[0] - near - slack).clamp(min=0), totals[1] - far + slack


def _share(x: Tensor, least: Tensor, most: Tensor, num: Numerics, *, up: bool, root: bool) -> Tensor:
    """x / (|x| + s), or x / sqrt(x^2 + s), for least <= s <= most at the end that is asked for, rounded outward; NaN where nothing is
    known.
    """
    near = (x >= 0) if up else (x < 0)      # the smaller s, the greater the magnitude
    others = torch.where(near, least, most)
    total = torch.hypot(x, others.sqrt()) if root else others + x.abs()
    slack = num.vector_gamma(8)
    # Of two numbers torch would choose in float32, where both are 1.
    toward = torch.where(near, torch.full_like(x, 1 - slack), torch.full_like(x, 1 + slack))
    value = x / (total * toward)
    return torch.where(total.isfinite(), (num.up if up else num.down)(value), torch.nan)


@dataclass(frozen=True, eq=False)
class WithinNorm(Composite):
    """x b where |b| is at most `limit` over the norm of x along an axis: what x / max(|x|, eps), x / (|x| + eps) and their like are.

    exact: whether b is 1 over the norm itself; else b >= 0 may be less. Where b has no bound it may be undefined: nothing is claimed.
    """

    axis: int
    norm: str
    exact: bool
    limit: float = 1.0
    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        return Times().output_shape(*shapes)

    def forward(self, *xs: Tensor) -> Tensor:
        """x b."""
        return xs[0] * xs[1]

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """That of x over its norm, times the limit; with 0 where b may be less."""
        x, inverse = intervals
        moved = Interval(x.lower.movedim(self.axis + 1, -1), x.upper.movedim(self.axis + 1, -1))
        share = DividedByNorm(self.norm).enclosure((moved,), num)
        lower, upper = (end.movedim(-1, self.axis + 1) * self.limit for end in (share.lower, share.upper))
        if self.limit != 1:
            lower, upper = num.down(lower), num.up(upper)
        if not self.exact:
            lower, upper = lower.clamp(max=0), upper.clamp(min=0)
        known = inverse.lower.isfinite() & inverse.upper.isfinite()
        return Interval(torch.where(known, lower, -inf), torch.where(known, upper, inf))

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """The product."""
        return build(Times(), inputs)


@register_import("LpNormalization")
def lp_normalization_from_onnx(node: OnnxNode) -> Op:
    """p = 1 or 2 along one axis."""
    rank, p = len(node.shapes[0]), int(node.attribute("p", 2))
    if p not in (1, 2):
        raise unsupported(node, f"p={p} is not supported", "use 1 or 2")
    axis = node.axis(int(node.attribute("axis", -1)) % rank)
    inner = rank - node.batched[0]
    divided = DividedByNorm(f"L{p}")
    if axis == inner - 1:
        return divided
    order = (*(k for k in range(inner) if k != axis), axis)
    back = tuple(sorted(range(inner), key=lambda k: order[k]))
    return steps(Transpose(order), divided, Transpose(back))
