"""What every nonlinear family states on intervals: range, undecided entries, planes, band."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from absint.model.families.function_pieces import CutPlaces
from absint.model.op import Op
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rounding import Numerics


class Nonlinear(Op):
    """Every other family: states range, undecided entries, planes and band on intervals.

    Intervals are in the vector format, not empty, possibly infinite. Everything returned is sound in floating point for
    the exact-real function when `num.rounding` is on.
    """

    @abstractmethod
    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Enclosure of the image, as tight as the family allows."""

    @abstractmethod
    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """One mask per input: entries whose bounds matter, because the function is not affine over them."""

    @abstractmethod
    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Affine bounds below and above. free: (batch, *shape) in [0, 1], the free slope where the family has one."""

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """Parallel affine bounds. Default: the constant band of `range`."""
        image = self.range(intervals, num)
        offset, radius = middle_radius(image.lower, image.upper, num)
        return Band(tuple(torch.zeros_like(i.lower) for i in intervals), offset, radius)

    @property
    def cuttable(self) -> bool:
        """Whether case splits of single entries make it affine: `cuts` says where, or it can be written in operators that say so."""
        return False

    def cuts(self, interval: Interval) -> CutPlaces | None:
        """Of a function of one operand, where case splits leave less that bends. Default: nowhere, for not split."""
        return None

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """Start value of the free slope `planes` takes; None where there is no freedom."""
        return None

    def corner_near(self, x: Tensor) -> Tensor | None:
        """Operands (batch, *shape) beside x at which the function bends or jumps, NaN where there are none: where ties may lie.

        A hint for searches, no promise. Default: None, for nothing known.
        """
        return None

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """Bound on what a float32 execution of this operator errs by (`--semantics float32`); None for nothing."""
        return None


def middle_radius(lower: Tensor, upper: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """c, r with [c - r, c + r] containing [lower, upper]; r = +inf (and c = 0) where a bound is infinite."""
    # A point keeps its very value: halving a subnormal number would round.
    middle = torch.where(lower == upper, lower, lower / 2 + upper / 2)
    finite = middle.isfinite()
    middle = torch.where(finite, middle, torch.zeros_like(middle))
    radius = num.up(torch.maximum(upper - middle, middle - lower))
    return middle, torch.where((upper == lower) & finite, torch.zeros_like(radius), radius)
