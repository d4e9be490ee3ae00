"""Batched boxes: the common currency of domains, operators and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from absint.numeric.rounding import cast_down, cast_up
from absint.numeric.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Interval:
    """lower, upper: (batch, ...). One dtype and device. Infinite where nothing is known; never NaN.

    lower > upper somewhere in an instance marks that instance `empty`: an assumed split has no point there.
    solver: bool per instance (per row where rows were asked), True where a solver's number was taken without re-proving it;
    None means nowhere. Such a bound never verifies anything by itself.
    slack: size of the rounding terms inside the bounds, of their shape: a hint for choosing a finer format, no bound.
    proper: True where the maker guarantees lower <= upper everywhere, so that nobody needs to look.
    """

    __repr__ = short_repr

    lower: Tensor
    upper: Tensor
    solver: Tensor | None = None
    slack: Tensor | None = None
    proper: bool = False

    def meet(self, other: Interval) -> Interval:
        """Intersection. fmax and fmin: NaN never narrows a bound."""
        solver = self.solver if other.solver is None else other.solver if self.solver is None else self.solver | other.solver
        return Interval(torch.fmax(self.lower, other.lower), torch.fmin(self.upper, other.upper), solver)

    @property
    def width(self) -> Tensor:
        """upper - lower."""
        return self.upper - self.lower

    @cached_property
    def empty(self) -> Tensor:
        """(batch,) bool: some entry has lower > upper."""
        if self.proper:
            return torch.zeros(len(self.lower), dtype=torch.bool, device=self.lower.device)
        return (self.lower > self.upper).reshape(len(self.lower), -1).any(1)

    @cached_property
    def magnitude(self) -> Tensor:
        """(batch, ...): max(|lower|, |upper|), exact."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    @cached_property
    def filled(self) -> Interval:
        """A non-empty stand-in: the ends swapped where crossed. Anything is sound there: `empty` closes the instance."""
        if self.proper or not bool((self.lower > self.upper).any()):
            return self
        return Interval(torch.minimum(self.lower, self.upper), torch.maximum(self.lower, self.upper), self.solver, proper=True)

    def take(self, index: Tensor) -> Interval:
        """Instances `index` (repeats allowed)."""
        solver = None if self.solver is None else self.solver[index]
        return Interval(self.lower[index], self.upper[index], solver, proper=self.proper)

    def to(self, dtype: torch.dtype) -> Interval:
        """In another format, rounded outward."""
        if self.lower.dtype == dtype:
            return self
        if dtype not in self._casts:
            self._casts[dtype] = self._cast(dtype)
        return self._casts[dtype]

    @cached_property
    def _casts(self) -> dict[torch.dtype, Interval]:
        return {}

    def _cast(self, dtype: torch.dtype) -> Interval:
        return Interval(cast_down(self.lower, dtype), cast_up(self.upper, dtype), self.solver, proper=self.proper)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """sum_k lower[k] x_k + lower_offset <= f(x) <= sum_k upper[k] x_k + upper_offset on the given intervals.

    A slope has its input's shape (batch, *input); where the output lacks trailing axes, the products are summed over
    them. Slopes are numbers of the matrix format held in the vector format; offsets (batch, *output) are sound for
    exactly those numbers.
    """

    __repr__ = short_repr

    lower: tuple[Tensor, ...]
    lower_offset: Tensor
    upper: tuple[Tensor, ...]
    upper_offset: Tensor


@dataclass(frozen=True, eq=False)
class Band:
    """|f(x) - sum_k slope[k] x_k - offset| <= radius on the given intervals; shapes as in `Relaxation`."""

    __repr__ = short_repr

    slope: tuple[Tensor, ...]
    offset: Tensor
    radius: Tensor
