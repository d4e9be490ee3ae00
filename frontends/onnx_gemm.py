"""Gemm of computed tensors only, which no import rule states as one operator: as the product, factors and sum that ONNX says it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import helper

from absint.frontends.onnx_file import AnyArray


def as_product(
    node: onnx.NodeProto, constants: Collection[str], taken: Collection[str],
) -> tuple[list[onnx.NodeProto], dict[str, AnyArray]]:
    """alpha A' B' + beta C in plain nodes, and the constants that these read, where B or C is computed; nothing elsewhere.

    constants: the tensors that are known.  taken: names of tensors, which nothing new gets.
    """
    if node.op_type != "Gemm" or len(node.input) < 2 or all(name in constants for name in node.input[1:] if name):
        return [], {}
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    made, numbers, y = list[onnx.NodeProto](), dict[str, AnyArray](), str(node.output[0])

    def fresh(name: str) -> str:
        return fresh(f"{name}'") if name in taken else name

    def step(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = fresh(f"{y}/{len(made)}")
        made.append(helper.make_node(kind, inputs, [name], name=node.name, **attributes))
        return name

    def times(name: str, factor: float) -> str:
        if factor == 1:
            return name
        number = fresh(f"{y}/factor {len(numbers)}")
        numbers[number] = np.array(factor, dtype=np.float32)
        return step("Mul", [name, number])

    left, right = (step("Transpose", [str(name)], perm=[1, 0]) if given.get(key) else str(name)
                   for name, key in zip(node.input[:2], ("transA", "transB"), strict=True))
    found = times(step("MatMul", [left, right]), float(given.get("alpha", 1.0)))
    if len(node.input) > 2 and node.input[2]:
        found = step("Add", [found, times(str(node.input[2]), float(given.get("beta", 1.0)))])
    made[-1].output[0] = y
    return made, numbers
