"""What an elementwise function is made of: monotone pieces of one curvature, kinks, jumps, and the errors of its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from torch import Tensor


class Curvature(IntEnum):
    """Sign of the second derivative on a piece."""

    CONCAVE = -1
    LINEAR = 0
    CONVEX = 1


@dataclass(frozen=True)
class Piece:
    """f on [low, high]: monotone (direction +1 or -1, 0 for constant) and of one curvature."""

    low: float
    high: float
    direction: int
    curvature: Curvature


@dataclass(frozen=True)
class Knot:
    """A kink at x: one-sided derivatives `left` and `right`. f is continuous there."""

    x: float
    left: float
    right: float


@dataclass(frozen=True)
class KernelError:
    """|computed - exact| <= ulps u |computed| + absolute."""

    ulps: float = 0.0
    absolute: float = 0.0


@dataclass(frozen=True)
class Jump:
    """A discontinuity at x: the one-sided limits. f(x) itself is what `evaluate` says."""

    x: float
    left: float
    right: float


class Candidate(NamedTuple):
    """A point where f(x) - s x may be extreme, f there (or a one-sided limit), and how far beyond it the extreme may lie."""

    point: Tensor
    value: Tensor
    slack: Tensor | float


@dataclass(frozen=True)
class Cut:
    """An operand at which a case split leaves less that bends: operands up to x on one side, those from x on the other.

    below, above: the values that the function takes or tends to at x, as seen from either side, within its kernel's error; f(x) itself
    is among one of them.
    """

    x: float
    below: tuple[float, ...]
    above: tuple[float, ...]
