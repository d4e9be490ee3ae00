"""Where the engine meets the reader of data files, which is a plug-in like any other front end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from absint.problem.dataset import Dataset
from absint.registry import Registry


class DataReader(Protocol):
    """Turns a file of labelled inputs into a Dataset."""

    def read(self, path: str | Path, labels_path: str | Path | None = None) -> Dataset:
        """The inputs of `path`, labelled by `labels_path` or by the file itself. Raises InputError E-DATA-..."""
        ...


DATA: Registry[Callable[[], DataReader]] = Registry("data front end", "absint.data")


def read_data(path: str | Path, labels_path: str | Path | None = None) -> Dataset:
    """The labelled inputs of a file, read by the front end registered as `files`."""
    return DATA.get("files")().read(path, labels_path)
