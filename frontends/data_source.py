"""What a reader of data files is given, what it returns, and the registry of readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy.typing as npt

from absint.errors import InputError
from absint.model.layout import Layout
from absint.problem.data_frontend import AS_USUAL, Reading
from absint.registry import Registry

AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class DataSource:
    """One file as a reader sees it. data: the bytes, already unzipped where the file was gzipped; none of a folder.

    reading: what is asked for. Key and label column are the reader's to follow, which it says by `Content.followed`.
    """

    path: Path
    data: bytes
    reading: Reading = AS_USUAL

    def fail(self, code: str, what: str, hint: str | None = None) -> InputError:
        """The error to raise about this file."""
        return InputError(code, what, where=str(self.path), hint=hint)


@dataclass(frozen=True)
class Content:
    """What a reader found. images: (N, *shape), any real dtype; uint8 is divided by 255 later.

    labels: (N,) whole numbers, or None.  layout: the order of an image's axes, where the format has one.
    notes: what the reader did to the values.  sha256: of all that was read, where
    that is not the file's bytes.  name: what messages call it, where that is not the file.
    classes: the names that labels 0, 1, ... count, where they are counted from names.
    followed: which of "key" and "label_column" it went by: what nobody follows is refused.
    """

    images: AnyArray
    labels: AnyArray | None = None
    notes: tuple[str, ...] = ()
    sha256: str | None = None
    layout: Layout | None = None
    name: str | None = None
    classes: tuple[str, ...] | None = None
    followed: tuple[str, ...] = ()


Reader = Callable[[DataSource], Content]


READERS: Registry[Reader] = Registry("data format", "absint.data_formats")


register_reader = READERS.register


@dataclass(frozen=True, eq=False)
class Splits:
    """What a layout found, as it is stored; labels of both parts are (N,) whole numbers.

    test: None where the files hold no such part.  classes: where the format fixes their number.  name: of the data set, else its path's.
    """

    train: Content
    test: Content | None = None
    classes: int | None = None
    notes: tuple[str, ...] = ()
    name: str | None = None


class DataLayout(Protocol):
    """How the files of a data set to train on lie on disk."""

    wanted: ClassVar[str]
    """In words, for the message that says what was looked for."""

    def matches(self, place: Path) -> bool:
        """Whether this file or folder itself (not what lies below its folders) is such a data set; decided by names alone."""
        ...

    def read(self, place: Path, extra: bool) -> Splits:
        """The parts; `extra`: with additional training data, where the data set has some. Raises InputError E-DATA-..."""
        ...


LAYOUTS: Registry[Callable[[], DataLayout]] = Registry("data layout", "absint.data_layouts")


register_layout = LAYOUTS.register
