"""SVHN's cropped digits: train_32x32.mat, test_32x32.mat and extra_32x32.mat, MATLAB files of version 5 with X and y."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from absint.errors import InputError
from absint.frontends.data import read_content
from absint.frontends.data_source import AnyArray, Content, DataSource, Splits, register_layout, register_reader
from absint.frontends.mat_files import mat_arrays
from absint.frontends.training_layouts import files_of
from absint.model.digest import digest
from absint.model.layout import Layout

_TRAIN, _TEST, _EXTRA = (f"{part}_32x32.mat" for part in ("train", "test", "extra"))


@register_reader(".mat")
def read_mat(source: DataSource) -> Content:
    """X (height, width, channels, N) uint8, y (N, 1) with 10 for the digit 0 -> (N, channels, height, width), labels 0..9.

    Raises E-DATA-FORMAT for other files of MATLAB, E-DATA-TRUNCATED for damaged ones, E-DATA-LABEL.
    """
    held = mat_arrays(source, ("X", "y"))
    images, digits = held.get("X"), held.get("y")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] not in (1, 3):
        raise source.fail("E-DATA-FORMAT", "no array X of shape (height, width, channels, N) and type uint8, as in SVHN's cropped digits",
                          "other arrays are read from .npz files: numpy.savez(path, images=..., labels=...)")
    if digits is None:
        raise source.fail("E-DATA-LABELS", "no array y of labels is there", "fetch the file again")
    notes = ("pictures reordered from height, width, channels, N to N, channels, height, width",)
    labels = _digits(digits, images.shape[3], source)
    return Content(images.transpose(3, 2, 0, 1), labels, (*notes, "label 10 stands for the digit 0"), layout=Layout.CHW)


def _digits(stored: AnyArray, count: int, source: DataSource) -> AnyArray:
    """stored: (N, 1) or (1, N), of any type of whole numbers."""
    if not stored.size == count == max(stored.shape):
        raise source.fail("E-DATA-LABELS", f"y is no array of one label for each of {count} pictures", "fetch the file again")
    digits = stored.reshape(-1)
    bad = np.flatnonzero(~np.isin(digits, np.arange(1, 11)))
    if bad.size:
        what = f"{bad.size} labels outside 1..10, first {digits[bad[0]]} of input {bad[0]}"
        raise source.fail("E-DATA-LABEL", what, "SVHN counts its digits from 1, and 10 stands for 0")
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
