"""A one-hot part of an input, put in: the same outputs, from the rest alone, in the graph and in the reference runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_models import build, node, stored, weights

import absint
from absint.errors import InputError
from absint.model.conditioned import conditioned
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.reference import runtime

LATENT, CLASSES = 3, 4


def whole(folder: Path, shape: tuple[int, ...] = (LATENT + CLASSES,)) -> Graph:
    flat = [] if len(shape) == 1 else [node("Flatten", "x", "f", axis=1)]
    nodes = [*flat, node("Gemm", f"{'f' if flat else 'x'} w b", "h", transB=1), node("Tanh", "h", "y")]
    return absint.load(stored(folder, build(nodes, ["n", *shape], {"w": weights(5, LATENT + CLASSES), "b": weights(5)})))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(LATENT + CLASSES,), (LATENT + CLASSES, 1, 1)])
def test_the_class_is_put_in(tmp_path: Path, first: bool, shape: tuple[int, ...]) -> None:
    graph = whole(tmp_path, shape)
    latents = torch.from_numpy(np.random.default_rng(3).standard_normal((6, LATENT))).float().double()
    for label in range(CLASSES):
        made = conditioned(graph, label, CLASSES, first=first)
        assert made.input.shape == (LATENT,)
        one_hot = torch.zeros(6, CLASSES, dtype=torch.float64)
        one_hot[:, label] = 1
        joined = torch.cat([one_hot, latents] if first else [latents, one_hot], 1).reshape(6, *shape)
        assert torch.equal(made(latents), graph(joined))
        np.testing.assert_array_equal(runtime(made.source).run(latents.numpy()), runtime(graph.source).run(joined.numpy()))
        assert check_import(made, -3, 3, points=4) < 1e-5


def test_what_cannot_be(tmp_path: Path) -> None:
    graph = whole(tmp_path)
    for label, classes in ((4, 4), (-1, 4), (0, LATENT + CLASSES), (0, 12)):
        with pytest.raises(InputError) as caught:
            conditioned(graph, label, classes)
        assert caught.value.code == "E-GLOBAL-CLASS"
