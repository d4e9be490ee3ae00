"""Linear operators in rational numbers, from the images of unit vectors: no operator is named, no coefficient rounds.

The image of a unit vector is one coefficient times 1, plus zeros: exact in float64 by any kernel that sums plain products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from absint.numeric.rational import Rationals, joined

Shape = tuple[int, ...]

_ENTRIES = 1 << 22  # of unit vectors and their images at a time

Coefficients = Callable[[Tensor], Rationals]


class RationalLinear(Protocol):
    """What is needed of an operator of that family, which is defined above this module."""

    @property
    def forward_terms(self) -> int:
        """1 where entries are only moved."""

    @property
    def offset(self) -> Tensor | None:
        """The constant."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """Of the result."""

    def apply(self, *xs: Tensor) -> Tensor:
        """Without the constant."""

    def part(self, position: int, x: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
        """With every other input zero."""


def reciprocals(values: Tensor) -> Rationals:
    """Of floats that are 1 / n, rounded, for whole numbers n: the fractions that are meant."""
    count = torch.where(values == 0, torch.ones_like(values), 1 / values).round()
    common = int(np.lcm.reduce(count.long().numpy().astype(object), initial=1))
    top = np.where((values != 0).numpy(), common // count.long().numpy().astype(object), 0)
    return Rationals(top.astype(object), common)


def image(op: RationalLinear, xs: tuple[Rationals, ...], coefficients: Coefficients = Rationals.of) -> Rationals:
    """L(x1, ..., xk) + b. coefficients: what numbers the entries of the matrix stand for."""
    shapes = tuple(x.shape for x in xs)
    shape = op.output_shape(*shapes)
    result = (_moved(op, xs, shapes) if op.forward_terms <= 1 else _product(op, xs, shapes, coefficients)).reshape(shape)
    return result if op.offset is None else result + Rationals.of(op.offset.expand(shape))


def _moved(op: RationalLinear, xs: tuple[Rationals, ...], shapes: tuple[Shape, ...]) -> Rationals:
    """Entries that are only moved: numbers carry their own positions through the operator, 0 stands for none."""
    places, count = [], 0
    for shape in shapes:
        places.append(torch.arange(count + 1, count + 1 + prod(shape), dtype=torch.float64).reshape(1, *shape))
        count += prod(shape)
    index = op.apply(*places)[0].long().numpy() - 1
    return joined(xs).take(index)


def _product(op: RationalLinear, xs: tuple[Rationals, ...], shapes: tuple[Shape, ...], coefficients: Coefficients) -> Rationals:
    """The sum over all coefficients that meet an entry other than zero."""
    shape = op.output_shape(*shapes)
    total = Rationals(np.array([0] * prod(shape), dtype=object), 1)
    for position, x in enumerate(xs):
        flat = x.reshape((-1,))
        for entries in _chunks((flat.top != 0).nonzero()[0], len(flat.top) + prod(shape)):
            units = torch.zeros(len(entries), len(flat.top), dtype=torch.float64)
            units[torch.arange(len(entries)), torch.from_numpy(entries)] = 1.0
            columns = op.part(position, units.reshape(len(entries), *shapes[position]), shapes).reshape(len(entries), -1)
            entry, place = columns.nonzero(as_tuple=True)
            weight = coefficients(columns[entry, place])
            top = np.array([0] * prod(shape), dtype=object)
            np.add.at(top, place.numpy(), weight.top * flat.top[entries[entry.numpy()]])
            total = total + Rationals(top, weight.below * flat.below)
    return total


def _chunks(entries: np.ndarray, size: int) -> Iterator[np.ndarray]:
    step = max(1, _ENTRIES // size)
    for start in range(0, len(entries), step):
        yield entries[start : start + step]
