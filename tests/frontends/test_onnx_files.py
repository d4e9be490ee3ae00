"""Reading ONNX files: every fault has its own code and names every offender."""

from __future__ import annotations

import gzip
from fractions import Fraction
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FLOAT, build, dense_model, node, stored, weights

from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.graph import chain
from absint.model.import_check import check_import
from absint.model.ops.shape import Identity
from absint.model.reference import runtime


@pytest.fixture
def save(tmp_path):
    return partial(stored, tmp_path)


def failure(path, **options) -> AbsintError:
    with pytest.raises(AbsintError) as caught:
        OnnxFrontEnd().read(path, **options)
    assert str(path) == caught.value.where
    return caught.value


# ---------------------------------------------------------------- faults

def test_missing_file(tmp_path):
    error = failure(tmp_path / "none.onnx")
    assert error.code == "E-MODEL-MISSING"
    assert isinstance(error, InputError)


@pytest.mark.parametrize(("name", "data"), [("net.onnx", b""), ("net.onnx.gz", gzip.compress(b"", mtime=0))])
def test_empty_file(save, name, data):
    assert failure(save(data, name)).code == "E-MODEL-EMPTY"


def test_graph_without_nodes(save):
    assert failure(save(build([], [1, 3], outputs=("x",)))).code == "E-MODEL-EMPTY"


def test_directory(tmp_path):
    folder = tmp_path / "d.onnx"
    folder.mkdir()
    assert failure(folder).code == "E-MODEL-FORMAT"


def test_every_truncation_is_refused_with_a_code(save):
    data = dense_model().SerializeToString()
    for length in range(1, len(data), 5):
        assert failure(save(data[:length])).code.startswith(("E-MODEL-", "E-OP-")), length


@pytest.mark.parametrize("data", [b"hello world", b"\x00" * 50, b"PK\x03\x04 zip", b"\x1f\x8b broken gzip", b"\x08\x07"])
def test_not_onnx(save, data):
    assert failure(save(data)).code == "E-MODEL-FORMAT"


def test_truncated_gzip(save):
    data = gzip.compress(dense_model().SerializeToString())
    assert failure(save(data[:-9], "net.onnx.gz")).code == "E-MODEL-FORMAT"


def test_nan_and_infinite_weights_are_all_named(save):
    w, b = weights(4, 3), weights(4)
    w[1, 2], b[0], b[1] = np.nan, np.inf, -np.inf
    error = failure(save(build([node("Gemm", "x w b", "y", transB=1)], [1, 3], {"w": w, "b": b})))
    assert error.code == "E-MODEL-NONFINITE"
    assert len(error.details) == 2
    assert "'w' (4, 3): 1 NaN" in error.details[0]
    assert "'b' (4,): 0 NaN, 2 infinite" in error.details[1]


def test_nan_in_a_constant_node(save):
    constant = node("Constant", "", "c", value=numpy_helper.from_array(np.array([np.nan], np.float32)))
    assert failure(save(build([constant, node("Add", "x c", "y")], [1, 3]))).code == "E-MODEL-NONFINITE"


def test_an_input_that_is_no_number_beside_one_that_is(save):
    extra = [helper.make_tensor_value_info("z", TensorProto.INT64, [1, 3])]
    error = failure(save(build([node("Relu", "x", "y")], [1, 3], extra=extra)))
    assert error.code == "E-MODEL-INPUTS"
    assert [d.split()[0] for d in error.details] == ["'z'"]


def test_integer_input(save):
    error = failure(save(build([node("Cast", "x", "y", to=FLOAT)], [1, 3], dtype=TensorProto.INT64)))
    assert error.code == "E-MODEL-INPUTS"


def test_two_outputs_are_named(save):
    error = failure(save(build([node("Relu", "x", "y"), node("Neg", "x", "z")], [1, 3], outputs=("y", "z"))))
    assert error.code == "E-MODEL-OUTPUTS"
    assert len(error.details) == 2


def test_output_that_ignores_the_input(save):
    error = failure(save(build([node("Neg", "c", "y")], [1, 3], {"c": weights(1, 2)})))
    assert error.code == "E-MODEL-OUTPUTS"


@pytest.mark.parametrize("shape", [["N", 3, "H", "W"], ["N"], [1, 3, 0, 4]])
def test_unknown_sizes(save, shape):
    assert failure(save(build([node("Relu", "x", "y")], shape))).code == "E-MODEL-SHAPE"


def test_input_without_shape(save):
    assert failure(save(build([node("Relu", "x", "y")], None))).code == "E-MODEL-SHAPE"


def test_shapes_that_do_not_fit(save):
    error = failure(save(build([node("Gemm", "x w", "y")], [1, 5], {"w": weights(3, 2)})))
    assert error.code == "E-MODEL-SHAPE"
    assert "node 0 'y'" in error.details[0]


def test_cycle(save):
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Neg", "b", "y")]
    error = failure(save(build(nodes, [1, 3])))
    assert error.code == "E-MODEL-CYCLE"
    assert len(error.details) == 3


def test_undefined_tensors(save):
    error = failure(save(build([node("Add", "x nowhere", "a"), node("Add", "a neither", "y")], [1, 3])))
    assert error.code == "E-MODEL-UNDEFINED"
    assert len(error.details) == 2


def test_undefined_output(save):
    assert failure(save(build([node("Relu", "x", "a")], [1, 3]))).code == "E-MODEL-UNDEFINED"


def test_defined_twice(save):
    assert failure(save(build([node("Relu", "x", "y"), node("Neg", "x", "y")], [1, 3]))).code == "E-MODEL-DUPLICATE"


def test_old_opset(save):
    assert failure(save(build([node("Relu", "x", "y")], [1, 3], opset=6))).code == "E-MODEL-OPSET"


def test_missing_external_weights(save):
    model = build([node("Add", "x w", "y")], [1, 3], {"w": weights(3)})
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "none.bin"
    assert failure(save(model)).code == "E-MODEL-MISSING"


def test_external_weights_are_read(save, tmp_path):
    path = tmp_path / "net.onnx"
    model = build([node("Add", "x w", "y")], [1, 300], {"w": weights(300)})
    onnx.save_model(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    graph = OnnxFrontEnd().read(path)
    assert graph.output.shape == (300,)
    assert runtime(graph.source).run(np.zeros((1, 300))).shape == (1, 300)


def test_all_unsupported_nodes_at_once(save):
    nodes = [
        node("Det", "x", "a", name="Det_0"), node("Relu", "a", "b"),
        helper.make_node("Fancy", ["b"], ["c"], domain="my.own"), node("Unsqueeze", "c axes", "d"),
        node("Hardmax", "d", "e"), node("Mul", "e e", "y"),
    ]
    error = failure(save(build(nodes, [1, 4, 3, 3], {"axes": np.array([1])}, domains=("my.own",))))
    assert isinstance(error, UnsupportedError)
    assert error.code == "E-OP-UNSUPPORTED"
    assert error.exit_code == 4
    lines = [d for d in error.details if "Mul" not in d]
    assert len(lines) == 3
    assert lines[0] == ("node 0 'Det_0'  Det (opset 13)  (1, 4, 3, 3) -> (1, 4)  no entry; "
                        "add one file with @register_op and pass --plugin FILE")
    assert "my.own.Fancy" in lines[1]
    assert "custom domain 'my.own'" in lines[1]
    assert "Hardmax" in lines[2]


def test_survey_tells_of_every_node(save):
    nodes = [node("Shape", "x", "s"), node("Reshape", "x s", "a"), node("Det", "a", "y")]
    report = OnnxFrontEnd().survey(save(build(nodes, [1, 2, 2])))
    assert [r.folded for r in report] == [True, False, False]
    assert report[1].op is not None
    assert report[1].output == (1, 2, 2)
    assert report[2].reason == "no entry"


def test_malformed_node_is_a_coded_error(save):
    nodes = [node("Gemm", "x", "a"), node("Relu", "a", "y", nonsense=1)]
    error = failure(save(build(nodes, [1, 3])))
    assert error.code == "E-OP-UNSUPPORTED"
    assert len(error.details) == 2


def test_text_that_is_no_text_is_a_coded_error(save):
    data = dense_model().SerializeToString().replace(b"transB", b"trans\xff")
    assert failure(save(data)).code.startswith("E-")


def test_unneeded_nodes_do_not_matter(save):
    model = build([node("Relu", "x", "y"), node("Det", "x", "z")], [1, 3, 3])
    assert OnnxFrontEnd().read(save(model)).output.shape == (3, 3)


def test_used_second_output_is_refused(save):
    nodes = [node("MaxPool", "x", "a i", kernel_shape=[2, 2]), node("Cast", "i", "j", to=FLOAT), node("Add", "a j", "y")]
    error = failure(save(build(nodes, [1, 1, 4, 4])))
    assert any("output 'i' is used" in d for d in error.details)


@pytest.mark.parametrize(("op_type", "a", "b"), [
    ("Add", 1.0, 2.0**-30), ("Mul", 1 + 2.0**-20, 1 + 2.0**-20), ("Div", 1.0, 3.0), ("Sub", 1e10, 1.0),
])
def test_inexact_constants_are_enclosed(save, op_type, a, b):
    constants = {"a": np.full(1, a, np.float32), "b": np.full(1, b, np.float32)}
    graph = OnnxFrontEnd().read(save(build([node(op_type, "a b", "c"), node("Add", "x c", "y")], [1, 3], constants)), fold=False)
    truth = {"Add": lambda a, b: a + b, "Mul": lambda a, b: a * b, "Div": lambda a, b: a / b, "Sub": lambda a, b: a - b}[op_type]
    op = graph.output.op
    error = 0.0 if op.offset_error is None else float(op.offset_error)
    exact = truth(*(Fraction(float(np.float32(v))) for v in (a, b)))
    assert abs(Fraction(float(op.offset)) - exact) <= Fraction(error)
    assert float(op.offset_magnitude) * 3 * 2.0**-24 >= abs(float(truth(np.float32(a), np.float32(b))) - float(op.offset))


@pytest.mark.parametrize(("op_type", "a", "b", "result"), [
    ("Add", 1.5, 2.25, 3.75), ("Mul", 1.5, -3.0, -4.5), ("Div", 6.0, 1.5, 4.0), ("Sub", 1.0, 1.0, 0.0),
])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_constants_are_folded(save, op_type, a, b, result, dtype):
    constants = {"a": np.full(1, a, dtype), "b": np.full(1, b, dtype)}
    model = build([node(op_type, "a b", "c"), node("Add", "x c", "y")], [1, 3], constants,
                  dtype=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    graph = OnnxFrontEnd().read(save(model))
    assert graph(torch.zeros(1, 3, dtype=torch.float64)).tolist() == [[result] * 3]


def test_mismatch_names_the_first_tensor(save):
    graph = OnnxFrontEnd().read(save(dense_model()), fold=False)
    nodes = [n if n.name != "h" else type(n)(n.name, Identity(), ("x",), (3,), n.tensors) for n in graph.nodes[:2]]
    wrong = type(graph)((*nodes, *graph.nodes[2:]), graph.source)
    with pytest.raises((UnsupportedError, RuntimeError)):
        check_import(wrong)
    bias = graph["h"].op.bias.clone()
    bias += 0.01  # of all, so that not every changed entry is dead behind the Relu
    op = type(graph["h"].op)(graph["h"].op.weight, bias)
    nodes = [n if n.name != "h" else type(n)(n.name, op, n.inputs, n.shape, n.tensors) for n in graph.nodes]
    with pytest.raises(UnsupportedError) as caught:
        check_import(type(graph)(tuple(nodes), graph.source), low=5.0, high=6.0)
    assert caught.value.code == "E-IMPORT-MISMATCH"
    assert "'h' (Gemm)" in caught.value.details[1]


def test_nan_outputs_are_a_mismatch(save):
    model = build([node("Mul", "x c", "a"), node("Mul", "a c", "b"), node("Sub", "b b", "y")], [1, 2], {"c": np.full(1, 1e30, np.float32)})
    assert failure(save(model)).code == "E-IMPORT-MISMATCH"


def test_check_on_a_region_returns_the_deviation(save):
    graph = OnnxFrontEnd().read(save(dense_model()))

    class Region:
        lower, upper = torch.full((3, 3), -5.0), torch.full((3, 3), 70.0)

    assert check_import(graph, region=Region()) < 1e-6


def test_graphs_without_model_have_no_runtime(save):
    graph = OnnxFrontEnd().read(save(dense_model()))
    part = graph.upto(graph.nodes[1].name)
    with pytest.raises(UsageError, match="E-RUNTIME-NONE"):
        runtime(part.source)
    with pytest.raises(UsageError, match="E-RUNTIME-NONE"):
        runtime(chain(part, OnnxFrontEnd().read(save(build([node("Relu", "x", "y")], [1, part.output.size])))).source)


