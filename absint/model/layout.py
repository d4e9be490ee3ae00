"""The axes of an image: which axis of an input holds its channels. One notion for patches, radii, normalisation, data and pictures.

It is known from the operators that read the input (`absint.model.input_axes`), or told; where it matters and is neither, nothing is
assumed. docs/regions.md, section "Channels first or last", states the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from absint.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]


class Layout(StrEnum):
    """Order of an image's axes, whatever their number: channels before all others, or behind them."""

    CHW = "chw"
    HWC = "hwc"


@dataclass(frozen=True)
class Axes:
    """An input, read in row-major order as an array of shape `view`, holds its channels along axis `channels`.

    `view` is the input's own shape, or what a flat input stands for.
    """

    view: Shape
    channels: int

    @property
    def count(self) -> int:
        """Number of channels."""
        return self.view[self.channels]

    @property
    def spatial(self) -> Shape:
        """All other axes."""
        return (*self.view[: self.channels], *self.view[self.channels + 1 :])

    @property
    def name(self) -> str:
        """chw, hwc, or the axis in words."""
        if self.channels in (0, len(self.view) - 1):
            return (Layout.HWC if self.channels else Layout.CHW).value
        return f"channels on axis {self.channels} of {self.view}"

    def ordered(self, layout: Layout) -> Shape:
        """The same image's shape in that order."""
        return (self.count, *self.spatial) if layout is Layout.CHW else (*self.spatial, self.count)

    def spread(self, values: Tensor, shape: Shape) -> Tensor:
        """values: (count,), one per channel -> a tensor that broadcasts against an input of that shape."""
        along = values.reshape(self._along)
        return along if self.view == shape else along.expand(self.view).reshape(shape)

    def numbers(self, shape: Shape) -> npt.NDArray[np.int64]:
        """Of the input's shape: the channel of each entry."""
        return np.broadcast_to(np.arange(self.count).reshape(self._along), self.view).reshape(shape)

    @property
    def _along(self) -> Shape:
        return tuple(self.count if k == self.channels else 1 for k in range(len(self.view)))


Known = Axes | Layout | None
"""What is known of a network's input: all, the order alone, or nothing."""


@dataclass(frozen=True)
class Told:
    """What --layout says. word: the order of the data's images, or of the network's where the data's file tells its own.

    network: the order of the network's images, where it is told apart.
    """

    word: Layout | None
    network: Layout | None


def parse_layout(text: str) -> Told:
    """'auto', 'chw', 'hwc', or 'DATA:NETWORK' with two of these. Raises UsageError E-DATA-LAYOUT."""
    words = {"auto": None, "chw": Layout.CHW, "hwc": Layout.HWC}
    parts = text.split(":")
    if len(parts) > 2 or any(part not in words for part in parts):
        raise UsageError("E-DATA-LAYOUT", f"there is no layout '{text}'", where="--layout",
                         hint="use one of auto, chw, hwc, or two as DATA:NETWORK, such as hwc:chw")
    return Told(words[parts[0]], words[parts[1]] if len(parts) == 2 else None)


def network_layout(text: str) -> Layout | None:
    """The order of a network's images where no data is involved (`layout=` in Python). Raises UsageError E-DATA-LAYOUT."""
    told = parse_layout(text)
    return told.network or told.word


def known_from(value: Known | str) -> Known:
    """A word of a caller in Python as what it says. Raises UsageError E-DATA-LAYOUT."""
    return value if value is None or isinstance(value, (Axes, Layout)) else network_layout(value)


def agreed(shape: Shape, known: Known, told: Known) -> Known:
    """What the operators say and what is told, together. Raises UsageError E-LAYOUT where they contradict each other."""
    if told is None or known is None:
        return told or known
    exact = known if isinstance(known, Axes) else told
    views = {axes.view for axes in (known, told) if isinstance(axes, Axes)}
    if len(views) < 2 and (named(known) == named(told) or (isinstance(exact, Axes) and exact.count == 1)):
        return exact
    raise UsageError("E-LAYOUT", f"the network reads its input, of shape {shape}, as {named(known)}, not as {named(told)}",
                     where="--layout", hint="leave the network's order to its operators; --layout with one word is about the data")


def named(known: Known) -> str:
    """In a word."""
    return "unknown" if known is None else known.name if isinstance(known, Axes) else known.value


def readings(shape: Shape, known: Known, *, count: int | None = None, image: Shape | None = None) -> list[Axes]:
    """Every way to see an image in an input of that shape that agrees with what is known.

    count: the number of channels, image: the other axes, where a caller knows them; flat inputs need one of the two.
    An outermost axis of size 1 is the channels' unless the other end is of size 1, too.
    """
    if isinstance(known, Axes):
        found = [known]
    else:
        layouts = list(Layout) if known is None else [known]
        seen = (_seen(shape, layout, count, image) for layout in layouts)
        found = list(dict.fromkeys(axes for axes in seen if axes is not None))    # of a flat input, both may be the same
        if known is None and len(shape) == 1 and image is None:
            found = [axes for axes in found if axes.view == shape]    # rows are split into channels only if that is told
        single = [axes for axes in found if axes.count == 1]
        if known is None and len(single) == 1 and len(shape) > 2:
            found = single
    return [axes for axes in found if count in (None, axes.count) and image in (None, axes.spatial)]


def _seen(shape: Shape, layout: Layout, count: int | None, image: Shape | None) -> Axes | None:
    """The image in that order, or None where the shape leaves it open."""
    size = prod(shape)
    fits = image is not None and prod(image) > 0 and size % prod(image) == 0
    if image is not None and fits and (len(shape) < 3 or prod(image) == size):
        axes = Axes((size // prod(image), *image), 0)
        return Axes(axes.ordered(layout), 0 if layout is Layout.CHW else len(image))
    if len(shape) == 1:
        if count == size:
            return Axes(shape, 0)
        if not count or size % count:
            return None
        return Axes((count, size // count), 0) if layout is Layout.CHW else Axes((size // count, count), 1)
    if len(shape) < 2:
        return None
    return Axes(shape, 0 if layout is Layout.CHW else len(shape) - 1)


def axes_of_values(shape: Shape, values: Sequence[object], known: Known, what: str) -> Axes | None:
    """The axes along which one value per channel goes; None where their number fits none.

    Raises UsageError E-LAYOUT where two axes fit and the values differ.
    """
    found = readings(shape, known, count=len(values))
    if len(found) > 1 and any(value != values[0] for value in values):
        raise unknown(shape, f"{len(values)} values by channel", what)
    return found[0] if found else None


def picture_in(shape: Shape, known: Known, image: Shape | None, what: str) -> Axes | None:
    """The two-dimensional picture in an input; None where there is none of that size.

    Raises UsageError E-LAYOUT where the order of the axes would make a difference.
    """
    if len(shape) == 2 and image is None and not isinstance(known, Axes):
        image = shape    # grey, without an axis of channels
    found = [axes for axes in readings(shape, known, image=image) if len(axes.spatial) == 2]
    if len(found) > 1 and (found[0].count > 1 or found[0].spatial != found[1].spatial):
        raise unknown(shape, "a picture", what)
    return found[0] if found else None


def unknown(shape: Shape, need: str, where: str) -> UsageError:
    """The error of whoever would have to guess."""
    return UsageError("E-LAYOUT", f"{need} in an input of shape {shape}: are the channels the first axis or the last?", where=where,
                      hint="the network's operators do not tell: say --layout chw or --layout hwc, with data of their own order both: "
                      "--layout chw:chw (layout='chw' in Python)")
