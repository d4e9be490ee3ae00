"""What every run on a network and data prepares in the same way: normalisation, inputs, device.

Each takes what a user stated, on the command line or in Python: text, numbers, arrays, files or objects.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from absint import samples
from absint.contract.common_options import DataOptions, ModelOptions, RunOptions
from absint.errors import InputError, UsageError, printable
from absint.model.frontend import normalised
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import Known, Layout, agreed, network_layout
from absint.numeric import backend
from absint.problem.boxes import box_of
from absint.problem.data_frontend import Reading, parse_scale, read_data
from absint.problem.dataset import Dataset
from absint.problem.live import inputs_of, labels_of, normalisation, stated_graph
from absint.problem.live.inputs import arranged
from absint.problem.parsing import drawn, parse_index
from absint.problem.regions.region import Region
from absint.problem.several_inputs import check_flat
from absint.problem.training_data import training_data

_MOST_THREADS = 4096


def behind_normalisation(graph: Graph, options: ModelOptions, axes: Known) -> Graph:
    """The graph as seen from raw input units. axes: `Dataset.axes` of the inputs. Of networks in a row the last one has its own already."""
    mean, std = (None, None) if options.compose else normalisation(options)
    return graph if mean is None and std is None else normalised(graph, mean, std, axes)


def by_channel(options: ModelOptions) -> bool:
    """Whether mean or std goes by the channels of the inputs, so that the order of their axes matters."""
    return not options.compose and any(value is not None and ("," in value if isinstance(value, str) else np.ndim(value) > 0)
               for value in (options.mean, options.std))


def read_graph(options: ModelOptions) -> Graph:
    """The network: of a file, or an object that a front end accepts; or several in a row. Raises what `stated_graph` does."""
    return stated_graph(options, inputs=getattr(options, "data", None), fold=getattr(options, "semantics", "real") != "float32")


def warn_of(graph: Graph) -> None:
    """The graph's caveats, on stderr whatever the format and however quiet: no answer comes without them."""
    for caveat in graph.source.caveats:
        code, _, text = caveat.partition(": ")
        sys.stderr.write(f"warning[{code}] {graph.source.path}: {text}\n")


def set_up_device(options: RunOptions) -> None:
    """Threads, and a device that answers. Raises UsageError E-THREADS, and as `backend.device` does."""
    if options.threads is not None:
        if not 1 <= options.threads <= _MOST_THREADS:
            raise UsageError("E-THREADS", f"at least one thread is needed, and not {options.threads}", where="--threads",
                             hint=f"1 to {_MOST_THREADS}")
        torch.set_num_threads(options.threads)
    backend.device(options.device)


def read_inputs(options: DataOptions, graph: Graph, *, labelled: bool = True) -> Dataset:
    """The whole data set in the network's shape, or a bundled sample that fits; a changed layout is told on stderr.

    `axes` of the result is what is known of the network's input, by its operators, --layout and the data together.
    labelled: whether labels are asked for.
    Raises InputError E-DATA-*, UsageError E-USAGE for labels without data, E-SCALE, E-DATA-KEY, -COLUMN.
    """
    reading = Reading(options.key, None if options.label_column is None else str(options.label_column), parse_scale(options.scale),
                      labelled, graph.input.size, graph.source.named_inputs or None)
    if not isinstance(options.data, (str, Path)):
        check_no_file(options)
        return _sample(options, graph) if options.data is None else _given(options, graph)
    data = _read(options, graph, reading)
    if not len(data):
        raise InputError("E-DATA-EMPTY", "the file holds no inputs", where=data.name, hint="store shape (N, ...), one row an input")
    check_flat(data.shape, graph.source.named_inputs, data.name)
    shaped = data.shaped_for(graph.input.shape, options.layout, axes_of(graph))
    if not options.quiet:
        for note in shaped.notes:
            sys.stderr.write(f"note: {printable(data.name)}: {printable(note)}\n")
    return shaped


def check_no_file(options: DataOptions) -> None:
    """Raise UsageError E-USAGE where it is said how to read a file of data, and none is read."""
    said = next((word for word in ("key", "label_column", "scale") if getattr(options, word) is not None), None)
    if said is not None:
        raise UsageError("E-USAGE", "it says how a file of data is read, and none is", where=f"--{said.replace('_', '-')}",
                         hint="add --data FILE; values of a Python program are taken as they are")


def check_region(options: DataOptions) -> None:
    """Raise UsageError E-USAGE for what is said of data where regions stand in their place."""
    check_no_file(options)
    if options.sample is not None:
        raise UsageError("E-USAGE", "regions are not drawn from", where="--sample", hint="choose them with --index, or hand over fewer")


def read_box(options: Any, graph: Graph) -> Region:
    """The box that --box names, in the network's shape; what is said of it goes to stderr. Raises InputError E-BOX-*, UsageError."""
    region, notes = box_of(options.box, graph.input.shape)
    if not options.quiet:
        for note in notes:
            sys.stderr.write(f"note: {printable(note)}\n")
    return region


def _read(options: DataOptions, graph: Graph, reading: Reading) -> Dataset:
    """A file, with labels of its own, of another file, or of the caller; of a folder of training data the test part."""
    path = Path(options.data)
    if path.is_dir() and reading.key is None and reading.label_column is None:
        try:
            return _test_part(options, graph, reading)
        except InputError as error:
            if error.code not in ("E-DATA-TEST", "E-DATA-LABELS", "E-DATA-EMPTY"):
                raise
            fault = error
        try:
            return _of_file(options, graph, path, reading)     # one part, or pictures without labels
        except InputError as error:
            raise (fault if error.code == "E-DATA-EMPTY" else error) from None
    return _of_file(options, graph, path, reading)


def _of_file(options: DataOptions, graph: Graph, path: Path, reading: Reading) -> Dataset:
    if options.labels is None or isinstance(options.labels, (str, Path)):
        return read_data(path, None if options.labels is None else Path(options.labels), reading)
    data = read_data(path, None, reading)
    return replace(data, labels=_labels(options, graph, len(data)))


def _test_part(options: DataOptions, graph: Graph, reading: Reading) -> Dataset:
    """The test images of a folder, as float64 in raw units."""
    divide = None if reading.scale is None else float(1 / reading.scale)
    data = training_data(options.data, clip=None, divide=divide)      # the range is that of the chosen inputs, and looked at there
    split = data.test
    order = Layout.CHW if len(split.shape) == 3 else None
    found = Dataset(split.values.astype(np.float64) / split.divisor, split.labels, split.name, split.sha256, data.notes, layout=order)
    return found if options.labels is None else replace(found, labels=_labels(options, graph, len(found)))


def _sample(options: DataOptions, graph: Graph) -> Dataset:
    """The bundled data that fits."""
    if options.labels is not None:
        raise UsageError("E-USAGE", "labels without the data they belong to", where="--labels", hint="add --data FILE")
    shape = graph.input.shape
    if graph.source.parts:
        draw = f"np.save('latents.npy', np.random.default_rng(0).standard_normal({(25, *shape)}))"
        raise InputError("E-DATA-NONE", f"there is no sample of what the first of several networks takes, here of shape {shape}",
                         where=graph.source.path or None,
                         hint=f"give your own with --data FILE, and their range with --clip; latents: {draw} and --clip none")
    sample = samples.for_shape(shape)
    if sample is None:
        raise InputError("E-DATA-NONE", f"no bundled sample fits inputs of shape {shape}", where=str(options.net),
                         hint="give your own inputs with --data FILE (npz, npy, CSV or IDX)")
    return sample.shaped_for(shape, options.layout, axes_of(graph))


def _given(options: DataOptions, graph: Graph) -> Dataset:
    """Values of a Python program: in the network's shape, labelled where labels are given."""
    if isinstance(options.data, Dataset):
        data = arranged(graph, options.data, options.layout)
        return data if options.labels is None else replace(data, labels=_labels(options, graph, len(data)))
    inputs = inputs_of(graph, options.data).numpy()
    digest = hashlib.sha256(np.ascontiguousarray(inputs).tobytes()).hexdigest()
    axes = agreed(graph.input.shape, axes_of(graph), network_layout(options.layout))
    return Dataset(inputs, _labels(options, graph, len(inputs)), "inputs", digest, axes=axes)


def _labels(options: DataOptions, graph: Graph, count: int) -> Any:
    labels = labels_of(graph, options.labels, count)
    return None if labels is None else labels.numpy()


def chosen_inputs(whole: Dataset, clip: tuple[float, float] | None, options: DataOptions, *, checked: bool = True) -> Dataset:
    """The inputs that --index and --sample choose, each within the data range; which were drawn is told on stderr.

    Raises E-INDEX, E-SAMPLE, E-DATA-INDEX, E-DATA-NAN, E-DATA-RANGE.
    """
    data = whole if options.index is None else whole.select(parse_index(options.index, len(whole), whole.name))
    if options.sample is not None:
        places = drawn(len(data), options.sample, options.seed)
        data = data.select(places)
        if not options.quiet:
            listed = ",".join(map(str, data.index.tolist()))
            sys.stderr.write(f"note: {printable(data.name)}: {len(data)} inputs drawn with seed {options.seed}: --index {listed}\n")
    data.check_range(*((clip or (-inf, inf)) if checked else (-inf, inf)))
    return data
