"""The shape of a broadcast. numpy's rule is torch's, and torch's own function imports a computer algebra system: half a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from absint.model.op import Shape


def held(shape: Shape) -> Shape:
    """How a graph holds a value of that shape: a number without axes has one of size 1 there, so that every value has axes."""
    return shape or (1,)


def broadcast_shape(*shapes: Sequence[int]) -> Shape:
    """The common shape. Raises RuntimeError, as torch does, where there is none."""
    first, *others = map(tuple, shapes)
    if all(shape == first for shape in others):
        return first
    try:
        return tuple(int(size) for size in np.broadcast_shapes(*(tuple(shape) for shape in shapes)))
    except ValueError as error:
        raise RuntimeError(f"shapes {', '.join(map(str, map(tuple, shapes)))} do not broadcast") from error
