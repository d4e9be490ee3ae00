"""Taboo traps by hand: tiny networks whose watched values are known, and traps on them."""

from __future__ import annotations

import numpy as np
import torch

from absint.analyses.taboo.asked import FoundTraps
from absint.analyses.taboo.traps import Trap, Traps
from absint.model.content_digest import model_digest
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.watched import Layer, rectified
from absint.problem.dataset import Dataset


def hidden(weight: list[list[float]], bias: list[float], out: list[list[float]]) -> Graph:
    """y = out relu(weight x + bias), (d,) inputs; the post-ReLU tensor is 'h'."""
    made = GraphBuilder("x", (len(weight[0]),))
    first = made.add(Gemm(torch.tensor(weight, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64)), ("x",), "a")
    relu = made.add(Relu(), (first,), "h")
    return made.graph(made.add(Gemm(torch.tensor(out, dtype=torch.float64), torch.zeros(len(out), dtype=torch.float64)), (relu,), "y"))


def watching(graph: Graph, *thresholds: dict[int, float], layer: int = 0, **facts: object) -> FoundTraps:
    """A trap for each mapping of entries of one post-ReLU tensor to thresholds."""
    tensor = rectified(graph)[layer].tensor
    traps = tuple(Trap.of({(tensor, entry): float(np.float32(value)) for entry, value in one.items()}) for one in thresholds)
    return FoundTraps(Traps(traps, model_digest(graph), "lite", inputs=10, facts=facts), graph, "by hand")


def greatest(graph: Graph, inputs: torch.Tensor, layer: Layer) -> torch.Tensor:
    """(entries,) float32, each neuron's maximum over inputs in float32."""
    return graph.evaluate(inputs.float(), (layer.node,))[layer.node].flatten(1).amax(0)


def rows(values: list[list[float]], labels: list[int]) -> Dataset:
    """Inputs."""
    return Dataset(np.array(values, dtype=np.float64), np.array(labels), "by hand", "")
