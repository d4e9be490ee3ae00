"""Watched entries are picked before their activation, so that bounding its operands is bounding the watched ones alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from onnx_models import build, node
from taboo_nets import convolutional, read, rectifier, training_digits

from absint.model.watched import Watch, rectified, watched


def test_no_operand_of_an_activation_is_wider_than_its_watch(tmp_path: Path) -> None:
    graph = read(tmp_path, rectifier(np.random.default_rng(0).standard_normal((40, 3))))
    found = watched(graph, [Watch("h", (1, 7, 39))])
    (activation,) = (one for one in found.nodes if len(one.inputs) == 1 and type(one.op) is type(graph[rectified(graph)[0].node].op))
    assert activation.shape == (3,)
    assert found[activation.inputs[0]].shape == (3,)
    assert "h" not in {one.name for one in found.nodes}


def test_what_a_later_layer_needs_stays_whole() -> None:
    graph, images = convolutional(), training_digits(5)
    layers = rectified(graph)
    watches = [Watch(layer.tensor, (0, 5, layer.size - 1)) for layer in layers]
    found = watched(graph, watches)
    whole = graph.evaluate(images, [layer.node for layer in layers])
    wanted = torch.cat([whole[layer.node].flatten(1)[:, list(watch.entries)] for layer, watch in zip(layers, watches, strict=True)], 1)
    assert torch.equal(found(images), wanted)
    kept = {one.name for one in found.nodes}
    assert {layer.node for layer in layers[:-1]} <= kept
    assert layers[-1].node not in kept


def test_an_activation_with_a_constant_of_each_entry_keeps_them_all(tmp_path: Path) -> None:
    """What was picked first would meet another entry's."""
    slope = np.array([0.5, 0.25, 0.0, 0.125], dtype=np.float32)
    nodes = [node("Gemm", "x w", "z"), node("PRelu", "z s", "p"), node("Relu", "p", "h"), node("Gemm", "h v", "y")]
    constants = {"w": np.eye(4, dtype=np.float32), "s": slope, "v": np.ones((4, 1), dtype=np.float32)}
    graph = read(tmp_path, build(nodes, ["n", 4], constants).SerializeToString())
    found = watched(graph, [Watch("p", (1, 3))])
    x = torch.tensor([[-1.0, 2.0, 3.0, -4.0]], dtype=torch.float64)
    assert found(x).tolist() == [[2.0, -0.5]]
