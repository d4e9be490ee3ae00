"""Embeddings of an input: a table read at a computed place is no function of numbers that a region could surround."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

_TRANSPARENT = frozenset(("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"))
WHAT = "looks up an embedding at a place that the network's input names: regions of tokens are not supported"


def looked_up(node: onnx.NodeProto, constants: Collection[str], output: str) -> tuple[str, str] | None:
    """What is wrong with a Gather that reads a stored table at computed places, and what to do; None for any other node."""
    if node.op_type != "Gather" or len(node.input) != 2 or node.input[0] not in constants or node.input[1] in constants:
        return None
    return WHAT, start_behind(str(node.output[0]), output)


def embedded(nodes: Sequence[onnx.NodeProto], source: str, constants: Collection[str]) -> str | None:
    """What the first embedding of the tensor `source` is called, up to changes of format and shape; None where there is none."""
    same = {source}
    for node in nodes:      # in the file's order, which is topological in well-formed files
        if node.op_type in _TRANSPARENT and node.input and node.input[0] in same:
            same.update(node.output)
        elif node.op_type == "Gather" and len(node.input) == 2 and node.input[0] in constants and node.input[1] in same:
            return str(node.output[0])
    return None


def start_behind(tensor: str, output: str) -> str:
    """How to verify what comes after a tensor."""
    return (f"start at the embedding's output, and give embedded inputs: "
            f"onnx.utils.extract_model(source, target, ['{tensor}'], ['{output}'])")
