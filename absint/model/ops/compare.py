"""Comparisons, the logic of their results, and selections by them. Truth values are the numbers 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.op import OnnxNode, Op, Shape, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Plan, broadcast, selection, steps
from absint.model.ops.extremum import spread, spread_each, values_of
from absint.model.ops.piecewise import Abs
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Identity
from absint.model.ops.step import Compare
from absint.model.ops.sum import Sum
from absint.model.shapes import held
from absint.model.straight_through import straight_through
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics

# (x < at, x = at, x > at)
_VALUES = {
    "Greater": (0.0, 0.0, 1.0), "GreaterOrEqual": (0.0, 1.0, 1.0), "Less": (1.0, 0.0, 0.0), "LessOrEqual": (1.0, 1.0, 0.0),
    "Equal": (0.0, 1.0, 0.0),
}


@register_import("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
def compare_from_onnx(node: OnnxNode) -> Op:
    """With a constant, no difference is formed, so that nothing rounds; of two computed tensors it is compared with 0."""
    below, here, above = _VALUES[node.op_type]
    constants = [k for k in (0, 1) if node.constant(k) is not None]
    if not constants:
        return spread_each(node, Sum(-1.0), Compare(torch.zeros((), dtype=torch.float64), below, here, above))
    (fixed,) = constants
    if fixed == 0:
        below, above = above, below
    sources, places = broadcast(node, (0, 1))
    at = _held(node, fixed, values_of(sources)[places[fixed]])
    return steps(spread(node, 1 - fixed, places[1 - fixed], sources), Compare(at, below, here, above))


def _held(node: OnnxNode, position: int, values: Tensor) -> Tensor:
    """Constants in float64. Raises UnsupportedError where it does not hold them, or they are not finite."""
    constant = node.constant(position)
    assert constant is not None
    survives = constant.is_floating_point() or bool((constant.double().to(constant.dtype) == constant).all())
    if not (survives and bool(values.isfinite().all())):
        raise unsupported(node, f"its constant input {position} is infinite, or beyond 2^53", "use finite numbers that float64 holds")
    return values.reshape(held(tuple(values.shape)))


@register_import("Not", "And", "Or", "Xor")
def logic_from_onnx(node: OnnxNode) -> Op:
    """1 - x, relu(x + z - 1), 1 - relu(1 - x - z), |x - z|: exact on 0 and 1; linear where one is a constant."""
    one = torch.ones((), dtype=torch.float64)
    if node.op_type == "Not":
        return Affine(scale=-one, shift=one)
    if any(constant is not None for constant in node.constants):
        return _with_constant(node)
    if node.op_type == "And":
        return spread_each(node, Sum(), Affine(shift=-one), Relu())
    if node.op_type == "Xor":
        return spread_each(node, Sum(-1.0), Abs())
    return spread_each(node, Sum(), Affine(scale=-one, shift=one), Relu(), Affine(scale=-one, shift=one))


def _with_constant(node: OnnxNode) -> Op:
    """c x, c + (1 - c) x and c + (1 - 2 c) x of a truth value x and a constant one c: a factor of 1, 0 or -1, and nothing rounds."""
    (fixed,) = (k for k in (0, 1) if node.constant(k) is not None)
    sources, places = broadcast(node, (0, 1))
    c = _held(node, fixed, values_of(sources)[places[fixed]])
    scale, shift = {"And": (c, torch.zeros_like(c)), "Or": (1 - c, c), "Xor": (1 - 2 * c, c)}[node.op_type]
    return steps(spread(node, 1 - fixed, places[1 - fixed], sources), Affine(scale=scale, shift=shift))


@dataclass(frozen=True, eq=False)
class Select(Nonlinear):
    """y = yes where the truth value c is 1, no where it is 0. Operands: c, then `yes` and `no` unless they are constants here.

    A plane below with the slope s on c and the offset t holds where t <= no and s + t <= yes: c takes no other value.
    """

    yes: Tensor | None = None
    no: Tensor | None = None
    arity = None
    jumps_somewhere = True

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        fixed = [tuple(c.shape) for c in (self.yes, self.no) if c is not None]
        if len(shapes) + len(fixed) != 3 or len({*shapes, *fixed}) != 1:
            raise ValueError(f"shapes {', '.join(map(str, (*shapes, *fixed)))} differ, or are not three")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """Exact."""
        return torch.where(xs[0] > 0.5, *self._branches(*xs))

    def guided(self, *xs: Tensor) -> Tensor:
        """The truth value is worth what one branch is above the other."""
        yes, no = self._branches(*xs)
        return straight_through(torch.where(xs[0] > 0.5, yes, no), xs[0], yes - no)

    def _branches(self, *xs: Tensor) -> tuple[Tensor, Tensor]:
        rest = iter(xs[1:])
        yes, no = (next(rest) if c is None else self.constant(name, xs[0]) for name, c in (("yes", self.yes), ("no", self.no)))
        return yes, no

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact."""
        rest = iter(xs[1:])
        yes, no = (next(rest) if c is None else Rationals.of(c) for c in (self.yes, self.no))
        return yes.where(xs[0].sign() > 0, no)

    def _operands(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, Tensor, Interval, Interval]:
        """Where c must be 1, where it must be 0, and the two branches."""
        truth, rest = intervals[0], iter(intervals[1:])
        branches = [next(rest) if c is None else self._point(c, truth.lower) for c in (self.yes, self.no)]
        return truth.lower > 0, ~(truth.lower > 0) & (truth.upper < 1), branches[0], branches[1]

    def _point(self, value: Tensor, like: Tensor) -> Interval:
        exact = value.to(like.device).expand_as(like)
        return Interval(exact, exact).to(like.dtype)

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """The branch taken, or both."""
        yes, no, a, b = self._operands(intervals)
        lower = torch.where(yes, a.lower, torch.where(no, b.lower, torch.minimum(a.lower, b.lower)))
        return Interval(lower, torch.where(yes, a.upper, torch.where(no, b.upper, torch.maximum(a.upper, b.upper))))

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """Entries of all operands whose truth value is open."""
        yes, no, _, _ = self._operands(intervals)
        return (~(yes | no),) * len(intervals)

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """The branch itself, or a line in c between the two branches' bounds."""
        yes, no, a, b = self._operands(intervals)
        below, lower = _line(a.lower, b.lower, 1, num)
        above, upper = _line(a.upper, b.upper, -1, num)
        slopes = self._slopes(yes, no, lower)
        open_ = ~(yes | no)
        fixed = self._fixed(yes, no, a, b)
        return Relaxation((torch.where(open_, below, 0.0), *slopes), torch.where(open_, lower, fixed.lower),
                          (torch.where(open_, above, 0.0), *slopes), torch.where(open_, upper, fixed.upper))

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """The branch itself, or the band of the range."""
        yes, no, a, b = self._operands(intervals)
        image, fixed, open_ = self.range(intervals, num), self._fixed(yes, no, a, b), ~(yes | no)
        lower, upper = torch.where(open_, image.lower, fixed.lower), torch.where(open_, image.upper, fixed.upper)
        offset, radius = middle_radius(lower, upper, num)
        return Band((torch.zeros_like(offset), *self._slopes(yes, no, offset)), offset, radius)

    def _slopes(self, yes: Tensor, no: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Of the computed branches: 1 where taken."""
        return tuple(mask.to(like.dtype) for mask, c in ((yes, self.yes), (no, self.no)) if c is None)

    def _fixed(self, yes: Tensor, no: Tensor, a: Interval, b: Interval) -> Interval:
        """The constant branch where taken, 0 elsewhere."""
        zero = torch.zeros_like(a.lower)
        taken = [(mask, i) for mask, i, c in ((yes, a, self.yes), (no, b, self.no)) if c is not None]
        lower, upper = zero, zero
        for mask, interval in taken:
            lower, upper = torch.where(mask, interval.lower, lower), torch.where(mask, interval.upper, upper)
        return Interval(lower, upper)


def _line(one: Tensor, zero: Tensor, side: int, num: Numerics) -> tuple[Tensor, Tensor]:
    """s, t of a number of the matrix format s with t <= zero and s + t <= one (side +1; >= for -1)."""
    slope = (one - zero).detach()
    slope = torch.where(slope.isfinite(), slope, torch.zeros_like(slope))
    slope = slope if num.dtype == slope.dtype else slope.to(num.dtype).to(slope.dtype)
    slope = torch.where(slope.isfinite(), slope, torch.zeros_like(slope))
    rest = one - slope
    return slope, torch.minimum(zero, num.down(rest)) if side > 0 else torch.maximum(zero, num.up(rest))


@register_import("Where")
def where_from_onnx(node: OnnxNode) -> Op:
    """A constant condition moves entries; by a computed one each entry is selected, from constants or computed tensors."""
    if node.constant(0) is not None:
        return selection(node)
    sources, places = broadcast(node, (0, 1, 2))
    values = values_of(sources)
    yes, no = (None if node.constant(k) is None else _held(node, k, values[places[k]]) for k in (1, 2))
    parts = [spread(node, k, places[k], sources) for k in (0, 1, 2) if node.constant(k) is None]
    return Plan(tuple(() if isinstance(part, Identity) else (part,) for part in parts), (Select(yes, no),))
