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
from absint.model.layout import Known, Layout, network_layout
from absint.numeric import backend
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset
from absint.problem.live import inputs_of, labels_of, normalisation, stated_graph
from absint.problem.live.inputs import arranged
from absint.problem.parsing import parse_clip, parse_index
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


def read_inputs(options: DataOptions, graph: Graph) -> Dataset:
    """The whole data set in the network's shape, or a bundled sample that fits; a changed layout is told on stderr.

    `axes` of the result is what is known of the network's input, by its operators, --layout and the data together.
    Raises InputError E-DATA-*, UsageError E-USAGE for labels without data.
    """
    if options.data is None:
        return _sample(options, graph)
    if isinstance(options.data, (str, Path)):
        data = _read(options, graph)
    else:
        return _given(options, graph)
    if not len(data):
        raise InputError("E-DATA-EMPTY", "the file holds no inputs", where=data.name)
    shaped = data.shaped_for(graph.input.shape, options.layout, axes_of(graph))
    if not options.quiet:
        for note in shaped.notes:
            sys.stderr.write(f"note: {printable(data.name)}: {printable(note)}\n")
    return shaped


def _read(options: DataOptions, graph: Graph) -> Dataset:
    """A file, with labels of its own, of another file, or of the caller; of a folder of training data the test part."""
    if Path(options.data).is_dir():
        return _test_part(options, graph)
    if options.labels is None or isinstance(options.labels, (str, Path)):
        return read_data(Path(options.data), None if options.labels is None else Path(options.labels))
    data = read_data(Path(options.data), None)
    return replace(data, labels=_labels(options, graph, len(data)))


def _test_part(options: DataOptions, graph: Graph) -> Dataset:
    """The test images of a folder, as float64 in raw units."""
    data = training_data(options.data, clip=parse_clip(options.clip))
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
    return Dataset(inputs, _labels(options, graph, len(inputs)), "inputs", digest, axes=network_layout(options.layout))


def _labels(options: DataOptions, graph: Graph, count: int) -> Any:
    labels = labels_of(graph, options.labels, count)
    return None if labels is None else labels.numpy()


def chosen_inputs(whole: Dataset, clip: tuple[float, float] | None, index: str | None, *, checked: bool = True) -> Dataset:
    """The inputs that --index names, each within the data range. Raises E-INDEX, E-DATA-INDEX, E-DATA-NAN, E-DATA-RANGE."""
    data = whole if index is None else whole.select(parse_index(index, len(whole), whole.name))
    data.check_range(*((clip or (-inf, inf)) if checked else (-inf, inf)))
    return data
