"""CastLike: a cast to the type that another tensor has, which is known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from absint.frontends.onnx_inference import with_shapes


def as_cast(node: onnx.NodeProto, types: Mapping[str, int]) -> onnx.NodeProto:
    """The Cast that a CastLike is; the node itself where the type is not to be had. types: of the model's tensors."""
    if len(node.input) != 2:
        return node
    kind = types.get(node.input[1], 0)
    if not kind:
        return node
    found: onnx.NodeProto = helper.make_node("Cast", [node.input[0]], list(node.output), node.name, to=kind)
    return found


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types by tensor, as far as they are stated or follow. model: functions expanded."""
    graph = model.graph
    found = {t.name: int(t.data_type) for t in graph.initializer}
    for node in graph.node:
        found |= {o: int(a.t.data_type) for o in node.output for a in node.attribute if node.op_type == "Constant" and a.name == "value"}
    try:
        inferred = with_shapes(model).graph
    except Exception:   # of a model that is damaged elsewhere, which is told there
        inferred = graph
    for value in (*graph.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.elem_type:
            found.setdefault(value.name, int(value.type.tensor_type.elem_type))
    return found
