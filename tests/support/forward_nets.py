"""Small networks, boxes and properties for tests of forward linear bounds."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import torch
from regional import rand, randn

from absint.domains.forward_linear import ForwardLinear
from absint.engine.context import Context
from absint.engine.forward import analyse
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sum import Sum
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64


def cancelling():
    """Two layers without biases, forty sums that nearly cancel, and their exact values."""
    random = np.random.default_rng(9)
    first = np.concatenate([random.normal(size=128)] * 2)
    half = random.normal(size=(40, 128))
    second = np.concatenate([half, -half * (1 + 1e-12)], 1)
    build = GraphBuilder("x", (1,))
    last = build.add(Gemm(torch.from_numpy(second)), (build.add(Gemm(torch.from_numpy(first[:, None])), ("x",)),))
    return build.graph(last), [sum(F(a) * F(b) for a, b in zip(first, row, strict=True)) for row in second]


def two_layers(width=5, activation=None, seed=1):
    build, activation = GraphBuilder("x", (3,)), activation or Relu()
    first = build.add(activation, (build.add(Gemm(randn(width, 3, seed=seed), randn(width, seed=seed + 1) / 4), ("x",)),))
    second = build.add(activation, (build.add(Gemm(randn(width, width, seed=seed + 2), randn(width, seed=seed + 3) / 4), (first,)),))
    return build.graph(build.add(Gemm(randn(2, width, seed=seed + 4)), (second,)))


def linear_net():
    """What two branches have in common cancels: only functions of the input know it."""
    build = GraphBuilder("x", (3,))
    one = build.add(Gemm(randn(4, 3, seed=7)), ("x",))
    two = build.add(Gemm(randn(4, 4, seed=8)), (one,))
    return build.graph(build.add(Gemm(randn(2, 4, seed=9)), (build.add(Sum(-1.0), (two, build.add(Gemm(randn(4, 3, seed=10)), ("x",)))),)))


def box(radius, batch=2, size=3, seed=5):
    center = rand(batch, size, seed=seed)
    return BoxRegion(center - radius, center + radius)


def spec_of(batch, rows=2, outputs=2, seed=6):
    return Spec.rows(randn(batch, rows, outputs, seed=seed), torch.zeros(batch, rows, dtype=torch.float64))


def hull_of(region, graph, domain=None, num=FLOAT64):
    domain = domain or ForwardLinear()
    found = analyse(domain, Context(graph, region, num))
    return domain.hull(found.element, found.ctx)


def dense(graph):
    zero = torch.zeros(1, *graph.input.shape, dtype=torch.float64)
    offset = graph(zero)
    return graph(torch.eye(graph.input.size, dtype=torch.float64)) - offset, offset[0]


def narrow_then_wide():
    build, last = GraphBuilder("x", (2,)), "x"
    for k, (n, m) in enumerate(((2, 8), (8, 4), (4, 300), (300, 300))):
        last = build.add(Relu(), (build.add(Gemm(randn(m, n, seed=30 + k) / n**0.5), (last,)),))
    return build.graph(build.add(Gemm(randn(2, 300, seed=40)), (last,)))
