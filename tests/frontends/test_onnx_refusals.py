"""What the ONNX front end refuses, with one line each; and files that are merely long."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from counting import work
from onnx import TensorProto, helper
from onnx_models import FLOAT, build, compare, imported, node, stored, weights

from absint.errors import AbsintError
from absint.frontends.onnx_file import open_model
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.frontends.onnx_translate import translate
from absint.model.passes import apply_passes


@pytest.fixture
def read(tmp_path):
    return partial(imported, tmp_path)


@pytest.fixture
def save(tmp_path):
    return partial(stored, tmp_path)


def failure(path):
    with pytest.raises(AbsintError) as caught:
        OnnxFrontEnd().read(path)
    return caught.value


def quantised():
    return [node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "y")], {"s": np.float32(0.5)}


def branch():
    inner = helper.make_graph([node("Relu", "x", "r")], "then", [], [helper.make_tensor_value_info("r", FLOAT, [1, 4])])
    return [helper.make_node("If", ["c"], ["i"], then_branch=inner, else_branch=inner), node("Add", "x i", "y")], {"c": np.array(True)}


@pytest.mark.parametrize(("nodes", "constants", "reason"), [
    ([node("RandomNormalLike", "x", "n"), node("Add", "x n", "y")], {}, "draws random numbers"),
    ([node("Dropout", "x r t", "y")], {"r": np.float32(0.5), "t": np.array(True)}, "training mode"),
    ([node("Resize", "x  s", "y", coordinate_transformation_mode="tf_crop_and_resize")], {"s": np.ones(2, np.float32)}, "is no"),
    ([node("Split", "x s", "a b", axis=1), node("Relu", "b", "y")], {"s": np.array([1, 2])}, "parts of [1, 2]"),
    ([node("Gather", "c i", "y")], {"c": weights(4, 2), "i": np.array([7])}, ""),
    ([node("Gather", "x i", "y", axis=1)], {"i": np.array([7])}, "beyond the 4 entries"),
])
def test_reasons(save, nodes, constants, reason):
    path = save(build(nodes, [1, 4], constants))
    assert reason in failure(path).render()


def test_control_flow(save):
    nodes, constants = branch()
    assert "control flow" in failure(save(build(nodes, [1, 4], constants))).render()


@pytest.mark.parametrize(("op_type", "inputs"), [("Pad", "x p n"), ("Clip", "x n")])
def test_computed_number_is_not_an_absent_constant(save, op_type, inputs):
    nodes = [node("ReduceSum", "x", "n"), node(op_type, inputs, "y")]
    error = failure(save(build(nodes, [4, 4], {"w": weights(4, 2), "p": np.array([0, 1, 0, 0])})))
    assert "must be a constant" in error.render()


def test_input_without_axes(save):
    assert failure(save(build([node("Relu", "x", "y")], []))).code == "E-MODEL-SHAPE"


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "", "a/../../w.bin"])
def test_external_data_outside_the_folder(save, tmp_path, location):
    (tmp_path / "net").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(12))
    model = build([node("Add", "x w", "y")], [1, 3], {"w": weights(3)})
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    error = failure(save(model, "net/net.onnx"))
    assert error.code == "E-MODEL-EXTERNAL"
    assert error.details == ("'w'",) or list(error.details) == ["'w'"]


def test_external_data_behind_a_link(save, tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    onnx.save_model(build([node("Add", "x w", "y")], [1, 300], {"w": weights(300)}), str(folder / "net.onnx"),
                    save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    assert failure(folder / "net.onnx").code == "E-MODEL-EXTERNAL"


@pytest.mark.parametrize(("axis", "keep"), [(1, 1), (-1, 0)])
def test_argmax_at_the_end_leaves_the_scores(read, axis, keep):
    graph = read([node("MatMul", "x w", "h"), node("ArgMax", "h", "y", axis=axis, keepdims=keep)], ["N", 4], {"w": weights(4, 3)})
    assert graph.output.shape == (3,)
    assert any("ArgMax" in note for note in graph.source.notes)
    compare(graph)


@pytest.mark.parametrize(("shape", "axis"), [(["N", 4], 0), ([1, 2, 4], 1), ([3, 4], 1)])
def test_argmax_along_another_axis(save, shape, axis):
    error = failure(save(build([node("Relu", "x", "h"), node("ArgMax", "h", "y", axis=axis)], shape)))
    assert "ArgMax" in error.render()


def test_expand_as_pytorch_writes_it(read):
    """ConstantOfShape, Equal and Where choose the target shape; all of it is constant."""
    nodes = [
        node("Shape", "s", "rank"), node("ConstantOfShape", "rank", "ones", value=helper.make_tensor("v", TensorProto.INT64, [1], [1])),
        node("Mul", "ones minus", "wild"), node("Equal", "s wild", "free"), node("Where", "free ones s", "target"),
        node("Unsqueeze", "x a", "u"), node("Expand", "u target", "y"),
    ]
    graph = read(nodes, ["N", 4], {"s": np.array([-1, 3, -1]), "minus": np.array(-1), "a": np.array([1])})
    assert graph.output.shape == (3, 4)
    compare(graph)


def test_constants_from_range_size_and_nonzero(read):
    nodes = [
        node("Size", "c", "n"), node("Range", "zero n one", "r"), node("NonZero", "c", "k"), node("Squeeze", "k a", "i"),
        node("Gather", "r i", "j"), node("Gather", "x j", "y", axis=1),
    ]
    constants = {"c": np.array([0, 3, 0, 1]), "zero": np.array(0), "one": np.array(1), "a": np.array([0])}
    assert read(nodes, [1, 4], constants).output.shape == (2,)


def chain(op_type, length, inputs=lambda k, before: before):
    names = ["x", *(f"h{k}" for k in range(1, length)), "y"]
    return [node(op_type, inputs(k, names[k]), names[k + 1]) for k in range(length)]


@pytest.mark.parametrize("make", [
    lambda n: build(chain("Relu", n), [1, 3]),
    lambda n: build(chain("Identity", n), [1, 3]),
    lambda n: build(chain("Add", n, lambda k, before: f"{before} c{k}"), [1, 3], {f"c{k}": np.zeros(3, np.float32) for k in range(n)}),
    lambda n: build(chain("Add", n, lambda k, before: f"{before} x"), [1, 3]),
    lambda n: build(chain("Relu", n)[::-1], [1, 3]),
], ids=["relu", "identity", "constants", "fan-out", "reversed"])
def test_work_is_linear_in_the_number_of_nodes(save, make):
    """Twice the nodes, twice the work; and no depth is too deep for a recursion, of which Python allows a thousand."""

    def read(path):
        translation, notes = translate(open_model(path))
        apply_passes(translation.graph(notes))

    once, twice = (work(partial(read, save(make(length), f"{length}.onnx"))) for length in (550, 1_100))
    assert twice < 2.2 * once
