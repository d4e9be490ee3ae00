"""CLEVER with batches of one or two samples: no gradient is called constant because there is only one of it."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

import absint
from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from absint.model.ops.sigmoid import Tanh
from absint.model.ops.step import Floor
from absint.model.ops.sum import Sum


def images(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (3, size))


def dense(build: GraphBuilder, source: str, inputs: int, outputs: int, generator: torch.Generator) -> str:
    weight = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64) / sqrt(inputs)
    op: Op = Gemm(3 * weight, torch.zeros(outputs, dtype=torch.float64))
    return build.add(op, (source,))


def curved() -> Graph:
    build, generator = GraphBuilder("x", (8,)), torch.Generator().manual_seed(3)
    inner = build.add(Tanh(), (dense(build, "x", 8, 12, generator),))
    return build.graph(dense(build, inner, 12, 4, generator))


def stairs() -> Graph:
    """Steps of height 1 with a slope of 1e-3 before a linear layer: one gradient everywhere."""
    build, generator = GraphBuilder("x", (8,)), torch.Generator().manual_seed(3)
    scaled = build.add(Gemm(1e-3 * torch.eye(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)), ("x",))
    wide = build.add(Gemm(9 * torch.eye(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)), ("x",))
    joined = build.add(Sum(), (build.add(Floor(), (wide,)), scaled))
    return build.graph(dense(build, joined, 8, 4, generator))


@pytest.mark.parametrize("samples", [1, 2])
def test_a_curved_network_is_scored(samples: int) -> None:
    found = absint.clever(curved(), images(4, 8), radius=0.5, batches=10, samples=samples)
    assert [record.skipped for record in found] == ["", "", ""]
    assert found.document.exit_code == 0


@pytest.mark.parametrize("samples", [1, 2, 40])
def test_one_gradient_everywhere_is_refused_where_the_network_does_not_follow_it(samples: int) -> None:
    with pytest.raises(AbsintError) as caught:
        absint.clever(stairs(), images(4, 8), radius=0.5, batches=20, samples=samples)
    assert caught.value.code == "E-GRADIENT-MASKED"
