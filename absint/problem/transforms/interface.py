"""What a transform of inputs is given and must return; the registry of transforms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from absint.model.layout import Known
from absint.model.op import Shape
from absint.registry import Registry

LEVELS = 255                                            # the greatest number that eight bits hold
_ULPS = 4 * torch.finfo(torch.float32).eps              # what a float32 image and its way to a level round


@dataclass(frozen=True)
class Frame:
    """What is known of the inputs. shape: of one input.  low, high: the data range, low < high.  axes: where channels lie, if known."""

    shape: Shape
    low: float
    high: float
    axes: Known = None

    def positions(self, x: Tensor) -> Tensor:
        """Where x lies in the data range, as float64 from 0 to 255; what is beyond the range is moved to its end.

        A position within the rounding of a float32 image beside a whole number is that number, so that x = j / 255 is at j.
        """
        width = self.high - self.low
        at = (x.detach().double() - self.low) * (LEVELS / width)
        whole = at.round()
        near = LEVELS * _ULPS * max(abs(self.low), abs(self.high), width) / width
        return torch.where((at - whole).abs() <= near, whole, at).clamp(0, LEVELS)

    def levels(self, x: Tensor) -> Tensor:
        """The whole number of each entry, 0 to 255, rounded down, as float64."""
        return self.positions(x).floor()

    def values(self, levels: Tensor, like: Tensor) -> Tensor:
        """Levels as inputs, on the device and in the format of `like`, inside the data range."""
        share = levels.to(like.device).double() / LEVELS
        return (self.low + share * (self.high - self.low)).clamp(self.low, self.high).to(like.dtype)


class Transform(ABC):
    """A map of inputs that stands before the network, without a derivative. A plug-in is a frozen dataclass.

    Its fields are its options, with defaults of type bool, int, float or str; `NAME5` is NAME with 5 for its first field.
    safe: whether the result is known to be finite and in the data range. Else it is looked at, for which a device waits.
    """

    safe: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, frame: Frame) -> Tensor:
        """The transformed batch: of the same shape, in the data range.

        x: (batch, *shape), raw inputs in the data range, of any floating format and device; not to be changed. Each input is
        transformed by itself, the same way every time. Raises UsageError for a frame or for options that do not suit.
        """

    def check(self, frame: Frame) -> None:  # noqa: B027  # most have nothing to say
        """Raise UsageError or UnsupportedError for options, or inputs of a shape, that do not suit. Called once, before any input."""


TRANSFORMS: Registry[Callable[..., Transform]] = Registry("transform", "absint.transforms")
T = TypeVar("T", bound=Callable[..., Transform])


def register_transform(name: str) -> Callable[[T], T]:
    """Class decorator: make a transform known under `name`."""

    def enter(cls: T) -> T:
        TRANSFORMS.add(name, cls)
        return cls

    return enter
