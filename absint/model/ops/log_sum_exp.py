"""The logarithm of a sum of exponentials, over the last axis: what softmax, its logarithm and ReduceLogSumExp reach.

It is convex, and nothing in it overflows: exponents count from the greatest one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.op import Shape, Smoothness
from absint.model.ops.exponential import Exp, Log, Softplus
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics, cast_down, cast_up, gamma, no_lower, no_upper, smallest_normal, unit_roundoff

_KERNEL = 16    # roundings that exp, log, log1p and expm1 of float64 together stay below, each within 4 ulps


@dataclass(frozen=True, eq=False)
class LogSumExp(Nonlinear):
    """y = log sum_k exp(x_k) over the `count` entries of the last axis, those left out where `absent`.

    absent: bool, broadcast to the operand's shape without batch; None for nowhere. No group may be absent whole.
    What x is where it is absent does not matter, as long as it is a number.
    Below: a tangent (f is convex). Above, for any slopes s, the lesser of two bounds of max (f(x) - s x) over a box:
    by chords of the exponentials and a tangent of the logarithm, log S <= log t + S/t - 1 (Wei et al., Convex Bounds on the Softmax
    Function, AISTATS 2023, section 3); and f(l) - s l + sum_k max(0, f(l with u_k) - f(l) - s_k (u_k - l_k)), because a convex function is
    greatest at a vertex and this one is submodular: d2f/dx_j dx_k = -p_j p_k < 0, so that what a coordinate adds by rising is most
    where all others are low (Nemhauser et al., Mathematical Programming 14, 1978, proposition 2.1).
    """

    count: int
    absent: Tensor | None = None
    smoothness = Smoothness.SMOOTH

    def output_shape(self, *shapes: Shape) -> Shape:
        """The last axis is gone."""
        (shape,) = shapes
        if not shape or shape[-1] != self.count:
            raise ValueError(f"{shape} does not end in an axis of {self.count}")
        if self.absent is not None and bool(self.absent.expand(shape).all(-1).any()):
            raise ValueError("a group has no entries")
        return shape[:-1]

    def forward(self, *xs: Tensor) -> Tensor:
        """By torch's stable kernel."""
        return torch.logsumexp(self._present(xs[0]), -1)

    def _present(self, x: Tensor) -> Tensor:
        return x if self.absent is None else x.masked_fill(self.placed("absent", x), -torch.inf)

    def _missing(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x, dtype=torch.bool) if self.absent is None else self.placed("absent", x).expand_as(x)

    def _alone(self, x: Tensor) -> Tensor:
        """Groups of one entry: f is that entry."""
        return (~self._missing(x)).sum(-1) == 1

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """It rises in every entry."""
        wide, exact = intervals[0].to(torch.float64), replace(num, vector=torch.float64)
        ends = [self._present(end) for end in (wide.lower, wide.upper)]
        lower, upper = (_value(end, exact)[k] for k, end in enumerate(ends))
        alone = self._alone(wide.lower)
        lower, upper = (torch.where(alone, end.amax(-1), value) for end, value in zip(ends, (lower, upper), strict=True))
        return Interval(no_lower(lower), no_upper(upper)).to(intervals[0].lower.dtype)

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """Entries of a group of several, unless all are fixed."""
        lower, upper = intervals[0].lower, intervals[0].upper
        absent = self._missing(lower)
        varies = ~((lower == upper) | absent).all(-1) & ~self._alone(lower)
        return (varies[..., None] & ~absent,)

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Below the tangent at l + free (u - l), at the middle without `free`. Above the lower at the middle of two planes."""
        box = _Box.of(self, intervals[0], num)
        share = torch.full_like(box.low, 0.5) if free is None else free.to(box.low.dtype)[..., None].expand_as(box.low)
        below = self._rounded(box.weights(share), num)
        lower = box.lower_offset(below, box.point(share))
        steep, soft = self._rounded(box.chords, num), self._rounded(box.rises, num)
        ends = [(s, box.upper_offset(s)) for s in (steep, soft)]
        heights = [offset + (s * box.middle).sum(-1) for s, offset in ends]
        first = (heights[0] <= heights[1]).detach()
        above = torch.where(first[..., None], ends[0][0], ends[1][0])
        upper = torch.where(first, ends[0][1], ends[1][1])
        return self._narrowed(box, below, lower, above, upper, self.range(intervals, num))

    def _narrowed(self, box: _Box, below: Tensor, lower: Tensor, above: Tensor, upper: Tensor, image: Interval) -> Relaxation:
        """In the format of the intervals; the range alone where a bound is infinite, or an offset overflowed."""
        form = image.lower.dtype
        bad = box.unknown | ~(lower + upper).isfinite()
        lower, upper = cast_down(no_lower(lower), form), cast_up(no_upper(upper), form)
        bad = bad | ~(lower + upper).isfinite()
        below, above = (torch.where(bad[..., None], 0.0, s).to(form) for s in (below, above))
        lower, upper = torch.where(bad, image.lower, lower), torch.where(bad, image.upper, upper)
        alone = self._alone(box.low) & ~box.unknown
        if bool(alone.any()):
            itself = (~box.absent).to(form)
            below, above = (torch.where(alone[..., None], itself, s) for s in (below, above))
            lower, upper = (torch.where(alone, 0.0, end) for end in (lower, upper))
        return Relaxation((below,), lower, (above,), upper)

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """The narrowest of four parallel ones: along the tangent at the middle, along both planes above, and between the first two."""
        box = _Box.of(self, intervals[0], num)
        tangent = box.weights(torch.full_like(box.low, 0.5))
        slopes = [self._rounded(s, num) for s in (tangent, box.chords, box.rises, tangent / 2 + box.chords / 2)]
        slope, lower, upper = slopes[0], box.lowest_offset(slopes[0]), box.upper_offset(slopes[0])
        for one in slopes[1:]:
            low, high = box.lowest_offset(one), box.upper_offset(one)
            better = (high - low < upper - lower).detach()
            slope = torch.where(better[..., None], one, slope)
            lower, upper = torch.where(better, low, lower), torch.where(better, high, upper)
        lines = self._narrowed(box, slope, lower, slope, upper, self.range(intervals, num))
        return Band(lines.lower, *middle_radius(lines.lower_offset, lines.upper_offset, num))

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """The middle."""
        return torch.full_like(intervals[0].lower[..., 0], 0.5)

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """Of log(sum exp(x - c)) + c for any c among the x: the exponents that count are within the result's size and log n of it."""
        size = image.magnitude + self.count + 96
        return gamma(4, torch.float32) * size + self.count * smallest_normal(torch.float32)

    @staticmethod
    def _rounded(slope: Tensor, num: Numerics) -> Tensor:
        """Numbers of the matrix format, for which the offsets are then computed."""
        return slope if num.dtype == slope.dtype else slope.to(num.dtype).to(slope.dtype)


def _value(x: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """Bounds of f at points (..., n) in float64, rounded outward; entries of -inf take no part."""
    top = x.amax(-1, keepdim=True)
    top = torch.where(top.isfinite(), top, 0.0).detach()
    ends = []
    for outward in (num.down, num.up):
        up = outward == num.up
        shifted = torch.where(x == top, 0.0, torch.where(x.isfinite(), outward(x - top), x))
        terms = Exp().range((Interval(shifted, shifted),), num)
        slack = num.vector_gamma(x.shape[-1] + 4)
        total = (terms.upper if up else terms.lower).sum(-1) * (1 + slack if up else 1 - slack)
        image = Log().range((Interval(total, total),), num)
        ends.append(outward((image.upper if up else image.lower) + top[..., 0]))
    return ends[0], ends[1]


@dataclass(frozen=True, eq=False)
class _Box:
    """One operand in float64, as the planes need it. Absent entries, and groups that are not known whole, are points at 0.

    low, high: (..., n), of finite numbers.  unknown: (...), groups of which a present entry has an infinite bound.
    """

    low: Tensor
    high: Tensor
    absent: Tensor
    unknown: Tensor
    num: Numerics

    @classmethod
    def of(cls, op: LogSumExp, interval: Interval, num: Numerics) -> _Box:
        wide = interval.to(torch.float64)
        absent = op._missing(wide.lower)
        known = (wide.lower.isfinite() & wide.upper.isfinite()) | absent
        unknown = ~known.all(-1)
        blank = absent | unknown[..., None]
        low, high = (torch.where(blank, 0.0, end) for end in (wide.lower, wide.upper))
        return cls(low, high, absent, unknown, replace(num, vector=torch.float64))

    def _seen(self, x: Tensor) -> Tensor:
        return torch.where(self.absent, -torch.inf, x)

    @property
    def middle(self) -> Tensor:
        """The middle of the box."""
        return self.low / 2 + self.high / 2

    def point(self, share: Tensor) -> Tensor:
        """l + share (u - l), within the box."""
        found = torch.where(share == 0.5, self.middle, self.low + share * (self.high - self.low))
        return torch.minimum(torch.maximum(found, self.low), self.high)

    def weights(self, share: Tensor) -> Tensor:
        """f' at a point: the softmax."""
        return torch.softmax(self._seen(self.point(share)), -1)

    @property
    def _powers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """exp(l - M) and exp(u - M) with M the greatest u, t = the sum of their means, and M."""
        top = self._seen(self.high).amax(-1, keepdim=True)
        least, most = (torch.exp(self._seen(end) - top) for end in (self.low, self.high))
        return least, most, ((least + most) / 2).sum(-1, keepdim=True), top

    @property
    def chords(self) -> Tensor:
        """Slopes of the first plane above: of the exponentials' chords, over t."""
        least, most, total, _ = self._powers
        width = self.high - self.low
        return torch.where(width > 0, (most - least) / torch.where(width > 0, width, 1.0), most) / total

    @property
    def rises(self) -> Tensor:
        """Slopes of the second plane above: from f(l) to f(l with u_k)."""
        width = self.high - self.low
        start = self.weights(torch.zeros_like(self.low))
        return torch.where(width > 0, self._rise(start, width) / torch.where(width > 0, width, 1.0), start)

    def _rise(self, start: Tensor, width: Tensor) -> Tensor:
        """log(1 + p (exp(w) - 1)), what f(l) rises by when one coordinate does: rounded up for p = `start` rounded up, else about."""
        num = self.num
        # For small w as it stands, else with exp(w) taken out, and no more than log(1 + p exp(w)), which knows p below the least number.
        near = torch.log1p(start * torch.expm1(width.clamp(max=1.0)))
        far = width + torch.log(start + (1 - start) * torch.exp(-width) + smallest_normal(torch.float64))
        most = Softplus().evaluate(num.up(self.high - _value(self._seen(self.low), num)[0][..., None]))
        if num.rounding:
            far = far + 4 * _KERNEL * unit_roundoff(torch.float64) * (far.detach().abs() + width)
        return torch.minimum(torch.where(width < 1, near, far), most) * (1 + num.vector_gamma(4 * _KERNEL)) + 4 * num.vector_floor

    def _error_of_weights(self, weights: Tensor, point: Tensor) -> Tensor:
        """What a softmax may err by: exponents round in proportion to their size, whatever is beyond 745 is 0."""
        if not self.num.rounding:
            return torch.zeros_like(weights)
        apart = (self._seen(point).amax(-1, keepdim=True) - point).clamp(0, 800).detach()
        n = point.shape[-1]
        return weights.detach() * ((2 * apart + 2 * n + 2 * _KERNEL) * unit_roundoff(torch.float64)) + smallest_normal(torch.float64)

    def lowest_offset(self, slope: Tensor) -> Tensor:
        """The better `lower_offset` of two points: the middle, and about where the softmax is the slope."""
        logs = slope.detach().clamp(min=1e-300).log()
        shift = (slope.detach() * (self.middle - logs)).sum(-1, keepdim=True) / slope.detach().sum(-1, keepdim=True)
        matched = torch.minimum(torch.maximum(logs + torch.nan_to_num(shift), self.low), self.high)
        return torch.maximum(self.lower_offset(slope, self.middle), self.lower_offset(slope, matched))

    def lower_offset(self, slope: Tensor, point: Tensor) -> Tensor:
        """A number <= f(x) - s x: f(c) - s c + (f'(c) - s) (x - c) for any point c of the box, with f' up to its error."""
        point = point.detach()
        exact = torch.softmax(self._seen(point), -1)
        off = (exact - slope).abs() * (1 + self.num.vector_gamma(2)) + self._error_of_weights(exact, point)
        reach = self.num.up(torch.maximum(self.high - point, point - self.low))
        reach = torch.where(self.low == self.high, 0.0, reach)
        cost = (off * reach).sum(-1) * (1 + self.num.vector_gamma(self.low.shape[-1] + 4))
        return self._less(_value(self._seen(point), self.num)[0] - cost, slope * point, -1)

    def upper_offset(self, slope: Tensor) -> Tensor:
        """A number >= f(x) - s x: the lesser of the two of `LogSumExp`."""
        return torch.minimum(self._by_chords(slope), self._by_rises(slope))

    def _by_chords(self, slope: Tensor) -> Tensor:
        """log t + sum_k max over both ends of exp(x_k) / t - s_k x_k, minus 1, since what is linear in x is greatest at an end."""
        num, (_, _, total, top) = self.num, self._powers
        total = total.detach()
        sides = []
        for end in (self.low, self.high):
            shifted = num.up(self._seen(end) - top)
            shifted = torch.where(self.absent, -torch.inf, shifted)
            power = Exp().range((Interval(shifted, shifted),), num).upper / total
            power = torch.where(self.absent, 0.0, power * (1 + num.vector_gamma(2)) + num.vector_floor)
            product = slope * end
            sides.append(num.up(power - product + self._of(product, 3)))
        most, n = torch.maximum(*sides), self.low.shape[-1]
        log = Log().range((Interval(total, total),), num).upper[..., 0]
        size = most.detach().abs().sum(-1) + log.detach().abs() + top[..., 0].abs() + 1
        return num.up(most.sum(-1) + log + top[..., 0] - 1 + num.vector_gamma(n + 6) * size)

    def _by_rises(self, slope: Tensor) -> Tensor:
        """f(l) - s l and what each coordinate adds at most."""
        num, width = self.num, self.num.up(self.high - self.low)
        width = torch.where(self.low == self.high, 0.0, width)
        start = torch.softmax(self._seen(self.low), -1)
        high = torch.minimum(start + self._error_of_weights(start, self.low), torch.ones_like(start))
        rise = self._rise(high, width)
        rise = torch.where((width == 0) | self.absent, 0.0, torch.minimum(rise, width))
        product = slope * width
        added = num.up(rise - product + self._of(product, 4)).clamp(min=0)
        added = torch.where((self.low == self.high) | self.absent, 0.0, added)
        total = added.sum(-1) * (1 + num.vector_gamma(self.low.shape[-1] + 2))
        return self._less(_value(self._seen(self.low), num)[1] + total, slope * self.low, 1)

    def _of(self, product: Tensor, terms: int) -> Tensor:
        """What a product, and a few sums as large, err by."""
        return product.detach().abs() * self.num.vector_gamma(terms) + self.num.vector_floor

    def _less(self, value: Tensor, products: Tensor, side: int) -> Tensor:
        """value - sum of products, rounded outward: up for side 1."""
        size = products.detach().abs().sum(-1) + value.detach().abs()
        slack = self.num.vector_gamma(products.shape[-1] + 8) * size + products.shape[-1] * self.num.vector_floor
        result = value - products.sum(-1) + side * slack
        return self.num.up(result) if side > 0 else self.num.down(result)
