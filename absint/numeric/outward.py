"""Outward rounding by hand: the one place that steps to a neighbouring float."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from absint.numeric.rounding import no_lower, no_upper


def down(x: Tensor) -> Tensor:
    """The next number below, or -inf unless x is finite: a lower bound of what x was rounded from."""
    x = no_lower(x)
    return torch.nextafter(x, x.new_tensor(-inf))


def up(x: Tensor) -> Tensor:
    """The mirror image of `down`."""
    x = no_upper(x)
    return torch.nextafter(x, x.new_tensor(inf))
