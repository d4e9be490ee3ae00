"""The floating-point formats of a model: which it holds, and whether absint knows what float32 executions of it err by."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

FLOATS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16",
}
ML_DOMAIN = "ai.onnx.ml"     # of the operators that scikit-learn's converters write
LABELLING = ("LinearClassifier", "SVMClassifier")   # of that domain: a label, and scores beside it
_NARROW = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
# Expanded into other operators, whose rounding is not that of the one kernel a runtime has for them.
_FUSED = {"Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "RNN", "GRU", "LSTM"}
_FORMAT_ATTRIBUTES = ("to", "dtype", "stash_type", "precision", "output_dtype")


def formats(proto: onnx.ModelProto) -> frozenset[str]:
    """The formats of all tensors that the file tells of. What is computed has the format of an operand or an attribute."""
    graph = proto.graph
    found = {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    found |= {t.data_type for t in graph.initializer} | {kind for node in graph.node for kind in _stated(node)}
    return frozenset(FLOATS[kind] for kind in found if kind in FLOATS)


def executions_known(proto: onnx.ModelProto) -> bool:
    """Whether absint bounds what float32 executions err by: narrow numbers are stored and cast alone, no kernel is expanded.

    The kernels of `ML_DOMAIN` sum in an order, and round to a format, of their own.
    """
    kernels = any(node.domain == ML_DOMAIN or node.op_type in _FUSED for node in proto.graph.node)
    return not kernels and not _computes_narrow(proto)


def _computes_narrow(proto: onnx.ModelProto) -> bool:
    """Whether any node but a Cast, which charges what it errs by, reads or makes a tensor of a narrow format."""
    graph = proto.graph
    declared = {v.name for v in (*graph.input, *graph.output, *graph.value_info) if v.type.tensor_type.elem_type in _NARROW}
    narrow = declared | {t.name for t in graph.initializer if t.data_type in _NARROW}
    narrow |= {o for node in graph.node if _NARROW & set(_stated(node)) for o in node.output}
    stored = {o for node in graph.node if node.op_type == "Constant" for o in node.output}
    return any(
        narrow.intersection(node.input) or not narrow.isdisjoint(set(node.output) - stored)
        for node in graph.node if node.op_type != "Cast"
    )


def _stated(node: onnx.NodeProto) -> Iterator[int]:
    """Element types that a node's attributes name."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t.data_type
        elif attribute.type == onnx.AttributeProto.INT and attribute.name in _FORMAT_ATTRIBUTES:
            yield int(attribute.i)
