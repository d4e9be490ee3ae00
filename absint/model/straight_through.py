"""Slopes for searches where a function has none: straight-through gradients. No bound rests on any of this.

Source: Bengio, Leonard and Courville, Estimating or Propagating Gradients Through Stochastic Neurons, 2013, section 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Felt(torch.autograd.Function):
    """`value`, with gradients of its own and one more by x."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, slope: Tensor) -> Tensor:
        """The value, every bit of it."""
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """The value's own share, and the surrogate's."""
        (slope,) = ctx.saved_tensors
        return grads[0], grads[0] * slope, None


def straight_through(value: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    """`value` to the last bit, whose gradient by x is `slope` more than it was. All of one shape; NaN and infinite slopes count as 0."""
    felt: Tensor = _Felt.apply(value, x, torch.nan_to_num(slope.detach(), nan=0.0, posinf=0.0, neginf=0.0))  # type: ignore[no-untyped-call]
    return felt


def spread(offset: Tensor, rise: float) -> Tensor:
    """The slope of a jump by `rise` at offset 0, spread over the reals: rise / 2s (1 + |offset| / s)^-2, never 0.

    offset: (batch, *shape), from the jump.  s: the mean size of an instance's offsets, so that operands of any scale feel it.
    """
    size = offset.detach().abs()
    width = size.flatten(1).mean(1).clamp(min=torch.finfo(size.dtype).tiny).reshape(-1, *(1,) * (size.dim() - 1))
    return rise / (2 * width * (1 + size / width) ** 2)
