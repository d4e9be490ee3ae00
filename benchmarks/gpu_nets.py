"""The networks and images of `gpu.py`: the bundled ones, two of the sizes that competitions use, with random weights, and a folder's."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

import absint
from absint import samples
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.numeric.backend import numeric_mode

_EPS = {"mnist_relu_3x50": "0.01", "mnist_conv_small": "0.02", "resnet_2b": "1/255", "resnet_4b": "1/255", "cifar_base_kw": "1/255",
        "cifar_deep_kw": "1/255"}


@dataclass(frozen=True)
class Net:
    """inputs: (count, *shape) float64, in [0, 1].  labels: what the network says of them."""

    name: str
    graph: Graph
    inputs: Tensor
    labels: Tensor
    eps: str

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """So many inputs, in turn, and their labels."""
        index = torch.arange(size) % len(self.inputs)
        return self.inputs[index], self.labels[index]


def nets(folder: Path | None, count: int = 32) -> Iterator[Net]:
    """Each network with `count` images at most. folder: ONNX files, .gz too, which take the place of made ones of the same name."""
    for name in ("mnist_relu_3x50", "mnist_conv_small"):
        graph = absint.load(samples.network_path(name))
        found = samples.for_shape(graph.input.shape)
        assert found is not None
        yield _net(name, graph, torch.from_numpy(found.inputs[:count]).double().reshape(-1, *graph.input.shape))
    given = {} if folder is None else {file.name.split(".")[0]: file for file in sorted(folder.glob("*.onnx*"))}
    for name, make in _MADE.items():
        if name not in given:
            yield _net(f"{name} (random weights)", make(), None, "1/5000")
    for name, file in given.items():
        yield _net(name, _read(file), None, _EPS.get(name, "1/1000"))


def _net(name: str, graph: Graph, inputs: Tensor | None, eps: str | None = None) -> Net:
    if inputs is None:
        inputs = torch.rand(16, *graph.input.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with numeric_mode(), torch.no_grad():
        labels = graph(inputs).flatten(1).argmax(1)
    return Net(name, graph, inputs, labels, eps or _EPS[name])


def _read(file: Path) -> Graph:
    if file.suffix != ".gz":
        return absint.load(file)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / file.stem
        plain.write_bytes(gzip.decompress(file.read_bytes()))
        return absint.load(plain)


class _Maker:
    """Layers on a graph, with weights of He's size from one seed."""

    def __init__(self, *shape: int) -> None:
        self.build = GraphBuilder("x", shape)
        self.random = torch.Generator().manual_seed(2)

    def normal(self, *shape: int, fan: int) -> Tensor:
        """float32 numbers in float64, as a file would hold."""
        return (torch.randn(*shape, generator=self.random) * (2 / fan) ** 0.5).double()

    def conv(self, source: str, channels: int, size: int, stride: int, pad: int) -> str:
        """A square convolution with a bias."""
        inside = self.build.shape(source)[0]
        fan = inside * size * size
        op = Conv(self.normal(channels, inside, size, size, fan=fan), self.normal(channels, fan=100 * fan), (stride, stride),
                  ((pad, pad), (pad, pad)), (1, 1))
        return self.build.add(op, (source,))

    def relu(self, source: str) -> str:
        return self.build.add(Relu(), (source,))

    def head(self, source: str, *widths: int) -> Graph:
        """Flattened, dense layers with ReLU between them."""
        last = self.build.add(Reshape((prod(self.build.shape(source)),)), (source,))
        for k, width in enumerate(widths):
            fan = self.build.shape(last)[0]
            dense = Gemm(self.normal(width, fan, fan=fan), self.normal(width, fan=100 * fan))
            last = self.build.add(dense, (self.relu(last) if k else last,))
        return self.build.graph(last)


def _resnet() -> Graph:
    """As resnet_2b of VNN-COMP 2022: two residual blocks, 8 and 16 channels, on 32 x 32 images."""
    make = _Maker(3, 32, 32)
    last = make.relu(make.conv("x", 8, 3, 2, 1))
    for stride, shortcut in ((2, True), (1, False)):
        inner = make.conv(make.relu(make.conv(last, 16, 3, stride, 1)), 16, 3, 1, 1)
        beside = make.conv(last, 16, 1, stride, 0) if shortcut else last
        last = make.relu(make.build.add(Sum(), (inner, beside)))
    return make.head(last, 100, 10)


def _convolutional() -> Graph:
    """As cifar_base_kw of VNN-COMP 2021 (oval21): two convolutions, 8 and 16 channels, on 32 x 32 images."""
    make = _Maker(3, 32, 32)
    last = make.relu(make.conv("x", 8, 4, 2, 1))
    last = make.relu(make.conv(last, 16, 4, 2, 1))
    return make.head(last, 100, 10)


_MADE = {"resnet_2b": _resnet, "cifar_base_kw": _convolutional}
