"""Labelled data to train on: two splits that stay as they are stored, eight bits where the files hold eight bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.errors import InputError
from absint.numeric.short_repr import short_repr
from absint.problem.dataset import IntArray
from absint.registry import Registry

_BUNDLED = "mnist_train.npz"    # beside absint/samples/provenance.json, which says how it was made
BUNDLED = "bundled MNIST sample"     # the name of what is taken where no data are named
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Split:
    """N labelled inputs as they are stored.

    values: (N, *shape), uint8 or float32; images are (N, channels, height, width), whatever their file's order.
    divisor: what turns values into raw units (255 for eight bits, 1 for others).  labels: (N,) int64.
    name: what messages call it.  sha256: of all that was read.
    Raises InputError E-DATA-LABELS where numbers differ, E-DATA-FORMAT for another type, E-DATA-EMPTY without inputs.
    """

    __repr__ = short_repr

    values: npt.NDArray[Any]
    divisor: float
    labels: IntArray
    name: str
    sha256: str

    def __post_init__(self) -> None:
        if self.values.dtype not in (np.uint8, np.float32):
            raise InputError("E-DATA-FORMAT", f"values of type {self.values.dtype}", where=self.name, hint="use uint8 or float32")
        if self.values.ndim < 2 or self.values.size == 0:
            raise InputError("E-DATA-EMPTY", f"no inputs in an array of shape {self.values.shape}", where=self.name,
                             hint="store shape (N, ...), one row an input")
        if self.labels.shape != (len(self.values),) or self.labels.dtype != np.int64:
            what = f"{len(self.values)} inputs but labels of shape {self.labels.shape} and type {self.labels.dtype}"
            raise InputError("E-DATA-LABELS", what, where=self.name, hint="give one class number an input, in the same order")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis."""
        return self.values.shape[1:]

    def inputs(self, index: Tensor | slice) -> Tensor:
        """(n, *shape) float32 on the CPU, in raw units: the inputs at these positions, in this order; never a view of `values`."""
        chosen = self.values[index if isinstance(index, slice) else index.cpu().numpy()]
        # A division, not a product with 1/255: k/255 is then the float32 nearest to it, as in every other reader.
        return torch.from_numpy(chosen.astype(np.float32)).div_(self.divisor)

    def targets(self, index: Tensor | slice) -> Tensor:
        """(n,) int64 on the CPU: the labels at these positions."""
        return torch.from_numpy(self.labels[index if isinstance(index, slice) else index.cpu().numpy()].copy())


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a network is trained and judged on.

    classes: labels are 0..classes-1 in both splits.  notes: what was done to the values, in order.
    Raises InputError E-DATA-SHAPE where the splits' inputs differ in shape, E-DATA-LABEL naming labels outside the classes.
    """

    __repr__ = short_repr

    train: Split
    test: Split
    classes: int
    name: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise InputError("E-DATA-SHAPE", f"training inputs of shape {self.train.shape}, test inputs of shape {self.test.shape}",
                             where=self.name, hint="are both parts of the same data set?")
        for split in (self.train, self.test):
            bad = np.flatnonzero((split.labels < 0) | (split.labels >= self.classes))
            if bad.size:
                rest = [f"... and {bad.size - _SHOWN} more"] if bad.size > _SHOWN else []
                raise InputError(
                    "E-DATA-LABEL", f"{bad.size} of {len(split)} labels outside 0..{self.classes - 1}", where=split.name,
                    details=(*(f"input {k}: label {split.labels[k]}" for k in bad[:_SHOWN]), *rest),
                    hint="labels are class numbers counted from 0, the same in training and test data",
                )


@dataclass(frozen=True)
class TrainingRequest:
    """What was asked for.

    path: a file, or a folder that holds the data or is up to two levels above it.  test, labels, test_labels: files of their own.
    hold_out: that many training inputs, drawn by `seed`, are the test part.  layout: the order of the images' axes, as --layout.
    clip: the range that raw values must lie in, None for any.  divide: what to divide stored numbers by, where it is not the usual.
    extra: SVHN's additional images are trained on, too.
    """

    path: Path
    test: Path | None = None
    labels: Path | None = None
    test_labels: Path | None = None
    hold_out: int | None = None
    seed: int = 0
    layout: str = "auto"
    clip: tuple[float, float] | None = (0.0, 1.0)
    divide: float | None = None
    extra: bool = False


class TrainingReader(Protocol):
    """Turns files into data to train on."""

    def read(self, request: TrainingRequest) -> TrainingData:
        """Both splits, checked. Raises InputError E-DATA-..., UsageError."""
        ...


TRAINING: Registry[Callable[[], TrainingReader]] = Registry("training data front end", "absint.training_data")


def training_data(
    path: str | Path | None = None, *, test: str | Path | None = None, labels: str | Path | None = None,
    test_labels: str | Path | None = None, hold_out: int | None = None, seed: int = 0, layout: str = "auto",
    clip: tuple[float, float] | None = (0.0, 1.0), divide: float | None = None, extra: bool = False,
) -> TrainingData:
    """Both splits of a file or folder, or without a path of the bundled sample of MNIST; what is read: docs/training_data.md.

    The arguments are those of `TrainingRequest`. Raises InputError E-DATA-... for bad data, UsageError for bad options.
    """
    reader = TRAINING.get("files")()

    def asked(place: Path) -> TrainingRequest:
        apart, own, others = (None if file is None else Path(file) for file in (test, labels, test_labels))
        return TrainingRequest(place, apart, own, others, hold_out, seed, layout, clip, divide, extra)

    if path is not None:
        return reader.read(asked(Path(path)))
    # A resource, not an import: the samples' code is built upon this room.
    with as_file(files("absint") / "samples" / _BUNDLED) as place:
        return replace(reader.read(asked(place)), name=BUNDLED)
