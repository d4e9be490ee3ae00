"""The ONNX front end: a .onnx or .onnx.gz file to a graph that was checked against onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from absint.frontends.onnx_file import model_hash, open_model
from absint.frontends.onnx_reports import NodeReport
from absint.frontends.onnx_translate import translate
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.node_check import check_nodes
from absint.model.onnx_formats import executions_known, formats
from absint.model.passes import apply_passes

DEFAULT_RANGE = (0.0, 1.0)


class OnnxFrontEnd:
    """Reads networks stored as ONNX: floating-point inputs, one output, opset 7 or newer.

    Several inputs become one vector, flat and in the file's order; of several outputs one is chosen.

    Axis 0 of the input is the batch axis where its size is unknown or 1 and there are two axes or more; otherwise the whole
    input is one instance. The graph is the network at batch size 1, whatever becomes of axes of size 1: where the size is
    unknown and a node mixes that axis with others, a note says so, and the runtime is fed one instance at a time.
    Constants keep their stored values exactly (in float64); what is computed from constants is evaluated exactly, or with a bound
    on what was rounded.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".onnx", ".onnx.gz")

    def read(
        self, path: str | Path, *, fold: bool = True, check: bool = True, check_range: tuple[float, float] | None = None,
        content: bytes | None = None, output: str | None = None,
    ) -> Graph:
        """The graph of a file, behind all passes, or only the exact ones (fold=False).

        Every node of the file is compared with onnxruntime by itself.  check: the whole network, too, on 34 points of
        `check_range`, [0, 1] by default, which is sampled entry by entry.
        content: the bytes of a model in memory, which `path` then only names.  output: one of several outputs, or a tensor inside,
        where the network then ends; None for the only one, or the only one of floating-point numbers.
        Raises UsageError E-MODEL-OUTPUT for a name that the file does not have, InputError E-MODEL-* (missing, empty, not ONNX, NaN
        weights, inputs, outputs, shapes, cycles) and
        UnsupportedError E-OP-UNSUPPORTED (all nodes at once), E-IMPORT-MISMATCH, E-IMPORT-RUNTIME.
        """
        file = open_model(path, content, output)
        translation, notes = translate(file)
        graph = translation.graph(notes)
        held = formats(file.proto) | translation.integer_formats
        source = replace(graph.source, float32_executions=executions_known(file.proto), formats=held)
        graph = apply_passes(replace(graph, source=source), fold=fold)
        compared = check_nodes(translation.file_nodes(), graph.source)
        graph = replace(graph, source=replace(graph.source, node_check=compared))
        if check:
            check_import(graph, *(check_range or DEFAULT_RANGE))
        return graph

    def sha256(self, path: str | Path) -> str:
        """Of every byte that `read` reads the model from, weights in other files included. Raises InputError E-MODEL-*."""
        return model_hash(path)

    def survey(self, path: str | Path, *, output: str | None = None) -> tuple[NodeReport, ...]:
        """What becomes of every node the output needs, supported or not. Raises InputError E-MODEL-* for a broken file."""
        translation, _ = translate(open_model(path, output=output))
        return tuple(translation.reports)
