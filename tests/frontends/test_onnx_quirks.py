"""Whole small networks with the quirks of real exporters import and equal onnxruntime."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from onnx_models import batch_norm, build, compare, imported, node, stored, weights

from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.reference import runtime


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


@pytest.fixture
def save(tmp_path):
    return partial(stored, tmp_path)


def test_initialisers_listed_as_inputs(read):
    graph = read([node("Gemm", "x w b", "y")], [1, 3], {"w": weights(3, 2), "b": weights(2)}, as_inputs=True)
    compare(graph)


@pytest.mark.parametrize("first", ["N", 0, -1, 1])
def test_batch_axis(read, first):
    graph = read([node("Flatten", "x", "f"), node("Gemm", "f w", "y")], [first, 2, 3], {"w": weights(6, 2)})
    assert graph.source.batched
    assert graph.input.shape == (2, 3)
    assert graph.output.shape == (2,)
    assert graph.source.full_input_shape == (1, 2, 3)
    compare(graph)


def test_no_batch_axis(read):
    graph = read([node("MatMul", "w x", "h"), node("Relu", "h", "y")], [3], {"w": weights(4, 3)})
    assert not graph.source.batched
    assert graph.input.shape == (3,)
    compare(graph)


def test_twelve_rows_are_one_instance(read):
    graph = read([node("Gemm", "x w", "h"), node("Transpose", "h", "y")], [12, 3], {"w": weights(3, 2)})
    assert graph.input.shape == (12, 3)
    assert graph.output.shape == (2, 12)
    assert any("no batch axis" in n for n in graph.source.notes)


def test_a_batch_axis_of_one_that_is_moved_and_merged(read):
    graph = read([node("Transpose", "x", "t"), node("Reshape", "t s", "y")], [1, 6], {"s": np.array([2, 3])})
    assert graph.source.batched
    assert graph.input.shape == (6,)
    assert graph.output.shape == (2, 3)
    assert not graph.source.notes
    compare(graph)


def test_an_open_batch_size_whose_axis_is_mixed_is_one_and_said_to_be(read):
    """Two instances at once would share what is reversed along axis 0: the runtime is given one at a time."""
    constants = {"s": np.array([-1]), "e": np.array([-9]), "a": np.array([0])}
    graph = read([node("Relu", "x", "r"), node("Slice", "r s e a s", "b"), node("Add", "r b", "y")], ["N", 6], constants)
    assert graph.input.shape == graph.output.shape == (6,)
    assert ["Slice 'b' moves or merges that axis" in note for note in graph.source.notes] == [True]
    assert not runtime(graph.source).batchable
    compare(graph)


def test_symbolic_batch_with_a_reshape_to_one_row(read):
    """Two instances at once would be mixed by this model: the runtime must notice and feed them one by one."""
    graph = read([node("Reshape", "x s", "h"), node("Gemm", "h w", "y")], ["N", 2, 3], {"s": np.array([1, 6]), "w": weights(6, 2)})
    compare(graph)


def test_constant_nodes_and_normalisation(read):
    constants = [node("Constant", "", n, value=numpy_helper.from_array(np.full((1, 1, 1, 1), v, np.float32)))
                 for n, v in (("m", 0.1307), ("s", 0.3081))]
    nodes = [*constants, node("Sub", "x m", "a"), node("Div", "a s", "b"), node("Flatten", "b", "y")]
    compare(read(nodes, [1, 1, 4, 4]))


@pytest.mark.parametrize("kind", [{"value_float": 0.5}, {"value_floats": [0.5, 1.5, 2.5]}])
def test_other_constant_nodes(read, kind):
    compare(read([node("Constant", "", "c", **kind), node("Add", "x c", "y")], [1, 3]))


@pytest.mark.parametrize("shape", [[1, 2, 3, 4], ["N", 2, 3, 4]])
def test_computed_reshape_shape(read, shape):
    nodes = [
        node("Relu", "x", "r"), node("Shape", "r", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axes", "u"),
        node("Slice", "s one two", "c"), node("Mul", "c twelve", "d"), node("Concat", "u d", "t", axis=0), node("Reshape", "r t", "y"),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "one": np.array([1]), "two": np.array([2]), "twelve": np.array([12])}
    graph = read(nodes, shape, constants)
    assert graph.output.shape == (24,)
    compare(graph)


def test_nhwc_network(read):
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c"), node("Relu", "c", "r"),
        node("Transpose", "r", "b", perm=[0, 2, 3, 1]), node("Reshape", "b s", "f"), node("MatMul", "f v", "m"), node("Add", "m d", "y"),
    ]
    constants = {"w": weights(4, 3, 2, 2), "s": np.array([-1, 64]), "v": weights(64, 3), "d": weights(3)}
    compare(read(nodes, ["N", 5, 5, 3], constants, opset=9))


def test_residual_network_and_names(read):
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("BatchNormalization", "a s b m v", "n"), node("Relu", "n", "r"),
        node("Dropout", "r", "d mask"), node("Conv", "d k", "c"), node("Add", "c d", "e"), node("Sub", "e x0", "y"),
    ]
    constants = {"w": weights(4, 2, 3, 3), "k": weights(4, 4, 1, 1), "x0": weights(4, 1, 1), **batch_norm()}
    folded, plain = (read(nodes, [1, 2, 5, 5], constants, fold=fold) for fold in (True, False))
    for graph in (folded, plain):
        compare(graph)
    assert "a" in plain.tensors
    assert "a" not in folded.tensors
    assert plain.tensors["d"] == folded.tensors["d"] == "r"
    assert folded.source.passes == ("drop-identity", "fold-affine")


def test_batch_norm_of_opset_9_uses_stored_statistics(read):
    compare(read([node("BatchNormalization", "x s b m v", "y")], [1, 4, 2, 2], batch_norm(), opset=9))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 15, 17, 21])
def test_opsets(read, opset):
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("MaxPool", "r", "p", kernel_shape=[2, 2]), node("Flatten", "p", "y")]
    compare(read(nodes, [1, 1, 6, 6], {"w": weights(2, 1, 3, 3)}, opset=opset))


def test_attribute_form_of_pad(read):
    compare(read([node("Pad", "x", "y", pads=[0, 1, 0, 2], value=0.5)], [1, 3], opset=9))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float16, 1e-2)])
def test_other_formats(save, dtype, bound):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    w = weights(3, 2, dtype=dtype)
    graph = OnnxFrontEnd().read(save(build([node("MatMul", "x w", "h"), node("Relu", "h", "y")], [1, 3], {"w": w}, dtype=kind)))
    assert check_import(graph) < bound
    assert torch.equal(graph.nodes[1].op.weight, torch.as_tensor(w.astype(np.float64)).T)
    assert bool(graph.source.notes) == (dtype is np.float16)


def test_unsorted_nodes(read):
    compare(read([node("Neg", "r", "y"), node("Relu", "x", "r")], [1, 3]))


def test_local_functions_are_inlined(save):
    body = helper.make_function("mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 13)])
    model = build([helper.make_node("Twice", ["x"], ["h"], domain="mine"), node("Relu", "h", "y")], [1, 3], domains=("mine",))
    model.functions.append(body)
    assert OnnxFrontEnd().read(save(model))(torch.ones(1, 3)).tolist() == [[2.0, 2.0, 2.0]]


