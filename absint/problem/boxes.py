"""Boxes that users bring: least and greatest values by input, from a file or a Python program, kept exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isnan, prod
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from absint.errors import InputError, UsageError, shown
from absint.numeric.decimal import exact_text, float_above
from absint.problem.data_frontend import DATA
from absint.problem.live.arrays import array_of
from absint.problem.query import Query, read_query
from absint.problem.regions.decimal_box import DecimalBox
from absint.problem.regions.region import BoxRegion, Region, Shape

Number = Fraction | float
"""An exact number, or a float that is infinite."""

_QUERIES = (".vnnlib", ".vnnlib.gz")
_SHOWN = 8      # entries said in words


@dataclass(frozen=True)
class EntryLimits:
    """lower, upper: one row a box, one exact number an entry (row-major); infinite where there is no limit.  name: of messages.

    shape: of one box as it is stored, None for flat ones.
    """

    lower: tuple[tuple[Number, ...], ...]
    upper: tuple[tuple[Number, ...], ...]
    name: str
    shape: Shape | None = None

    def fitted(self, shape: Shape, what: str, code: str) -> EntryLimits:
        """Itself, where it is about `shape`, called `what`. Raises InputError `code` otherwise, and where an end exceeds the other."""
        count = prod(shape)
        if any(len(row) != count for row in (*self.lower, *self.upper)):
            raise InputError(code, f"limits of {len(self.lower[0])} {what}s for a network that has {count}", where=self.name,
                             hint=f"give a least and a greatest value for each of the {count} {what}s, in the network's order")
        if self.shape is not None and [n for n in self.shape if n != 1] != [n for n in shape if n != 1] and len(self.shape) > 1:
            raise InputError(code, f"limits of shape {self.shape} for {what}s of shape {shape}", where=self.name,
                             hint="give the axes in the network's order")
        crossed = [(box, k) for box, (low, high) in enumerate(zip(self.lower, self.upper, strict=True))
                   for k, (least, most) in enumerate(zip(low, high, strict=True)) if least > most]
        if crossed:
            lines = [f"{what} {k}: {text_of(self.lower[box][k])} > {text_of(self.upper[box][k])}" for box, k in crossed[:_SHOWN]]
            raise InputError(code, f"the least value exceeds the greatest in {len(crossed)} of {count * len(self.lower)} entries",
                             where=self.name, details=lines, hint="are the columns swapped? the least value comes first")
        return self


class LimitReader(Protocol):
    """What a front end of data files offers besides: a file of least and greatest values."""

    def limits(self, path: Path, count: int) -> EntryLimits:
        """Of `count` entries each. Raises InputError E-DATA-..., E-BOX-FORMAT."""
        ...


def read_limits(path: Path, count: int) -> EntryLimits:
    """The least and greatest values in a file, read by the front end registered as `files`."""
    reader: Any = DATA.get("files")()
    found: EntryLimits = reader.limits(path, count)
    return found


def box_of(value: object, shape: Shape) -> tuple[Region, tuple[str, ...]]:
    """The boxes that are meant, of the network's input shape, and what is to be said of them.

    value: a file (npz, CSV, or a VNN-LIB query, of which the inputs' part is taken), a Region, or a pair (lower, upper): numbers or
    arrays of one box or of several, whose float64 values are taken as they are.
    The ends of a CSV file are exact decimals. An input whose two ends are the same decimal is, as a point, the float64 number nearest to
    it; what is proved holds for the decimal, too.
    Raises InputError E-BOX, E-BOX-FORMAT, what reading files raises; UsageError E-OPTION.
    """
    if isinstance(value, (str, Path)):
        path = Path(value)
        if path.name.lower().endswith(_QUERIES):
            return _of_query(_query(path), shape)
        return _region(read_limits(path, prod(shape)).fitted(shape, "input", "E-BOX"), shape), ()
    if isinstance(value, Region):
        if value.shape != shape:
            raise InputError("E-BOX", f"a region of shape {value.shape} for a network that takes {shape}", where="--box",
                             hint="give it the network's axes")
        return value, ()
    lower, upper = _pair(value, shape)
    limits = EntryLimits(_rows(lower), _rows(upper), "--box").fitted(shape, "input", "E-BOX")
    return _region(limits, shape), ()


def _pair(value: object, shape: Shape) -> tuple[Tensor, Tensor]:
    """(boxes, *shape) each."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise UsageError("E-OPTION", f"a box is a pair (lower, upper), not {shown(value)}", where="--box",
                         hint="two arrays of the network's input shape, a Region, or the path of a file")
    found = [_side(array_of(side, "ends of a box"), shape) for side in value]
    if len(found[0]) != len(found[1]):
        raise InputError("E-BOX", f"{len(found[0])} lower and {len(found[1])} upper ends", where="--box", hint="one of each for a box")
    return found[0], found[1]


def _side(given: Tensor, shape: Shape) -> Tensor:
    """One end of one box, of several in front of it, or one number for all inputs."""
    ends = given if given.dim() else given.expand(shape)
    several = ends.dim() > len(shape) or (ends.dim() == 2 and ends.shape[1] == prod(shape) and len(shape) != 2)
    count = len(ends) if several else 1
    if ends.numel() != count * prod(shape) or (ends.dim() > 2 and tuple(ends.shape[-len(shape):]) != shape):
        raise InputError("E-BOX", f"limits of shape {tuple(given.shape)} for inputs of shape {shape}", where="--box",
                         hint="give the axes in the network's order, several boxes along an axis in front")
    return ends.reshape(count, *shape)


def _rows(values: Tensor) -> tuple[tuple[Number, ...], ...]:
    return tuple(tuple(number_of_float(one) for one in row) for row in values.flatten(1).tolist())


def number_of_float(value: float) -> Number:
    """A float64 as the number it is; infinite ones stay. Raises InputError E-BOX for NaN."""
    if isnan(value):
        raise InputError("E-BOX", "a limit is NaN", where="--box", hint="give numbers; inf and -inf where there is no limit")
    return value if value in (inf, -inf) else Fraction(value)


def _region(limits: EntryLimits, shape: Shape) -> Region:
    flat = [one for rows in (limits.lower, limits.upper) for row in rows for one in row]
    exact = [one for one in flat if isinstance(one, Fraction)]
    if len(exact) < len(flat):
        raise InputError("E-BOX", "the box has infinite ends", where=limits.name, hint="every input needs finite ends")
    if any(abs(one) > Fraction(10) ** 300 for one in exact):
        raise InputError("E-BOX", "ends beyond 1e300", where=limits.name, hint="scale the inputs")

    def ends(rows: Sequence[Sequence[Any]], side: int) -> Tensor:
        """The float64 numbers at or below (-1) or above (1) each."""
        found = [[side * float_above(side * one) + 0.0 for one in row] for row in rows]     # + 0.0: minus zero is zero
        return torch.tensor(found, dtype=torch.float64).reshape(-1, *shape)

    lower, upper, inner_lower, inner_upper = (ends(limits.lower, -1), ends(limits.upper, 1), ends(limits.lower, 1), ends(limits.upper, -1))
    if bool((lower == inner_lower).all() and (upper == inner_upper).all()):
        return BoxRegion(lower, upper)
    fixed = torch.tensor([[low == high for low, high in zip(*rows, strict=True)] for rows in zip(limits.lower, limits.upper, strict=True)])
    nearest = torch.tensor([[float(one) for one in row] for row in limits.lower], dtype=torch.float64)
    fixed, nearest = fixed.reshape(lower.shape), nearest.reshape(lower.shape)
    return DecimalBox(lower, upper, torch.where(fixed, nearest, inner_lower), torch.where(fixed, nearest, inner_upper))


def _query(path: Path) -> Query:
    try:
        return read_query(path)
    except InputError as error:
        if error.code != "E-VNNLIB-EMPTY":
            raise
        hint = "a query is read whole, and its outputs are left out: (declare-const Y_0 Real) and (assert (<= Y_0 0)) do"
        raise InputError(error.code, error.what, where=error.where, details=error.details, hint=hint) from error


def _of_query(query: Query, shape: Shape) -> tuple[Region, tuple[str, ...]]:
    """The boxes of a query. Where one holds no float64 number, points of it are those nearest to the exact ones."""
    if len(query.input_names) != prod(shape):
        raise InputError("E-BOX", f"the query declares {len(query.input_names)} inputs, the network has {prod(shape)}",
                         where=query.path or None, hint="does the query belong to this network?")
    if query.vacuous or not query.cells:
        raise InputError("E-BOX", "no input satisfies the constraints of the query, or of one of its parts", where=query.path or None,
                         details=query.vacuous, hint="the box would be empty: look at its constraints on the inputs")
    box = query.region
    low, high = box.inner_lower.clone(), box.inner_upper.clone()
    for (cell, place), text in query.exact.items():
        low.view(len(low), -1)[cell, place] = high.view(len(high), -1)[cell, place] = float(Fraction(text))
    found = DecimalBox(box.lower, box.upper, low, high).shaped(shape)
    boxes = "1 box" if query.cells == 1 else f"{query.cells} boxes"
    return found, (f"{query.path}: {boxes} of inputs taken; its constraints on outputs are left out",)


def stated_once(options: Any, *more: str) -> None:
    """Raise UsageError E-USAGE where a box is stated and something else that says which inputs are meant. more: further options' names."""
    if options.box is None:
        return
    unset = {name: getattr(options, name) is None for name in ("data", "labels", "eps", "brightness", "contrast", "sample", *more)}
    # Values of any type: an array would not say whether it equals a word.
    norm, clip = options.norm, options.clip
    unset["norm"] = isinstance(norm, str) and norm == "linf"
    unset["clip"] = (isinstance(clip, str) and clip == "0,1") or (type(clip) is tuple and repr(clip) == "(0.0, 1.0)")
    name = next((name for name, untouched in unset.items() if not untouched), None)
    if name is not None:
        raise UsageError("E-USAGE", "--box says itself which inputs are meant", where=f"--{name}", hint="leave one of them away")


# ---- words -------------------------------------------------------------------------------------------------------------


def text_of(value: Number) -> str:
    """A limit as people read it."""
    return str(value) if isinstance(value, float) else exact_text(value) if len(exact_text(value)) < 20 else f"{float(value):.9g}"


def box_text(region: Region) -> str:
    """Of one box with few inputs every input; else how many there are."""
    low, high = region.hull.lower.flatten(1), region.hull.upper.flatten(1)
    if len(low) != 1 or low.shape[1] > _SHOWN:
        return f"{len(low)} box{'es' if len(low) > 1 else ''} of {low.shape[1]} inputs"
    parts = [f"x[{k}] = {least:.9g}" if f"{least:.9g}" == f"{most:.9g}" else f"x[{k}] in [{least:.9g}, {most:.9g}]"
             for k, (least, most) in enumerate(zip(low[0].tolist(), high[0].tolist(), strict=True))]
    return f"the box {', '.join(parts)}"
