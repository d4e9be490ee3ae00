"""A file cut down to what one of its tensors is computed from."""

from __future__ import annotations

import onnx
import onnx.helper


def prune(proto: onnx.ModelProto, output: str) -> None:
    """Make a tensor that a node of the main graph computes the only output, and drop the nodes that it does not need.

    With graphs inside of nodes all nodes stay: what such a graph reads of the outer one is not among the node's inputs.
    """
    makes = {name: place for place, node in enumerate(proto.graph.node) for name in node.output if name}
    needed, stack = set[int](), [makes[output]]
    while stack:
        place = stack.pop()
        if place not in needed:
            needed.add(place)
            stack += [makes[name] for name in proto.graph.node[place].input if name in makes]
    kept = [proto.graph.node[place] for place in sorted(needed)]
    if not any(attribute.HasField("g") or attribute.graphs for node in kept for attribute in node.attribute):
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
