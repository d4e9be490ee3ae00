"""A folder with x_train.npy, y_train.npy, x_test.npy and y_test.npy, as data to train on: one file, for every command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from absint.frontends.data import read_content
from absint.frontends.data_source import Splits, register_layout

ABSINT_CONTRACT = 1


@register_layout("four-arrays")
class FourArrays:
    """Each array is read by the reader of .npy files."""

    wanted: ClassVar[str] = "x_train.npy, y_train.npy, x_test.npy and y_test.npy"

    def matches(self, place: Path) -> bool:
        """By names alone: every layout is asked about every folder."""
        return (place / "x_train.npy").is_file()

    def read(self, place: Path, extra: bool) -> Splits:
        """A part whose files are not there is None, or refused by the reader with its name."""
        train = read_content(place / "x_train.npy", place / "y_train.npy")
        test = place / "x_test.npy"
        return Splits(train, read_content(test, place / "y_test.npy") if test.is_file() else None)
