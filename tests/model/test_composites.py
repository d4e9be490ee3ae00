"""Softmax, normalisations, products and quotients of two tensors: import, and bounds that hold in every domain."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from walkers import WALKERS

import absint
from absint.testing.kit import check_op


def weight(name, *shape):
    """Numbers that follow from the constant's name."""
    return np.random.default_rng([3, *name.encode()]).normal(size=shape).astype(np.float32)


def dense(source, name, out, size=6):
    w, b = f"w{name}", f"b{name}"
    return helper.make_node("Gemm", [source, w, b], [out]), {w: weight(w, 6, size), b: weight(b, size)}


def two(op, **attributes):
    first, one = dense("x", "1", "p")
    second, other = dense("x", "2", "q")
    return [first, second, helper.make_node(op, ["p", "q"], ["y"], **attributes)], one | other


def attention():
    nodes, constants = [], {}
    for name in "qkv":
        node, values = dense("x", name, f"{name}0")
        constants |= values
        nodes += [node, helper.make_node("Reshape", [f"{name}0", "heads"], [name])]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), helper.make_node("MatMul", ["q", "kt"], ["s0"]),
        helper.make_node("Mul", ["s0", "half"], ["s"]), helper.make_node("Softmax", ["s"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "v"], ["o"]), helper.make_node("Flatten", ["o"], ["y"]),
    ]
    return nodes, constants | {"heads": np.array([1, 2, 3]), "half": np.float32(0.5)}


def positive(op, inputs):
    node, constants = dense("x", "1", "p")
    tail = [helper.make_node("Sigmoid", ["p"], ["s"]), helper.make_node("Add", ["s", "one"], ["q"]), helper.make_node(op, inputs, ["y"])]
    return [node, *tail], constants | {"one": np.float32(1.0), "c": np.float32(3.0)}


def normalised(op, shape, **constants):
    node, values = dense("x", "1", "p")
    return [node, helper.make_node("Reshape", ["p", "form"], ["r"]), helper.make_node(op, ["r", *constants], ["n"]),
            helper.make_node("Flatten", ["n"], ["y"])], values | constants | {"form": np.array(shape)}


NETS = {
    "Mul": lambda: two("Mul"),
    "square": lambda: ([dense("x", "1", "p")[0], helper.make_node("Mul", ["p", "p"], ["y"])], dense("x", "1", "p")[1]),
    "Softmax": lambda: ([dense("x", "1", "p")[0], helper.make_node("Softmax", ["p"], ["y"], axis=-1)], dense("x", "1", "p")[1]),
    "LogSoftmax": lambda: ([dense("x", "1", "p")[0], helper.make_node("LogSoftmax", ["p"], ["y"], axis=1)], dense("x", "1", "p")[1]),
    "Div": lambda: positive("Div", ["p", "q"]),
    "constant / x": lambda: positive("Div", ["c", "q"]),
    "attention": attention,
    "LayerNormalization": lambda: normalised("LayerNormalization", [1, 2, 3], scale=weight("scale", 3), bias=weight("bias", 3)),
    "InstanceNormalization": lambda: normalised("InstanceNormalization", [1, 2, 3], scale=weight("scale", 2), bias=weight("bias", 2)),
}


def built(name, folder):
    nodes, constants = NETS[name]()
    size = 6
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return absint.load(path)


@pytest.mark.parametrize("name", NETS)
def test_bounds_hold_every_sample_in_every_domain_and_format(name, tmp_path):
    graph = built(name, tmp_path)
    random = np.random.default_rng(3)
    share = random.random((400, 1, 6)).round() * 2 - 1
    share[200:] *= random.random((200, 1, 6))
    eps, center = np.array([[0.0], [0.02], [0.2]]), random.random((3, 6))
    points = torch.from_numpy(np.clip(center + eps * share, 0, 1).reshape(-1, 6))
    values = graph(points).reshape(400, 3, -1).numpy()
    tolerance = 1e-12 * (1 + np.abs(values))  # of the samples' own evaluation
    for place, domain in enumerate(WALKERS, list(NETS).index(name)):
        # In attention, all that these networks are made of; else every domain meets each format in every other network.
        for dtype in ("float32", "float64") if name == "attention" else (("float32", "float64")[place % 2],):
            found = absint.bounds(graph, center, eps, domain=domain, dtype=dtype)[graph.output.name]
            lower, upper = found.lower.reshape(3, -1), found.upper.reshape(3, -1)
            assert (lower <= values + tolerance).all(), (domain, dtype)
            assert (values - tolerance <= upper).all(), (domain, dtype)
            assert np.isfinite(lower[:2]).all(), (domain, dtype)


def test_softmax_bounds_stay_useful(tmp_path):
    graph = built("Softmax", tmp_path)
    found = absint.bounds(graph, np.full((1, 6), 0.5), 0.05, domain="deeppoly")[graph.output.name]
    assert (found.lower >= -0.1).all()
    assert (found.upper <= 1.1).all()


def test_the_bilinear_operator_keeps_the_contract():
    from absint.model.families.bilinear import Times
    from absint.model.ops.product import SumLast

    check_op(Times(), [(3,), (3,)])
    check_op(SumLast(4), [(3, 4)])
