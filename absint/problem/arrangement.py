"""How images become a network's inputs: which axes move where, decided from the order of the images and that of the network."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from absint.model.layout import Axes, Known, Layout, Shape, readings

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arrangement:
    """How data become inputs: images of that order, their channels moved to where `axes` has them. Without axes: as they lie."""

    axes: Axes | None
    order: Layout | None = None

    def of(self, inputs: FloatArray, shape: Shape) -> FloatArray:
        """(N, ...) -> (N, *shape)."""
        if self.axes is not None and self.order is not None:
            images = inputs.reshape(len(inputs), *self.axes.ordered(self.order))
            source = 1 if self.order is Layout.CHW else len(self.axes.view)
            inputs = np.ascontiguousarray(np.moveaxis(images, source, self.axes.channels + 1))
        return inputs.reshape(len(inputs), *shape)


def arrangements(given: Shape, order: Layout | None, shape: Shape, network: Known) -> list[Arrangement]:
    """Every way to make inputs of `shape` from images of shape `given` (of the same size) that agrees with what is known.

    order: of the images' own axes.  Images that have the inputs' axes already stay as they are where no order is known.
    """
    view = network.view if isinstance(network, Axes) else shape
    if order is None and (_flat(given) or _flat(view) or _bare(given) == _bare(view)):
        return [Arrangement(network if isinstance(network, Axes) else None)]
    if len(shape) < 3 and len(given) < 3 and not isinstance(network, Axes):
        if _flat(given) and _flat(shape) and network not in (None, order):
            return []    # rows of an image whose size nobody knows cannot be reordered
        return [Arrangement(None, order)] if _flat(given) or _flat(shape) or given == shape else []
    found = []
    for one in list(Layout) if order is None else [order]:
        for axes in _targets(given, one, shape, network):
            if order is None and network is None and (one, axes.name) != (Layout.HWC, Layout.CHW.value):
                continue    # of two orders that are both guessed, only the usual pair
            if _flat(given) or _bare(given) == _bare(axes.ordered(one)):
                found.append(Arrangement(axes, one))
    return found


def differ(ways: list[Arrangement], given: Shape, shape: Shape) -> bool:
    """Whether the ways do not all move every entry to the same place."""
    places = np.arange(prod(given), dtype=np.float64).reshape(1, *given)
    return len({way.of(places, shape).tobytes() for way in ways}) > 1


def _targets(given: Shape, order: Layout, shape: Shape, network: Known) -> list[Axes]:
    """What the network may see. A flat input is seen as the image that the data is."""
    if len(shape) > 1 or isinstance(network, Axes):
        if len(shape) == 2 and not isinstance(network, Axes):
            return [Axes((1, *shape), 0)]
        return readings(shape, network)
    if len(given) < 3:
        return []
    count = given[0] if order is Layout.CHW else given[-1]
    image = Axes((count, *(given[1:] if order is Layout.CHW else given[:-1])), 0)
    layouts = list(Layout) if not isinstance(network, Layout) else [network]
    return [Axes(image.ordered(one), 0 if one is Layout.CHW else len(given) - 1) for one in layouts]


def swapped(given: Shape, shape: Shape, network: Known) -> bool:
    """Whether three axes could as well be the network's with height and width exchanged."""
    if len(given) != 3 or len(shape) != 3:
        return False
    last = network is Layout.HWC or (isinstance(network, Axes) and network.channels == 2)
    return given == ((shape[1], shape[0], shape[2]) if last else (shape[0], shape[2], shape[1]))


def _bare(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _flat(shape: Shape) -> bool:
    return len(_bare(shape)) <= 1
