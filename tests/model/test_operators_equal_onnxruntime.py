"""Every built-in operator equals onnxruntime, and every linear one its dense matrix."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import batch_norm, compare, imported, node, weights

from absint.errors import AbsintError
from absint.model.families.linear import Linear


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


def pool(op_type, opset=13, **attributes):
    return [node(op_type, "x", "y", **attributes)], [1, 2, 7, 6], {}, opset


def conv(shape, kernel, **attributes):
    return [node("Conv", "x w b", "y", **attributes)], shape, {"w": weights(*kernel), "b": weights(kernel[0])}


def one(op_type, shape, constants=None, inputs=None, opset=13, **attributes):
    """A network of one node; two blanks in `inputs` leave an optional one out."""
    constants = constants or {}
    names = inputs.split(" ") if inputs else ["x", *constants]
    return [helper.make_node(op_type, names, ["y"], **attributes)], shape, constants, opset


def parts_of(case):
    """Arguments for `read`."""
    nodes, shape, constants, *opset = case
    return (nodes, shape, constants), {"opset": opset[0] if opset else 13}


def transposed(shape, kernel, **attributes):
    constants = {"w": weights(*kernel), "b": weights(kernel[1] * attributes.get("group", 1))}
    return [node("ConvTranspose", "x w b", "y", **attributes)], shape, constants


def sliced(shape, starts, ends, axes, strides=None):
    constants = {"s": np.array(starts), "e": np.array(ends), "a": np.array(axes)}
    return one("Slice", shape, constants | ({} if strides is None else {"t": np.array(strides)}))


def two(op_type, inputs, **attributes):
    """Of x, its Relu r, a row p of that, and constants."""
    constants = {"c": weights(2, 1), "m": weights(2, 3) > 0, "s": np.array([1]), "e": np.array([2]), "a": np.array([1])}
    if op_type == "Concat":
        constants["c"] = weights(1, 2, 2)
    nodes = [node("Relu", "x", "r"), node("Slice", "r s e a", "p"), node(op_type, inputs, "y", **attributes)]
    return nodes, ["N", 2, 3], constants


def splitted(shape, parts, sizes=None, opset=13, **attributes):
    """Each part scaled and put together again, the last first."""
    names = [f"p{k}" for k in range(parts)]
    constants = {} if sizes is None else {"s": np.array(sizes)}
    nodes = [helper.make_node("Split", ["x", *constants], names, **attributes), *(node("Relu", n, f"{n}r") for n in names[1:])]
    joined = " ".join([*(f"{n}r" for n in names[:0:-1]), names[0]])
    return [*nodes, node("Concat", joined, "y", axis=attributes["axis"])], shape, constants, opset


def resized():
    """Modes, coordinates and sizes of Resize."""
    scales, half = {"s": np.array([1, 1, 2, 2.5], np.float32)}, {"s": np.array([1, 1, 0.5, 0.75], np.float32)}
    for constants in (scales, half):
        for coordinates in ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"):
            for mode in ("nearest", "linear", "cubic"):
                yield one("Resize", ["N", 2, 4, 4], constants, "x  s", mode=mode, coordinate_transformation_mode=coordinates, opset=19)
        for nearest in ("floor", "ceil", "round_prefer_ceil"):
            yield one("Resize", [1, 2, 4, 4], constants, "x  s", nearest_mode=nearest, coordinate_transformation_mode="asymmetric")
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in ("align_corners", "half_pixel"):
            sizes = {"n": np.array([1, 2, 7, 3])}
            yield one("Resize", [1, 2, 4, 5], sizes, "x   n", mode=mode, coordinate_transformation_mode=coordinates)
    yield one("Resize", [1, 2, 4, 5], scales, "x s", mode="linear", opset=10)
    yield one("Resize", [1, 2, 4, 4], half, "x  s", mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)


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
    "average pool ceil": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average pool ceil counts": pool(
        "AveragePool", kernel_shape=[3, 2], strides=[3, 2], pads=[1, 0, 1, 1], ceil_mode=1, count_include_pad=1),
    "average pool dilation": pool("AveragePool", 19, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 1, 1]),
    "global average pool": one("GlobalAveragePool", ["N", 3, 4, 5]),
    "global average pool 1-D": one("GlobalAveragePool", [1, 3, 4]),
    "conv transpose": transposed([1, 3, 4, 5], (3, 2, 3, 2), strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 0]),
    "conv transpose groups": transposed(["N", 4, 3, 3], (4, 2, 3, 3), group=2, dilations=[2, 1]),
    "conv transpose 1-D": transposed([1, 2, 5], (2, 3, 4), strides=[3], pads=[1, 2]),
    "conv transpose same": transposed([1, 2, 4, 4], (2, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "conv transpose same lower": transposed([1, 2, 4, 4], (2, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    "conv transpose output shape": transposed([1, 2, 3, 3], (2, 2, 3, 3), strides=[3, 2], output_shape=[10, 8]),
    "reduce sum": one("ReduceSum", [1, 2, 3, 4], {"a": np.array([1, -1])}),
    "reduce sum keeps no axes": one("ReduceSum", ["N", 2, 3], {"a": np.array([2])}, keepdims=0),
    "reduce sum of nothing": one("ReduceSum", [1, 2, 3], noop_with_empty_axes=1),
    "reduce sum of all": one("ReduceSum", [1, 2, 3]),
    "reduce mean": one("ReduceMean", [1, 2, 3, 4], axes=[2, 3]),
    "reduce mean of all": one("ReduceMean", [5]),
    "cumulative sum": one("CumSum", [1, 3, 4], {"a": np.array(2)}),
    "cumulative sum reverse": one("CumSum", [1, 4, 2], {"a": np.array(-2)}, reverse=1, exclusive=1),
    "slice": sliced(["N", 4, 6], [1, -2], [3, 9], [1, 2], [1, 1]),
    "slice backward": sliced([1, 4, 6], [-1, 3], [-100, 0], [2, 1], [-2, -1]),
    "slice all of the batch": sliced(["N", 4], [0, 1], [2**63 - 1, 3], [0, 1]),
    "slice the batch axis": sliced([1, 4], [0, 1], [1, 3], [0, 1]),
    "gather": one("Gather", ["N", 4, 3], {"i": np.array([[3, 0], [-1, 3]])}, axis=1),
    "gather one": one("Gather", [1, 4, 3], {"i": np.array(2)}, axis=2),
    "gather elements": one("GatherElements", [1, 2, 3], {"i": np.array([[[0, -1], [2, 2]]])}, axis=2),
    "gather nd": one("GatherND", [2, 3, 2], {"i": np.array([[1, 2], [0, -1]])}),
    "gather nd batch": one("GatherND", [1, 3, 2], {"i": np.array([[[2, 1], [0, 0]]])}, batch_dims=1),
    "expand": one("Expand", ["N", 3, 1], {"s": np.array([1, 3, 4])}),
    "expand fewer axes": one("Expand", ["N", 3, 1], {"s": np.array([4])}),
    "tile": one("Tile", [1, 2, 3], {"r": np.array([1, 2, 3])}),
    "tile the batch axis": one("Tile", [1, 3], {"r": np.array([2, 1])}),
    "depth to space": one("DepthToSpace", ["N", 8, 2, 3], blocksize=2),
    "depth to space crd": one("DepthToSpace", [1, 8, 2, 3], blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", [1, 2, 4, 6], blocksize=2),
    "trilu": one("Trilu", ["N", 3, 4], {"k": np.array(-1)}, upper=0, opset=14),
    "where": one("Where", ["N", 2, 3], {"c": weights(2, 1) > 0, "z": weights(3)}, "c x z"),
    "where grows": one("Where", [1, 1, 3], {"c": weights(4, 3) > 0, "z": weights(1)}, "c z x"),
    "concat with constants": one("Concat", [1, 2, 3], {"a": weights(1, 1, 3), "b": weights(1, 2, 3)}, "a x b", axis=1),
    "scatter nd": one("ScatterND", [3, 2], {"i": np.array([[2], [0]]), "u": weights(2, 2)}),
    "scatter elements": one("ScatterElements", [3, 2], {"i": np.array([[2, 0]]), "u": weights(1, 2)}),
    "pad reflect": one("Pad", [1, 2, 4], {"p": np.array([0, 1, 2, 0, 0, 3])}, mode="reflect"),
    "pad edge": one("Pad", ["N", 2, 4], {"p": np.array([0, 1, 2, 0, 2, 5])}, mode="edge"),
    "pad wrap": one("Pad", [1, 2, 4], {"p": np.array([0, 1, 2, 0, 0, 3])}, mode="wrap", opset=19),
    "pad edge crops": one("Pad", [1, 2, 4], {"p": np.array([0, 0, -1, 0, 0, 0])}, mode="edge"),
    "pad axes": one("Pad", [1, 2, 4], {"p": np.array([1, 2]), "v": np.float32(0.5), "a": np.array([-1])}, opset=18),
    "matmul vector": one("MatMul", ["N", 4, 5], {"w": weights(5)}),
    "matmul left vector of rows": one("MatMul", [1, 4, 5], {"w": weights(4)}, "w x"),
    "matmul matrices": one("MatMul", ["N", 2, 4, 5], {"w": weights(2, 5, 3)}),
    "matmul adds axes": one("MatMul", [4, 5], {"w": weights(2, 3, 5, 2)}),
    "matmul left matrices": one("MatMul", [1, 1, 4, 5], {"w": weights(1, 2, 3, 4)}, "w x"),
    "matmul left matrices on a vector": one("MatMul", [4], {"w": weights(2, 3, 4)}, "w x"),
    "gemm trans A": one("Gemm", [5, 4], {"w": weights(5, 3)}, transA=1),
    "gemm bias per row": one("Gemm", [4, 5], {"w": weights(5, 3), "b": weights(4, 3)}, beta=0.5),
    "sum with constants": one("Sum", ["N", 2, 3], {"a": weights(3), "b": weights(2, 1)}, "a x b"),
    "mean with constants": one("Mean", ["N", 2, 3], {"a": weights(3), "b": weights(2, 1)}, "x a b"),
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
    **{f"resize {k}": case for k, case in enumerate(resized())},
    "upsample 9": one("Upsample", ["N", 2, 3, 3], {"s": np.array([1, 1, 2, 2], np.float32)}, mode="linear", opset=9),
    "upsample 7": one("Upsample", [1, 2, 3, 3], scales=[1.0, 1.0, 2.0, 3.0], opset=7),
    "global max pool": one("GlobalMaxPool", ["N", 3, 4, 5]),
    "reduce max": one("ReduceMax", ["N", 3, 4, 5], axes=[1, 3]),
    "reduce min": one("ReduceMin", [1, 3, 4], axes=[-1], keepdims=0),
    "reduce max input axes": one("ReduceMax", [1, 3, 4], {"a": np.array([2])}, opset=18),
    "max with constants": one("Max", ["N", 2, 3], {"a": weights(3), "b": weights(2, 1)}, "a x b"),
    "min with a constant": one("Min", ["N", 2, 3], {"a": weights(1)}),
    "max with a huge constant": one("Max", [1, 3], {"a": np.float32(-3e38)}),
    "max of two": two("Max", "r x"), "min of two": two("Min", "r x"), "max of two and a constant": two("Max", "r c x"),
    "max broadcast": two("Max", "p x"), "min of one": one("Min", [1, 3]), "sum of two": two("Sum", "r c x"),
    "mean of two": two("Mean", "r x"), "add broadcast": two("Add", "x p"), "sub broadcast": two("Sub", "p x"),
    "where of two": two("Where", "m r x"), "where broadcast": two("Where", "m p x"), "concat of two": two("Concat", "r c x", axis=-1),
    "split": splitted(["N", 6, 2], 3, axis=1), "split sizes": splitted([1, 6, 2], 3, sizes=[1, 2, 3], axis=-2),
    "split attribute": splitted([1, 6], 2, axis=1, split=[2, 4], opset=11),
    "split uneven": splitted([1, 5], 2, axis=1, num_outputs=2, opset=18),
    "split first unused": ([node("Split", "x", "a b", axis=1), node("Relu", "b", "y")], ["N", 4], {}),
    "scatter of two": ([node("Relu", "x", "r"), node("Slice", "r n o", "u"), node("ScatterND", "x i u", "y")], [3, 2],
                       {"n": np.array([0]), "o": np.array([2]), "i": np.array([[2], [0]])}),
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
    arguments, options = parts_of({**LINEAR, **OTHER}[name])
    graph = read(*arguments, fold=fold, **options)
    compare(graph)
    assert "y" in graph.tensors


@pytest.mark.parametrize(("op_type", "attributes", "reason"), [
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 1], "auto_pad": "SAME_UPPER"}, "with dilations"),
    ("MaxPool", {"kernel_shape": [1, 1], "strides": [4, 4], "auto_pad": "SAME_LOWER"}, "stride beyond the window"),
    ("MaxPool", {"kernel_shape": [4, 1], "dilations": [3, 1]}, "larger than the padded input"),
    ("AveragePool", {"kernel_shape": [8, 1]}, "larger than the padded input"),
    ("Transpose", {"perm": [0, 1, 3]}, "E-MODEL-SHAPE"),
])
def test_variants_that_are_refused(read, op_type, attributes, reason):
    with pytest.raises(AbsintError) as caught:
        read(*one(op_type, [1, 2, 8, 8] if "auto_pad" in attributes else [1, 2, 7, 6], **attributes)[:3])
    assert reason in caught.value.render()


@pytest.mark.parametrize("name", LINEAR)
def test_linear_op_equals_its_dense_matrix(read, name):
    """apply, apply_abs, adjoint, columns, unit_rows and monomial say the same; the offset broadcasts to the output."""
    arguments, options = parts_of(LINEAR[name])
    graph = read(*arguments, fold=False, **options)
    if len(graph.nodes) == 1:
        pytest.skip("an identity, removed")
    if len(graph.nodes) > 2:
        pytest.skip("several operators, each of them tested elsewhere")
    op, inner, outer = graph.output.op, graph.input.shape, graph.output.shape
    assert isinstance(op, Linear)
    size, like = graph.input.size, torch.zeros((), dtype=torch.float64)
    units = torch.eye(size, dtype=torch.float64)
    matrix = op.apply(units.reshape(size, *inner)).reshape(size, -1)  # rows: images of unit vectors
    x = torch.as_tensor(weights(5, size, dtype=np.float64))
    offset = torch.zeros(outer, dtype=torch.float64) if op.offset is None else op.offset.expand(outer)
    torch.testing.assert_close(op.forward(x.reshape(5, *inner)).reshape(5, -1), x @ matrix + offset.reshape(-1))
    torch.testing.assert_close(op.apply_abs(x.abs().reshape(5, *inner)).reshape(5, -1), x.abs() @ matrix.abs())
    y = torch.as_tensor(weights(4, graph.output.size, dtype=np.float64))
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
