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

    sign: -1 where z <= 0 shows it.  constants: operands of the node.  whole: the full shape of 'z', where no axis of it is the batch.
    after: nodes from what the node gives, 'q' then, to 'y'.  everywhere: whether the rest of [0, 1]^24 shows it, too.
    """

    op_type: str
    rewrite: Callable
    node: object
    shape: tuple[int, ...]
    sign: float = 1.0
    constants: dict = field(default_factory=dict)
    opset: int = 13
    whole: tuple[int, ...] = ()
    after: tuple = ()
    everywhere: bool = False

    def model(self):
        """y = op(z), z = sign relu(distance from the corner (1, 0, 1, ...)), zero almost everywhere in [0, 1]^24."""
        size = int(np.prod(self.shape))
        corner = np.where(np.arange(INPUTS) % 2 == 0, 1.0, -1.0)
        weight = np.outer(corner, 1.0 + np.arange(size) ** 2 / size).astype(np.float32)
        bias = (-(INPUTS / 2 - 1) * weight[0]).astype(np.float32)
        shape = np.array(self.whole or [0, *self.shape])
        constants = {"w": weight, "b": bias, "s": shape, "k": np.full(1, self.sign, np.float32), **self.constants}
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Mul", ["r", "k"], ["m"]), helper.make_node("Reshape", ["m", "s"], ["z"]), self.node, *self.after,
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


def turned(position):
    """A constant operand, its last two axes exchanged."""
    return lambda node: replace(node, constants=tuple(c.transpose(-1, -2) if k == position else c for k, c in enumerate(node.constants)))


def other_same(mode):
    return {"SAME_UPPER": "SAME_LOWER", "SAME_LOWER": "SAME_UPPER"}[mode]


def _blocks(place, order, step):
    """Blocks of a constant's axis 1, put in another order."""
    def change(n):
        value = n.constants[place]
        cut = value.reshape(value.shape[0], len(order), step, *value.shape[2:])
        return tuple(cut[:, order].reshape(value.shape) if k == place else c for k, c in enumerate(n.constants))

    return change


def in_order(*order):
    """The gates of W and R taken for others."""
    def rewrite(n):
        for place in (1, 2):
            n = replace(n, constants=_blocks(place, list(order), n.constants[place].shape[1] // len(order))(n))
        return n

    return rewrite


def dropped(place, value=None):
    """A constant that is overlooked, or another in its place."""
    def rewrite(n):
        constants = tuple(value if k == place else c for k, c in enumerate(n.constants))
        return replace(n, constants=constants, shapes=tuple(() if k == place and value is None else s for k, s in enumerate(n.shapes)))

    return rewrite


def weights(gates, hidden=2, inputs=2, directions=1):
    """Without biases: a state of zeros stays where the input is zero."""
    random = np.random.default_rng(7)
    sizes = {"lw": (directions, gates * hidden, inputs), "lr": (directions, gates * hidden, hidden)}
    return {name: (random.normal(size=size) * 0.7).astype(np.float32) for name, size in sizes.items()}


def layer(op_type, **attributes):
    return helper.make_node(op_type, ["z", "lw", "lr"], ["y"], hidden_size=2, **attributes)


SEQUENCE = {"shape": (3, 1, 2), "whole": (3, 1, 2), "opset": 14}


def quantised(*, zero, scale=0.5, **attributes):
    """QuantizeLinear between 'z' and 'q', with a DequantizeLinear behind it."""
    constants = {"qs": np.asarray(scale, np.float32), "qz": zero}
    return {"node": helper.make_node("QuantizeLinear", ["z", "qs", "qz"], ["q"], **attributes), "constants": constants,
            "after": (helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["y"], **attributes),)}


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
    "group norm of one group": Misread(
        "GroupNormalization", given("num_groups", lambda g: 1), node("GroupNormalization", "gs gs", num_groups=2), (4, 1, 2),
        constants={"gs": np.array([1, 2, 3, 5], np.float32)}, opset=21),
    "root mean square of the last axis": Misread(
        "RMSNormalization", without("axis"), node("RMSNormalization", "rs", axis=1), (2, 3), constants={"rs": np.float32([[1, 2, 3]] * 2)},
        opset=23),
    "local response with neighbours dropped": Misread(
        "LRN", given("size", lambda s: s - 2), node("LRN", size=3, alpha=2.0), (3, 1, 1)),
    "power of a pool dropped": Misread("LpPool", without("p"), node("LpPool", kernel_shape=[2, 2], p=1), (1, 3, 3), -1.0),
    "gather axis off by one": Misread(
        "Gather", given("axis", lambda a: a + 1), node("Gather", "i", axis=1), (3, 3), constants={"i": np.array([2, 0])}),
    "equation backwards": Misread(
        "Einsum", given("equation", lambda text: b"bij->bij"), node("Einsum", equation="bij->bji"), (3, 3)),
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
    # axis 0 of size 1 is moved, reduced, broadcast or stands for several instances
    "moved batch axis: transpose inverted": Misread("Transpose", given("perm", inverse), node("Transpose", perm=[2, 0, 1]), (3, 2)),
    "moved batch axis: the order of the others lost": Misread(
        "Transpose", given("perm", sorted), node("Transpose", perm=[2, 0, 1]), (3, 3)),
    "batch axis reduced: another forgotten": Misread(
        "ReduceMean", given("axes", lambda a: [0, 1]), node("ReduceMean", axes=[0, 2], keepdims=0), (3, 3)),
    "gather from the moved axis: the place lost": Misread(
        "Gather", given("axis", lambda a: 2), node("Gather", "i", axis=1), (3, 3), constants={"i": np.array(1)}),
    "token broadcast over the wrong axis": Misread(
        "Div", turned(1), node("Div", "f"), (3, 3), constants={"f": np.array([[1], [2], [4]], np.float32)}),
    "padding of one of several pictures": Misread(
        "Conv", given("pads", swapped_halves), node("Conv", "f", pads=[0, 0, 1, 1]), (2, 1, 3, 3),
        constants={**KERNEL, "s": np.array([2, 1, 3, 3])}),
    "gates of an lstm in torch's order": Misread("LSTM", in_order(0, 3, 1, 2), layer("LSTM"), constants=weights(4), **SEQUENCE),
    "gates of a gru in torch's order": Misread("GRU", in_order(1, 0, 2), layer("GRU"), constants=weights(3), **SEQUENCE),
    "reverse read as forward": Misread("RNN", without("direction"), layer("RNN", direction="reverse"), constants=weights(1), **SEQUENCE),
    "both directions forward": Misread(
        "RNN", lambda n: replace(n, constants=tuple(c if c is None else c.flip(0) for c in n.constants)),
        layer("RNN", direction="bidirectional"), constants=weights(1, directions=2), **SEQUENCE),
    "reset before the product": Misread(
        "GRU", without("linear_before_reset"), layer("GRU", linear_before_reset=1), constants=weights(3), **SEQUENCE),
    "activation dropped": Misread("RNN", without("activations"), layer("RNN", activations=["Relu"]), constants=weights(1), **SEQUENCE),
    "clip of a layer dropped": Misread("LSTM", without("clip"), layer("LSTM", clip=0.1), constants=weights(4), **SEQUENCE),
    "forget gate kept apart": Misread("LSTM", without("input_forget"), layer("LSTM", input_forget=1), constants=weights(4), **SEQUENCE),
    "zero point dropped": Misread("QuantizeLinear", dropped(2), shape=(3,), everywhere=True, **quantised(zero=np.int8(9))),
    "zero point dropped on the way back": Misread(
        "DequantizeLinear", dropped(2), shape=(3,), everywhere=True, **quantised(zero=np.int8(9))),
    "scales along another axis": Misread(
        "QuantizeLinear", without("axis"), shape=(3, 3), **quantised(zero=np.zeros(3, np.int8), scale=[0.5, 1, 2], axis=2)),
    "range of another type": Misread(
        "QuantizeLinear", lambda n: replace(n, whole=5), shape=(3,), **quantised(zero=np.int8(0), scale=0.001)),
}
