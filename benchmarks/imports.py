"""What an import costs: onnx's own load beside absint's, the import check included, on networks with random weights.

    python benchmarks/imports.py [--repeats 3]
    python benchmarks/imports.py --beside OTHER/.venv/bin/python --nets FOLDER [--repeats 5]    another installation on the same files

A residual convolutional network of 11 million parameters for 3 x 32 x 32 inputs (the shape of ResNet-18), and a small dense one.
One process, one thread; the least CPU seconds of the repetitions. Beside another installation each file is loaded by both, one after the
other and in turn, in processes that have loaded something else before; a file that the other one refuses is left out and counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
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


LOADER = """
import json, sys, time
import torch
import absint
torch.set_num_threads(1)
absint.load(sys.argv[1])
for line in sys.stdin:
    begin = time.process_time()
    try:
        absint.load(line.strip())
        print(json.dumps(time.process_time() - begin), flush=True)
    except Exception as error:
        print(json.dumps(str(error).splitlines()[0]), flush=True)
"""


class Installation:
    """A process that loads the files it is told."""

    def __init__(self, python: str, first: Path) -> None:
        folder = Path(python).parents[2]        # a checkout's own .venv/bin/python
        self.process = subprocess.Popen([python, "-c", LOADER, str(first)], cwd=folder, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def load(self, path: Path) -> float | str:
        """CPU seconds, or why not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer: float | str = json.loads(self.process.stdout.readline())
        return answer


def beside(other: str, files: list[Path], repeats: int) -> None:
    """Least CPU seconds of both installations for each file."""
    with tempfile.TemporaryDirectory() as folder:
        first = dense(Path(folder) / "first.onnx")
        pair = Installation(other, first), Installation(sys.executable, first)
        rows, refused = [], 0
        for path in files:
            found = [[one.load(path) for one in pair] for _ in range(repeats)]
            if isinstance(found[0][0], str):
                refused += 1
                continue
            if isinstance(found[0][1], str):
                rows.append([path.name, "", found[0][1], ""])
                continue
            old, new = (min(float(row[side]) for row in found) for side in (0, 1))
            rows.append([path.name, f"{old:.3f}", f"{new:.3f}", f"{new / old:.2f}"])
            print(*rows[-1], file=sys.stderr, flush=True)
    print(table(f"{len(rows)} files beside {other}; {refused} refused by it", ["network", "other, CPU s", "this, CPU s", "ratio"], rows))


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
    parser.add_argument("--beside", help="Python of another installation")
    parser.add_argument("--nets", type=Path, action="append", default=[], help="folder of ONNX files, searched whole")
    options = parser.parse_args()
    repeats = options.repeats
    if options.beside:
        beside(options.beside, sorted(path for folder in options.nets for path in folder.rglob("*.onnx*")), repeats)
        return
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
