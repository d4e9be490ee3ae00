"""Windows: the part of each channel that one output position of a chain of convolutions can see."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Of the position p (per spatial axis) that it belongs to: the entries scale p + low, ..., scale p + low + size - 1.

    Entries outside of the image are padding. One value for all positions: only p differs between rows.
    """

    scale: Sizes
    low: Sizes
    size: Sizes

    @staticmethod
    def of_one(rank: int) -> Window:
        """The position itself."""
        return Window((1,) * rank, (0,) * rank, (1,) * rank)

    @property
    def entries(self) -> int:
        """Of one channel."""
        return prod(self.size)

    def through(self, stride: Sizes, begin: Sizes, reach: Sizes) -> Window:
        """What a convolution reads for these entries. begin: padding before each axis.  reach: entries that its kernel spans."""
        every = zip(self.scale, self.low, self.size, stride, begin, reach, strict=True)
        moved = [(scale * step, low * step - pad, (size - 1) * step + span) for scale, low, size, step, pad, span in every]
        scale, low, size = (tuple(one[k] for one in moved) for k in range(3))
        return Window(scale, low, size)

    def joined(self, other: Window) -> Window | None:
        """The least window around both; None where they move at different paces."""
        if self.scale != other.scale:
            return None
        low = tuple(map(min, self.low, other.low))
        high = tuple(max(a + m, b + n) for a, m, b, n in zip(self.low, self.size, other.low, other.size, strict=True))
        return Window(self.scale, low, tuple(h - a for h, a in zip(high, low, strict=True)))

    def rims(self, inner: Window) -> list[tuple[int, int]]:
        """Entries before and after another window of the same pace inside this one, per axis."""
        return [(b - a, a + m - b - n) for a, m, b, n in zip(self.low, self.size, inner.low, inner.size, strict=True)]
