"""Whether a network and data are there, fit, and agree with onnxruntime: looked at once, nothing is analysed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch

from absint.contract.common_options import DataOptions
from absint.errors import InputError
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.problem.dataset import Dataset
from absint.problem.live import fit_of, normalisation
from absint.problem.parsing import parse_clip
from absint.problem.region_choice import Clip
from absint.runs import inputs

FIRST = 100         # inputs that the network is asked about
_PART = 50


@dataclass(frozen=True)
class Trial:
    """What is there. shape: of an input.  data: its name, '' for none.  bundled: a sample that fits.  count: of inputs.

    correct, of: of the first inputs, how many the network is right about; None where there are no labels or classes.
    """

    shape: tuple[int, ...]
    outputs: int
    data: str = ""
    bundled: bool = False
    count: int = 0
    correct: int | None = None
    of: int = 0


def tried(options: DataOptions) -> Trial:
    """Read both as every analysis does. Without data, and with no bundled sample that fits, the network alone.

    Raises every coded error that network and data can cause, UnsupportedError E-IMPORT-MISMATCH among them.
    """
    fit_of(options)
    normalisation(options)
    clip = parse_clip(options.clip)
    graph = inputs.read_graph(options)
    inputs.warn_of(graph)
    classes = graph.output.size > 1
    try:
        whole = inputs.read_inputs(options, graph, labelled=classes)
    except InputError as error:
        if error.code != "E-DATA-NONE" or options.data is not None:
            raise
        check_import(inputs.behind_normalisation(graph, options, None))
        return Trial(graph.input.shape, graph.output.size)
    graph = inputs.behind_normalisation(graph, options, whole.axes)
    data = inputs.chosen_inputs(whole, clip, options)
    if classes:
        data.check_labels(graph.output.size)
    check_import(graph, *_range(whole, clip))
    correct, of = _right(graph, data) if classes else (None, 0)
    return Trial(graph.input.shape, graph.output.size, Path(data.name).name, options.data is None, len(whole), correct, of)


def _range(whole: Dataset, clip: Clip) -> tuple[float, float]:
    """That of the data, where none is stated."""
    low, high = clip if clip is not None else (float(whole.inputs.min()), float(whole.inputs.max()))
    return (low, high) if isfinite(low) and isfinite(high) else (0.0, 1.0)


def _right(graph: Graph, data: Dataset) -> tuple[int | None, int]:
    if data.labels is None:
        return None, 0
    count = min(len(data), FIRST)
    with torch.no_grad():
        parts = torch.from_numpy(data.inputs[:count]).split(_PART)
        predicted = torch.cat([graph(part).flatten(1).argmax(1) for part in parts]).numpy()
    return int((predicted == data.labels[:count]).sum()), count
