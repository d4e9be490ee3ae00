"""Reads least and greatest values by entry from npz and CSV files: boxes of inputs, ranges of outputs.

    npz                 arrays lower and upper (lo and hi, low and high, lb and ub, min and max), flat or of the entries' shape, or several
    lower,upper         CSV: a line an entry; a header says which column is which, and others are left out
    0,1
    lower,0,0,-1        CSV: a line a side, by its first cell; or two lines without names, the least values first
    upper,1,2,1
                        the names of the entries may stand above two such lines
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf

import numpy as np

from absint.errors import InputError
from absint.frontends.csv_text import csv_lines, number_in
from absint.frontends.data_source import AnyArray, DataSource
from absint.frontends.numpy_files import npz_arrays, npz_keys
from absint.numeric.decimal import rational
from absint.problem.boxes import EntryLimits, Number, number_of_float

_NAMES = (("lower", "upper"), ("lo", "hi"), ("low", "high"), ("lb", "ub"), ("min", "max"), ("least", "greatest"))
_HINT = "a line an entry under the header 'lower,upper', or two lines, the least values first"

Line = tuple[int, list[str]]


def npz_limits(source: DataSource, count: int) -> EntryLimits:
    """Arrays of numbers, which are taken as they are. count: entries of one box."""
    keys = npz_keys(source)
    names = next((pair for pair in _NAMES if pair[0] in keys and pair[1] in keys), None)
    if names is None:
        raise source.fail("E-BOX-FORMAT", f"no arrays lower and upper; found: {', '.join(keys)}",
                          "write it with numpy.savez(path, lower=..., upper=...)")
    arrays = npz_arrays(source, names)
    low, high = (arrays[name] for name in names)
    for array in (low, high):
        if array.dtype.kind not in "uif" or array.dtype.itemsize > 8:
            raise source.fail("E-BOX-FORMAT", f"limits of type {array.dtype}", "store float64")
    if low.shape != high.shape:
        raise source.fail("E-BOX-FORMAT", f"lower has shape {low.shape}, upper {high.shape}", "store both alike")
    several = low.size != count and low.ndim > 1 and low[0].size == count
    shape = low.shape[1:] if several or (low.ndim > 1 and low.shape[0] == 1) else low.shape
    boxes = len(low) if several else 1
    return EntryLimits(_rows(low, boxes), _rows(high, boxes), str(source.path), shape)


def _rows(array: AnyArray, boxes: int) -> tuple[tuple[Number, ...], ...]:
    exact = array.reshape(boxes, -1)
    if exact.dtype.kind == "f":
        return tuple(tuple(map(number_of_float, row)) for row in exact.astype(np.float64).tolist())
    return tuple(tuple(Fraction(one) for one in row) for row in exact.tolist())


def csv_limits(source: DataSource) -> EntryLimits:
    """Decimals and fractions, which are kept exactly."""
    lines = csv_lines(source)
    if not lines:
        raise source.fail("E-BOX-FORMAT", "the file holds no limits", _HINT)
    header = [cell.strip().lower() for cell in lines[0][1]]
    known = {word for pair in _NAMES for word in pair}
    if len(lines) == 3 and not any(cell in known or number_in(cell) is not None for cell in header):
        lines = lines[1:]       # the entries' names above two sides
    columns = next(((header.index(low), header.index(high)) for low, high in _NAMES if low in header and high in header), None)
    sides = _unnamed(lines, source) if columns is None else [_column(lines[1:], place, source) for place in columns]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise source.fail("E-BOX-FORMAT", f"{len(sides[0])} least values and {len(sides[1])} greatest ones", _HINT)
    return EntryLimits((tuple(sides[0]),), (tuple(sides[1]),), str(source.path))


def _unnamed(lines: Sequence[Line], source: DataSource) -> list[list[Number]]:
    """Two lines, or two columns; where it could be either, it is refused."""
    first = [cells[0].strip().lower() for _, cells in lines]
    named = next((pair for pair in _NAMES if set(first) == set(pair)), None)
    if named is not None and len(lines) == 2:
        found = {word: [_number(cell, number, source) for cell in cells[1:]] for word, (number, cells) in zip(first, lines, strict=True)}
        return [found[word] for word in named]
    widths = {len(cells) for _, cells in lines}
    if widths == {2} and len(lines) == 2:
        raise source.fail("E-BOX-FORMAT", "two lines of two numbers: is a line an entry, or a side?",
                          "say so: a first line 'lower,upper' above the two entries")
    if widths == {2}:
        return [_column(lines, place, source) for place in range(2)]
    if len(lines) == 2 and len(widths) == 1:
        return [[_number(cell, number, source) for cell in cells] for number, cells in lines]
    raise source.fail("E-BOX-FORMAT", f"{len(lines)} lines of {', '.join(map(str, sorted(widths)))} cells are no limits", _HINT)


def _column(lines: Sequence[Line], place: int, source: DataSource) -> list[Number]:
    for number, cells in lines:
        if len(cells) <= place:
            raise source.fail("E-BOX-FORMAT", f"line {number} has {len(cells)} cells", _HINT)
    return [_number(cells[place], number, source) for number, cells in lines]


def _number(cell: str, line: int, source: DataSource) -> Number:
    text = cell.strip()
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return -inf if text.startswith("-") else inf
    try:
        if "_" not in text:
            return rational(text)
    except (ValueError, ZeroDivisionError):
        pass
    raise InputError("E-BOX-FORMAT", f"line {line}: '{cell[:30]}' is not a number", where=str(source.path), hint=_HINT)
