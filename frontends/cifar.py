"""CIFAR-10 and CIFAR-100: the python batches (pickles, of which only plain data is read) and the binary version.

A binary record is one label byte (CIFAR-100: a coarse, then a fine one) and 3072 pixels: red, green, blue, each 32 x 32 in rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from absint.errors import InputError
from absint.frontends.data import format_by_content, read_content
from absint.frontends.data_source import READERS, AnyArray, Content, DataSource, Splits, register_layout, register_reader
from absint.frontends.plain_pickle import read_plain_pickle
from absint.frontends.training_layouts import files_of
from absint.model.digest import digest
from absint.model.layout import Layout

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_FINE = "labels are the 100 fine ones"


@register_reader(".bin")
def read_binary(source: DataSource) -> Content:
    """A batch of CIFAR's binary version; how many labels a record has follows from the file's length, else from its name.

    The suffix is anybody's: a file whose length does not fit, and whose first bytes name another format, is read as that.
    """
    ways = [labels for labels in (1, 2) if len(source.data) % (_PIXELS + labels) == 0]
    if len(ways) == 2:
        ways = [2 if source.path.name in ("train.bin", "test.bin") else 1]
    other = format_by_content(source)
    if not ways and other is not None:
        return READERS.get(other)(source)
    if not ways:
        what = f"{len(source.data)} bytes are no whole number of CIFAR records ({_PIXELS + 1} bytes, or {_PIXELS + 2} of CIFAR-100)"
        raise source.fail("E-DATA-TRUNCATED", what, "fetch the file again; only CIFAR's binary version is read from .bin files")
    count = ways[0]
    records = np.frombuffer(source.data, dtype=np.uint8).reshape(-1, _PIXELS + count)
    labels = records[:, count - 1]
    _check_labels(labels, 10 if count == 1 else 100, source)
    return Content(records[:, count:].reshape(-1, *_SHAPE), labels, () if count == 1 else (_FINE,), layout=Layout.CHW)


@register_reader(".pickle", ".pkl")
def read_batch(source: DataSource) -> Content:
    """A python batch: data (N, 3072) uint8, and labels or fine_labels. Raises E-DATA-PICKLE for any other object."""
    held = read_plain_pickle(source)
    keys = held.keys() if isinstance(held, dict) else ()
    named = next((key for key in ("labels", "fine_labels") if key in keys), None)
    if named is None or "data" not in keys:
        found = f"a dictionary of {', '.join(list(keys)[:8]) or 'nothing'}" if isinstance(held, dict) else f"a {type(held).__name__}"
        raise source.fail("E-DATA-PICKLE", f"not a batch of CIFAR: data and labels are expected, found {found}",
                          "other data is read from .npz files: numpy.savez(path, images=..., labels=...)")
    images = held["data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != _PIXELS:
        raise source.fail("E-DATA-SHAPE", f"data is no array of shape (N, {_PIXELS}) and type uint8", "fetch the file again")
    labels = _labels(held[named], source)
    _check_labels(labels, 10 if named == "labels" else 100, source)
    return Content(images.reshape(-1, *_SHAPE), labels, () if named == "labels" else (_FINE,), layout=Layout.CHW)


def _labels(held: Any, source: DataSource) -> AnyArray:
    numbers = held.tolist() if isinstance(held, np.ndarray) else held
    if not isinstance(numbers, list) or not all(type(number) is int and abs(number) < 2**31 for number in numbers):
        raise source.fail("E-DATA-LABELS", "labels are no list of class numbers", "fetch the file again")
    return np.array(numbers, dtype=np.int64)


def _check_labels(labels: AnyArray, classes: int, source: DataSource) -> None:
    """A wrong length or a shifted file shows itself in labels that are none."""
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        what = f"{bad.size} of {len(labels)} labels outside 0..{classes - 1}, first {labels[bad[0]]} of input {bad[0]}"
        raise source.fail("E-DATA-LABEL", what,
                          "fetch the file again; other data is read from .npz files: numpy.savez(path, images=..., labels=...)")


class _Batches:
    """A folder with these files, all of them."""

    wanted: ClassVar[str]
    training: ClassVar[tuple[str, ...]]
    test: ClassVar[str]
    classes: ClassVar[int]
    beside: ClassVar[tuple[str, ...]] = ()
    """Files one of which must be there where the others' names say little."""

    def matches(self, place: Path) -> bool:
        """Whether a training batch is there; that others are missing is an error then."""
        there = {file.name for file in files_of(place)}
        return not there.isdisjoint(self.training) and (not self.beside or not there.isdisjoint(self.beside))

    def read(self, place: Path, extra: bool) -> Splits:
        """The batches in their order, as one training part; the test batch."""
        missing = [name for name in self.training if not (place / name).is_file()]
        if missing:
            raise InputError("E-DATA-MISSING", f"batches are missing: {', '.join(missing)}", where=str(place),
                             hint="fetch them, or move the batches that are meant into one .npz file")
        test = place / self.test
        return Splits(_joined([self._read(place / name) for name in self.training], place),
                      self._read(test) if test.is_file() else None, self.classes)

    def _read(self, file: Path) -> Content:
        content = read_content(file)
        if (_FINE in content.notes) != (self.classes == 100):
            what = f"this file is no batch of CIFAR-{self.classes}"
            raise InputError("E-DATA-FORMAT", what, where=str(file), hint="fetch the file again")
        return content


def _joined(parts: list[Content], place: Path) -> Content:
    """All batches in order. Labels were checked for each."""
    if len(parts) == 1:
        return parts[0]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    sums = [str(part.sha256).encode() for part in parts]
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Content(images, labels, (f"{len(parts)} batches in order", *notes), digest(sums[0], *sums[1:]), parts[0].layout, str(place))


@register_layout("cifar10-python")
class Cifar10Python(_Batches):
    """cifar-10-batches-py."""

    wanted = "data_batch_1 to data_batch_5 and test_batch (CIFAR-10, python version)"
    training = tuple(f"data_batch_{k}" for k in range(1, 6))
    test = "test_batch"
    classes = 10


@register_layout("cifar10-binary")
class Cifar10Binary(_Batches):
    """cifar-10-batches-bin."""

    wanted = "data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10, binary version)"
    training = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
    test = "test_batch.bin"
    classes = 10


@register_layout("cifar100-python")
class Cifar100Python(_Batches):
    """cifar-100-python."""

    wanted = "train, test and meta (CIFAR-100, python version)"
    training = ("train",)
    test = "test"
    classes = 100
    beside = ("meta", "test")


@register_layout("cifar100-binary")
class Cifar100Binary(_Batches):
    """cifar-100-binary."""

    wanted = "train.bin and test.bin (CIFAR-100, binary version)"
    training = ("train.bin",)
    test = "test.bin"
    classes = 100
