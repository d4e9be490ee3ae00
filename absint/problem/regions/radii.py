"""Radii of a batch: one for each instance, kept as the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.errors import InputError, UsageError, shown
from absint.numeric.decimal import float_above, parse_eps
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


def check_stated(center: object, eps: object) -> None:
    """Raise InputError E-REGION, UsageError E-EPS for a ball that is not stated in tensors and exact radii.

    A float as a radius would mean one number to who writes it, and another one where it is rounded.
    """
    if not isinstance(center, Tensor):
        raise InputError("E-REGION", f"the centre is of type {type(center).__name__}, not a tensor", where="inputs",
                         hint="torch.as_tensor(inputs), one row an input")
    if isinstance(eps, (InstanceRadii, Tensor)):
        return
    for one in eps if isinstance(eps, tuple) else (eps,):
        if not isinstance(one, Fraction):
            raise UsageError("E-EPS", f"a radius of type {type(one).__name__} is not exact: {shown(one)}", where="--eps",
                             hint="fractions.Fraction('0.1') for 0.1, or a float64 tensor for a radius an entry")
        parse_eps(one)
