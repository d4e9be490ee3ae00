"""Through an image format that loses something: encoded and decoded by Pillow, on the host, several images at a time."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.errors import UnsupportedError, UsageError
from absint.model.layout import Axes, readings, unknown
from absint.problem.transforms.interface import Frame, Transform, register_transform

_COLOURS = (1, 3)
_LARGEST_SIDE = 65_500      # of a JPEG file
_TOGETHER = 4               # threads: Pillow computes without Python's lock
_FEW = 16                   # images that are not worth a thread

Pixels = npt.NDArray[np.uint8]


@register_transform("jpeg")
@dataclass(frozen=True)
class Jpeg(Transform):
    """Each image as the JPEG file of that quality shows it, after floor(255 x). Grey or RGB; Pillow's tables and subsampling.

    Source: Dziugaite et al., A Study of the Effect of JPG Compression on Adversarial Images, 2016.
    """

    quality: int = 75
    safe: ClassVar[bool] = True

    def check(self, frame: Frame) -> None:
        """1 to 100; one or three channels of two axes; Pillow is there."""
        if not 1 <= self.quality <= 100:
            raise UsageError("E-TRANSFORM-OPTION", f"a JPEG quality of {self.quality}", where="--transform",
                             hint="1 to 100, such as jpeg75")
        sides = picture_axes(frame).spatial
        if max(sides) > _LARGEST_SIDE or min(sides) < 1:
            raise UsageError("E-TRANSFORM-SHAPE", f"a JPEG file holds no image of {sides[0]} x {sides[1]}", where="--transform",
                             hint=f"at most {_LARGEST_SIDE} along each axis")
        _pillow()

    def __call__(self, x: Tensor, frame: Frame) -> Tensor:
        """One image after the other, or some at a time: the result is the same."""
        axes, pillow = picture_axes(frame), _pillow()
        levels = frame.levels(x).to("cpu", torch.uint8).reshape(len(x), *axes.view).movedim(axes.channels + 1, -1)
        pictures: Pixels = levels[..., 0].contiguous().numpy() if axes.count == 1 else levels.contiguous().numpy()

        def through(one: Pixels) -> Pixels:
            buffer = io.BytesIO()
            pillow.fromarray(one).save(buffer, "JPEG", quality=self.quality)
            return np.asarray(pillow.open(buffer))

        found = torch.from_numpy(np.stack(_each(through, pictures))).reshape(levels.shape) if len(x) else levels
        return frame.values(found.movedim(-1, axes.channels + 1).reshape(x.shape), x)


def _each(through: Any, pictures: Pixels) -> list[Pixels]:
    if len(pictures) <= _FEW:
        return [through(one) for one in pictures]
    with ThreadPoolExecutor(_TOGETHER) as pool:
        return list(pool.map(through, pictures))


def picture_axes(frame: Frame) -> Axes:
    """Where the one or three channels of a picture lie. Raises UsageError E-TRANSFORM-SHAPE, or E-LAYOUT where that is open."""
    found = [axes for axes in readings(frame.shape, frame.axes) if len(axes.spatial) == 2 and axes.count in _COLOURS]
    if len(frame.shape) == 2 and not found:
        found = [Axes((*frame.shape, 1), 2)]        # grey, without an axis of channels
    if not found:
        raise UsageError("E-TRANSFORM-SHAPE", f"inputs of shape {frame.shape} are no pictures of 1 or 3 channels", where="--transform",
                         hint="jpeg needs (channels, height, width), (height, width, channels) or (height, width)")
    if len(found) > 1 and found[0].count > 1:
        raise unknown(frame.shape, "a picture", "--transform")
    return found[0]


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise UnsupportedError("E-PACKAGE-MISSING", "JPEG needs the package pillow", where="--transform",
                               hint="pip install pillow   (or: pip install 'absint[images]')") from error
    return PIL.Image
