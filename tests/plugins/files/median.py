"""A median filter in front of the network, as a transform: one file, for every analysis that takes `--transform`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from absint.errors import UsageError
from absint.problem.transforms import Frame, Transform, register_transform

ABSINT_CONTRACT = 1


@register_transform("median")
@dataclass(frozen=True)
class Median(Transform):
    """Each entry becomes the median of the square around it, in each channel by itself; `median5` has squares of 5 x 5."""

    width: int = 3

    def check(self, frame: Frame) -> None:
        """Before any input: what does not suit is said in the words of this file."""
        if len(frame.shape) != 3 or self.width % 2 == 0 or self.width > 2 * min(frame.shape[1:]) - 1:
            raise UsageError("E-MEDIAN", f"squares of {self.width} x {self.width} on inputs of shape {frame.shape}", where="--transform",
                             hint="images (channels, height, width), and an odd width that is not larger than they are")

    def __call__(self, x: Tensor, frame: Frame) -> Tensor:
        """Medians of numbers in the data range lie in it."""
        edge = self.width // 2
        squares = pad(x, (edge,) * 4, mode="reflect").unfold(2, self.width, 1).unfold(3, self.width, 1)
        return squares.flatten(4).median(-1).values
