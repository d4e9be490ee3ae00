"""Functions of one real number, entry by entry: what a member states, where it is affine, and its range."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import torch
from torch import Tensor

from absint.model.families.function_pieces import Candidate, CutPlaces, Jump, KernelError, Knot, Piece
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import OnnxNode, Shape
from absint.model.straight_through import spread, straight_through
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, cast_down, cast_up, gamma, no_lower, no_upper, smallest_normal


class RealFunction(Nonlinear):
    """y_i = f(x_i).

    A member states `evaluate` (finite wherever f is), `derivative` (any one-sided value at a knot), `pieces` (covering
    the reals, from left to right), `knots`, `jumps`, the kernel error, and `codomain`, an enclosure of the image.
    piecewise_linear: f is affine between neighbouring knots and jumps.
    slope_by_image: f'(x) = `derivative(f(x))`, so that f(x) is all that a gradient needs.
    double: bounds are computed in float64 whatever the format, and rounded outward once; `error` is that of float64 then.
    anchor: a point at which f is defined.
    execution: error of other libraries' float32 kernels, which may be much larger than `error`; None where it is not known
    (float32 semantics then knows nothing of the value), not needed where `error` is zero.
    Piece ends that no float holds (an inflection at sqrt(2)) may be off by an ulp: `error.absolute` must cover the cube of it.
    """

    piecewise_linear: bool = False
    slope_by_image: bool = False
    double: bool = False
    codomain: tuple[float, float] = (-inf, inf)
    anchor: float = 0.0

    @property
    def lipschitz(self) -> float | None:
        """A number L with |f(x) - f(y)| <= L |x - y| for all real x and y; None where none is stated."""
        return None

    @property
    def rectifies(self) -> bool:
        """Whether f is 0 for every operand up to 0 and rises from there, as a ReLU does, with or without an upper end."""
        if not self.piecewise_linear or self.jumps or any(piece.direction < 0 for piece in self.pieces):
            return False
        first = next(iter(self.knots), None)
        return first is not None and first.x == 0 and first.left == 0 < first.right and float(self.evaluate(torch.zeros(1))) == 0

    @property
    def error(self) -> KernelError:
        """Of `evaluate`; default: exact."""
        return KernelError()

    @property
    def derivative_error(self) -> KernelError:
        """Of `derivative`; default: as stated by `error`."""
        return self.error

    @property
    def execution(self) -> KernelError | None:
        """Of a float32 kernel of any runtime; default: unknown."""
        return None

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """Discontinuities; default: none."""
        return ()

    def defined(self, low: Tensor, high: Tensor) -> Tensor | None:
        """Mask: f is defined all over [l, u]; None where it is defined on all reals. Elsewhere nothing is claimed."""
        return None

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """See the class; a member states a class attribute, or a property where parameters decide."""
        raise NotImplementedError

    @property
    def knots(self) -> tuple[Knot, ...]:
        """Kinks, from left to right."""
        return ()

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> RealFunction:
        """A member without parameters needs no import rule of its own."""
        return cls()

    def evaluate(self, x: Tensor) -> Tensor:
        """f(x), within `error`."""
        raise NotImplementedError

    def derivative(self, x: Tensor) -> Tensor:
        """f'(x), within `error`."""
        raise NotImplementedError

    @property
    def jumps_somewhere(self) -> bool:
        """Where `jumps` says so."""
        return bool(self.jumps)

    def surrogate(self, x: Tensor) -> Tensor:
        """What searches add to f'(x), which feels no jump: a guess, like x, that no bound rests on. Default: every jump spread out."""
        return torch.stack([spread(x - jump.x, jump.right - jump.left) for jump in self.jumps]).sum(0)

    def guided(self, *xs: Tensor) -> Tensor:
        """f entry by entry, its jumps felt by gradients."""
        value = self.evaluate(xs[0])
        return straight_through(value, xs[0], self.surrogate(xs[0])) if self.jumps_somewhere else value

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor | None:
        """An x on the piece where f' is about `slope` (closed form), or None: found by bisection then."""
        return None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        if len(shapes) != 1:
            raise ValueError(f"one input is expected, got {len(shapes)}")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """f entry by entry."""
        return self.evaluate(xs[0])

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """A float32 kernel within `execution`; exact operators add nothing, unknown kernels anything."""
        if self.execution is None:
            return None if self.error == KernelError() else torch.full_like(image.lower, inf)
        floor = self.execution.absolute + smallest_normal(torch.float32)
        return gamma(self.execution.ulps, torch.float32) * image.magnitude + floor

    def corner_near(self, x: Tensor) -> Tensor | None:
        """The nearest knot or jump."""
        places = sorted({k.x for k in self.knots} | {j.x for j in self.jumps})
        if not places:
            return None
        choice = torch.stack([torch.full((), place, dtype=x.dtype, device=x.device) for place in places])
        return choice[(x[..., None] - choice).abs().argmin(-1)]

    @property
    def cuttable(self) -> bool:
        """Where it is affine between kinks and jumps, and has any."""
        return self.piecewise_linear and bool(self.knots or self.jumps_somewhere)

    def cuts(self, interval: Interval) -> CutPlaces | None:
        """Its kinks and jumps, where it is affine between them. Members whose entries bend at places of their own state those."""
        jumps = {jump.x: jump for jump in self.jumps}
        places = sorted({knot.x for knot in self.knots} | set(jumps)) if self.piecewise_linear else []
        if not places:
            return None
        like = interval.lower.detach().double()
        at = [torch.full_like(like, x) for x in places]
        here = [self.evaluate(x) for x in at]
        sides = [(torch.full_like(like, jumps[x].left), torch.full_like(like, jumps[x].right)) if x in jumps else (value, value)
                 for x, value in zip(places, here, strict=True)]
        left, right = ([side[k] for side in sides] for k in (0, 1))
        return CutPlaces(torch.stack(at, 1), torch.stack(left, 1), torch.stack(here, 1), torch.stack(right, 1))

    # ---- where f is affine -------------------------------------------------------------------------------------

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """True where f is not affine on [l, u]; a NaN or infinite bound is undecided."""
        low, high = intervals[0].lower, intervals[0].upper
        return (~self._affine(low, high),)

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        decided = low == high
        if self.piecewise_linear:
            jumps = {j.x for j in self.jumps}
            cuts = [-inf, *sorted({k.x for k in self.knots} | jumps), inf]
            for left, right in pairwise(cuts):
                after = low > left if left in jumps else low >= left
                decided = decided | (after & (high < right if right in jumps else high <= right))
        return decided & ~self._undefined(low, high)

    def _undefined(self, low: Tensor, high: Tensor) -> Tensor:
        fine = self.defined(low, high)
        return torch.zeros_like(low, dtype=torch.bool) if fine is None else ~fine

    def _finite(self, interval: Interval) -> tuple[Tensor, Tensor, Tensor]:
        """Bounds, and the mask of the entries with an infinite (or NaN) bound or where f is undefined: these are `anchor`."""
        low, high = interval.lower, interval.upper
        bad = ~(low.isfinite() & high.isfinite()) | self._undefined(low, high)
        return torch.where(bad, self.anchor, low), torch.where(bad, self.anchor, high), bad

    # ---- range -------------------------------------------------------------------------------------------------

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Image of [l, u]: the extremes lie at the ends of the monotone pieces."""
        if self._narrow(intervals):
            image = self.range(*self._widened(intervals, num))
            return Interval(cast_down(image.lower, torch.float32), cast_up(image.upper, torch.float32))
        low, high = intervals[0].lower, intervals[0].upper
        lower, upper = self._image(low, high)
        if self.error.ulps or self.error.absolute:
            if num.rounding:
                lower, upper = lower - self._kernel_error(lower, num), upper + self._kernel_error(upper, num)
                lower, upper = num.down(lower), num.up(upper)
            lower = no_lower(lower).clamp(min=self.codomain[0])
            upper = no_upper(upper).clamp(max=self.codomain[1])
        elif self.defined(low, high) is None:
            return Interval(lower, upper, proper=intervals[0].proper)
        outside = self._undefined(low, high)
        return Interval(torch.where(outside, -inf, lower), torch.where(outside, inf, upper))

    @property
    def increasing(self) -> bool:
        """Whether it never falls, and is defined and continuous where its pieces are."""
        return all(piece.direction > 0 for piece in self.pieces) and not self.jumps

    def _image(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if all(p.direction > 0 for p in self.pieces):
            return self.evaluate(low), self.evaluate(high)
        values = [self.evaluate(x) for x in self._ends(low, high)]
        values += [c.value for c in self._limits(low, high)]
        lower, upper = values[0], values[0]
        for value in values[1:]:
            lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
        return lower, upper

    def _narrow(self, intervals: tuple[Interval, ...]) -> bool:
        return self.double and intervals[0].lower.dtype != torch.float64

    def _widened(self, intervals: tuple[Interval, ...], num: Numerics) -> tuple[tuple[Interval, ...], Numerics]:
        return tuple(i.to(torch.float64) for i in intervals), replace(num, vector=torch.float64)

    def _ends(self, low: Tensor, high: Tensor) -> list[Tensor]:
        """l, u and every turning point between them (clamped into [l, u], where it is harmless)."""
        turns = {p.high for p, q in pairwise(self.pieces) if p.direction != q.direction}
        return [low, high, *(clamped(t, low, high) for t in sorted(turns))]

    def _limits(self, low: Tensor, high: Tensor) -> list[Candidate]:
        """Both limits of every jump that [l, u] reaches from that side; f at the nearer end elsewhere."""
        return [c for j in self.jumps
                for c in self._limit(torch.full_like(low, j.x), torch.full_like(low, j.left), torch.full_like(low, j.right), low, high)]

    def _limit(self, x: Tensor, left: Tensor, right: Tensor, low: Tensor, high: Tensor) -> list[Candidate]:
        point = torch.minimum(torch.maximum(low, x), high)
        value = self.evaluate(point)
        before, after = (low < x) & (x <= high), (low <= x) & (x < high)
        return [Candidate(point, torch.where(before, left, value), 0.0), Candidate(point, torch.where(after, right, value), 0.0)]

    def _kernel_error(self, value: Tensor, num: Numerics) -> Tensor:
        return kernel_error(self.error, value, num)


def minus_magnitude(x: Tensor) -> Tensor:
    """-|x|, with derivative -1 at 0: what is put together of formulas for x < 0 and x >= 0 then has all derivatives of the second there.

    torch has derivative 0 of |x| at 0, which is neither formula's.
    """
    return torch.where(x < 0, x, -x)


def kernel_error(error: KernelError, value: Tensor, num: Numerics) -> Tensor:
    """Bound on what a kernel that gave `value` may err by; 0 without rounding."""
    if not num.rounding:
        return torch.zeros_like(value)
    return value.detach().abs() * gamma(error.ulps + 1, value.dtype) + (error.absolute + 2 * smallest_normal(value.dtype))


def clamped(x: float, low: Tensor, high: Tensor) -> Tensor:
    """The point of [low, high] nearest to x."""
    return torch.minimum(torch.maximum(low, torch.full_like(low, x)), high)
