"""Which inputs thresholds are made of, and which are held out; no input may be both."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from absint.analyses.taboo.options import TabooCalibrateOptions
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import Layout
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset
from absint.problem.live import inputs_of, labels_of
from absint.problem.live.inputs import arranged
from absint.problem.parsing import parse_clip
from absint.problem.training_data import BUNDLED, Split, TrainingData, training_data

_SHOWN = 5


def with_data(options: TabooCalibrateOptions) -> TabooCalibrateOptions:
    """The options with bundled images, or the parts of a folder, in place of no data or the folder; other files are read by the run."""
    data, own = options.data, options.held_out is None and options.hold_out is None
    if data is None and options.labels is None:
        found = training_data()
    elif isinstance(data, (str, Path)) and Path(data).is_dir():
        found = training_data(data, clip=parse_clip(options.clip), layout=options.layout)
    else:
        return options
    held = _part(found, found.test, "test part") if own else options.held_out
    return replace(options, data=_part(found, found.train, "training part"), held_out=held)


def check_fit(options: TabooCalibrateOptions, graph: Graph, *, bundled: bool) -> None:
    """Raise InputError E-DATA-NONE where bundled images, taken in the place of none, do not fit the network."""
    if bundled and isinstance(options.data, Dataset) and options.data.inputs[0].size != graph.input.size:
        raise InputError("E-DATA-NONE", f"no bundled images fit inputs of shape {graph.input.shape}", where=str(options.net),
                         hint="give the training inputs with --data FILE (npz, npy, CSV or IDX)")


def taken_for_none(data: object) -> bool:
    """Whether these are the bundled images."""
    return isinstance(data, Dataset) and data.name.startswith(BUNDLED)


def parted(run: Run[TabooCalibrateOptions]) -> tuple[Dataset, Dataset | None]:
    """(what thresholds are made of, what is held out or None), both in the network's shape and within the data range.

    Raises UsageError E-TABOO-HELD-OUT where nothing is left, InputError E-TABOO-OVERLAP where an input is in both, E-DATA-*.
    """
    options, data = run.options, run.inputs
    if options.hold_out is None:
        held = _held(run)
        if held is not None:
            _check_apart(data, held)
        return data, held
    count = len(data) - options.hold_out
    if count < 1:
        raise UsageError("E-TABOO-HELD-OUT", f"{options.hold_out} of {len(data)} inputs held out leave none for thresholds",
                         where="--hold-out", hint="hold out fewer, or give others with --held-out")
    training, rest = data.select(np.arange(count)), data.select(np.arange(count, len(data)))
    _check_apart(training, rest)
    return training, rest


def _part(data: TrainingData, split: Split, what: str) -> Dataset:
    """As float64 in raw units."""
    order = Layout.CHW if len(split.shape) == 3 else None
    name = data.name if what in data.name else f"{data.name}, {what}"
    return Dataset(split.values.astype(np.float64) / split.divisor, split.labels, name, split.sha256, data.notes, layout=order)


def _held(run: Run[TabooCalibrateOptions]) -> Dataset | None:
    """Of --held-out."""
    options, graph, given = run.options, run.network, run.options.held_out
    if given is None:
        return None
    if isinstance(given, (str, Path)):
        data = _read(Path(given), options)
        data = data.shaped_for(graph.input.shape, options.layout, axes_of(graph))
    elif isinstance(given, Dataset):
        data = arranged(graph, given, options.layout)
    else:
        data = Dataset(inputs_of(graph, given).numpy(), None, "held-out inputs", "")
    if options.held_labels is not None and not isinstance(options.held_labels, (str, Path)):
        labels: Any = labels_of(graph, options.held_labels, len(data), "held_labels")
        data = replace(data, labels=labels.numpy())
    if not len(data):
        raise InputError("E-DATA-EMPTY", "no input is held out", where=data.name)
    data.check_range(*(options.clip or (-inf, inf)))
    data.check_labels(graph.output.size)
    return data


def _read(path: Path, options: TabooCalibrateOptions) -> Dataset:
    if path.is_dir():
        found = training_data(path, clip=parse_clip(options.clip), layout=options.layout)
        return _part(found, found.test, "test part")
    labels = options.held_labels if isinstance(options.held_labels, (str, Path)) else None
    return read_data(path, None if labels is None else Path(labels))


def _check_apart(training: Dataset, held: Dataset) -> None:
    """An input is the same where all of its numbers are."""
    seen: dict[bytes, int] = {_digest(row): int(name) for row, name in zip(training.inputs, training.index, strict=True)}
    both = [(int(name), seen[digest]) for row, name in zip(held.inputs, held.index, strict=True) if (digest := _digest(row)) in seen]
    if both:
        rows = [f"held-out input {mine} is training input {theirs}" for mine, theirs in both[:_SHOWN]]
        raise InputError("E-TABOO-OVERLAP", f"{len(both)} held-out inputs are among those that thresholds are made of", where=held.name,
                         details=(*rows, *([f"... and {len(both) - _SHOWN} more"] if len(both) > _SHOWN else [])),
                         hint="they raise no false alarms by construction: hold out inputs that were never seen")


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest()     # + 0.0: minus zero is zero
