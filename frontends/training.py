"""Data to train on, from files and folders: finds the layout, reads its parts, checks them, and brings images into one order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path

from absint.errors import InputError, UsageError
from absint.frontends.data import read_content
from absint.frontends.data_source import LAYOUTS, DataLayout, Splits
from absint.frontends.training_layouts import folders_of
from absint.frontends.training_splits import finished
from absint.problem.training_data import TrainingData, TrainingRequest

_DEPTH = 2       # folders below the one that is given: FOLDER/MNIST/raw, as torchvision lays it out
_FOLDERS = 200   # looked into at most: a folder of a thousand class folders is not searched


class TrainingFrontEnd:
    """Whatever a layout registered under `absint.data_layouts` knows, a single data file, or two of them."""

    def read(self, request: TrainingRequest) -> TrainingData:
        """Both splits; every fault is one coded message that says what was looked for."""
        _check(request)
        splits = _splits(request.path, request.extra, request.labels)
        if request.test is not None:
            other = _splits(request.test, False, request.test_labels)
            splits = replace(splits, test=other.test if other.test is not None else other.train)
        return finished(splits, request)


def _check(request: TrainingRequest) -> None:
    """Nothing where the options make sense together. Raises UsageError E-DATA-TEST, E-DATA-OPTION."""
    if request.test is not None and request.hold_out is not None:
        raise UsageError("E-DATA-TEST", "a test part is given and one is to be held out", where="--hold-out",
                         hint="leave out --test or --hold-out")
    if request.hold_out is not None and request.hold_out < 1:
        raise UsageError("E-DATA-TEST", f"{request.hold_out} training inputs cannot be held out", where="--hold-out",
                         hint="give a whole number from 1 on")
    if request.test_labels is not None and request.test is None:
        raise UsageError("E-DATA-TEST", "labels of a test part that is not given", where="--test-labels", hint="give --test FILE, too")
    if request.seed < 0:
        raise UsageError("E-DATA-OPTION", f"a seed of {request.seed}", where="--seed", hint="a whole number, 0 or more")
    if request.divide is not None and not (isfinite(request.divide) and request.divide > 0):
        what = f"values cannot be divided by {request.divide:g}"
        raise UsageError("E-DATA-OPTION", what, where="--divide", hint="a number above 0, such as 255")
    if request.clip is not None and not request.clip[0] < request.clip[1]:
        what = f"a range from {request.clip[0]:g} to {request.clip[1]:g}"
        raise UsageError("E-DATA-OPTION", what, where="--clip", hint="give LOW,HIGH or none")


def _splits(path: Path, extra: bool, labels: Path | None) -> Splits:
    if not _exists(path):
        raise InputError("E-DATA-MISSING", "no such file or folder", where=str(path), hint="check the path of the data")
    if labels is not None:
        return Splits(read_content(path, labels))
    for places in _levels(path):
        found = [(layout, place) for place in places for layout in _layouts() if layout.matches(place)]
        if len(found) > 1:
            raise InputError(
                "E-DATA-AMBIGUOUS", "more than one data set is there", where=str(path),
                details=[f"{place}: {layout.wanted}" for layout, place in found[:8]], hint="give the path of one of them",
            )
        if found:
            layout, place = found[0]
            return layout.read(place, extra)
    if path.is_file():
        return Splits(read_content(path))
    raise _nothing(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:    # a name that is too long, or a folder that may not be searched
        return False


def _layouts() -> list[DataLayout]:
    return [LAYOUTS.get(name)() for name in LAYOUTS]


def _levels(path: Path) -> Iterator[list[Path]]:
    """The path, then the folders in it, then those in them."""
    level = [path]
    for _ in range(_DEPTH + 1):
        yield level
        level = [folder for place in level for folder in folders_of(place).values()][:_FOLDERS]
        if not level:
            return


def _nothing(folder: Path) -> InputError:
    try:
        there = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise InputError("E-DATA-MISSING", f"cannot be read: {error.strerror}", where=str(folder), hint="check its rights") from error
    holds = f"it holds {', '.join(there[:6])}{', ...' if len(there) > 6 else ''}" if there else "it is empty"
    return InputError(
        "E-DATA-EMPTY", f"no data to train on in this folder: {holds}", where=str(folder),
        details=[f"looked for {layout.wanted}" for layout in _layouts()],
        hint=f"the folder itself and {_DEPTH} levels below are searched; a single file is given by its own path",
    )


