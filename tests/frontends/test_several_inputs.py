"""Networks with several inputs: one vector inside, every input by its own name outside; the reference is fed each by itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx_models import compare, node, stored, weights
from several_inputs import model, two_inputs, two_inputs_by_hand

import absint
from absint.errors import AbsintError, InputError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.reference import runtime
from absint.problem.query import read_query

STATE, IMAGE = np.random.default_rng(3).random((3, 2)), np.random.default_rng(4).random((3, 3, 2))


@pytest.fixture(params=["N", 1])
def graph(request, tmp_path):
    return OnnxFrontEnd().read(stored(tmp_path, two_inputs(request.param)))


def fed_by_name(folder):
    """Row k of the vector is state k, then image k: in the graph, and in the model that is replayed."""
    found = OnnxFrontEnd().read(stored(folder, two_inputs()))
    x = np.concatenate([STATE, IMAGE.reshape(3, 6)], 1)
    truth = two_inputs_by_hand(STATE, IMAGE)
    np.testing.assert_allclose(found(torch.as_tensor(x)).numpy(), truth, rtol=1e-9)
    np.testing.assert_allclose(runtime(found.source).run(x), truth, rtol=1e-4, atol=1e-5)


def test_each_input_gets_its_own_entries(tmp_path):
    fed_by_name(tmp_path)


def test_the_whole_is_compared_in_batches_and_alone(graph):
    assert graph.input.shape == (8,)
    assert graph.source.named_inputs == {"state": (2,), "image": (3, 2)}
    assert graph.find("image").shape == (3, 2)
    compare(graph)
    assert "one vector of 8 numbers" in graph.source.notes[-1]


def test_arrays_by_name_in_any_order(graph):
    by_name = absint.verify(graph, {"image": IMAGE, "state": STATE}, None, 0.001)
    in_rows = absint.verify(graph, np.concatenate([STATE, IMAGE.reshape(3, 6)], 1), None, 0.001)
    assert [one.margin for one in by_name] == [one.margin for one in in_rows]
    single = absint.verify(graph, {"image": IMAGE[0], "state": STATE[0]}, None, 0.001)
    assert single[0].margin == pytest.approx(by_name[0].margin)


REFUSED = {
    "one array": (STATE, "E-DATA-INPUTS", "'image' (3, 2)"),
    "one array of another shape": (np.zeros((3, 2, 4)), "E-DATA-INPUTS", "rows of all 8"),
    "an input too few": ({"state": STATE}, "E-DATA-INPUTS", "'image' (3, 2): no array"),
    "an input too many": ({"state": STATE, "image": IMAGE, "mask": STATE}, "E-DATA-INPUTS", "'mask'"),
    "other numbers of rows": ({"state": STATE[:2], "image": IMAGE}, "E-DATA-SHAPE", "'state': 2"),
    "another shape": ({"state": IMAGE, "image": IMAGE}, "E-DATA-SHAPE", "'state'"),
    "words": ({"state": ["a"], "image": IMAGE}, "E-DATA-TYPE", "state"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_are_not_one_array_an_input_are_refused(case, tmp_path):
    data, code, text = REFUSED[case]
    found = absint.load(stored(tmp_path, two_inputs()))
    with pytest.raises(AbsintError) as caught:
        absint.bounds(found, data, 0.1)
    assert caught.value.code == code
    assert text in caught.value.render()
    assert caught.value.hint


def test_an_archive_holds_one_array_an_input(tmp_path):
    net, data = stored(tmp_path, two_inputs()), tmp_path / "data.npz"
    labels = two_inputs_by_hand(STATE, IMAGE).argmax(1)
    np.savez(data, image=(IMAGE * 255).round().astype(np.uint8), state=STATE, labels=labels)
    read = absint.verify(net, data, None, 0.001)
    same = absint.verify(net, {"state": STATE, "image": (IMAGE * 255).round() / 255}, labels, 0.001)
    assert [one.margin for one in read] == [one.margin for one in same]
    np.savez(data, image=IMAGE)
    with pytest.raises(InputError) as caught:
        absint.verify(net, data, None, 0.001)
    assert caught.value.code == "E-DATA-INPUTS"


def test_an_input_called_as_labels_are(tmp_path):
    """'y' is where labels lie in an archive, unless the network has an input of that name."""
    nodes = [node("Concat", "x y", "c", axis=1), node("MatMul", "c W", "z")]
    made = model(nodes, {"x": ["N", 2], "y": ["N", 1]}, {"z": 0}, {"W": weights(3, 2)})
    net, data = stored(tmp_path, made), tmp_path / "data.npz"
    np.savez(data, x=np.ones((2, 2)), y=np.zeros((2, 1)))
    found = absint.bounds(net, data, 0.01)
    assert found is not None


def test_inputs_without_a_batch_axis(tmp_path):
    made = model([node("Mul", "a b", "c"), node("Relu", "c", "y")], {"a": [2, 3], "b": [3]}, {"y": 0})
    graph = OnnxFrontEnd().read(stored(tmp_path, made))
    assert (graph.input.shape, graph.source.batched) == ((9,), False)
    compare(graph)


def test_an_initialiser_among_the_inputs_is_none(tmp_path):
    proto = onnx.load_model_from_string(two_inputs())
    proto.graph.input.append(onnx.helper.make_tensor_value_info("W", TensorProto.FLOAT, [2, 4]))
    assert len(OnnxFrontEnd().read(stored(tmp_path, proto)).source.inputs) == 2


def test_inputs_that_are_no_numbers_are_named(tmp_path):
    proto = onnx.load_model_from_string(two_inputs())
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(InputError) as caught:
        OnnxFrontEnd().read(stored(tmp_path, proto))
    assert caught.value.code == "E-MODEL-INPUTS"
    assert caught.value.details == ("'state' INT64 (N, 2)",)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(InputError, match="several number formats"):
        OnnxFrontEnd().read(stored(tmp_path, proto))


def query(folder, inputs, margin, version="2.0"):
    """Whether y_0 can exceed y_1 by `margin` for state and image in [0, 1]."""
    if version == "1.0":
        lines = [f"(declare-const {letter}_{k} Real)" for letter, n in (("X", 8), ("Y", 3)) for k in range(n)]
        lines += [f"(assert (>= X_{k} 0.0))(assert (<= X_{k} 1.0))" for k in range(8)]
        lines += [f"(assert (>= (- Y_0 Y_1) {margin}))"]
    else:
        entries = [f"{name}[{','.join(map(str, place))}]" for name, shape in inputs for place in np.ndindex(*shape)]
        declared = "".join(f"(declare-input {name} float32 [{','.join(map(str, shape))}])" for name, shape in inputs)
        lines = ["(vnnlib-version <2.0>)", f"(declare-network N {declared} (declare-output Y float32 [1,3]))"]
        lines += [f"(assert (>= {entry} 0.0))(assert (<= {entry} 1.0))" for entry in entries]
        lines += [f"(assert (>= (- Y[0,0] Y[0,1]) {margin}))"]
    return stored(folder, "\n".join(lines).encode(), f"q{version}.vnnlib")


OWN = (("S", (1, 2)), ("I", (1, 3, 2)))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_queries_number_the_inputs_in_order(version, tmp_path):
    corners = np.array([[(k >> j) & 1 for j in range(8)] for k in range(256)], dtype=float)
    values = two_inputs_by_hand(corners[:, :2], corners[:, 2:].reshape(-1, 3, 2))
    most = float((values[:, 0] - values[:, 1]).max())
    net = stored(tmp_path, two_inputs())
    reached = absint.verify_query(net, query(tmp_path, OWN, f"{most - 0.01:.4f}", version), timeout=20)
    assert reached.answer.value == "sat"
    point = np.array(reached.witness.point)
    replayed = two_inputs_by_hand(point[None, :2], point[2:].reshape(1, 3, 2))[0]
    assert replayed[0] - replayed[1] >= most - 0.02
    assert absint.verify_query(net, query(tmp_path, OWN, f"{abs(most) * 3 + 20:.4f}", version), timeout=20).answer.value == "unsat"


def test_a_query_about_other_inputs_is_refused(tmp_path):
    net = stored(tmp_path, two_inputs())
    for inputs in (OWN[::-1], (("S", (1, 4)), ("I", (1, 2, 2)))):
        with pytest.raises(InputError) as caught:
            absint.verify_query(net, query(tmp_path, inputs, "0.5"))
        assert caught.value.code == "E-VNNLIB-INPUTS"
    assert len(read_query(query(tmp_path, OWN, "0.5")).inputs) == 2


def test_counterexamples_are_one_tensor_an_input(tmp_path):
    net, folder = stored(tmp_path, two_inputs()), tmp_path / "tensors"
    absint.verify_query(net, query(tmp_path, OWN, "-100.0"), serialise_assignments=folder)
    shapes = {}
    for path in folder.iterdir():
        tensor = onnx.TensorProto()
        tensor.ParseFromString(path.read_bytes())
        shapes[path.stem] = tuple(tensor.dims)
    assert shapes == {"S": (1, 2), "I": (1, 3, 2), "Y": (1, 3)}


class Two(torch.nn.Module):
    def forward(self, state, image):
        return torch.relu(state - image.flatten(1)[:, :2])


def test_a_module_of_two_inputs(tmp_path):
    examples = {"image": torch.zeros(1, 3, 2), "state": torch.zeros(1, 2)}
    graph = absint.load(Two().eval(), example_input=examples)
    assert graph.source.named_inputs == {"state": (2,), "image": (3, 2)}
    for wrong in (torch.zeros(1, 2), (torch.zeros(1, 2),) * 3, {"state": torch.zeros(1, 2)}):
        with pytest.raises(InputError) as caught:
            absint.load(Two().eval(), example_input=wrong)
        assert caught.value.code == "E-MODEL-INPUTS"
        assert "state, image" in caught.value.what
