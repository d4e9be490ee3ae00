"""Sums of entries that go to the same place, as every device adds them."""

from __future__ import annotations

import torch
from torch import Tensor

_ON_HOST = "cpu"


def added_at(values: Tensor, index: Tensor, size: int) -> Tensor:
    """(batch, size): the sums of the values of each place, 0 where none goes. values: (batch, n).  index: (n,) or (batch, n) int64.

    Elsewhere than on the CPU by sorting: CUDA's atomic additions of float32 to global memory flush subnormal operands and results
    to zero (PTX ISA, section 9.7.13, `red`), whatever the mode; seen on an H200. Sorted sums have a fixed order besides.
    """
    if values.device.type == _ON_HOST:
        return values.new_zeros(len(values), size).scatter_add(1, index.expand_as(values), values)
    places = index + size * torch.arange(len(values), device=values.device)[:, None]
    return values.new_zeros(len(values) * size).index_put((places.flatten(),), values.flatten(), accumulate=True).reshape(len(values), size)
