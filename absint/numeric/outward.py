"""Outward rounding by hand: the one place that steps to a neighbouring float."""

from __future__ import annotations

from math import inf
from typing import overload

import numpy as np
from torch import Tensor

from absint.numeric.rounding import no_lower, no_upper, stepped


def down(x: Tensor) -> Tensor:
    """The next number below, or -inf unless x is finite: a lower bound of what x was rounded from."""
    return stepped(no_lower(x), -inf)


def up(x: Tensor) -> Tensor:
    """The mirror image of `down`."""
    return stepped(no_upper(x), inf)


@overload
def next_below(x: float) -> float: ...
@overload
def next_below(x: np.ndarray) -> np.ndarray: ...
def next_below(x: float | np.ndarray) -> float | np.ndarray:
    """The next number below, in the format of x, finite or not: callers deal with NaN and infinities themselves."""
    found = np.nextafter(x, -inf)
    return found if isinstance(found, np.ndarray) else float(found)


@overload
def next_above(x: float) -> float: ...
@overload
def next_above(x: np.ndarray) -> np.ndarray: ...
def next_above(x: float | np.ndarray) -> float | np.ndarray:
    """The mirror image of `next_below`."""
    found = np.nextafter(x, inf)
    return found if isinstance(found, np.ndarray) else float(found)
