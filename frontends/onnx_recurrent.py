"""Recurrent layers of a file: whether their sequences have a fixed length where the batch size is open, and those with the batch first."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
from onnx import helper

from absint.frontends.onnx_inference import with_shapes

RECURRENT = ("RNN", "GRU", "LSTM")
OPEN_LENGTH = ("the length of its sequence is not fixed",
               "export with a fixed sequence length, or with batch size 1 where axis 0 is the batch")


def fixed_lengths(proto: onnx.ModelProto, given: Collection[str]) -> Mapping[str, int | None] | None:
    """Tensor -> size of its axis 0, None where it depends on what the file leaves open; None at all where it leaves nothing open.

    given: the network's inputs.  What exporters noted of inner tensors does not count: it may stem from the one input that they traced.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    if all(_first(info) is not None for info in bare.graph.input if info.name in given):
        return None
    del bare.graph.value_info[:]
    try:
        bare = with_shapes(bare, data_prop=True)
    except Exception:  # then nothing is known to be fixed
        return {}
    return {info.name: _first(info) for info in (*bare.graph.input, *bare.graph.value_info)}


def _first(info: onnx.ValueInfoProto) -> int | None:
    dims = info.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims and dims[0].dim_value > 0 else None


# Axes of what layout 1 puts the batch first in, from those of layout 0 and back: X and the states swap two, Y turns three.
_SWAPPED, _Y_TURNED = (1, 0, 2), (2, 0, 1, 3)
_INITIAL_STATES = (5, 6)


def with_batch_second(proto: onnx.ModelProto) -> list[str]:
    """Write recurrent layers of layout 1, which onnxruntime does not run, as those of layout 0 between transpositions. Their names.

    Source: ONNX, operator RNN, attribute layout.
    """
    found: list[str] = []
    for holder in (proto.graph, *proto.functions):
        taken = {str(name) for node in holder.node for name in (*node.input, *node.output)}
        nodes = [_turned(node, taken) for node in holder.node]
        new = [str(node.name) or next((str(o) for o in node.output if o), "")
               for node, parts in zip(holder.node, nodes, strict=True) if len(parts) > 1]
        if new:
            kept = [onnx.NodeProto.FromString(part.SerializeToString()) for parts in nodes for part in parts]
            del holder.node[:]
            holder.node.extend(kept)
        found += new
    return found


def _turned(node: onnx.NodeProto, taken: set[str]) -> list[onnx.NodeProto]:
    """What a node becomes: itself, or a layer of layout 0 with transpositions around it. taken: names of tensors."""
    if node.op_type not in RECURRENT or not any(a.name == "layout" and a.i == 1 for a in node.attribute):
        return [node]
    new = onnx.NodeProto()
    new.CopyFrom(node)
    next(a for a in new.attribute if a.name == "layout").i = 0
    before, behind = [], []
    for k in (0, *_INITIAL_STATES):
        if k < len(node.input) and node.input[k]:
            new.input[k] = _fresh(f"{node.input[k]}/batch-second", taken)
            before.append(helper.make_node("Transpose", [node.input[k]], [new.input[k]], perm=_SWAPPED))
    for k, output in enumerate(node.output):
        if output:
            new.output[k] = _fresh(f"{output}/batch-second", taken)
            behind.append(helper.make_node("Transpose", [new.output[k]], [output], perm=_SWAPPED if k else _Y_TURNED))
    return [*before, new, *behind]


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name
