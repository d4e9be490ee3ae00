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


@dataclass(frozen=True, eq=False)
class CutPlaces:
    """Operands at which a case split leaves less that bends: operands up to one on one side, those from it on on the other.

    at: (batch, K, *shape) float64, ascending; +inf where an entry has fewer; one beyond the interval counts for nothing.
    left, here, right: (batch, K, *shape), the limits and the value there, within the kernel's error.
    corners: places and values (batch, K - 1, 2, *shape) each, inf where there is none, where more than that bends.
    slack: (batch, *shape), what any value of an entry may be off by beyond the kernel's error; None for nothing.
    Between neighbours, and up to the interval's ends, the function lies in the hull of what is stated of that part: of the values at its
    ends and its corners. Without corners that is a line.
    """

    at: Tensor
    left: Tensor
    here: Tensor
    right: Tensor
    corners: tuple[Tensor, Tensor] | None = None
    slack: Tensor | None = None
