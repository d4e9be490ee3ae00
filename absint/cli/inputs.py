"""What every subcommand on a network and data prepares in the same way: model file, normalisation, inputs, device."""

from __future__ import annotations

import sys
import zipfile
from math import inf
from pathlib import Path

import torch

from absint import samples
from absint.cli.parsing import parse_index, parse_numbers
from absint.cli.settings import InputSettings
from absint.errors import InputError, UnsupportedError, UsageError, printable
from absint.model.frontend import FRONTENDS, normalised
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import Known, named
from absint.numeric import backend
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset

_TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl")
_ZIP = b"PK\x03\x04"                                         # torch.save's archive
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_EXPORT = "export it where it was trained: torch.onnx.export(model.eval(), example_input, 'net.onnx')"


def check_model(net: Path) -> None:
    """Refuse what only looks like a model file, before anything reads it.

    Raises UsageError E-MODEL-STDIN for '-', InputError E-MODEL-PICKLE for files of torch.save: unpickling runs code.
    """
    if str(net) == "-":
        raise UsageError("E-MODEL-STDIN", "a model is read from a file, not from the standard input", where="NET",
                         hint="give the path of a file")
    if _readable(net):
        return
    if _pickled(net):
        raise InputError("E-MODEL-PICKLE", "a pickled torch file, which absint never loads: unpickling runs code", where=str(net),
                         hint=_EXPORT)


def _pickled(net: Path) -> bool:
    """By its first bytes and the names in its archive alone; a torch suffix on anything else counts, too."""
    if not net.is_file():  # a pipe can be read once only
        return False
    try:
        with net.open("rb") as file:
            start = file.read(4)
        if start.startswith(_ZIP) and zipfile.is_zipfile(net):
            with zipfile.ZipFile(net) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    return start.startswith(_PICKLES) or (bool(start) and net.suffix.lower() in _TORCH_SUFFIXES)


def _readable(net: Path) -> bool:
    """Whether a front end, perhaps a stranger's, asks for files of this kind that are pickled by nature."""
    suffix = net.suffix.lower()
    return suffix in _TORCH_SUFFIXES and any(suffix in FRONTENDS.get(name)().suffixes for name in FRONTENDS)


def normalisation(settings: InputSettings) -> tuple[list[str] | None, list[str] | None]:
    """--mean and --std as exact decimals. Raises UsageError E-NUMBERS."""
    given = ((settings.mean, "--mean"), (settings.std, "--std"))
    mean, std = (None if text is None else parse_numbers(text, where) for text, where in given)
    return mean, std


def behind_normalisation(graph: Graph, settings: InputSettings, axes: Known) -> Graph:
    """The graph as seen from raw input units. axes: `Dataset.axes` of the inputs."""
    mean, std = normalisation(settings)
    return graph if mean is None and std is None else normalised(graph, mean, std, axes)


def layout_shown(settings: InputSettings, axes: Known, *, used: bool) -> dict[str, str]:
    """{"layout": ...} for reports and journals, where a property or --mean, --std goes by channels or pixels."""
    by_channel = any(text is not None and "," in text for text in (settings.mean, settings.std))
    return {"layout": named(axes)} if used or by_channel else {}


def warn_of(graph: Graph) -> None:
    """The graph's caveats, on stderr whatever the format and however quiet: no answer comes without them."""
    for caveat in graph.source.caveats:
        code, _, text = caveat.partition(": ")
        sys.stderr.write(f"warning[{code}] {graph.source.path}: {text}\n")


def set_up_device(settings: InputSettings) -> None:
    """Threads, and a device that answers. Raises UsageError E-THREADS, ResourceError or UnsupportedError E-DEVICE."""
    if settings.threads is not None:
        if settings.threads < 1:
            raise UsageError("E-THREADS", f"at least one thread is needed, not {settings.threads}", where="--threads")
        torch.set_num_threads(settings.threads)
    if backend.device(settings.device).type not in ("cpu", "cuda"):
        raise UnsupportedError("E-DEVICE", f"absint does not compute on '{settings.device}'", where="--device", hint="cpu or cuda")


def memory_of(settings: InputSettings) -> int | None:
    """--memory in bytes. Raises UsageError E-MEMORY."""
    return None if settings.memory is None else backend.parse_memory(settings.memory)


def read_inputs(settings: InputSettings, graph: Graph) -> Dataset:
    """The whole data set in the network's shape, or a bundled sample that fits; a changed layout is told on stderr.

    `axes` of the result is what is known of the network's input, by its operators, --layout and the data together.
    Raises InputError E-DATA-*, UsageError E-USAGE for labels without data.
    """
    shape, known = graph.input.shape, axes_of(graph)
    if settings.data is not None:
        data = read_data(settings.data, settings.labels)
        if not len(data):
            raise InputError("E-DATA-EMPTY", "the file holds no inputs", where=data.name)
        shaped = data.shaped_for(shape, settings.layout, known)
        if not settings.quiet:
            for note in shaped.notes:
                sys.stderr.write(f"note: {printable(data.name)}: {printable(note)}\n")
        return shaped
    if settings.labels is not None:
        raise UsageError("E-USAGE", "labels without the data they belong to", where="--labels", hint="add --data FILE")
    sample = samples.for_shape(shape)
    if sample is None:
        raise InputError("E-DATA-NONE", f"no bundled sample fits inputs of shape {shape}", where=str(settings.net),
                         hint="give your own inputs with --data FILE (npz, npy, CSV or IDX)")
    return sample.shaped_for(shape, settings.layout, known)


def chosen_inputs(whole: Dataset, clip: tuple[float, float] | None, index: str | None) -> Dataset:
    """The inputs that --index names, each within the data range. Raises E-INDEX, E-DATA-INDEX, E-DATA-NAN, E-DATA-RANGE."""
    data = whole if index is None else whole.select(parse_index(index, len(whole), whole.name))
    data.check_range(*(clip or (-inf, inf)))
    return data
