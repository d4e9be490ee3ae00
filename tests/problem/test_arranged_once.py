"""Images are arranged for the network once, however the radius is stated: twice would be other images, and verdicts about these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modules import seeded

import absint
from absint.model.graph import Graph
from absint.problem.dataset import Dataset

LAST = np.random.default_rng(0).random((6, 3, 3, 3))     # every order of the axes has the same shape
FIRST = np.ascontiguousarray(LAST.transpose(0, 3, 1, 2))


@pytest.fixture(scope="module")
def graph() -> Graph:
    layers = torch.nn.Conv2d(3, 4, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    return absint.load(seeded(torch.nn.Sequential(*layers), 0), example_input=torch.zeros(1, 3, 3, 3))


@pytest.fixture(scope="module")
def wanted(graph: Graph) -> list[Any]:
    return [(record.verdict, record.predicted, record.margin) for record in absint.verify(graph, FIRST, None, "0.01", attack=None)]


@pytest.mark.parametrize("layout", ["hwc", "hwc:chw"])
@pytest.mark.parametrize("eps", ["0.01", 0.01, [0.01], np.full((6, 1, 1, 1), 0.01)], ids=["text", "number", "list", "array"])
@pytest.mark.parametrize("kind", ["file", "Dataset"])
def test_verify(graph: Graph, wanted: list[Any], layout: str, eps: object, kind: str, tmp_path: Path) -> None:
    data: Any = Dataset(LAST, None, "made", "")
    if kind == "file":
        data = tmp_path / "images.npy"
        np.save(data, LAST)
    found = absint.verify(graph, data, None, eps, layout=layout, attack=None)
    assert [(record.verdict, record.predicted) for record in found] == [one[:2] for one in wanted]
    assert [record.margin for record in found] == pytest.approx([one[2] for one in wanted], rel=1e-4)


@pytest.mark.parametrize("layout", ["hwc", "hwc:chw"])
@pytest.mark.parametrize("eps", ["0.01", 0.01, torch.full((6, 1, 1, 1), 0.01, dtype=torch.float64)], ids=["text", "number", "tensor"])
def test_bounds(graph: Graph, layout: str, eps: object) -> None:
    (wanted,) = absint.bounds(graph, FIRST, "0.01").values()
    (found,) = absint.bounds(graph, Dataset(LAST, None, "made", ""), eps, layout=layout, index="0:6").values()
    np.testing.assert_allclose(found.lower, wanted.lower, rtol=0, atol=1e-6)


def test_arrays_are_in_the_networks_order(graph: Graph, wanted: list[Any]) -> None:
    found = absint.verify(graph, FIRST, None, 0.01, layout="chw", attack=None)
    assert [record.verdict for record in found] == [one[0] for one in wanted]


@pytest.mark.parametrize("index", ["1,0,2,3,4,5", "3,1"])
def test_differentiable_bounds_are_those_of_the_chosen_inputs_in_their_order(graph: Graph, index: str) -> None:
    radii = np.linspace(0.001, 0.05, len(index.split(","))).reshape(-1, 1, 1, 1)
    (wanted,) = absint.bounds(graph, FIRST, radii, index=index).values()
    inputs = torch.from_numpy(FIRST).requires_grad_()
    (found,) = absint.bounds(graph, inputs, torch.from_numpy(radii), index=index, differentiable=True).values()
    np.testing.assert_allclose(found.lower.detach(), wanted.lower, rtol=0, atol=1e-6)
    found.lower.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.flatten(1).any(1).tolist() == [str(k) in index for k in range(6)]
