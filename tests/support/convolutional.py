"""Small convolutional networks with images large enough for windows (tests only)."""

from __future__ import annotations

from functools import cache
from math import prod

import torch

from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.pool import AveragePool, MaxPool, PoolingWindow
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum

# name -> the input's shape, and its layers: (channels, kernel, stride, pads, dilation, groups), "relu" and others by name, or "save" and
# "add" a branch.
KINDS = {
    "plain": ((2, 12, 12), [(4, 3, 1, (1, 1), 1, 1), "relu", (4, 3, 1, (1, 1), 1, 1), "relu", (3, 3, 1, (1, 1), 1, 1), "relu"]),
    "strided": ((2, 24, 24), [(4, 3, 2, (1, 1), 1, 1), "relu", (4, 3, 1, (1, 1), 1, 1), "relu"]),
    "residual": ((2, 14, 14), [(4, 3, 1, (1, 1), 1, 1), "relu", "save", (4, 3, 1, (1, 1), 1, 1), "relu", (4, 3, 1, (1, 1), 1, 1),
                              "add", "relu", (2, 3, 2, (1, 1), 1, 1), "relu"]),
    "linear": ((2, 12, 12), [(4, 3, 1, (1, 1), 1, 1), (4, 3, 1, (1, 1), 1, 1), "relu", (3, 3, 1, (2, 2), 1, 1), "relu"]),
    "grouped": ((2, 16, 16), [(4, 2, 1, (1, 1), 2, 2), "relu", (4, 3, 1, (1, 1), 1, 4), "relu", (2, 2, 2, (1, 1), 1, 2), "relu"]),
    "uneven": ((2, 13, 11), [(4, 3, 1, (1, 0), 1, 1), "relu", (4, 2, 1, (0, 2), 1, 1), "relu", (2, 3, 2, (2, 1), 1, 1), "relu"]),
    "line": ((2, 40), [(4, 3, 1, (1, 1), 1, 1), "relu", (4, 3, 2, (1, 1), 1, 1), "relu", (2, 3, 1, (0, 0), 1, 1), "relu"]),
    "solid": ((1, 6, 6, 6), [(3, 2, 1, (0, 0), 1, 1), "relu", (2, 2, 1, (1, 1), 1, 1), "relu"]),
    # Operators between convolutions that say nothing of windows: a maximum, whose slopes have an axis more, an average, scales and shifts.
    "pool": ((1, 16, 16), ["maximum", (16, 3, 1, (1, 1), 1, 1), "relu", (16, 3, 1, (1, 1), 1, 1), "relu"]),
    "average": ((1, 16, 16), ["average", (16, 3, 1, (1, 1), 1, 1), "relu", (16, 3, 1, (1, 1), 1, 1), "relu"]),
    "scaled": ((1, 10, 10), [(8, 3, 1, (1, 1), 1, 1), "relu", "scale", (48, 3, 1, (1, 1), 1, 1), "relu"]),
    "wide": ((3, 32, 32), [(16, 3, 1, (1, 1), 1, 1), "relu", (16, 3, 1, (1, 1), 1, 1), "relu", (16, 3, 2, (1, 1), 1, 1), "relu"]),
    "small": ((1, 4, 4), [(2, 3, 1, (1, 1), 1, 1), "relu", (2, 3, 1, (1, 1), 1, 1), "relu"]),
}


POOLS = {
    "maximum": lambda window, shape: MaxPool(window),
    "average": lambda window, shape: AveragePool(window, torch.full((shape[1] // 2, shape[2] // 2), 0.25, dtype=torch.float64)),
}


@cache
def convolutions(name: str) -> Graph:
    """One of the kinds; the same constants at every call. Its input is x."""
    shape, layers = KINDS[name]
    build, generator = GraphBuilder("x", shape), torch.Generator().manual_seed(len(name))
    last = saved = "x"
    for layer in layers:
        if layer == "relu":
            last = build.add(Relu(), (last,))
        elif layer == "save":
            saved = last
        elif layer == "add":
            last = build.add(Sum(), (last, saved))
        elif layer == "scale":
            scale, shift = torch.randn(2, build.shape(last)[0], *(1,) * (len(shape) - 1), dtype=torch.float64, generator=generator)
            last = build.add(Affine(scale, shift), (last,))
        elif layer in POOLS:
            last = build.add(POOLS[layer](PoolingWindow((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False), build.shape(last)), (last,))
        else:
            out, size, stride, pads, gap, groups = layer
            rank, channels = len(shape) - 1, build.shape(last)[0]
            weight = torch.randn(out, channels // groups, *(size,) * rank, dtype=torch.float64, generator=generator)
            weight = weight * (2 / prod(weight.shape[1:])) ** 0.5
            bias = torch.randn(out, dtype=torch.float64, generator=generator) / 4
            last = build.add(Conv(weight, bias, (stride,) * rank, (pads,) * rank, (gap,) * rank, groups), (last,))
    last = build.add(Reshape((prod(build.shape(last)),)), (last,))
    return build.graph(build.add(Gemm(torch.randn(3, build.shape(last)[0], dtype=torch.float64, generator=generator), None), (last,)))
