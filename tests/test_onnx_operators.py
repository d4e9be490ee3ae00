"""Every built-in operator equals onnxruntime, and every linear one its dense matrix."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnx_models import RNG, batch_norm, compare, imported, node, weights

from absint.errors import AbsintError
from absint.op import Linear


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


def pool(op_type, **attributes):
    return [node(op_type, "x", "y", **attributes)], [1, 2, 7, 6], {}


def conv(shape, kernel, **attributes):
    return [node("Conv", "x w b", "y", **attributes)], shape, {"w": weights(*kernel), "b": weights(kernel[0])}


def one(op_type, shape, constants=None, inputs=None, **attributes):
    constants = constants or {}
    return [node(op_type, inputs or " ".join(["x", *constants]), "y", **attributes)], shape, constants


LINEAR = {
    "gemm": one("Gemm", [1, 5], {"w": weights(5, 3), "b": weights(3)}, alpha=0.5, beta=2.0),
    "gemm transB": one("Gemm", ["N", 5], {"w": weights(3, 5)}, transB=1),
    "gemm row bias": one("Gemm", [1, 5], {"w": weights(5, 3), "b": weights(1, 3)}),
    "gemm scalar bias": one("Gemm", [1, 5], {"w": weights(5, 3), "b": weights()}),
    "gemm rows": one("Gemm", [4, 5], {"w": weights(5, 3), "b": weights(1, 3)}),
    "matmul right": one("MatMul", [1, 4, 5], {"w": weights(5, 3)}),
    "matmul left": one("MatMul", [1, 4, 5], {"w": weights(3, 4)}, "w x"),
    "matmul left vector": one("MatMul", [4], {"w": weights(3, 4)}, "w x"),
    "matmul left contracts the batch axis": one("MatMul", [1, 4], {"w": weights(3, 1)}, "w x"),
    "add right": one("Add", [1, 2, 3], {"c": weights(2, 1)}),
    "add left": one("Add", [1, 2, 3], {"c": weights(1, 2, 3)}, "c x"),
    "add grows": one("Add", [1, 1, 3], {"c": weights(4, 1)}),
    "add adds axes": one("Add", [1, 3], {"c": weights(2, 2, 3)}),
    "sub right": one("Sub", [1, 3], {"c": weights(3)}),
    "sub left": one("Sub", [1, 3], {"c": weights(3)}, "c x"),
    "mul": one("Mul", [1, 3], {"c": weights(1)}),
    "div": one("Div", [1, 3], {"c": weights(3)}),
    "neg": one("Neg", [1, 3]),
    "batch norm": one("BatchNormalization", [1, 4, 3, 2], batch_norm()),
    "batch norm flat": one("BatchNormalization", [1, 4], batch_norm(), epsilon=0.01),
    "conv": conv([1, 3, 6, 5], (4, 3, 3, 2)),
    "conv asymmetric pads": conv([1, 3, 6, 5], (4, 3, 3, 3), pads=[0, 2, 1, 3], strides=[2, 3]),
    "conv same upper": conv([1, 3, 6, 5], (4, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": conv([1, 3, 6, 5], (4, 3, 4, 3), auto_pad="SAME_LOWER", strides=[3, 2]),
    "conv same 1 x 1": conv([1, 3, 8, 8], (4, 3, 1, 1), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv valid": conv([1, 3, 6, 5], (4, 3, 4, 3), auto_pad="VALID"),
    "conv groups": conv([1, 4, 6, 5], (6, 2, 3, 3), group=2, dilations=[2, 1]),
    "conv depthwise": conv([1, 4, 6, 5], (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "conv stride leaves rows": conv([1, 1, 8, 8], (1, 1, 2, 2), strides=[5, 5]),
    "conv 1-D": conv([1, 3, 9], (2, 3, 4), strides=[2], pads=[3, 0]),
    "conv 3-D": conv([1, 2, 4, 5, 3], (2, 2, 2, 2, 2), pads=[1, 0, 0, 0, 1, 1]),
    "average pool": pool("AveragePool", kernel_shape=[3, 2], strides=[2, 2]),
    "average pool pads": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 1, 2]),
    "average pool counts pads": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1),
    "average pool same": pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    "average pool same counts": pool("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_LOWER", count_include_pad=1),
    "pad": one("Pad", [1, 2, 3], {"p": np.array([0, 1, 0, 0, 2, 3])}),
    "pad value": one("Pad", [1, 2, 3], {"p": np.array([0, 1, 0, 0, 2, 3]), "v": np.float32(1.5)}),
    "pad crops": one("Pad", [1, 4, 5], {"p": np.array([0, -1, 2, 0, 1, -2])}),
    "pad crops with value": one("Pad", [1, 4, 5], {"p": np.array([0, -1, 2, 0, 1, -2]), "v": np.float32(-2)}),
    "transpose": one("Transpose", [1, 2, 3, 4], perm=[0, 2, 3, 1]),
    "transpose moves the batch axis": one("Transpose", [1, 2, 3]),
    "flatten": one("Flatten", ["N", 2, 3, 4]),
    "flatten all": one("Flatten", [1, 2, 3], axis=0),
    "reshape 0 and -1": one("Reshape", [1, 2, 6], {"s": np.array([0, -1, 3])}),
    "reshape -1 first": one("Reshape", ["N", 2, 3], {"s": np.array([-1, 6])}),
    "reshape drops the batch axis": one("Reshape", [1, 2, 6], {"s": np.array([12])}),
    "squeeze": one("Squeeze", [1, 2, 1, 3], {"a": np.array([2])}),
    "unsqueeze": one("Unsqueeze", [1, 2, 3], {"a": np.array([-1, 1])}),
    "dropout": one("Dropout", [1, 3]),
    "identity": one("Identity", [1, 3]),
    "cast": one("Cast", [1, 3], to=TensorProto.DOUBLE),
}
OTHER = {
    "relu": one("Relu", [1, 3]),
    "leaky relu": one("LeakyRelu", [1, 3], alpha=0.2),
    "leaky relu default": one("LeakyRelu", [1, 3]),
    "sigmoid": one("Sigmoid", [1, 3]),
    "tanh": one("Tanh", [1, 3]),
    "max pool": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "max pool pads": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 2]),
    "max pool ceil": pool("MaxPool", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    "max pool ceil and pads": pool("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
    "max pool dilation": pool("MaxPool", kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 1, 1]),
    "max pool same": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    "max pool 1-D": one("MaxPool", [1, 2, 9], kernel_shape=[4], strides=[3]),
    "max pool with unused indices": ([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], [1, 2, 4, 4], {}),
}




@pytest.mark.parametrize("name", [*LINEAR, *OTHER])
@pytest.mark.parametrize("fold", [True, False])
def test_operator_equals_onnxruntime(read, name, fold):
    nodes, shape, constants = {**LINEAR, **OTHER}[name]
    graph = read(nodes, shape, constants, fold=fold)
    compare(graph)
    assert "y" in graph.tensors


@pytest.mark.parametrize(("op_type", "attributes", "reason"), [
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 1], "auto_pad": "SAME_UPPER"}, "with dilations"),
    ("MaxPool", {"kernel_shape": [1, 1], "strides": [4, 4], "auto_pad": "SAME_LOWER"}, "stride beyond the window"),
    ("MaxPool", {"kernel_shape": [4, 1], "dilations": [3, 1]}, "larger than the padded input"),
    ("AveragePool", {"kernel_shape": [8, 1]}, "larger than the padded input"),
    ("AveragePool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
    ("Transpose", {"perm": [0, 1, 3]}, "E-MODEL-SHAPE"),
])
def test_variants_that_are_refused(read, op_type, attributes, reason):
    with pytest.raises(AbsintError) as caught:
        read(*one(op_type, [1, 2, 8, 8] if "auto_pad" in attributes else [1, 2, 7, 6], **attributes))
    assert reason in caught.value.render()


@pytest.mark.parametrize("name", LINEAR)
def test_linear_op_equals_its_dense_matrix(read, name):
    """apply, apply_abs, adjoint, columns, unit_rows and monomial say the same; the offset broadcasts to the output."""
    nodes, shape, constants = LINEAR[name]
    graph = read(nodes, shape, constants, fold=False)
    if len(graph.nodes) == 1:
        pytest.skip("an identity, removed")
    assert len(graph.nodes) == 2
    op, inner, outer = graph.output.op, graph.input.shape, graph.output.shape
    assert isinstance(op, Linear)
    size, like = graph.input.size, torch.zeros((), dtype=torch.float64)
    units = torch.eye(size, dtype=torch.float64)
    matrix = op.apply(units.reshape(size, *inner)).reshape(size, -1)  # rows: images of unit vectors
    x = torch.as_tensor(RNG.standard_normal((5, size)))
    offset = torch.zeros(outer, dtype=torch.float64) if op.offset is None else op.offset.expand(outer)
    torch.testing.assert_close(op.forward(x.reshape(5, *inner)).reshape(5, -1), x @ matrix + offset.reshape(-1))
    torch.testing.assert_close(op.apply_abs(x.abs().reshape(5, *inner)).reshape(5, -1), x.abs() @ matrix.abs())
    y = torch.as_tensor(RNG.standard_normal((4, graph.output.size)))
    torch.testing.assert_close(op.adjoint(y.reshape(4, *outer), (inner,))[0].reshape(4, -1), y @ matrix.T)
    torch.testing.assert_close(op.columns(torch.arange(size), inner, like).reshape(size, -1), matrix)
    rows = op.unit_rows(torch.arange(graph.output.size), outer, (inner,), like)[0]
    torch.testing.assert_close(rows.reshape(graph.output.size, -1), matrix.T)
    assert op.forward_terms >= int((matrix != 0).sum(0).max())
    assert op.adjoint_terms >= int((matrix != 0).sum(1).max())
    monomial = op.monomial(inner)
    if monomial is not None:
        rebuilt = torch.zeros_like(matrix)
        rebuilt[torch.arange(size), monomial.target] = 1.0 if monomial.scale is None else monomial.scale
        torch.testing.assert_close(rebuilt, matrix)
    torch.testing.assert_close(op.part(0, x.reshape(5, *inner), (inner,)).reshape(5, -1), x @ matrix)


