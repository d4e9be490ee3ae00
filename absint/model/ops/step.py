"""Piecewise constant functions: Sign, Floor, Ceil, Round, and truncation to integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.model.families.elementwise import Candidate, Curvature, Elementwise, Jump, Piece
from absint.model.families.function_pieces import CutPlaces
from absint.model.op import Smoothness, register_op
from absint.model.straight_through import spread
from absint.numeric.interval import Interval
from absint.numeric.rational import Rationals, whole


@register_op("Sign")
@dataclass(frozen=True, eq=False)
class Sign(Elementwise):
    """-1, 0 at 0, 1."""

    pieces = (Piece(-inf, 0.0, 0, Curvature.LINEAR), Piece(0.0, inf, 0, Curvature.LINEAR))
    jumps = (Jump(0.0, -1.0, 1.0),)
    piecewise_linear = True
    codomain = (-1.0, 1.0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.sign(x)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact."""
        return whole(xs[0].sign())

    def derivative(self, x: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(x)


# Jumps of an entry that cuts know at most, and operands beyond which they know none.
_MOST, _HUGE = 15, 2.0**50


def _some(first: Tensor, last: Tensor, most: int) -> Tensor:
    """(batch, K, *shape): first, first + 1, ..., last, or `most` of them about evenly spaced, both ends among them; inf behind the last."""
    count = (last - first + 1).clamp(min=0)
    rank = torch.arange(min(most, int(count.max()) if count.numel() else 0), dtype=first.dtype, device=first.device)
    rank = rank.reshape(-1, *(1,) * (first.dim() - 1))
    few, count, first = (count <= most)[:, None], count[:, None], first[:, None]
    spread = torch.floor(rank * ((count - 1) / (most - 1)) + 0.5)
    return torch.where(rank < count, first + torch.where(few, rank, spread), inf)


class _Staircase(Elementwise):
    """Rises by 1 at every k + place from k + before to k + before + 1, for whole k.

    Corners of one kind lie on a line: f(x) - s x is extreme at the ends of [l, u] or beside the first or the last jump.
    """

    place: float
    piecewise_linear = True
    double = True  # where jumps stop being float32 numbers
    jumps_somewhere = True
    pieces = (Piece(-inf, inf, 1, Curvature.LINEAR),)

    def derivative(self, x: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(x)

    def surrogate(self, x: Tensor) -> Tensor:
        """1, the slope of the line along the stairs."""
        return torch.ones_like(x)

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        return (self.evaluate(low) == self.evaluate(high)) & low.isfinite() & high.isfinite()

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        return torch.zeros_like(low, dtype=torch.bool)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """Everywhere in truth; NaN bounds are not."""
        return low <= high

    def _limits(self, low: Tensor, high: Tensor) -> list[Candidate]:
        first, last = self.evaluate(low), self.evaluate(high)
        found = self._limit(first + self.place, first, first + 1, low, high)
        return found + self._limit(last + (self.place - 1), last - 1, last, low, high)

    def corner_near(self, x: Tensor) -> Tensor | None:
        """The nearest jump."""
        return torch.round(x - self.place) + self.place

    def cuts(self, interval: Interval) -> CutPlaces | None:
        """Its jumps; of many the first, the last and some between, with the corners of the stairs on either side."""
        low, high = interval.lower.detach().double(), interval.upper.detach().double()
        fine = low.isfinite() & high.isfinite() & ~self._undefined(low, high)
        # Beyond, jumps stop being numbers: what lies between two of them is then within a step of both.
        huge = fine & ((low.abs() >= _HUGE) | (high.abs() >= _HUGE))
        at = self._jumps(torch.where(fine & ~huge, low, inf), torch.where(fine & ~huge, high, -inf))
        slack = torch.where(huge, 2.0, 0.0) if bool(huge.any()) else None
        if not at.shape[1]:
            at = torch.full_like(low[:, None], inf)
        left = self._before(at)
        right = left + 1
        here = torch.where(at.isfinite(), self.evaluate(at), inf)
        begin, end = at[:, :-1], at[:, 1:]
        corners = None
        if bool((end.isfinite() & (end - begin > 1)).any()):
            places = torch.where(end.isfinite()[:, :, None], torch.stack([begin + 1, end - 1], 2), inf)
            corners = places, torch.stack([right[:, :-1], left[:, 1:]], 2)
        return CutPlaces(at, left, here, right, corners, slack)

    def _before(self, at: Tensor) -> Tensor:
        """The limit from the left at jumps."""
        return at - self.place

    def _jumps(self, low: Tensor, high: Tensor) -> Tensor:
        """(batch, K, *shape): jumps in [low, high], some of them where there are too many."""
        first, last = torch.ceil(low - self.place) + self.place, torch.floor(high - self.place) + self.place
        # The differences round: a jump beside the interval is none of it, or the corners behind it would be a wrong hull.
        return _some(torch.where(first < low, first + 1, first), torch.where(last > high, last - 1, last), _MOST)


@register_op("Floor")
@dataclass(frozen=True, eq=False)
class Floor(_Staircase):
    """The greatest whole number not above x."""

    place = 1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.floor(x)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact."""
        return xs[0].floor()


@register_op("Ceil")
@dataclass(frozen=True, eq=False)
class Ceil(_Staircase):
    """The least whole number not below x."""

    place = 0.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.ceil(x)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact."""
        return -(-xs[0]).floor()


@register_op("Round")
@dataclass(frozen=True, eq=False)
class Round(_Staircase):
    """The nearest whole number, the even one of two."""

    place = 0.5

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.round(x)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Half a step up and down, rounded down, then halfway cases to the even one."""
        x, half = xs[0], Rationals.fractions([Fraction(1, 2)], ())
        up = (x + half).floor()
        odd = (up * half - (up * half).floor()).sign() != 0
        tie = (up - x - half).sign() == 0
        return up.where(~(tie & odd), up - whole(np.array(1)))


@dataclass(frozen=True, eq=False)
class Truncate(_Staircase):
    """The whole number next to x towards 0, as a cast to an integer type makes it. Claims nothing outside of [least, most].

    On either side of 0 a staircase of its own: Floor above, Ceil below.
    """

    least: float
    most: float
    place = 0.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.trunc(x)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """Where the integer type holds the result."""
        return (low >= self.least) & (high <= self.most)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact, in the type's range."""
        outside = [v for v in xs[0].list() if not self.least <= v <= self.most]
        return None if outside else xs[0].floor().where(xs[0].sign() >= 0, -(-xs[0]).floor())

    def corner_near(self, x: Tensor) -> Tensor | None:
        """The nearest whole number but 0."""
        near = torch.round(x)
        return torch.where(near == 0, torch.where(x < 0, -1.0, 1.0).to(x), near)

    def _before(self, at: Tensor) -> Tensor:
        """As Floor above 0, as Ceil below."""
        return torch.where(at > 0, at - 1, at)

    def _jumps(self, low: Tensor, high: Tensor) -> Tensor:
        """Of both staircases; between these it is 0."""
        below = _some(torch.ceil(low), torch.floor(high.clamp(max=-1.0)), _MOST // 2)
        above = _some(torch.ceil(low.clamp(min=1.0)), torch.floor(high), _MOST // 2)
        return torch.cat([below, above], 1).sort(1).values

    def _limits(self, low: Tensor, high: Tensor) -> list[Candidate]:
        """The first and the last jump of either staircase; one that does not exist is put where nothing reaches it."""
        first, last = torch.floor(low.clamp(min=0)), torch.floor(high.clamp(min=0))
        found = self._limit(first + 1, first, first + 1, low, high)
        found += self._limit(torch.where(last >= 1, last, inf), last - 1, last, low, high)
        first, last = torch.ceil(low.clamp(max=0)), torch.ceil(high.clamp(max=0))
        found += self._limit(torch.where(first <= -1, first, -inf), first, first + 1, low, high)
        return found + self._limit(last - 1, last - 1, last, low, high)


@dataclass(frozen=True, eq=False)
class Held(Elementwise):
    """x, where an integer type holds it: arithmetic of integers wraps around elsewhere, and nothing is claimed."""

    least: float
    most: float
    pieces = (Piece(-inf, inf, 1, Curvature.LINEAR),)
    smoothness = Smoothness.SMOOTH
    piecewise_linear = True

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return x

    def derivative(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """The type's range."""
        return (low >= self.least) & (high <= self.most)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact, in the type's range."""
        return None if any(not self.least <= v <= self.most for v in xs[0].list()) else xs[0]


@dataclass(frozen=True, eq=False)
class Compare(Elementwise):
    """`below` where x < at, `above` where x > at, `here` where they are equal; each 0 or 1.

    at: broadcasts against the shape without batch. Pieces and jump show the first entry of it; what is used knows them all.
    """

    at: Tensor
    below: float
    here: float
    above: float
    piecewise_linear = True
    double = True  # float32 may not hold `at`
    codomain = (0.0, 1.0)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Constant on both sides."""
        at = float(self.at.reshape(-1)[0])
        return (Piece(-inf, at, 0, Curvature.LINEAR), Piece(at, inf, 0, Curvature.LINEAR))

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """At `at`."""
        return (Jump(float(self.at.reshape(-1)[0]), self.below, self.above),)

    def cuts(self, interval: Interval) -> CutPlaces:
        """At each entry's own `at`."""
        like = interval.lower.detach().double()
        left, here, right = (torch.full_like(like, v)[:, None] for v in (self.below, self.here, self.above))
        return CutPlaces(self.constant("at", like).expand_as(like)[:, None], left, here, right)

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact where the format holds `at`."""
        at = self.constant("at", x)
        side = torch.where(x > at, torch.full_like(x, self.above), torch.full_like(x, self.below))
        return torch.where(x == at, torch.full_like(x, self.here), side)

    def derivative(self, x: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(x)

    def surrogate(self, x: Tensor) -> Tensor:
        """The jump from one side to the other; between equal sides, up or down to `here`."""
        offset = x - self.constant("at", x)
        if self.below != self.above:
            return spread(offset, self.above - self.below)
        return -offset.sign() * spread(offset, 2 * (self.here - self.below))

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact."""
        side = (xs[0] - Rationals.of(self.at)).sign()
        return whole((side < 0) * int(self.below) + (side == 0) * int(self.here) + (side > 0) * int(self.above))

    def corner_near(self, x: Tensor) -> Tensor | None:
        """`at`."""
        return self.constant("at", x).expand_as(x)

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        low, high = low.double(), high.double()
        at = self.constant("at", low)
        under = (high <= at) if self.below == self.here else (high < at)
        over = (low >= at) if self.above == self.here else (low > at)
        return under | over | (low == high)

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        return torch.zeros_like(low, dtype=torch.bool)

    def _limits(self, low: Tensor, high: Tensor) -> list[Candidate]:
        at = self.constant("at", low).expand_as(low)
        point = torch.minimum(torch.maximum(low, at), high)
        below, above = torch.full_like(low, self.below), torch.full_like(low, self.above)
        return [Candidate(point, self.evaluate(point), 0.0), *self._limit(at, below, above, low, high)]

    def _mixed(self, start: Tensor, known: Tensor, bounds: tuple[Tensor, Tensor], side: int) -> Tensor:
        """The envelope's slope at the midpoint, in closed form: it bends at `at` alone. No slope narrows a band over a jump."""
        low, high = (bound.detach() for bound in bounds)
        at, values = self.constant("at", low).expand_as(low), (self.below, self.here, self.above)
        tip = min(values) if side > 0 else max(values)
        left, right = (tip - self.below) / (at - low), (self.above - tip) / (high - at)
        slope = torch.where(low / 2 + high / 2 < at, left, right) if side else torch.zeros_like(low)
        return torch.where(known, start, torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0))


# TensorProto type -> the numbers it holds, as far as float64 goes: BOOL aside, every integer type that ONNX computes with.
INTEGERS = {
    2: (0.0, 2.0**8 - 1), 3: (-(2.0**7), 2.0**7 - 1), 4: (0.0, 2.0**16 - 1), 5: (-(2.0**15), 2.0**15 - 1),
    6: (-(2.0**31), 2.0**31 - 1), 7: (-(2.0**53), 2.0**53), 12: (0.0, 2.0**32 - 1), 13: (0.0, 2.0**53),
}
BOOL = 9


def to_whole(kind: int) -> Elementwise | None:
    """A cast to an integer type or to a truth value; None for any other type."""
    if kind == BOOL:
        return Compare(torch.zeros((), dtype=torch.float64), 1.0, 0.0, 1.0)
    return Truncate(*INTEGERS[kind]) if kind in INTEGERS else None
