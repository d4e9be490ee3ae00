"""The maximum over the last axis: the form that MaxPool, Max and ReduceMax reach through linear rearrangements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.op import Shape
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics


@dataclass(frozen=True, eq=False)
class Maximum(Nonlinear):
    """y = max over the last axis. Computes no rounding at all.

    An entry has won where its lower bound is at least every other's upper bound. Source of the relaxations: Singh et
    al., POPL 2019, section 4.4 (below: the entry of greatest lower bound; above: it where it has won, else a constant).
    """

    @property
    def cuttable(self) -> bool:
        """As ReLUs of differences: see `passes.expand_maxima`."""
        return True

    def output_shape(self, *shapes: Shape) -> Shape:
        """The last axis is gone."""
        if not shapes[0]:
            raise ValueError("a maximum needs at least one axis")
        return shapes[0][:-1]

    def forward(self, *xs: Tensor) -> Tensor:
        """Maximum of the last axis."""
        return xs[0].amax(-1)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Comparisons only."""
        return xs[0].maximum_last()

    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Exact."""
        return Interval(intervals[0].lower.amax(-1), intervals[0].upper.amax(-1))

    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """Entries that can still win, where more than one can."""
        lower, upper = intervals[0].lower, intervals[0].upper
        can_win = ~(upper < lower.amax(-1, keepdim=True))
        return (can_win & ~self._winner(intervals[0])[1][..., None],)

    def _winner(self, interval: Interval) -> tuple[Tensor, Tensor]:
        """One-hot of the entry of greatest lower bound, and where it has won."""
        best = interval.lower.argmax(-1, keepdim=True)
        one = torch.zeros_like(interval.lower).scatter_(-1, best, 1.0)
        others = torch.where(one > 0, torch.full_like(interval.upper, -torch.inf), interval.upper).amax(-1)
        return one, interval.lower.gather(-1, best)[..., 0] >= others

    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Slopes 0 and 1 only: no rounding."""
        one, won = self._winner(intervals[0])
        zero = torch.zeros_like(won, dtype=one.dtype)
        top = intervals[0].upper.amax(-1)
        return Relaxation((one,), zero, (one * won[..., None],), torch.where(won, zero, top))

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """The winner itself, else the constant band of the range."""
        one, won = self._winner(intervals[0])
        image = self.range(intervals, num)
        offset, radius = middle_radius(image.lower, image.upper, num)
        zero = torch.zeros_like(offset)
        return Band((one * won[..., None],), torch.where(won, zero, offset), torch.where(won, zero, radius))
