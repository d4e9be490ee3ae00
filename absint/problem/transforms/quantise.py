"""Fewer levels for each entry: bit depth, and the eight bits of a file. Computed on the inputs' own device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from absint.errors import UsageError
from absint.problem.transforms.interface import Frame, Transform, register_transform

EIGHT = 8


@register_transform("bits")
@dataclass(frozen=True)
class Bits(Transform):
    """The upper `depth` of the eight bits of each entry; the others are zero: (u >> (8 - k)) << (8 - k) of u = floor(255 x).

    Source: Xu et al., Feature Squeezing, NDSS 2018, section III-A, rounded down.
    """

    depth: int = 3
    safe: ClassVar[bool] = True

    def check(self, frame: Frame) -> None:
        """1 to 8 bits."""
        if not 1 <= self.depth <= EIGHT:
            raise UsageError("E-TRANSFORM-OPTION", f"a depth of {self.depth} bits", where="--transform", hint="1 to 8, such as bits3")

    def __call__(self, x: Tensor, frame: Frame) -> Tensor:
        """Exact but for the way back into the data range."""
        step = float(1 << (EIGHT - self.depth))
        return frame.values((frame.levels(x) / step).floor() * step, x)


@register_transform("png")
@dataclass(frozen=True)
class Png(Transform):
    """Eight bits, rounded to the nearest: what an image keeps of itself in a PNG file. A check of what the other transforms add."""

    safe: ClassVar[bool] = True

    def __call__(self, x: Tensor, frame: Frame) -> Tensor:
        """Of images that were eight bits deep, the images themselves."""
        return frame.values(frame.positions(x).round(), x)
