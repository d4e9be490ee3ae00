"""From what a layout found to two checked splits: types, ranges, labels, the order of axes, and a held-out part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from absint.errors import InputError, UsageError
from absint.frontends.data_source import AnyArray, Content, Splits
from absint.model.digest import digest
from absint.model.layout import Layout, parse_layout
from absint.problem.dataset import IntArray
from absint.problem.training_data import Split, TrainingData, TrainingRequest

_CHANNELS = (1, 2, 3, 4)     # sizes that an axis of channels has in pictures; other numbers need --layout
_MANY = 1000                 # classes that are believed whatever the number of inputs
_NO_TEST = "give one: --test FILE, or --hold-out N --seed S to keep N training inputs for the test"


def finished(splits: Splits, request: TrainingRequest) -> TrainingData:
    """Both splits. Raises InputError E-DATA-LABELS, -TEST, -NAN, -RANGE, -FORMAT, -SHAPE, -LABEL; UsageError E-LAYOUT, E-DATA-LAYOUT."""
    order = parse_layout(request.layout).word
    train, notes = _split(splits.train, order, request)
    said = [*splits.notes, *splits.train.notes, *notes]
    classes = splits.classes or _classes(train, said)
    if request.hold_out is not None:
        if splits.test is not None:
            said.append(f"the data's own test part, {len(splits.test.images)} inputs, is not used")
        train, test = _held_out(train, request.hold_out, request.seed)
        said.append(f"{len(test)} of {len(train) + len(test)} training inputs, drawn with seed {request.seed}, are the test part")
    elif splits.test is None:
        raise InputError("E-DATA-TEST", "there is no test part", where=splits.train.name, hint=_NO_TEST)
    else:
        test, notes = _split(splits.test, order, request)
        said += [f"test part: {note}" for note in (*splits.test.notes, *notes) if note not in said]
        if train.values.shape == test.values.shape and np.array_equal(train.values, test.values):
            raise InputError("E-DATA-TEST", "the test part holds the training inputs themselves", where=test.name, hint=_NO_TEST)
        _check_names(splits.train, splits.test)
    if train.divisor != test.divisor:
        raise InputError("E-DATA-FORMAT", f"training values of type {train.values.dtype}, test values of type {test.values.dtype}",
                         where=test.name, hint="store both parts alike")
    return TrainingData(train, test, classes, splits.name or request.path.name, tuple(dict.fromkeys(said)))


def _split(content: Content, order: Layout | None, request: TrainingRequest) -> tuple[Split, list[str]]:
    name = content.name or str(request.path)
    if content.labels is None:
        raise InputError("E-DATA-LABELS", "the data has no labels, and training needs one an input", where=name,
                         hint="give --labels FILE, a labels array or column, or a folder a class")
    images, notes = _ordered(content.images, content.layout or order, name)
    values, divisor, how = _stored(images, request, name)
    if content.sha256 is None:
        raise InputError("E-DATA-FORMAT", "the layout gave no sha256 of what it read", where=name,
                         hint="the plug-in's layout returns Content(..., sha256=...): absint.model.digest.digest(the bytes) makes one")
    labels: IntArray = np.ascontiguousarray(content.labels, dtype=np.int64)
    return Split(values, divisor, labels, name, content.sha256), [*notes, *how]


def _stored(images: AnyArray, request: TrainingRequest, name: str) -> tuple[AnyArray, float, list[str]]:
    """uint8 as it is, anything else as float32 in raw units; the divisor; notes."""
    if images.dtype == np.uint8:
        divisor = 255.0 if request.divide is None else request.divide
        _check_range(float(images.min()) / divisor, float(images.max()) / divisor, request, name)
        notes = [f"uint8 values divided by {divisor:g}"]
        if images.max() <= 1 < divisor:
            notes.append("no value is above 1 of 255: are these numbers in [0, 1]? store them as float32, or give --divide 1")
        return np.require(images, requirements=["C", "W"]), divisor, notes
    broken = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))
    if broken.size:
        shown = ", ".join(map(str, broken[:5])) + (f", ... and {broken.size - 5} more" if broken.size > 5 else "")
        raise InputError("E-DATA-NAN", f"{broken.size} of {len(images)} inputs with NaN or infinite entries: {shown}", where=name,
                         hint="remove or repair these inputs")
    scaled = images if request.divide is None else images / request.divide
    _check_range(float(scaled.min()), float(scaled.max()), request, name)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(scaled, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("E-DATA-RANGE", "values beyond the range of float32", where=name, hint="scale the data")
    notes = [] if request.divide is None else [f"values divided by {request.divide:g}"]
    if images.dtype != np.float32:
        notes.append(f"{images.dtype} values rounded to float32")
    return values, 1.0, notes


def _check_range(least: float, most: float, request: TrainingRequest, name: str) -> None:
    if request.clip is None or request.clip[0] <= least <= most <= request.clip[1]:
        return
    low, high = request.clip
    why = ("is the data normalised already? then give raw values, and normalise in the model" if least < low
           else "divide by 255? store uint8, or give --divide 255")
    hint = f"{why}; to take them as they are: --clip none, or --clip LOW,HIGH"
    raise InputError("E-DATA-RANGE", f"values run from {least:g} to {most:g}, outside [{low:g}, {high:g}]", where=name, hint=hint)


def _ordered(images: AnyArray, order: Layout | None, name: str) -> tuple[AnyArray, list[str]]:
    """images: (N, *shape) -> rows as they are, pictures as (N, channels, height, width)."""
    if images.ndim == 2:
        return images, []
    if images.ndim == 3:
        return images[:, None], ["pictures without an axis of channels have one channel"]
    if images.ndim > 4:
        raise InputError("E-DATA-SHAPE", f"inputs of shape {images.shape[1:]} are neither rows nor pictures", where=name,
                         hint="store rows (N, values) or pictures (N, channels, height, width)")
    first, last = (images.shape[axis] in _CHANNELS for axis in (1, 3))
    if order is None and first == last:
        why = "either end may be the channels" if first else "neither end has a usual number of channels"
        raise UsageError("E-LAYOUT", f"the order of the axes of inputs of shape {images.shape[1:]} is ambiguous: {why}", where=name,
                         hint="say --layout hwc (channels last) or --layout chw")
    if order is Layout.CHW or (order is None and first):
        return images, []
    return images.transpose(0, 3, 1, 2), ["pictures reordered from height, width, channels to channels, height, width"]


def _check_names(train: Content, test: Content) -> None:
    """Labels that count names mean the same in both parts only where the names are the same."""
    if train.classes is None or test.classes is None or train.classes == test.classes:
        return
    alone = {"training": {*train.classes} - {*test.classes}, "test": {*test.classes} - {*train.classes}}
    lines = [f"only in the {part} part: {', '.join(sorted(names)[:8])}" for part, names in alone.items() if names]
    raise InputError("E-DATA-LABELS", "the parts have different class folders", where=test.name, details=lines,
                     hint="labels count the folders' sorted names: give both parts the same folders, each with a picture at least")


def _held_out(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """The rest, and `count` inputs without replacement, both in the order of the source."""
    if count >= len(split):
        raise UsageError("E-DATA-TEST", f"{count} of {len(split)} training inputs cannot be held out", where="--hold-out",
                         hint=f"give a number below {len(split)}")
    drawn = np.random.default_rng(seed).permutation(len(split))
    parts = (np.sort(drawn[count:]), np.sort(drawn[:count]))
    words = (f"all but {count}", f"{count}")
    made = [replace(split, values=split.values[part], labels=split.labels[part], name=f"{split.name} ({word} drawn with seed {seed})",
                    sha256=digest(split.sha256.encode(), part.tobytes())) for part, word in zip(parts, words, strict=True)]
    return made[0], made[1]


def _classes(train: Split, notes: list[str]) -> int:
    """One more than the largest label of the training part."""
    most, present = int(train.labels.max()), np.unique(train.labels)
    if most >= max(_MANY, len(train)):
        raise InputError("E-DATA-LABEL", f"a label of {most} among {len(train)} inputs is no class number", where=train.name,
                         hint="labels are class numbers counted from 0")
    absent = sorted({*range(most + 1)} - {*present.tolist()})
    if absent:
        start = ": are labels counted from 1?" if absent == [0] else ""
        notes.append(f"no training input has label {', '.join(map(str, absent[:5]))}{', ...' if len(absent) > 5 else ''}{start}")
    return most + 1
