"""What an import costs: onnx's own load beside absint's, the import check included, on networks with random weights.

    python benchmarks/imports.py [--repeats 3]

A residual convolutional network of 11 million parameters for 3 x 32 x 32 inputs (the shape of ResNet-18), and a small dense one.
One process, one thread; the least CPU seconds of the repetitions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from tables import table

import absint


class Writer:
    """Nodes and weights of a model under construction."""

    def __init__(self, seed: int) -> None:
        self.random, self.nodes, self.weights = np.random.default_rng(seed), [], {}

    def weight(self, *shape: int) -> str:
        """A random weight, scaled so that values neither grow nor vanish."""
        name = f"w{len(self.weights)}"
        fan = int(np.prod(shape[1:])) or 1
        self.weights[name] = (self.random.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)
        return name

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """A node; returns its result."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, into: int, out: int, stride: int, size: int = 3) -> str:
        """A convolution with a bias, padded to keep the size."""
        pad = size // 2
        return self.add("Conv", x, self.weight(out, into, size, size), self.weight(out), strides=[stride] * 2, pads=[pad] * 4)

    def save(self, path: Path, shape: list[int], output: str, classes: int) -> Path:
        """The model as a file."""
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, classes])],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        return path


def residual(path: Path) -> Path:
    """Four stages of two blocks, 64 to 512 channels."""
    w = Writer(0)
    x, into = w.add("Relu", w.conv("x", 3, 64, 1)), 64
    for stage, out in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = w.conv(w.add("Relu", w.conv(x, into, out, stride)), out, out, 1)
            side = x if into == out else w.conv(x, into, out, stride, 1)
            x, into = w.add("Relu", w.add("Add", y, side)), out
    flat = w.add("Flatten", w.add("GlobalAveragePool", x))
    return w.save(path, [1, 3, 32, 32], w.add("Gemm", flat, w.weight(10, 512), w.weight(10), transB=1), 10)


def dense(path: Path) -> Path:
    """Three layers of 50."""
    w = Writer(1)
    x = "x"
    for into, out in ((784, 50), (50, 50), (50, 10)):
        x = w.add("Gemm", x, w.weight(out, into), w.weight(out), transB=1)
        x = w.add("Relu", x) if out > 10 else x
    return w.save(path, [1, 784], x, 10)


def least(work: Callable[[], object], repeats: int) -> float:
    """Least CPU seconds."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Build, load, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("dense", dense), ("residual", residual)):
            path = make(Path(folder) / f"{name}.onnx")
            size = sum(int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer)
            plain, ours = least(lambda p=path: onnx.load(p), repeats), least(lambda p=path: absint.load(p), repeats)
            rows.append([name, f"{size:,}", f"{plain:.3f}", f"{ours:.3f}", f"{ours - plain:.3f}"])
    print(table("Imports with random weights", ["network", "parameters", "onnx.load, CPU s", "absint.load, CPU s", "difference"], rows))


if __name__ == "__main__":
    main()
