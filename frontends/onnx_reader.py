"""The ONNX front end: a .onnx or .onnx.gz file to a graph that was checked against onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from absint.frontends.onnx_file import model_hash, open_model
from absint.frontends.onnx_translate import NodeReport, translate
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.node_check import check_nodes
from absint.model.onnx_formats import executions_known, formats
from absint.model.passes import apply_passes

DEFAULT_RANGE = (0.0, 1.0)


class OnnxFrontEnd:
    """Reads networks stored as ONNX: one floating-point input, one output, opset 7 or newer.

    Axis 0 of the input is the batch axis where its size is unknown or 1 and there are two axes or more; otherwise, or
    where a node mixes it with features, the whole input is one instance. Constants keep their stored values exactly
    (in float64); constant subexpressions are evaluated where that is exact, else refused.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".onnx", ".onnx.gz")

    def read(
        self, path: str | Path, *, fold: bool = True, check: bool = True, check_range: tuple[float, float] | None = None,
        content: bytes | None = None,
    ) -> Graph:
        """The graph of a file, behind all passes, or only the exact ones (fold=False).

        Every node of the file is compared with onnxruntime by itself.  check: the whole network, too, on 34 points of
        `check_range`, [0, 1] by default, which is sampled entry by entry.
        content: the bytes of a model in memory, which `path` then only names.
        Raises InputError E-MODEL-* (missing, empty, not ONNX, NaN weights, inputs, outputs, shapes, cycles) and
        UnsupportedError E-OP-UNSUPPORTED (all nodes at once), E-IMPORT-MISMATCH, E-IMPORT-RUNTIME.
        """
        file = open_model(path, content)
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

    def survey(self, path: str | Path) -> tuple[NodeReport, ...]:
        """What becomes of every node the output needs, supported or not. Raises InputError E-MODEL-* for a broken file."""
        translation, _ = translate(open_model(path))
        return tuple(translation.reports)
