"""Values for a network with several named inputs: one array an input, joined into the one vector that the graph takes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from absint.errors import InputError

Shape = tuple[int, ...]
Named = Mapping[str, Shape]     # inputs in the order in which they lie in the vector, without batch axis
T = TypeVar("T")


def wanted(named: Named) -> str:
    """What to say of the inputs: "'a' (2,), 'b' (1, 28, 28)"."""
    return ", ".join(f"'{name}' {shape}" for name, shape in named.items())


def one_each(values: Mapping[str, T], named: Named, where: str) -> list[T]:
    """The value of every input, in order. Raises InputError E-DATA-INPUTS naming those that lack one, and names that are no input."""
    lacking = [name for name in named if name not in values]
    strange = [str(name) for name in values if name not in named]
    if lacking or strange:
        details = [f"'{name}' {named[name]}: no array" for name in lacking]
        details += [f"'{name}': the network has no such input" for name in strange]
        raise InputError("E-DATA-INPUTS", f"the network has {len(named)} inputs, and the arrays are not one for each", where=where,
                         details=details, hint=f"give one array an input, with one row an instance: {wanted(named)}")
    return [values[name] for name in named]


def rows_of(shape: Shape, inner: Shape, name: str, where: str) -> int:
    """How many instances an array of one input holds, axis 0 first. Flat rows and axes of size 1 are taken for the shape itself.

    Raises InputError E-DATA-SHAPE.
    """
    row = shape[1:]
    same = [n for n in row if n != 1] == [n for n in inner if n != 1]
    if not shape or not (same or row == (prod(inner),)):
        takes = ", ".join(map(str, inner))
        raise InputError("E-DATA-SHAPE", f"an array of shape {shape} for the input '{name}', which takes (batch, {takes})", where=where,
                         hint="give one row per instance, axes in the network's order")
    return shape[0]


def check_counts(counts: Mapping[str, int], where: str) -> None:
    """Raise InputError E-DATA-SHAPE unless all inputs have as many instances."""
    if len(set(counts.values())) > 1:
        raise InputError("E-DATA-SHAPE", "the inputs do not have as many rows each", where=where,
                         details=[f"'{name}': {count}" for name, count in counts.items()],
                         hint="give as many rows of each: row k is part of instance k")


def check_flat(row: Shape, named: Named, where: str) -> None:
    """Raise InputError E-DATA-INPUTS where one array for several inputs does not hold rows of the whole vector."""
    size = sum(map(prod, named.values()))
    if named and row != (size,):
        raise InputError("E-DATA-INPUTS", f"the network has {len(named)} inputs, and this is one array with rows of shape {row}",
                         where=where, details=[f"'{name}' {shape}" for name, shape in named.items()],
                         hint="give one array an input, as a dict of arrays or in an npz file, called as above; "
                         f"or rows of all {size} numbers in this order")


def joined(arrays: Mapping[str, npt.NDArray[np.float64]], named: Named, where: str) -> npt.NDArray[np.float64]:
    """(N, all numbers) of arrays (N, *shape), one an input. Raises InputError E-DATA-INPUTS, E-DATA-SHAPE."""
    parts = one_each(arrays, named, where)
    counts = {name: rows_of(part.shape, shape, name, where) for (name, shape), part in zip(named.items(), parts, strict=True)}
    check_counts(counts, where)
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
