"""Labelled inputs as a verifier needs them: float64, in raw units, each traceable to its place in its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from absint.errors import InputError, UsageError
from absint.model.layout import Axes, Known, Layout, agreed, named, parse_layout
from absint.numeric.short_repr import short_repr
from absint.problem.arrangement import Arrangement, arrangements, differ, swapped

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LAYOUTS = ("chw", "hwc", "chw:chw", "hwc:hwc", "chw:hwc", "hwc:chw", "auto")
_SHOWN = 5  # offenders listed before "... and n more"


@dataclass(frozen=True, eq=False)
class Dataset:
    """N inputs, perhaps labelled, and where they came from.

    inputs: (N, *shape) float64, raw user values.  labels: (N,) int64, or None where the source has none.
    name: what messages call it.  sha256: of every byte read, a file of labels included.  notes: what was done to the values, in order.
    index: (N,) positions in the source; 0..N-1 unless `select` was used, and what every message counts in.
    layout: the order of the images' axes where the file tells it.  axes: those of the network that they were shaped for, if known.
    Raises InputError E-DATA-LABELS where labels and inputs differ in number, E-DATA-SHAPE without a batch axis.
    """

    __repr__ = short_repr

    inputs: FloatArray
    labels: IntArray | None
    name: str
    sha256: str
    notes: tuple[str, ...] = ()
    index: IntArray = field(default=None)  # type: ignore[arg-type]  # None stands for 0..N-1, set below
    layout: Layout | None = None
    axes: Known = None

    def __post_init__(self) -> None:
        inputs: FloatArray = np.asarray(self.inputs, dtype=np.float64)
        if inputs.ndim == 0:
            raise InputError("E-DATA-SHAPE", "one number has no batch axis", where=self.name, hint="use shape (N, ...)")
        count = len(inputs)
        index = np.arange(count) if self.index is None else self.index
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "index", np.asarray(index, dtype=np.int64))
        if self.labels is not None:
            object.__setattr__(self, "labels", _whole(np.asarray(self.labels), self.name))
            if self.labels.shape != (count,):
                raise InputError(
                    "E-DATA-LABELS", f"{count} inputs but labels of shape {self.labels.shape}", where=self.name,
                    hint="give one label an input, in the same order",
                )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis."""
        return self.inputs.shape[1:]

    def select(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Dataset:
        """The inputs at these positions, in this order; `index` keeps where they stood in the source.

        Raises InputError E-DATA-INDEX naming every position outside 0..N-1 (negative ones too).
        """
        chosen = np.asarray(indices)
        if chosen.size and not np.issubdtype(chosen.dtype, np.integer):
            raise InputError("E-DATA-INDEX", f"positions are whole numbers, got {chosen.dtype}", where=self.name,
                             hint="positions count from 0")
        chosen = chosen.astype(np.int64).reshape(-1)
        bad = chosen[(chosen < 0) | (chosen >= len(self))]
        if bad.size:
            raise InputError(
                "E-DATA-INDEX", f"{_count(bad.size, 'position')} outside the data: {_some(bad)}", where=self.name,
                hint=f"use positions 0 to {len(self) - 1}" if len(self) else "the data set is empty",
            )
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, inputs=self.inputs[chosen], labels=labels, index=self.index[chosen])

    def at(self, index: Sequence[int]) -> Dataset:
        """The inputs that stood at these places of the source, in this order; all of them are here."""
        place = {int(known): slot for slot, known in enumerate(self.index)}
        slots = [place[known] for known in index]
        labels = None if self.labels is None else self.labels[slots]
        return replace(self, inputs=self.inputs[slots], labels=labels, index=self.index[slots])

    def shaped_for(self, input_shape: tuple[int, ...], layout: str = "auto", network: Known = None) -> Dataset:
        """The same inputs as (N, *input_shape); what was changed is added to `notes`.

        layout: what --layout says (`parse_layout`).  network: what the network's operators say of its input.
        Images in the network's own axes, and flat rows, stay in their order unless another is told or known. Images in the
        other order are reordered. Anything else of the same size is reshaped in row-major order.
        Raises InputError E-DATA-SHAPE where sizes differ or no order fits; UsageError E-DATA-LAYOUT for an unknown word, E-LAYOUT
        where what is told contradicts the network or the data, or leaves two ways open.
        """
        told = parse_layout(layout)
        target = tuple(int(size) for size in input_shape)
        order = told.word if self.layout is None else self.layout
        seen = agreed(target, network, told.network or (None if self.layout is None else told.word))
        if math.prod(self.shape) != math.prod(target):
            raise self._shape_error(target, "sizes differ", _size_hint(self.shape, target, self.layout))
        ways = arrangements(self.shape, order, target, seen)
        if order is None and swapped(self.shape, target, seen) and self.shape != target:
            raise self._shape_error(target, "the order of the axes is ambiguous", "say --layout hwc or chw, or transpose")
        if not ways and order is not None:
            raise UsageError("E-LAYOUT", f"inputs of shape {self.shape}, read as {order.value}, do not fit a network input of shape "
                             f"{target}, read as {named(seen)}", where=self.name,
                             hint=_order_hint(_fitting(self.shape, self.layout, target, network)))
        if not ways:
            if _is_permuted(self.shape, target):
                raise self._shape_error(target, "the axes are in another order", "say --layout chw or hwc, or transpose the data")
            ways = [Arrangement(None)]
        if differ(ways, self.shape, target):
            mine = (order or Layout.HWC).value
            raise UsageError("E-LAYOUT", f"inputs of shape {self.shape} can be arranged in two ways for a network input of shape {target}",
                             where=self.name, hint=f"say both orders, as DATA:NETWORK: --layout {mine}:chw or --layout {mine}:hwc")
        return self._arranged(ways, target, seen)

    def check_range(self, low: float, high: float) -> None:
        """Nothing, if every entry is finite and in [low, high].

        Raises InputError E-DATA-NAN naming the inputs that hold NaN or infinity, then E-DATA-RANGE.
        """
        entries = self.inputs.reshape(len(self), math.prod(self.shape))
        broken = self.index[~np.isfinite(entries).all(axis=1)]
        if broken.size:
            raise InputError(
                "E-DATA-NAN", f"{_count(broken.size, 'input')} with NaN or infinite entries: {_some(broken)}",
                where=self.name, hint="remove or repair these inputs",
            )
        outside = (entries < low) | (entries > high)
        if not outside.any():
            return
        least, most = float(entries.min()), float(entries.max())
        first = self.index[outside.any(axis=1)][0]
        raise InputError(
            "E-DATA-RANGE", f"{_count(int(outside.sum()), 'entry', 'entries')} outside [{low:g}, {high:g}]",
            where=self.name, details=(f"values run from {least:g} to {most:g}", f"first offender: input {first}"),
            hint=_range_hint(least, most, high),
        )

    def check_labels(self, classes: int) -> None:
        """Nothing, if every label is in 0..classes-1 or there are none; else raises InputError E-DATA-LABEL."""
        if self.labels is None:
            return
        bad = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
        if bad.size:
            shown = [f"input {self.index[i]}: label {self.labels[i]}" for i in bad[:_SHOWN]]
            rest = [f"... and {bad.size - _SHOWN} more"] if bad.size > _SHOWN else []
            raise InputError(
                "E-DATA-LABEL", f"{_count(bad.size, 'label')} outside 0..{classes - 1}", where=self.name,
                details=(*shown, *rest), hint=_label_hint(self.labels, classes),
            )

    def _arranged(self, ways: list[Arrangement], target: tuple[int, ...], seen: Known) -> Dataset:
        """Of ways that do the same. The axes they agree on are remembered."""
        exact = {way.axes for way in ways}
        only = exact.pop() if len(exact) == 1 else None
        # Where nothing moves, the order of the data is that of the network.
        known = seen if isinstance(seen, Axes) else only or seen or (None if ways[0].axes else ways[0].order)
        found = replace(self, axes=known, layout=None)
        moved = ways[0].of(self.inputs, target)
        if not differ([Arrangement(None), ways[0]], self.shape, target):
            if self.shape == target:
                return self if found.axes == self.axes and found.layout is self.layout else found
            flat = sum(size != 1 for size in self.shape) <= 1 < sum(size != 1 for size in target)
            order = ", flat rows read in the network's own order" if flat else ""
            return found._with(moved, f"reshaped {self.shape} to {target}{order}")
        words = "height, width, channels" if ways[0].order is Layout.HWC else "channels, height, width"
        return found._with(moved, f"reordered {self.shape} as {words} to {target}")

    def _with(self, inputs: FloatArray, note: str) -> Dataset:
        return replace(self, inputs=inputs, notes=(*self.notes, note))

    def _shape_error(self, target: tuple[int, ...], why: str, hint: str) -> InputError:
        what = f"inputs of shape {self.shape} do not fit a network input of shape {target}: {why}"
        return InputError("E-DATA-SHAPE", what, where=self.name, hint=hint)


def _whole(labels: npt.NDArray[Any], name: str) -> IntArray:
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise InputError("E-DATA-LABELS", f"labels are whole numbers, got {labels.dtype}", where=name,
                         hint="store class numbers 0, 1, 2, ...")
    return labels.astype(np.int64)


def _fitting(shape: tuple[int, ...], own: Layout | None, target: tuple[int, ...], network: Known) -> list[str]:
    """The words of --layout by which images of that shape, in an order of their `own` where a file tells one, fit; auto comes last."""
    found = []
    for word in _LAYOUTS:
        told = parse_layout(word)
        try:
            seen = agreed(target, network, told.network or (None if own is None else told.word))
        except UsageError:
            continue
        order = told.word if own is None else own
        ways = arrangements(shape, order, target, seen)
        plain = order is None and not ways and not _is_permuted(shape, target)      # entries as they come
        if plain or (ways and not differ(ways, shape, target)):
            found.append(word)
    return found


def _order_hint(words: list[str]) -> str:
    if words[:1] not in ([], ["auto"]):
        return f"give --layout the order that the data has; these fit: {', '.join(word for word in words if word != 'auto')}"
    return "leave --layout away: the network takes no pictures" if words else "store the inputs with the network's axes, in its order"


def _is_permuted(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """The same axes, axes of size 1 aside, in another order: a row-major reshape would scramble the image."""
    mine, theirs = [size for size in shape if size != 1], [size for size in target if size != 1]
    return mine != theirs and sorted(mine) == sorted(theirs)


def _label_hint(labels: IntArray, classes: int) -> str:
    """What to do about labels that are no class."""
    if labels.min() == 1 and labels.max() == classes:
        return f"labels count from 0, these from 1 to {classes}: take 1 from each"
    return f"the network has {classes} outputs; labels count from 0"


def _size_hint(shape: tuple[int, ...], target: tuple[int, ...], layout: Layout | None) -> str:
    given, wanted = math.prod(shape), math.prod(target)
    if given == wanted + 1:
        return (f"one entry too many ({given} for {wanted}): is the label still in the rows? --label-column says which column of a CSV "
                "file; or is a column no input, such as a number of the row? then leave it out")
    if given == wanted - 1:
        return f"one entry too few ({given} for {wanted}): was one read as a label? a CSV file without labels: --label-column none"
    found = _conversion(shape, target) if layout is Layout.CHW and len(shape) == 3 else None
    return found or f"the data has {given} entries an input, the network takes {wanted}: is it the right data for this network?"


def _conversion(shape: tuple[int, ...], target: tuple[int, ...]) -> str | None:
    """How pictures (channels, height, width) of a file become what the network takes, where that is a picture."""
    wanted = _picture(target)
    if wanted is None:
        return None
    (channels, height, width), mode = wanted, "L" if wanted[0] == 1 else "RGB"
    steps = f".convert('{mode}')" if channels != shape[0] else ""
    steps += f".resize(({width}, {height}))" if (height, width) != shape[1:] else ""
    words = {1: "grey", 3: "colour"}
    said = f"{shape[2]}x{shape[1]} {words.get(shape[0], '')} pictures for a network of {width}x{height} {words[channels]} ones"
    return f"{said}: convert them first: python -c \"from PIL import Image; Image.open('in.png'){steps}.save('out.png')\""


def _picture(target: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(channels, height, width) of a network's input of 1 or 3 channels; flat ones are taken for squares of grey."""
    if len(target) == 1:
        side = math.isqrt(target[0])
        return (1, side, side) if side * side == target[0] else None
    if len(target) == 2:
        return 1, *target
    if len(target) != 3:
        return None
    first, last = target[0] in (1, 3), target[2] in (1, 3)
    return target if first else (target[2], *target[:2]) if last else None


def _range_hint(least: float, most: float, high: float) -> str:
    if least < 0:
        return "is the data normalised already? give raw values and --mean, --std, or take these: --clip none, or --clip LOW,HIGH"
    if most > 2 and high <= 2:
        by = most if most <= 16 else 255 if most <= 255 else 65535 if most <= 65535 else most
        return f"divide by {by:g}: --scale 1/{by:g}; a network that was trained on such values: --clip none, or --clip LOW,HIGH"
    return "scale the data with --scale, or state the range it has: --clip LOW,HIGH, or --clip none"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def _some(values: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return f"{shown}, ... and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown
