"""Networks and runtimes that tests of taboo traps share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnxruntime
import torch
from onnx_models import build, node
from torch import Tensor

from absint import samples
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.graph import Graph
from absint.problem.live import graph_of
from absint.problem.training_data import training_data

LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)


@lru_cache
def convolutional() -> Graph:
    """The bundled network with 1,802 rectified neurons, without rewrites."""
    return graph_of(samples.network_path("mnist_conv_small"), fold=False)


def training_digits(count: int, start: int = 0) -> Tensor:
    """(count, 1, 28, 28) float64 training images."""
    return training_data().train.inputs(slice(start, start + count)).double()


def rectifier(weight: np.ndarray, bias: np.ndarray | None = None, classes: int = 2) -> bytes:
    """The file of x (n, d) -> h = relu(W x + b) -> y, scores that are sums of h."""
    hidden, size = weight.shape
    last = np.zeros((classes, hidden), dtype=np.float32)
    last[0, 0] = last[1, -1] = 1
    constants = {"w": weight.astype(np.float32), "b": np.zeros(hidden, np.float32) if bias is None else bias.astype(np.float32), "v": last}
    nodes = [node("Gemm", "x w b", "z", transB=1), node("Relu", "z", "h"), node("Gemm", "h v", "y", transB=1)]
    found: bytes = build(nodes, ["n", size], constants).SerializeToString()
    return found


def read(folder, content: bytes, name: str = "net.onnx") -> Graph:
    """A file of these bytes, imported without rewrites."""
    path = folder / name
    path.write_bytes(content)
    return OnnxFrontEnd().read(path, fold=False)


def cancelling(terms: int = 40, neurons: int = 3) -> np.ndarray:
    """(neurons, terms) weights whose large summands cancel on `paired` inputs: executions err by about 1 where exact values are below 1."""
    signs = np.where(np.arange(terms) % 2 == 0, 1.0, -1.0)
    rows = np.stack([signs * 2.0 ** (23 + k) * (1 + np.arange(terms) // 2 % 5) for k in range(neurons)])
    rows[:, -1] = 0.5
    rows[:, -2] = 0.0
    return rows


def paired(count: int, terms: int = 40, seed: int = 3) -> Tensor:
    """(count, terms) float64 in [0, 1]: float32 numbers, each twice in a row."""
    drawn = torch.rand(count, terms // 2, generator=torch.Generator().manual_seed(seed))
    return drawn.repeat_interleave(2, 1).double()


def executed_at(graph: Graph, inputs: Tensor) -> list[Tensor]:
    """(n, k) float64 each: outputs of the graph's file in onnxruntime, optimisations off and on; together, and the first ones alone."""
    assert graph.source.model is not None
    feeds = np.asarray(inputs.float())
    found = []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph.source.model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        found.append(torch.from_numpy(session.run(None, {name: feeds})[0]).double())
        alone = torch.cat([torch.from_numpy(session.run(None, {name: row[None]})[0]) for row in feeds[:20]]).double()
        found.append(torch.cat((alone, found[-1][20:])))
    return found
