"""The NNet front end: a .nnet file to a graph, by way of an ONNX model of the same network that is checked against the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from absint.errors import InputError, UnsupportedError
from absint.frontends.nnet_file import FloatArray, Nnet, read_nnet, usual_range
from absint.frontends.onnx_file import open_model, read_bytes
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.frontends.onnx_reports import NodeReport
from absint.frontends.onnx_translate import translate
from absint.model.digest import digest
from absint.model.graph import Graph
from absint.model.import_check import POINTS, TOLERANCES, check_import
from absint.model.reference import open_session

_AROUND = 0.5       # of the range, beyond its ends, where inputs are clipped
_RAW = ("as the format's reference evaluates it: inputs in raw units, clipped to the file's [min, max] and normalised, outputs scaled "
        "back; --no-normalisation for the network between the two")
_BARE = "without the file's own clipping and normalisation: inputs and outputs are those of the network between the two"


class NnetFrontEnd:
    """Reads .nnet files, raw inputs to raw outputs; the constants are the float64 numbers nearest to the file's decimals.

    The reference that witnesses are replayed in is an ONNX model of float64 numbers, which was compared with an evaluation of
    the file as the format's own reference does it.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".nnet",)

    def read(
        self, path: str | Path, *, fold: bool = True, check: bool = True, check_range: tuple[float, float] | None = None,
        output: str | None = None, normalisation: bool = True,
    ) -> Graph:
        """The graph of a file; options as for ONNX files. Without `normalisation` it is the network between the two of the file.

        check_range: the file's own by default, input by input.
        Raises InputError E-MODEL-MISSING, -EMPTY, -FORMAT, -NONFINITE with the line, and what the ONNX front end raises.
        """
        net, raw = _read(path)
        content = _checked_model(net, str(path), normalisation=normalisation)
        graph = OnnxFrontEnd().read(path, fold=fold, check=False, content=content, output=output)
        caveats = (*graph.source.caveats, *([] if not net.flag else [f"E-MODEL-NNET: the flag of the file is {net.flag}; readers of the "
                                                                     "format ignore it, and so does absint"]))
        said = (_RAW if normalisation else _BARE, *(text.partition(": ")[2] for text in caveats[len(graph.source.caveats):]))
        chosen = graph.source.chosen if normalisation else f"{graph.source.chosen} without normalisation".strip()
        source = replace(graph.source, sha256=digest(raw), notes=(*said, *graph.source.notes), caveats=caveats, chosen=chosen)
        graph = replace(graph, source=source)
        if check:
            ends = usual_range(net, normalisation=normalisation)
            low, high = ends if check_range is None else (np.full(net.inputs, end) for end in check_range)
            check_import(graph, region=_Box(low[None], high[None]))
        return graph

    def survey(self, path: str | Path, *, output: str | None = None, normalisation: bool = True) -> tuple[NodeReport, ...]:
        """What becomes of every node of the model that is made of the file. Raises as `read` does."""
        net, _ = _read(path)
        translation, _ = translate(open_model(path, net.onnx(normalisation=normalisation), output))
        return tuple(translation.reports)


@dataclass(frozen=True, eq=False)
class _Box:
    lower: FloatArray
    upper: FloatArray


def _read(path: str | Path) -> tuple[Nnet, bytes]:
    raw = read_bytes(Path(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError("E-MODEL-FORMAT", f"not a text file: byte {error.start} is no UTF-8", where=f"{path}:{line}",
                         hint="give an .nnet file as github.com/sisl/NNet describes it") from error
    return read_nnet(text, str(path)), raw


def _checked_model(net: Nnet, path: str, *, normalisation: bool) -> bytes:
    """The reference model, compared with the file on a few points, some of them beyond its range. Raises E-IMPORT-MISMATCH."""
    model = net.onnx(normalisation=normalisation)
    low, high = usual_range(net, normalisation=normalisation)
    width = _AROUND * (high - low)
    x = np.random.default_rng(0).uniform(low - width, high + width, (POINTS, net.inputs))
    x[0], x[1], x[2], x[3] = low, high, low - width, high + width
    theirs = net.evaluate(x, normalisation=normalisation)
    (ours,) = open_session(model).run(None, {"x": x})
    gap, scale = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max(initial=0.0))
    if not gap <= TOLERANCES[np.float64] * scale:
        raise UnsupportedError("E-IMPORT-MISMATCH", "the model that was made of the file does not compute what the file says", where=path,
                               details=[f"largest deviation {gap:.3g}, output scale {scale:.3g}"],
                               hint="nothing was analysed; does the network overflow near its means? else report this with the file")
    return model
