"""Single neurons watched: the graph of their values is the user's network, entry by entry, whatever the file looks like."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import absint
from absint import samples
from absint.errors import UnsupportedError, UsageError
from absint.model.graph import Graph
from absint.model.watched import Watch, rectified, watched

SIZES = (6, 4)


def model_of(kinds: tuple[str, ...] = ("Relu", "Relu"), *, end: tuple[str, ...] = (), batch: int | str = "n", **attributes: float) -> bytes:
    """x (batch, 5) -> 6 -> 4 -> 3, an activation behind each hidden layer; `end`: operators behind the logits."""
    rng = np.random.default_rng(3)
    widths, nodes, constants, value = (5, *SIZES, 3), [], [], "x"
    for k, (read, made) in enumerate(pairwise(widths)):
        constants.append(numpy_helper.from_array(rng.normal(size=(made, read)).astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("Gemm", [value, f"w{k}"], [f"z{k}"], transB=1))
        value = f"z{k}"
        if k < len(kinds):
            nodes.append(helper.make_node(kinds[k], [value], [f"h{k}"], **(attributes if kinds[k] not in ("Relu", "Tanh") else {})))
            value = f"h{k}"
    for k, kind in enumerate(end):
        nodes.append(helper.make_node(kind, [value], [f"end{k}"]))
        value = f"end{k}"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 5])],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, [batch, 3])], constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def loaded(content: bytes, folder: Path) -> Graph:
    (folder / "net.onnx").write_bytes(content)
    return absint.load(folder / "net.onnx", fold=False)


def points(graph: Graph, count: int = 7) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(count, *graph.input.shape)))


@pytest.mark.parametrize("name", samples.names())
def test_the_values_are_those_of_the_network(name: str) -> None:
    graph = absint.load(samples.network_path(name), fold=False)
    layers = rectified(graph)
    watches = [Watch(layer.tensor, (0, layer.size // 2, layer.size - 1)) for layer in reversed(layers)]
    x = points(graph)
    inner = graph.evaluate(x, [layer.node for layer in layers])
    expected = torch.cat([inner[layer.node].flatten(1)[:, [0, layer.size // 2, layer.size - 1]] for layer in reversed(layers)], 1)
    assert torch.equal(watched(graph, watches)(x), expected)


@pytest.mark.parametrize("batch", ["n", 1])
def test_the_file_of_the_values_gives_them_in_onnxruntime(batch: int | str, tmp_path: Path) -> None:
    graph = loaded(model_of(batch=batch), tmp_path)
    found = watched(graph, [Watch("h1", (1, 3)), Watch("h0", (0, 2, 5))])
    assert found.source.model is not None
    session = onnxruntime.InferenceSession(found.source.model, providers=["CPUExecutionProvider"])
    for x in points(graph).float():
        inner = graph.evaluate(x[None], ["h0", "h1"])
        expected = torch.cat((inner["h1"][:, [1, 3]], inner["h0"][:, [0, 2, 5]]), 1)
        (value,) = session.run(None, {"x": x[None].numpy()})
        assert np.allclose(value, expected.numpy(), atol=1e-5)
        assert value.shape == (1, 5)


def test_one_watch_needs_no_joint(tmp_path: Path) -> None:
    graph = loaded(model_of(), tmp_path)
    found = watched(graph, [Watch("h0", (2,))])
    assert torch.equal(found(points(graph)), graph.evaluate(points(graph), ["h0"])["h0"][:, [2]])
    assert not {"z1", "h1", "z2"} & {name for node in found.nodes for name in (node.name, *node.tensors)}     # nothing of later layers


def test_bounds_of_the_values_hold_their_samples(tmp_path: Path) -> None:
    graph = loaded(model_of(), tmp_path)
    found = watched(graph, [Watch("h1", (0, 1, 2, 3)), Watch("h0", (4,))])
    center = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for domain in ("box", "zonotope", "deeppoly"):
        bounds = absint.bounds(found, center.numpy(), eps="0.05", domain=domain, clip=None)[found.output.name]
        moved = center + (torch.rand(500, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 2 - 1) * 0.05
        values = found(moved.reshape(-1, 5)).reshape(500, 3, -1).numpy()
        assert (values >= bounds.lower).all()
        assert (values <= bounds.upper).all()


# ---- which neurons are rectified --------------------------------------------------------------------------------------


def test_only_rectified_tensors_are_layers(tmp_path: Path) -> None:
    assert [layer.tensor for layer in rectified(loaded(model_of(("Tanh", "Relu")), tmp_path))] == ["h1"]
    assert [layer.tensor for layer in rectified(loaded(model_of(("Relu", "LeakyRelu")), tmp_path))] == ["h0"]


def test_a_cut_relu_is_one(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(model_of())
    proto.graph.node[1].op_type = "Clip"
    proto.graph.node[1].input.extend(["low", "high"])
    proto.graph.initializer.extend([numpy_helper.from_array(np.float32(0), "low"), numpy_helper.from_array(np.float32(6), "high")])
    assert [layer.tensor for layer in rectified(loaded(proto.SerializeToString(), tmp_path))] == ["h0", "h1"]


def test_a_clip_that_does_not_start_at_zero_is_none(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(model_of())
    proto.graph.node[1].op_type = "Clip"
    proto.graph.node[1].input.extend(["low", "high"])
    proto.graph.initializer.extend([numpy_helper.from_array(np.float32(-1), "low"), numpy_helper.from_array(np.float32(6), "high")])
    assert [layer.tensor for layer in rectified(loaded(proto.SerializeToString(), tmp_path))] == ["h1"]


def test_a_network_without_relu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        rectified(loaded(model_of(("Tanh", "Tanh")), tmp_path))
    assert caught.value.code == "E-TABOO-NO-RELU"


# ---- what else the file holds -----------------------------------------------------------------------------------------


def test_a_softmax_behind_the_neurons_takes_no_float32_semantics_away(tmp_path: Path) -> None:
    graph = loaded(model_of(end=("Softmax",)), tmp_path)
    assert not graph.source.float32_executions
    assert watched(graph, [Watch("h1", (0,))]).source.float32_executions


def test_a_softmax_before_the_neurons_does(tmp_path: Path) -> None:
    proto = onnx.load_model_from_string(model_of())
    proto.graph.node.insert(0, helper.make_node("Softmax", ["x"], ["sx"]))
    proto.graph.node[1].input[0] = "sx"
    assert not watched(loaded(proto.SerializeToString(), tmp_path), [Watch("h1", (0,))]).source.float32_executions


def test_it_is_not_taken_for_the_file(tmp_path: Path) -> None:
    graph = loaded(model_of(), tmp_path)
    one, two = watched(graph, [Watch("h1", (0,))]), watched(graph, [Watch("h1", (1,))])
    assert len({graph.source.sha256, one.source.sha256, two.source.sha256}) == 3


def test_names_that_the_file_uses_are_not_used_again(tmp_path: Path) -> None:
    content = model_of()
    proto = onnx.load_model_from_string(content)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                names[k] = {"z0": "watched_0", "h0": "watched_1"}.get(name, name)
    graph = loaded(proto.SerializeToString(), tmp_path)
    x = points(graph)
    values = watched(graph, [Watch("watched_1", (1,)), Watch("h1", (2,))])(x)
    inner = graph.evaluate(x, ["watched_1", "h1"])
    assert torch.equal(values, torch.cat((inner["watched_1"][:, [1]], inner["h1"][:, [2]]), 1))


@pytest.mark.parametrize(("watches", "code"), [
    ([Watch("nowhere", (0,))], "E-TENSOR"), ([Watch("h0", (6,))], "E-TABOO-EMPTY"), ([Watch("h0", ())], "E-TABOO-EMPTY"),
    ([], "E-TABOO-EMPTY"), ([Watch("h0", (-1,))], "E-TABOO-EMPTY"),
])
def test_what_cannot_be_watched(watches: list[Watch], code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        watched(loaded(model_of(), tmp_path), watches)
    assert caught.value.code == code


def test_a_file_that_is_cut_elsewhere_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the runtime notices other entries than those that the graph picks."""
    import absint.model.watched as module

    right = module.selection
    monkeypatch.setattr(module, "selection", lambda proto, watch, output, *, batched: right(
        proto, Watch(watch.tensor, tuple(entry - 1 for entry in watch.entries)), output, batched=batched))
    graph = loaded(model_of(), tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        watched(graph, [Watch("h0", (1, 2, 3, 4, 5))])
    assert caught.value.code == "E-IMPORT-MISMATCH"
