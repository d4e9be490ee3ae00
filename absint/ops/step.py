"""Piecewise constant functions: Sign, Floor, Ceil, Round."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.elementwise import Candidate, Curvature, Elementwise, Jump, Piece
from absint.op import register_op


@register_op("Sign")
@dataclass(frozen=True, eq=False)
class Sign(Elementwise):
    """-1, 0 at 0, 1."""

    pieces = (Piece(-inf, 0.0, 0, Curvature.LINEAR), Piece(0.0, inf, 0, Curvature.LINEAR))
    jumps = (Jump(0.0, -1.0, 1.0),)
    piecewise_linear = True
    codomain = (-1.0, 1.0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.sign(x)

    def derivative(self, x: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(x)


class _Staircase(Elementwise):
    """Rises by 1 at every k + place from k + before to k + before + 1, for whole k.

    Corners of one kind lie on a line: f(x) - s x is extreme at the ends of [l, u] or beside the first or the last jump.
    """

    place: float
    piecewise_linear = True
    double = True  # where jumps stop being float32 numbers
    pieces = (Piece(-inf, inf, 1, Curvature.LINEAR),)

    def derivative(self, x: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(x)

    def _affine(self, low: Tensor, high: Tensor) -> Tensor:
        return (self.evaluate(low) == self.evaluate(high)) & low.isfinite() & high.isfinite()

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        return torch.zeros_like(low, dtype=torch.bool)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """Everywhere in truth; NaN bounds are not."""
        return low <= high

    def _limits(self, low: Tensor, high: Tensor) -> list[Candidate]:
        first, last = self.evaluate(low), self.evaluate(high)
        found = self._limit(first + self.place, first, first + 1, low, high)
        return found + self._limit(last + (self.place - 1), last - 1, last, low, high)


@register_op("Floor")
@dataclass(frozen=True, eq=False)
class Floor(_Staircase):
    """The greatest whole number not above x."""

    place = 1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.floor(x)


@register_op("Ceil")
@dataclass(frozen=True, eq=False)
class Ceil(_Staircase):
    """The least whole number not below x."""

    place = 0.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.ceil(x)


@register_op("Round")
@dataclass(frozen=True, eq=False)
class Round(_Staircase):
    """The nearest whole number, the even one of two."""

    place = 0.5

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.round(x)
