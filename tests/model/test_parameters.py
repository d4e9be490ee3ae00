"""Views of a graph over other numbers: which constants have names, what a view computes, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from absint.errors import UnsupportedError, UsageError
from absint.model.frontend import load_model
from absint.model.graph import Graph

SIZES = {"scale": (3,), "shift": (3,), "mean": (3,), "variance": (3,), "kernel": (3, 2, 3, 3), "bias": (3,), "dense": (4, 12), "rows": (4,),
         "gain": (4,), "left": (5, 4), "slope": (3, 1, 1)}


def numbers(seed: int) -> dict[str, torch.Tensor]:
    draw = np.random.default_rng(seed)
    return {name: torch.from_numpy(draw.uniform(0.5, 1.5, size).astype(np.float32)) for name, size in SIZES.items()}


def model(values: dict[str, torch.Tensor]) -> bytes:
    """Convolution, batch normalisation, PRelu, pooling, Gemm, layer normalisation (a composite), a product from the left."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"]),
        helper.make_node("PRelu", ["b", "slope"], ["c"]),
        helper.make_node("AveragePool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["d"], ["e"], axis=1),
        helper.make_node("Gemm", ["e", "dense", "rows"], ["f"], transB=1),
        helper.make_node("LayerNormalization", ["f", "gain"], ["g"], axis=-1),
        helper.make_node("Transpose", ["left"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["g", "turned"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "all", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in values.items()])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def loaded(seed: int, *, fold: bool = False) -> Graph:
    return load_model("all.onnx", content=model(numbers(seed)), fold=fold)


TRAINED = ("kernel", "bias", "scale", "shift", "slope", "dense", "rows", "gain")


def test_parameters_go_by_the_names_of_the_file():
    held = loaded(0).parameters
    assert set(TRAINED) | {"mean", "variance"} == set(held)     # `left` is folded: no operator is made of it
    assert all(torch.equal(held[name], numbers(0)[name].double()) for name in held)


def test_a_view_is_the_network_of_those_numbers():
    view = loaded(0).with_parameters({name: value for name, value in numbers(1).items() if name != "left"})
    other = load_model("all.onnx", content=model({**numbers(1), "left": numbers(0)["left"]}), fold=False)
    x = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(view(x), other(x))
    assert torch.equal(loaded(0)(x), loaded(0)(x))
    assert not torch.equal(view(x), loaded(0)(x))


def test_gradients_reach_every_parameter_also_those_of_a_composite():
    parameters = {name: numbers(1)[name].requires_grad_() for name in TRAINED}
    x = 2 * torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(3)) - 1     # both sides of PRelu
    loaded(0).with_parameters(parameters)(x).square().sum().backward()
    assert all(value.grad is not None and bool((value.grad != 0).any()) for value in parameters.values())


def test_a_view_made_where_no_gradient_is_recorded_is_the_same_network():
    parameters = {name: numbers(1)[name].requires_grad_() for name in TRAINED}
    x = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        plain = {name: value.detach() for name, value in parameters.items()}
        assert torch.equal(loaded(0).with_parameters(parameters)(x), loaded(0).with_parameters(plain)(x))


def test_the_graph_itself_is_untouched_and_a_view_is_nobodys_file():
    graph = loaded(0)
    before = graph.nodes
    view = graph.with_parameters({"dense": numbers(1)["dense"]})
    assert graph.nodes is before
    assert not graph.live
    assert view.live
    assert (view.source.model, view.source.sha256) == (None, "")
    assert [node.op.live for node in view.nodes].count(True) == 1
    assert not any(node.op.live for node in graph.nodes)


@pytest.mark.parametrize("name", ["left", "turned", "nothing"])
def test_what_no_operator_is_made_of_is_refused_by_name(name):
    with pytest.raises(UsageError, match=name) as raised:
        loaded(0).with_parameters({name: numbers(0)["left"]})
    assert raised.value.code == "E-PARAMETER"
    assert "kernel" in raised.value.hint


def test_what_a_rewrite_folded_is_refused_with_the_way_out():
    graph = loaded(0, fold=True)
    assert "scale" not in graph.parameters
    with pytest.raises(UsageError) as raised:
        graph.with_parameters({"scale": numbers(1)["scale"]})
    assert "fold=False" in raised.value.hint


def test_other_shapes_are_refused_also_those_that_broadcast():
    with pytest.raises(UsageError, match="shapes") as raised:
        loaded(0).with_parameters({"dense": torch.ones(4, 11), "rows": torch.ones(1)})
    assert len(raised.value.details) == 2


def test_constants_that_are_no_floating_point_numbers_are_no_parameters():
    nodes = [helper.make_node("Reshape", ["x", "sizes"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([-1, 4]), "sizes"), numpy_helper.from_array(np.ones((3, 4), np.float32), "w")])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    assert set(load_model("g.onnx", content=content, fold=False).parameters) == {"w"}


def test_a_weight_that_two_nodes_share_changes_in_both():
    nodes = [helper.make_node("Gemm", ["x", "w"], ["f"], transB=1), helper.make_node("Relu", ["f"], ["r"]),
             helper.make_node("Gemm", ["r", "w"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    weight = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]], requires_grad=True)
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    found = load_model("g.onnx", content=content, fold=False).with_parameters({"w": weight})(x)
    assert torch.equal(found, torch.relu(x @ weight.T) @ weight)


def test_a_rule_that_looks_at_the_numbers_looks_at_those_of_the_view():
    nodes = [helper.make_node("Mul", ["x", "m"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(np.full(3, 2.0, np.float32), "m")])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    held = load_model("g.onnx", content=content, fold=False)
    x = torch.ones(1, 3)
    for factor in (torch.zeros(3), torch.ones(3), torch.tensor([1.5, -3.0, 0.1])):
        assert torch.equal(held.with_parameters({"m": factor})(x), x * factor)


def test_a_parameter_that_could_never_be_trained_is_refused():
    nodes = [helper.make_node("PRelu", ["x", "one"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(np.full(1, 0.25, np.float32), "one")])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    held = load_model("g.onnx", content=content, fold=False)
    with pytest.raises(UnsupportedError, match="no gradient") as raised:
        held.with_parameters({"one": torch.tensor([0.5], requires_grad=True)})
    assert raised.value.code == "E-PARAMETER"
    assert torch.equal(held.with_parameters({"one": torch.tensor([0.5])})(-torch.ones(1, 3)), torch.full((1, 3), -0.5))


def test_an_onnx_file_is_what_was_asked_for():
    assert onnx.load_model_from_string(model(numbers(0))).graph.node[0].op_type == "Conv"
