"""SVHN's cropped digits: train_32x32.mat, test_32x32.mat and extra_32x32.mat, MATLAB files of version 5 with X and y."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from absint.errors import InputError
from absint.frontends.data import read_content
from absint.frontends.data_source import AnyArray, Content, DataSource, Splits, register_layout, register_reader
from absint.frontends.mat_files import mat_arrays
from absint.frontends.numpy_files import chosen_keys
from absint.frontends.training_layouts import files_of
from absint.model.digest import digest
from absint.model.layout import Layout

_TRAIN, _TEST, _EXTRA = (f"{part}_32x32.mat" for part in ("train", "test", "extra"))


@register_reader(".mat")
def read_mat(source: DataSource) -> Content:
    """X (height, width, channels, N) uint8, y (N, 1) with 10 for the digit 0 -> (N, channels, height, width), labels 0..9.

    Another array by its name (--key NAME, or NAME,LABELS): (N, values) as rows, or pictures with N last, as these are; labels as stored.
    Raises E-DATA-FORMAT for other files of MATLAB, E-DATA-TRUNCATED for damaged ones, E-DATA-LABEL; UsageError E-DATA-KEY.
    """
    if source.reading.key is not None:
        return _named(source)
    held = mat_arrays(source, ("X", "y"))
    images, digits = held.get("X"), held.get("y")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] not in (1, 3):
        raise source.fail("E-DATA-FORMAT", "no array X of shape (height, width, channels, N) and type uint8, as in SVHN's cropped digits",
                          f"say which holds the inputs: --key NAME, or --key NAME,LABELS; it holds {_listed(mat_arrays(source, None))}")
    if digits is None:
        raise source.fail("E-DATA-LABELS", "no array y of labels is there", "fetch the file again")
    notes = ("pictures reordered from height, width, channels, N to N, channels, height, width",)
    labels = _digits(digits, images.shape[3], source)
    return Content(images.transpose(3, 2, 0, 1), labels, (*notes, "label 10 stands for the digit 0"), layout=Layout.CHW)


def _named(source: DataSource) -> Content:
    """Arrays by their names, in MATLAB's order of axes."""
    held = mat_arrays(source, None)
    name, labels = chosen_keys(tuple(held), source)
    values = held[name]
    if values.ndim not in (2, 3, 4):
        raise source.fail("E-DATA-SHAPE", f"array '{name}' of shape {values.shape} is neither rows nor pictures",
                          "store rows (N, values), or pictures (height, width, N) or (height, width, channels, N)")
    said = (f"inputs read from array '{name}'", *(() if labels is None else (f"labels read from array '{labels}'",)))
    moved: AnyArray = values if values.ndim == 2 else np.moveaxis(values, -1, 0)
    if values.ndim == 4:
        moved = moved.transpose(0, 3, 1, 2)
    known = None if labels is None else held[labels].reshape(-1) if 1 in held[labels].shape else held[labels]
    return Content(moved, known, said, layout=Layout.CHW if values.ndim == 4 else None, followed=("key",))


def _listed(held: dict[str, AnyArray]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in list(held.items())[:8]) or "no arrays of numbers"


def _digits(stored: AnyArray, count: int, source: DataSource) -> AnyArray:
    """stored: (N, 1) or (1, N), of any type of whole numbers."""
    if not stored.size == count == max(stored.shape):
        raise source.fail("E-DATA-LABELS", f"y is no array of one label for each of {count} pictures", "fetch the file again")
    digits = stored.reshape(-1)
    bad = np.flatnonzero(~np.isin(digits, np.arange(1, 11)))
    if bad.size:
        what = f"{bad.size} of {len(digits)} labels outside 1..10, first {digits[bad[0]]} of input {bad[0]}"
        raise source.fail("E-DATA-LABEL", what,
                          "SVHN counts its digits from 1, and 10 stands for 0; --key X,y takes labels as they are stored")
    whole: AnyArray = digits.astype(np.int64) % 10
    return whole


@register_layout("svhn")
class Svhn:
    """The folder of SVHN's cropped digits."""

    wanted: ClassVar[str] = f"{_TRAIN} and {_TEST} (SVHN; {_EXTRA} only where it is asked for)"

    def matches(self, place: Path) -> bool:
        """Whether training pictures are there."""
        return any(file.name == _TRAIN for file in files_of(place))

    def read(self, place: Path, extra: bool) -> Splits:
        """The parts; with `extra` the additional pictures follow the training pictures."""
        train = read_content(place / _TRAIN)
        if extra:
            train = _followed(train, place)
        return Splits(train, read_content(place / _TEST) if (place / _TEST).is_file() else None, 10)


def _followed(train: Content, place: Path) -> Content:
    if not (place / _EXTRA).is_file():
        raise InputError("E-DATA-MISSING", f"{_EXTRA} is asked for and not there", where=str(place), hint="fetch it, or leave out --extra")
    more = read_content(place / _EXTRA)
    if more.images.shape[1:] != train.images.shape[1:]:
        what = f"pictures of shape {more.images.shape[1:]} beside {train.images.shape[1:]}"
        raise InputError("E-DATA-SHAPE", what, where=str(place / _EXTRA), hint="fetch the file again")
    assert train.labels is not None
    assert more.labels is not None
    note = f"{len(more.images)} additional pictures follow {len(train.images)} training pictures"
    return Content(np.concatenate([train.images, more.images]), np.concatenate([train.labels, more.labels]), (*train.notes, note),
                   digest(str(train.sha256).encode(), str(more.sha256).encode()), train.layout, str(place))
