"""Sets between two affine functions of the network's input, entry by entry, and what these are over a region."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from torch import Tensor

from absint.domains.generators import Pace
from absint.engine.domain import Context, Interval, Numerics
from absint.model.families.nonlinear import middle_radius
from absint.model.op import Shape
from absint.numeric.rounding import cast_up, gamma

_CHUNK_ENTRIES = 1 << 18


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What forms are functions of: k numbers z of an instance, |z_s| <= reach_s.

    reach: (batch, k) in the vector format, rounded up; 0 where an instance has fewer coordinates than others.
    about, slots: z_s = x_j - about_j for the flat input entry j = slots_s; about: (batch, *input) float64, slots: (batch, k).
    slots is None where z are symbols of the region's own, which no functional of the input is known of.
    """

    reach: Tensor
    about: Tensor
    slots: Tensor | None

    @property
    def count(self) -> int:
        """k."""
        return self.reach.shape[1]

    @cached_property
    def lost(self) -> Tensor:
        """(batch,): how far the sum of a form over all coordinates moves where each coefficient does by 1; rounded up."""
        return self.reach.sum(1) * (1 + gamma(self.count + 2, self.reach.dtype))

    @cached_property
    def used(self) -> Tensor:
        """(batch,): how many coordinates an instance has."""
        return (self.reach > 0).sum(1).to(self.reach)

    def take(self, index: Tensor) -> Coordinates:
        """Instances."""
        return Coordinates(self.reach[index], self.about[index], None if self.slots is None else self.slots[index])


@dataclass(frozen=True, eq=False)
class InputForms:
    """{x : |x - mean.z - center| <= wide.z + gap + rest}, entry by entry, over all z of the region: two affine functions of the input.

    All in the vector format: what a layer rounds, the next ones multiply by |L|; float32 was measured to lose everything by that.
    mean, wide: (batch, k, *shape), exact numbers of any sign; None for zeros.  center, gap, rest: (batch, *shape).
    gap: of any sign, what relaxations left between the two.  rest: >= 0, every rounding error.
    moved: a bound of `spread` carried over from the node before, or None to compute it.
    All finite, except that rest may be infinite, where all else is 0.
    """

    center: Tensor
    gap: Tensor
    rest: Tensor
    mean: Tensor | None = None
    wide: Tensor | None = None
    coordinates: Coordinates | None = None
    moved: Tensor | None = None

    def take(self, index: Tensor) -> InputForms:
        """Instances."""
        coordinates = None if self.coordinates is None else self.coordinates.take(index)
        mean, wide, moved = (None if v is None else v[index] for v in (self.mean, self.wide, self.moved))
        return InputForms(self.center[index], self.gap[index], self.rest[index], mean, wide, coordinates, moved)

    @property
    def below(self) -> Tensor | None:
        """Coefficients of the lower function, as computed: one rounding."""
        return self.mean if self.mean is None or self.wide is None else self.mean - self.wide

    @property
    def above(self) -> Tensor | None:
        """Those of the upper one."""
        return self.mean if self.mean is None or self.wide is None else self.mean + self.wide

    @cached_property
    def swings(self) -> tuple[Tensor, Tensor]:
        """(batch, *shape) each: sum |coefficient| reach of both functions, as computed (not rounded up)."""
        if self.mean is None or self.coordinates is None:
            zero = torch.zeros_like(self.center)
            return zero, zero
        size = _at_once(self.mean)
        means, reaches = self.mean.flatten(2).split(size, 1), self.coordinates.reach.split(size, 1)
        if self.wide is None:
            down = _sums(_product(reach, mean) for reach, mean in zip(reaches, means, strict=True)).reshape(self.center.shape)
            return down, down
        wides = self.wide.flatten(2).split(size, 1)
        both = (torch.stack([_product(reach, mean - wide), _product(reach, mean + wide)])
                for reach, mean, wide in zip(reaches, means, wides, strict=True))
        down, up = _sums(both).reshape(2, *self.center.shape).unbind(0)
        return down, up

    def spread(self, num: Numerics) -> Tensor:
        """(batch, *shape): a bound of sum (|mean| + |wide|) reach, which is at most the sum of both swings."""
        if self.moved is not None:
            return self.moved
        down, up = self.swings
        return raised(down if self.wide is None else down + up, self.coordinates, num)

    def size(self, num: Numerics) -> Tensor:
        """(batch, *shape), a constant: what the roundings of a sum over entries are in proportion to: spread + |center| + |gap|."""
        return (self.spread(num) + self.center.abs() + self.gap.abs()).detach()

    def settled(self, spread: Tensor) -> InputForms:
        """Nothing is known of entries where anything overflowed: no infinite or NaN coefficient ever meets a slope of 0."""
        bad = ~(self.center + self.gap + self.rest + spread).isfinite()
        if not bool(bad.any()):
            return self
        mean, wide = (None if v is None else torch.where(bad[:, None], 0.0, v) for v in (self.mean, self.wide))
        center, gap = torch.where(bad, 0.0, self.center), torch.where(bad, 0.0, self.gap)
        moved = None if self.moved is None else torch.where(bad, 0.0, self.moved)
        return InputForms(center, gap, torch.where(bad, torch.inf, self.rest), mean, wide, self.coordinates, moved)


def raised(swing: Tensor, coordinates: Coordinates | None, num: Numerics) -> Tensor:
    """An upper bound of what was computed as `InputForms.swings`: a rounded difference, a cast, k products and their sum."""
    if coordinates is None:
        return swing
    lost = 4 * num.vector_floor * spread_out(coordinates.used, swing)
    return swing * (1 + num.vector_gamma(coordinates.count + 6)) + lost


def spread_out(value: Tensor, like: Tensor) -> Tensor:
    """(batch,) as (batch, 1, ...) beside `like`."""
    return value.reshape(-1, *(1,) * (like.dim() - 1))


def point_or_box(interval: Interval, num: Numerics) -> InputForms:
    """The box, with no relation to anything."""
    center, radius = middle_radius(interval.lower, interval.upper, num)
    known = radius.isfinite()
    return InputForms(center, torch.where(known, radius, 0.0), torch.where(known, 0.0, radius))


def entries_of(box: Interval, num: Numerics) -> InputForms:
    """The input as a function of its own entries, those of positive and finite width."""
    center, radius = middle_radius(box.lower.double(), box.upper.double(), num)
    radius = cast_up(radius, num.vector)
    chosen = (radius > 0) & radius.isfinite()
    flat, most = chosen.flatten(1), int(chosen.flatten(1).sum(1).max()) if len(chosen) else 0
    whole = point_or_box(Interval(box.lower, box.upper), num)
    if not most:
        return whole
    # The chosen entries first, in their order; others pad.
    slots = flat.to(torch.int8).sort(dim=1, descending=True, stable=True).indices[:, :most]
    real = flat.gather(1, slots)
    reach = torch.where(real, radius.flatten(1).gather(1, slots), 0.0)
    mean = torch.zeros(len(flat), most, flat.shape[1], dtype=num.vector, device=num.device)
    mean.scatter_(2, slots[..., None], real[..., None].to(mean))
    # The middle was rounded to the vector format, exactly where that is float64.
    held = center.to(num.vector)
    rest = torch.where(chosen, cast_up((held.double() - center).abs(), num.vector), whole.rest)
    return InputForms(torch.where(chosen, held, whole.center), torch.where(chosen, 0.0, whole.gap), rest,
                      mean.reshape(len(flat), most, *center.shape[1:]), None, Coordinates(reach, center, slots))


def symbols_of(given: tuple[Tensor, Tensor, Tensor], num: Numerics) -> InputForms:
    """The input as a function of the symbols of a region inside a zonotope: centre, generators and remainder, float64."""
    middle, exact, rest = (part.to(num.device) for part in given)
    center, mean = middle.to(num.vector), exact.to(num.vector)
    # Differences of neighbouring formats are exact; the sum of m + 2 terms is low by its gamma.
    moved = (mean.double() - exact).abs().sum(1) + (center.double() - middle).abs()
    moved = num.up(cast_up(moved * (1 + gamma(exact.shape[1] + 6, torch.float64)), num.vector))
    reach = torch.ones(mean.shape[:2], dtype=num.vector, device=num.device)
    forms = InputForms(center, cast_up(rest, num.vector), moved, mean, None, Coordinates(reach, middle, None))
    return forms.settled(forms.spread(num))


def ends(forms: InputForms, ctx: Context) -> tuple[Tensor, Tensor]:
    """(batch, *shape) each: how far the linear part of the lower function falls below 0 over the region, and of the upper one rises."""
    coordinates, num = forms.coordinates, ctx.numerics
    if coordinates is None:
        return forms.swings
    down, up = (raised(swing.detach() if ctx.region.beyond_hull and coordinates.slots is not None else swing, coordinates, num)
                for swing in forms.swings)
    if not ctx.region.beyond_hull or coordinates.slots is None:
        return down, up
    assert forms.below is not None
    assert forms.above is not None
    # The region is asked for the very coefficients; what computing them rounded is of the size of the swing.
    falls = _fall(forms.below, coordinates, ctx), _fall(-forms.above, coordinates, ctx)
    return num.up(falls[0] + num.vector_gamma(3) * down), num.up(falls[1] + num.vector_gamma(3) * up)


def _fall(coefficients: Tensor, coordinates: Coordinates, ctx: Context) -> Tensor:
    """(batch, *shape): upper bounds of -(a . z) over the region's own set; a: (batch, k, *shape)."""
    batch, count = coefficients.shape[:2]
    shape = coefficients.shape[2:]
    rows = coefficients.reshape(batch, count, -1).transpose(1, 2)
    instance = torch.arange(batch, device=rows.device).repeat_interleave(rows.shape[1])
    found = lower_over(rows.flatten(0, 1), instance, coordinates, ctx)
    return cast_up(-found.reshape(batch, *shape), ctx.numerics.vector)


def lower_over(rows: Tensor, instance: Tensor, coordinates: Coordinates, ctx: Context) -> Tensor:
    """(R,) float64 lower bounds of rows (R, k) of the coordinates over the region's own set, which must be one of input entries."""
    slots, about = coordinates.slots, coordinates.about
    assert slots is not None
    size = max(1, _CHUNK_ENTRIES // max(1, about[0].numel()))
    found = []
    for part, chosen in zip(rows.split(size), instance.split(size), strict=True):
        ctx.budget.check()
        full = rows.new_zeros(len(part), about[0].numel()).scatter_add(1, slots[chosen], part)
        found.append(ctx.region.lower_of(full.reshape(-1, *about.shape[1:]), chosen, about))
    return torch.cat(found) if found else rows.new_zeros(0, dtype=torch.float64)


def through(run: Callable[..., Tensor], parts: list[Tensor | None], shapes: tuple[Shape, ...], pace: Pace) -> Tensor | None:
    """Coefficients (batch, k, *shape of each input) of all inputs through a linear map; None where all are zero."""
    given = next((part for part in parts if part is not None), None)
    if given is None:
        return None
    batch, count = given.shape[:2]
    full = (given.new_zeros(()).expand(batch * count, *shape) if part is None else part.reshape(batch * count, *shape)
            for part, shape in zip(parts, shapes, strict=True))
    image = pace.apply(run, *full)
    return image.reshape(batch, count, *image.shape[1:])


def scaled(parts: Sequence[tuple[Tensor, Tensor | None]], shape: Shape) -> Tensor | None:
    """The sum of slope (batch, *own shape) times coefficients, over all parts and over the trailing axes that `shape` lacks."""
    given = [(slope, coefficients) for slope, coefficients in parts if coefficients is not None]
    if not given:
        return None
    split = [coefficients.split(min(_at_once(one) for _, one in given), 1) for _, coefficients in given]
    slopes = [slope for slope, _ in given]
    done = [_scaled(list(zip(slopes, chunks, strict=True)), shape) for chunks in zip(*split, strict=True)]
    return done[0] if len(done) == 1 else torch.cat(done, 1)


def _scaled(parts: Sequence[tuple[Tensor, Tensor]], shape: Shape) -> Tensor:
    total: Tensor | None = None
    for slope, coefficients in parts:
        extra = coefficients.dim() - 2 - len(shape)
        if total is not None and not extra:
            total = torch.addcmul(total, slope[:, None], coefficients)
            continue
        product = slope[:, None] * coefficients
        product = product.flatten(2 + len(shape)).sum(-1) if extra else product
        total = product if total is None else total + product
    assert total is not None
    return total


def _at_once(coefficients: Tensor) -> int:
    """How many coordinates are worked on at a time, so that a chunk stays in cache."""
    entries = _CHUNK_ENTRIES if coefficients.device.type == "cpu" else _CHUNK_ENTRIES << 6
    return max(1, entries // max(1, coefficients[:, 0].numel()))


def _sums(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, parts)


def _product(reach: Tensor, coefficients: Tensor) -> Tensor:
    """(batch, n): sum of reach (batch, k) times |coefficients| (batch, k, n)."""
    return torch.bmm(reach[:, None], coefficients.abs())[:, 0]
