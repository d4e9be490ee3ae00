"""What a reader of data files is given, what it returns, and the registry of readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from absint.errors import InputError
from absint.model.layout import Layout
from absint.registry import Registry

AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class DataSource:
    """One file as a reader sees it. data: the bytes, already unzipped where the file was gzipped; none of a folder."""

    path: Path
    data: bytes

    def fail(self, code: str, what: str, hint: str | None = None) -> InputError:
        """The error to raise about this file."""
        return InputError(code, what, where=str(self.path), hint=hint)


@dataclass(frozen=True)
class Content:
    """What a reader found. images: (N, *shape), any real dtype; uint8 is divided by 255 later.

    labels: (N,) whole numbers, or None.  layout: the order of an image's axes, where the format has one.
    notes: what the reader did to the values.  sha256: of all that was read, where
    that is not the file's bytes.
    """

    images: AnyArray
    labels: AnyArray | None = None
    notes: tuple[str, ...] = ()
    sha256: str | None = None
    layout: Layout | None = None


Reader = Callable[[DataSource], Content]


READERS: Registry[Reader] = Registry("data format", "absint.data_formats")


register_reader = READERS.register
