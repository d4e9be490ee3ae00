"""ONNX's own inference of shapes, kept away from what it does not come back from."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx
import onnx.shape_inference

_NO_ELLIPSIS = re.compile(r"(?<!\.)\.{1,2}(?!\.)|\.{4,}")


def with_shapes(proto: onnx.ModelProto, *, data_prop: bool = False) -> onnx.ModelProto:
    """The model with the shapes that follow from its inputs' (`onnx.shape_inference.infer_shapes`). data_prop: numbers in shapes, too.

    Raises what onnx does, and ValueError for an equation of Einsum with dots that are no ellipsis: onnx looks for its end for ever.
    """
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        check_equations(nodes)
    return onnx.shape_inference.infer_shapes(proto, data_prop=data_prop)


def check_equations(nodes: Iterable[onnx.NodeProto]) -> None:
    """Raise ValueError where one, or one in the graphs that it holds, is an Einsum with dots that are no ellipsis."""
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Einsum" and attribute.name == "equation" and _NO_ELLIPSIS.search(attribute.s.decode(errors="replace")):
                raise ValueError("dots of an equation that are no ellipsis")
            for graph in (attribute.g, *attribute.graphs):
                check_equations(graph.node)
