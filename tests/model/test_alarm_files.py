"""The user's ONNX file with an alarm: raised above a threshold and by NaN alone, in every operator set; nothing else is changed."""

from __future__ import annotations

import json
from math import inf, nan

import numpy as np
import onnx
import pytest
from alarm_nets import F32, SCALE, Taboo, alarmed, alarms, answers, graph_of, taboo, two_layers, typed
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build, node, weights

from absint.model.alarms import METADATA
from absint.model.watched import Watch

TINY = float(np.finfo(F32).tiny)
LEVELS = pytest.mark.parametrize("optimised", [False, True], ids=["plain", "optimised"])


def following(value: float, towards: float = inf) -> float:
    return float(np.nextafter(F32(value), F32(towards)))


@LEVELS
def test_above_the_threshold_and_nowhere_else(optimised: bool) -> None:
    found = alarmed(two_layers(), taboo({0: 0.75, 1: 3.0}))
    quiet = [[0.75, 0, 9, 9, 9, 9], [following(0.75, -inf), 1.5, 0, 0, 0, 0], [-9, -9, inf, -inf, 1e30, 9], [0, 1.5, nan, nan, nan, nan]]
    loud = [[following(0.75), 0, 0, 0, 0, 0], [0, following(1.5), 0, 0, 0, 0], [nan, 0, 0, 0, 0, 0], [0, inf, 0, 0, 0, 0], [9] * 6]
    assert alarms(found, quiet, optimised) == [False] * len(quiet)
    assert alarms(found, loud, optimised) == [True] * len(loud)
    assert [alarms(found, [row], optimised)[0] for row in (*quiet, *loud)] == [False] * len(quiet) + [True] * len(loud)


@LEVELS
def test_the_greatest_and_the_least_threshold(optimised: bool) -> None:
    greatest = float(np.finfo(F32).max)
    found = alarmed(two_layers(), taboo({0: TINY, 2: greatest}))
    rows = [[TINY, 0, 0, 0, 0, 0], [following(TINY), 0, 0, 0, 0, 0], [1e-40, 0, greatest, 0, 0, 0], [0, 0, inf, 0, 0, 0]]
    assert alarms(found, rows, optimised) == [False, True, False, True]


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12, 13, 17, 18, 20, 21])
@pytest.mark.parametrize("count", [1, 2])
def test_every_operator_set(opset: int, count: int) -> None:
    found = alarmed(two_layers(opset=opset), *[taboo({0: 0.5}), taboo({1: 0.5, 5: 2.0})][:count])
    proto = onnx.load_model_from_string(found.content)
    onnx.checker.check_model(proto, full_check=True)
    assert [one.version for one in proto.opset_import] == [opset]
    rows = np.array([[0.5, 0.25, 0, 0, 0, 2], [1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 3], [0, nan, 0, 0, 0, 0]], dtype=F32)
    for optimised in (False, True):
        made = answers(found.content, rows, optimised)
        assert made[found.alarm].tolist() == [False, True, count > 1, count > 1, count > 1]
        if found.alarms:
            assert made[found.alarms].tolist() == [[False, False], [True, False], [False, True], [False, True], [False, True]]


def test_a_file_from_before_constants_stood_apart_from_inputs() -> None:
    model = two_layers(opset=8, as_inputs=True)
    model.ir_version = 3
    found = alarmed(model, taboo({0: 0.5}))
    for one in (model, onnx.load_model_from_string(found.content)):
        onnx.checker.check_model(one)
    assert answers(found.content, np.eye(6, dtype=F32)[:2])["alarm"].tolist() == [True, False]


def test_shapes_are_inferred_as_they_are_declared() -> None:
    found = alarmed(two_layers(), taboo({0: 0.5}), taboo({1: 0.5, 5: 2.0}))
    inferred = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(found.content), strict_mode=True, check_type=True)
    shapes = {one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in inferred.graph.output}
    assert shapes == {"y": ["n", 2], "alarm": ["n"], "alarms": ["n", 2]}
    assert {one.type.tensor_type.elem_type for one in inferred.graph.output[1:]} == {TensorProto.BOOL}


@LEVELS
def test_no_row_and_many_rows(optimised: bool) -> None:
    found = alarmed(two_layers(), taboo({0: 0.5}), taboo({1: 0.5}))
    x = np.random.default_rng(1).uniform(-1, 2, (100, 6)).astype(F32)
    for size in (0, 1, 7, 100):
        made = answers(found.content, x[:size], optimised)
        expected = np.stack([x[:size, 0] > 0.5, 2 * x[:size, 1] > 0.5], 1)
        assert np.array_equal(made["alarms"], expected)
        assert np.array_equal(made["alarm"], expected.any(1))


# ---- several traps, several tensors -----------------------------------------------------------------------------------------


def deep() -> onnx.ModelProto:
    """g = relu(scale x), h = relu(g + 1), both of six entries."""
    nodes = [node("Mul", "x s", "a"), node("Relu", "a", "g"), node("Add", "g one", "b"), node("Relu", "b", "h"), node("MatMul", "h w", "y")]
    return build(nodes, ["n", 6], {"s": SCALE, "one": F32(1), "w": weights(6, 2)})


@LEVELS
def test_each_trap_has_thresholds_of_its_own(optimised: bool) -> None:
    one = Taboo((Watch("h", (1, 4)), Watch("g", (0,))), (3.0, 5.0, 0.25))
    two = Taboo((Watch("g", (0, 2, 4)), Watch("h", (1,))), (0.5, 0.75, 6.0, 7.0))     # in another order than the first
    three = Taboo((Watch("h", (4,)),), (8.0,))
    found = alarmed(deep(), one, two, three)
    x = np.random.default_rng(2).uniform(-2, 9, (400, 6)).astype(F32)
    g = np.maximum(SCALE * x, 0)
    h = np.maximum(g + F32(1), 0)
    of_one = (h[:, 1] > 3) | (h[:, 4] > 5) | (g[:, 0] > 0.25)
    of_two = (g[:, 0] > 0.5) | (g[:, 2] > 0.75) | (g[:, 4] > 6) | (h[:, 1] > 7)
    expected = np.stack([of_one, of_two, h[:, 4] > 8], 1)
    made = answers(found.content, x, optimised)
    assert np.array_equal(made["alarms"], expected)
    assert np.array_equal(made["alarm"], expected.any(1))
    assert 0 < expected.sum(0).min() <= expected.sum(0).max() < len(x)


@LEVELS
@pytest.mark.parametrize("batch", ["n", 1])
def test_entries_of_images_are_counted_channel_by_channel(batch: int | str, optimised: bool) -> None:
    nodes = [node("Conv", "x k", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "h"), node("Flatten", "h", "f"), node("MatMul", "f w", "y")]
    kernel = np.zeros((3, 2, 3, 3), dtype=F32)
    kernel[0, 0, 1, 1], kernel[1, 1, 1, 1], kernel[2, 0, 1, 1] = 1, 2, 0.5      # channels of their own, scaled
    model = build(nodes, [batch, 2, 4, 5], {"k": kernel, "w": weights(60, 3)})
    x = np.random.default_rng(3).uniform(0, 1, (6, 2, 4, 5)).astype(F32)
    h = np.stack([x[:, 0], 2 * x[:, 1], x[:, 0] / 2], 1).reshape(6, 60)
    graph = graph_of(model)
    for entry in (0, 7, 23, 38, 59):
        limit = float(np.sort(h[:, entry])[3])
        found = alarmed(graph, taboo({entry: limit}))
        rows = [x] if batch == "n" else [row[None] for row in x]
        assert np.array_equal(np.concatenate([alarms(found, row, optimised) for row in rows]), h[:, entry] > limit)


# ---- forms of files -------------------------------------------------------------------------------------------------------


@LEVELS
def test_one_instance_a_file(optimised: bool) -> None:
    """Without a batch axis, and with one that lies elsewhere."""
    whole = build([node("Relu", "x", "h"), node("MatMul", "h w", "y")], [2, 3], {"w": weights(3, 2)})
    turn = {"perm": [1, 0, 2]}
    moved = build([node("Transpose", "x", "t", **turn), node("Relu", "t", "h"), node("Transpose", "h", "y", **turn)], [1, 2, 3])
    for model in (typed(whole, [2, 2]), typed(moved, [1, 2, 3])):
        found = alarmed(model, taboo({4: 0.5}), taboo({5: 0.5}))
        x = np.zeros(graph_of(model).source.full_input_shape, dtype=F32)
        x.reshape(-1)[4] = following(0.5)
        made = answers(found.content, x, optimised)
        assert (made["alarm"].tolist(), made["alarms"].tolist()) == ([True], [[True, False]])
        onnx.checker.check_model(onnx.load_model_from_string(found.content), full_check=True)


def test_names_that_the_file_uses_are_left_to_it() -> None:
    nodes = [node("Mul", "x s", "alarm"), node("Relu", "alarm", "h"), node("Identity", "h", "absint_alarm/limits"),
             node("MatMul", "absint_alarm/limits w", "alarms")]
    model = build(nodes, ["n", 6], {"s": SCALE, "w": weights(6, 2)}, outputs=("alarms",))
    found = alarmed(model, taboo({0: 0.5}), taboo({1: 0.5}))
    assert (found.alarm, found.alarms) == ("alarm_", "alarms_")
    made = answers(found.content, np.array([[1, 0, 0, 0, 0, 0]], dtype=F32))
    assert [*made] == ["alarms", "alarm_", "alarms_"]
    assert made["alarms_"].tolist() == [[True, False]]


def test_names_inside_of_branches_are_left_to_them() -> None:
    made = [numpy_helper.from_array(np.array(value, dtype=F32), "alarm") for value in (1.0, 2.0)]
    branches = [helper.make_graph([helper.make_node("Constant", [], ["alarm"], value=value)], "b", [],
                                  [helper.make_tensor_value_info("alarm", TensorProto.FLOAT, [])]) for value in made]
    choice = helper.make_node("If", ["yes"], ["unused"], then_branch=branches[0], else_branch=branches[1])
    base = two_layers()
    base.graph.node.insert(0, choice)
    base.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    found = alarmed(base, taboo({0: 0.5}))
    assert found.alarm == "alarm_"
    assert alarms(found, [[1, 0, 0, 0, 0, 0]]) == [True]


def test_a_network_that_ends_in_argmax_still_does() -> None:
    model = two_layers()
    model.graph.node.append(node("ArgMax", "y", "label", axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    found = alarmed(model, taboo({0: 0.5}))
    made = answers(found.content, np.array([[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=F32))
    assert made["label"].dtype == np.int64
    assert made["alarm"].tolist() == [True, False]


# ---- nothing else is changed ---------------------------------------------------------------------------------------------


def test_the_network_itself_is_as_it_was() -> None:
    model = deep()
    model.metadata_props.add(key="author", value="somebody")
    before, after = graph_of(model), onnx.load_model_from_string(alarmed(model, taboo({0: 0.5}), taboo({1: 0.5}, "g")).content)
    kept = onnx.load_model_from_string(before.source.model or b"")
    assert list(after.graph.node)[: len(kept.graph.node)] == list(kept.graph.node)
    assert list(after.graph.initializer)[: len(kept.graph.initializer)] == list(kept.graph.initializer)
    assert list(after.graph.input) == list(kept.graph.input)
    assert list(after.graph.output)[:1] == list(kept.graph.output)
    assert list(after.opset_import) == list(kept.opset_import)
    assert after.metadata_props[0] == kept.metadata_props[0]
    x = np.random.default_rng(4).normal(size=(50, 6)).astype(F32)
    for optimised in (False, True):
        plain = answers(kept.SerializeToString(), x, optimised)["y"]
        assert plain.tobytes() == answers(after.SerializeToString(), x, optimised)["y"].tobytes()


def test_the_file_says_what_it_is() -> None:
    found = alarmed(two_layers(), taboo({0: 0.5}), taboo({1: 0.5}))
    (entry,) = onnx.load_model_from_string(found.content).metadata_props
    said = json.loads(entry.value)
    assert (entry.key, said["schema"], said["rule"], said["traps"]) == (METADATA, "absint-alarm/1", "by hand", 2)
    assert said["outputs"] == {"alarm": "alarm", "alarms": "alarms"}
    assert said["input"] == "as the network takes it"
