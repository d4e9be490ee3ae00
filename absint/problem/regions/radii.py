"""Radii of a batch: one for each instance, kept as the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.errors import UsageError
from absint.numeric.decimal import float_above
from absint.problem.trusted import trusted


@dataclass(frozen=True)
class InstanceRadii:
    """One exact radius an instance. Raises UsageError E-EPS for one that is negative, or beyond float64."""

    exact: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        bad = [k for k, radius in enumerate(self.exact) if radius < 0 or float_above(radius) == inf]
        if bad:
            raise UsageError("E-EPS", f"the radius of instance {bad[0]} is negative or beyond float64", where="--eps",
                             hint="numbers >= 0")

    @cached_property
    def above(self) -> Tensor:
        """(batch,) float64, rounded up."""
        return torch.tensor([float_above(radius) for radius in self.exact], dtype=torch.float64)

    def of(self, batch: int) -> InstanceRadii:
        """Itself. Raises UsageError E-EPS where the batch has another number of instances."""
        if len(self.exact) != batch:
            raise UsageError("E-EPS", f"{len(self.exact)} radii for {batch} inputs", where="--eps", hint="one radius, or one an input")
        return self

    def take(self, index: Tensor) -> InstanceRadii:
        """Instances `index`."""
        chosen = torch.arange(len(self.exact))[index.cpu()]
        return trusted(InstanceRadii, exact=tuple(self.exact[i] for i in chosen.tolist()), above=self.above[chosen])
