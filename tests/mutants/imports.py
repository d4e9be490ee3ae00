"""Import rules that misread a node, each with a net on which only a far corner of [0, 1]^24 shows it.

`rewrite` turns the node that an import rule is shown into what a wrong reader would have made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import TensorProto, helper, numpy_helper

INPUTS = 24


@dataclass(frozen=True)
class Misread:
    """op_type: whose rule is fooled.  node: the node of the file, from 'z' to 'y'.  shape: of 'z', batch axis left out.

    sign: -1 where z <= 0 shows it.  constants: operands of the node.
    """

    op_type: str
    rewrite: Callable
    node: object
    shape: tuple[int, ...]
    sign: float = 1.0
    constants: dict = field(default_factory=dict)
    opset: int = 13

    def model(self):
        """y = op(z), z = sign relu(distance from the corner (1, 0, 1, ...)), zero almost everywhere in [0, 1]^24."""
        size = int(np.prod(self.shape))
        corner = np.where(np.arange(INPUTS) % 2 == 0, 1.0, -1.0)
        weight = np.outer(corner, 1.0 + np.arange(size) ** 2 / size).astype(np.float32)
        bias = (-(INPUTS / 2 - 1) * weight[0]).astype(np.float32)
        constants = {"w": weight, "b": bias, "s": np.array([0, *self.shape]), "k": np.full(1, self.sign, np.float32), **self.constants}
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Mul", ["r", "k"], ["m"]), helper.make_node("Reshape", ["m", "s"], ["z"]), self.node,
        ]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, INPUTS])], [helper.make_empty_tensor_value_info("y")],
            [numpy_helper.from_array(v, name) for name, v in constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def corner():
    return np.where(np.arange(INPUTS) % 2 == 0, 1.0, 0.0)[None]


def without(name):
    return lambda node: replace(node, attributes={k: v for k, v in node.attributes.items() if k != name})


def given(name, change):
    return lambda node: replace(node, attributes={**node.attributes, name: change(node.attributes[name])})


def node(op_type, operands="", **attributes):
    return helper.make_node(op_type, ["z", *operands.split()], ["y"], **attributes)


def swapped_halves(pads):
    half = len(pads) // 2
    return [*pads[half:], *pads[:half]]


def inverse(perm):
    return [list(perm).index(k) for k in range(len(perm))]


def other_same(mode):
    return {"SAME_UPPER": "SAME_LOWER", "SAME_LOWER": "SAME_UPPER"}[mode]


KERNEL = {"f": np.array([[[[1.0, 2.0], [3.0, 5.0]]]], np.float32)}
SQUARE = {"f": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]], np.float32)}

MUTANTS = {
    "leaky alpha dropped": Misread("LeakyRelu", without("alpha"), node("LeakyRelu", alpha=-10.0), (2,), -1.0),
    "elu alpha dropped": Misread("Elu", without("alpha"), node("Elu", alpha=2.0), (2,), -1.0),
    "celu alpha dropped": Misread("Celu", without("alpha"), node("Celu", alpha=2.0), (2,), -1.0),
    "threshold dropped": Misread("ThresholdedRelu", without("alpha"), node("ThresholdedRelu", alpha=0.5), (3,)),
    "hard sigmoid alpha dropped": Misread("HardSigmoid", without("alpha"), node("HardSigmoid", alpha=0.1), (2,)),
    "clip of opset 6 read as of opset 11": Misread(
        "Clip", lambda n: replace(n, opset=11), node("Clip", min=-0.5, max=0.5), (2,), opset=9),
    "softmax axis off by one": Misread("Softmax", given("axis", lambda a: a + 1), node("Softmax", axis=1), (3, 3)),
    "softmax of opset 12 read as of opset 13": Misread(
        "Softmax", lambda n: replace(n, opset=13, attributes={"axis": 1}), node("Softmax", axis=2), (3, 3), opset=12),
    "gather axis off by one": Misread(
        "Gather", given("axis", lambda a: a + 1), node("Gather", "i", axis=1), (3, 3), constants={"i": np.array([2, 0])}),
    "transpose inverted": Misread("Transpose", given("perm", inverse), node("Transpose", perm=[0, 2, 3, 1]), (2, 2, 2)),
    "pad sides swapped": Misread("Pad", given("pads", swapped_halves), node("Pad", pads=[0, 1, 0, 2]), (3,), opset=9),
    "conv pad sides swapped": Misread(
        "Conv", given("pads", swapped_halves), node("Conv", "f", pads=[0, 0, 1, 1]), (1, 3, 3), constants=KERNEL),
    "same upper read as same lower": Misread(
        "Conv", given("auto_pad", other_same), node("Conv", "f", auto_pad="SAME_UPPER"), (1, 3, 3), constants=KERNEL),
    "max pool pad sides swapped": Misread(
        "MaxPool", given("pads", swapped_halves), node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]), (1, 3, 3)),
    "count_include_pad dropped": Misread(
        "AveragePool", without("count_include_pad"),
        node("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1), (1, 3, 3)),
    "transB dropped on a square matrix": Misread("Gemm", without("transB"), node("Gemm", "f", transB=1), (3,), constants=SQUARE),
    "gemm alpha dropped": Misread("Gemm", without("alpha"), node("Gemm", "f", alpha=0.5), (3,), constants=SQUARE),
    "reduce axis off by one": Misread(
        "ReduceMean", given("axes", lambda a: [a[0] + 1]), node("ReduceMean", axes=[1], keepdims=0), (3, 3)),
    "depth to space in the other order": Misread(
        "DepthToSpace", without("mode"), node("DepthToSpace", blocksize=2, mode="CRD"), (8, 1, 1)),
    "resize coordinates": Misread(
        "Resize", given("coordinate_transformation_mode", lambda m: "half_pixel"),
        node("Resize", "none f", mode="linear", coordinate_transformation_mode="align_corners"), (1, 3, 3),
        constants={"none": np.zeros(0, np.float32), "f": np.array([1, 1, 2, 2], np.float32)}),
}
