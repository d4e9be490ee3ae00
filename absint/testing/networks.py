"""The conformance kit's small networks, one of every operator family, and boxes with their exact images. Private to `absint.testing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.model.families.maximum import Maximum
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op, Shape
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.pool import AveragePool, MaxPool, PoolingWindow
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Concat, Gather, Pad, Reshape, Transpose
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.sum import Sum
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.testing.truth import ExactTensor, concatenate, evaluate

# ---- networks ---------------------------------------------------------------------------------------------------------


class Maker:
    """Builds one small network with seeded constants; biases are of the size of the input."""

    def __init__(self, shape: Shape, scale: float, seed: int) -> None:
        self.build = GraphBuilder("x", shape)
        self.random = np.random.default_rng(seed)
        self.scale = scale
        self.last = "x"

    def tensor(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal numbers that float32 does not represent."""
        return torch.from_numpy(np.asarray(self.random.normal(size=shape) * scale, dtype=np.float64))

    def then(self, op: Op, *inputs: str) -> str:
        """Add an operator on the given nodes, or on the last one."""
        self.last = self.build.add(op, inputs or (self.last,))
        return self.last

    def gemm(self, outputs: int, source: str | None = None) -> str:
        """A dense layer."""
        name = source or self.last
        n = self.build.shape(name)[-1]
        return self.then(Gemm(self.tensor(outputs, n), self.tensor(outputs, scale=self.scale)), name)

    def graph(self) -> Graph:
        """Freeze."""
        return self.build.graph(self.last)


def _dense_net(make: Maker, activation: Op) -> None:
    for width in (5, 4):
        make.gemm(width)
        make.then(activation)
    make.gemm(3)


def _activation(activation: Op) -> Callable[[Maker], None]:
    return lambda make: _dense_net(make, activation)


def _affine_chain(make: Maker) -> None:
    make.gemm(5)
    make.gemm(3)


def _conv(make: Maker) -> None:
    make.then(Conv(make.tensor(4, 1, 3, 3), make.tensor(4, scale=make.scale), (2, 1), ((1, 1), (1, 0)), (1, 1), 2))
    make.then(Relu())
    make.then(Conv(make.tensor(2, 4, 2, 2), make.tensor(2, scale=make.scale), (1, 1), ((0, 0), (0, 0)), (1, 2)))
    make.then(Reshape((prod(make.build.shape(make.last)),)))
    make.gemm(3)


def _residual(make: Maker) -> None:
    left = make.then(Relu(), make.gemm(4))
    right = make.gemm(4)
    both = make.then(Relu(), make.then(Sum(), left, right))
    make.then(Sum(-1.0), both, make.gemm(4, "x"))
    make.then(Sum(), make.last, make.last)
    make.gemm(3)


def _joined(make: Maker) -> None:
    left = make.then(Relu(), make.gemm(3))
    make.then(Concat(0), left, "x", left)
    make.then(Gather.of(torch.tensor([0, 2, 2, 8, 5, 0, 7])))
    make.then(Relu())
    make.gemm(3)


def _maximum(make: Maker) -> None:
    make.then(Reshape((1, 4, 4)), make.gemm(16))
    make.then(MaxPool(PoolingWindow((2, 2), (2, 2), ((0, 1), (1, 0)), (1, 1), False)))
    make.then(Reshape((prod(make.build.shape(make.last)),)))
    make.gemm(3)
    make.then(Reshape((3, 1)))
    make.then(Concat(1), make.last, make.last)
    make.then(Maximum())


def _affine(make: Maker) -> None:
    make.then(Affine(make.tensor(3), make.tensor(3, scale=make.scale)))
    make.then(Relu())
    make.then(Affine(-torch.ones((), dtype=torch.float64), make.tensor(2, 3, scale=make.scale), fan_out=2))
    make.then(Reshape((6,)))
    make.then(Relu())
    make.then(Affine(shift=make.tensor(6, scale=make.scale)))
    make.gemm(3)


def _shapes(make: Maker) -> None:
    make.then(Reshape((2, 3)), make.gemm(6))
    make.then(Transpose((1, 0)))
    border = torch.zeros(4, 3, dtype=torch.float64)
    border[3], border[:, 0] = make.scale, -make.scale / 3
    make.then(Pad(((0, 1), (1, 0)), border))
    make.then(Relu())
    make.then(Pad(((-1, 0), (0, 0))))
    make.then(Reshape((9,)))
    make.gemm(3)


def _average(make: Maker) -> None:
    window = PoolingWindow((2, 2), (1, 1), ((1, 0), (0, 0)), (1, 1), False)
    weight = torch.full((4, 3), 0.25, dtype=torch.float64)
    weight[0] = 1 / 3
    make.then(AveragePool(window, weight))
    make.then(Relu())
    make.then(Reshape((12,)))
    make.gemm(3)


def _fan_out(make: Maker) -> None:
    make.then(Concat(0), *(["x"] * 8))
    make.gemm(4)
    make.then(Relu())
    make.gemm(3)


def _cancelling(make: Maker) -> None:
    """Large weights whose products cancel: an omitted rounding term is wrong by more than the result."""
    weight = make.tensor(4, 48, scale=1e4)
    make.then(Gemm(torch.cat([make.tensor(24, 3, scale=1e3)] * 2)))
    make.then(Gemm(torch.cat([weight[:, :24], -weight[:, :24] + make.tensor(4, 24, scale=1e-4)], 1), make.tensor(4, scale=make.scale)))
    make.then(Relu())
    make.gemm(3)


def _tiny(make: Maker) -> None:
    """Products that underflow (in float32 at scale 1e-30), magnified afterwards."""
    make.then(Gemm(make.tensor(4, 3, scale=1e-12)))
    make.then(Relu())
    make.then(Gemm(make.tensor(4, 4, scale=1e30)))
    make.then(Relu())
    make.gemm(3)


def _huge(make: Maker) -> None:
    make.then(Gemm(make.tensor(6, 3, scale=1e300)))
    make.gemm(3)


def _wide(make: Maker) -> None:
    """Long sums of constants that float32 represents."""
    make.then(Gemm(make.tensor(4, 96).float().double(), make.tensor(4).float().double()))
    make.then(Relu())
    make.then(Gemm(make.tensor(2, 4).float().double(), make.tensor(2).float().double()))


NETS: dict[str, tuple[Shape, Callable[[Maker], None]]] = {
    "gemm": ((3,), _affine_chain),
    "relu": ((3,), _activation(Relu())),
    "conv": ((2, 4, 4), _conv),
    "residual": ((3,), _residual),
    "concat-gather": ((3,), _joined),
    "maximum": ((3,), _maximum),
    "affine": ((3,), _affine),
    "shapes": ((3,), _shapes),
    "average-pool": ((1, 4, 4), _average),
    "leaky-0.01": ((3,), _activation(LeakyRelu(0.01))),
    "leaky-0": ((3,), _activation(LeakyRelu(0.0))),
    "leaky-2.5": ((3,), _activation(LeakyRelu(2.5))),
    "leaky-negative": ((3,), _activation(LeakyRelu(-0.7))),
    "sigmoid": ((3,), _activation(Sigmoid())),
    "tanh": ((3,), _activation(Tanh())),
    "fan-out": ((3,), _fan_out),
    "cancelling": ((3,), _cancelling),
    "tiny": ((3,), _tiny),
}
EXTRA: dict[str, tuple[Shape, Callable[[Maker], None]]] = {"huge": ((3,), _huge), "wide": ((96,), _wide)}  # for single checks
SCALES = (1e-30, 1e-6, 1.0, 1e6, 1e30)
WIDTHS = (0.0, 1e-12, 1e-2, 1.0)  # relative to the scale: one instance each


def network(name: str, scale: float) -> Graph:
    """A fresh graph (its caches empty); the same name and scale give the same constants."""
    shape, fill = (NETS | EXTRA)[name]
    make = Maker(shape, scale, 1000 + [*NETS, *EXTRA].index(name))
    fill(make)
    return make.graph()


# ---- boxes with their exact images ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BoxCase:
    """Boxes (one instance per width), a property, and the exact range over vertices and samples of every node.

    low, high: node -> (batch, n).  rows: (batch, rows) exact minimum of each row of the property.
    points: (batch, points, inputs).
    """

    name: str
    scale: float
    region: BoxRegion
    spec: Spec
    points: Any
    low: dict[str, ExactTensor]
    high: dict[str, ExactTensor]
    rows: ExactTensor


def corners(graph: Graph, lower: Any, upper: Any, random: np.random.Generator) -> Any:
    """(points, inputs): random vertices, samples, and the vertices that linearised outputs point at."""
    n = len(lower)
    signs = [random.integers(0, 2, size=(6, n)).astype(bool), np.zeros((1, n), dtype=bool), np.ones((1, n), dtype=bool)]
    middle = torch.from_numpy(lower / 2 + upper / 2).reshape(1, *graph.input.shape)
    wanted = [node.name for node in graph.nodes[1:3]] + [graph.output.name]

    def outputs(x: Tensor) -> Tensor:
        found = graph.evaluate(x, wanted)
        return torch.cat([found[name].reshape(-1)[:6] for name in wanted])

    slope = torch.autograd.functional.jacobian(outputs, middle).reshape(-1, n).numpy()
    signs += [slope > 0, slope < 0]
    mask = np.unique(np.concatenate(signs), axis=0)
    inside = lower + (upper - lower) * random.random(size=(3, n))
    return np.concatenate([np.where(mask, upper, lower), np.clip(inside, lower, upper)])


@cache
def case(name: str, scale: float) -> BoxCase:
    """The boxes of one network, computed once."""
    graph = network(name, scale)
    random = np.random.default_rng(7)
    n = graph.input.size
    center = random.normal(size=(len(WIDTHS), n)) * scale
    radius = np.array(WIDTHS)[:, None] * scale * (0.5 + random.random(size=(len(WIDTHS), n)))
    lower, upper = center - radius, center + radius
    many = [corners(graph, low, high, random) for low, high in zip(lower, upper, strict=True)]
    weight = torch.from_numpy(random.normal(size=(len(WIDTHS), 3, graph.output.size)))
    spec = Spec.rows(weight, torch.from_numpy(random.normal(size=(len(WIDTHS), 3)) * scale))
    lows: dict[str, list[ExactTensor]] = {node.name: [] for node in graph.nodes}
    highs: dict[str, list[ExactTensor]] = {node.name: [] for node in graph.nodes}
    rows = []
    for instance, points in enumerate(many):
        values = evaluate(graph, points)
        for node, value in values.items():
            lows[node].append(value.reduce("min", 0).reshape(1, -1))
            highs[node].append(value.reduce("max", 0).reshape(1, -1))
        row = values[graph.output.name] @ ExactTensor.of(weight[instance].T) + ExactTensor.of(spec.bias[instance].reshape(1, -1))
        rows.append(row.reduce("min", 0).reshape(1, -1))
    shape = (len(WIDTHS), *graph.input.shape)
    region = BoxRegion(torch.from_numpy(lower).reshape(shape), torch.from_numpy(upper).reshape(shape))
    low, high = ({k: concatenate(v) for k, v in many_.items()} for many_ in (lows, highs))
    return BoxCase(name, scale, region, spec, many, low, high, concatenate(rows))
