"""Operators whose constant operand was computed with rounding and is neither factor nor summand: the same in operators that charge it.

Clip(x, a, b) is Min(Max(x, a), b), as ONNX defines it, and PRelu(x, s) is Relu(x) - s Relu(-x): there the constant is an operand like any
other, or a factor, and what it errs by is charged where it is read.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper


def spelt(node: onnx.NodeProto, enclosed: Collection[str], taken: Collection[str]) -> list[onnx.NodeProto]:
    """The node in plain ones where an operand of it is in `enclosed`; nothing where it is not, or the operator is another.

    taken: names of tensors, which nothing between the plain nodes gets.
    """
    if not any(name in enclosed for name in node.input[1:]):
        return []
    if node.op_type == "Clip":
        return _clip(node, taken)
    return _prelu(node, taken) if node.op_type == "PRelu" else []


def _clip(node: onnx.NodeProto, taken: Collection[str]) -> list[onnx.NodeProto]:
    ends = [(kind, name) for kind, name in zip(("Max", "Min"), node.input[1:], strict=False) if name]
    names = [node.input[0], *(_fresh(f"{node.output[0]}/{kind}", taken) for kind, _ in ends[:-1]), node.output[0]]
    return [_step(node, kind, [names[k], end], names[k + 1]) for k, (kind, end) in enumerate(ends)]


def _prelu(node: onnx.NodeProto, taken: Collection[str]) -> list[onnx.NodeProto]:
    x, slope, y = node.input[0], node.input[1], node.output[0]
    right, minus, left, scaled = (_fresh(f"{y}/{part}", taken) for part in ("right", "minus", "left", "scaled"))
    return [_step(node, "Relu", [x], right), _step(node, "Neg", [x], minus), _step(node, "Relu", [minus], left),
            _step(node, "Mul", [left, slope], scaled), _step(node, "Sub", [right, scaled], y)]


def _step(node: onnx.NodeProto, kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=node.name)


def _fresh(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "'"
    return name
