"""Chains of generators: LeakyReLU, tanh and an output of any shape, written as ONNX; what a chain does not write."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from torch import nn

from absint.model.chains import chain_onnx
from absint.model.frontend import load_model


def shaped(*layers):
    return nn.Sequential(nn.Linear(3, 12), *layers)


@pytest.mark.parametrize(("module", "outputs", "shape"), [
    (shaped(nn.LeakyReLU(0.2)), 12, (12,)), (shaped(nn.LeakyReLU(), nn.Linear(12, 2), nn.Tanh()), (2,), (2,)),
    (shaped(nn.LeakyReLU(0.3), nn.Linear(12, 12), nn.Tanh(), nn.Unflatten(1, (1, 3, 4))), (1, 3, 4), (1, 3, 4)),
    (shaped(nn.Unflatten(1, (12,))), 12, (12,)),
])
def test_the_graph_is_torchs(module, outputs, shape):
    content = chain_onnx(module, (3,), outputs, "images")
    graph = load_model("chain.onnx", content=content)
    assert graph.output.shape == shape
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        x = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            assert module(x).shape == (count, *shape)
            assert torch.allclose(graph(x.double()).float(), module(x), atol=1e-5)
            assert torch.allclose(torch.from_numpy(session.run(["images"], {"input": x.numpy()})[0]), module(x), atol=1e-5)


@pytest.mark.parametrize("module", [
    shaped(nn.Unflatten(1, (3, 4)), nn.Linear(4, 3)), shaped(nn.Unflatten(1, (4, 3))), shaped(nn.Unflatten(0, (12, 1))),
    shaped(nn.Dropout()), shaped(nn.ELU()), nn.Sequential(), nn.Linear(3, 12),
])
def test_what_a_chain_does_not_write(module):
    """An Unflatten in the middle, or of another shape than the result, would divide an axis that nothing is known of."""
    assert chain_onnx(module, (3,), (3, 4)) is None
