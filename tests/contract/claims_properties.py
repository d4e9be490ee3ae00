"""Claims about properties and splits: what counts as a proof, and for which instances."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import torch
from walkers import WALKERS

from absint.engine.context import Context
from absint.engine.forward import margins
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64
from contract.claims import chain, claim, domain, rows, settings, tie


@claim
def every_disjunct_must_be_refuted():
    lower = torch.tensor([[1.0, -1.0, 2.0, -5.0], [1.0, 3.0, 0.0, 0.0], [1.0, 1.0, torch.nan, torch.nan]], dtype=torch.float64)
    spec = Spec.rows(torch.zeros(3, 4, 1), torch.zeros(3, 4), torch.tensor([0, 0, 1, 1]))
    assert spec.margin(lower).tolist() == [1.0, 0.0, -inf]
    one = Spec.rows(torch.zeros(1, 2, 1), torch.zeros(1, 2))
    assert float(one.margin(torch.tensor([[1.0, -1.0]], dtype=torch.float64))[0]) == -1.0


@claim
def equality_is_no_proof():
    for name in WALKERS:
        for num in (*settings(name).values(), replace(FLOAT64, rounding=False)):
            tie(name, num)
    spec = rows([1.0])
    assert float(spec.margin(torch.zeros(1, 1, dtype=torch.float64))[0]) <= 0


@claim
def a_tie_violates_the_property():
    spec = rows([1.0, -1.0])
    assert spec.violated_exactly(0, np.array([0.1, 0.1]))
    assert not spec.violated_exactly(0, np.array([0.1 + 1e-16, 0.1]))


@claim
def an_empty_split_closes_only_its_instance():
    graph = chain((2,), Gemm(torch.eye(2, dtype=torch.float64)), Relu())
    region = BoxRegion(torch.zeros(3, 2, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64))
    node = graph.nodes[1].name
    for name in WALKERS:
        for num in settings(name).values():
            upper = torch.full((3, 2), inf, dtype=num.vector)
            upper[1, 0] = -1.0
            ctx = Context(graph, region, num, assumed={node: Interval(torch.full_like(upper, -inf), upper)})
            weight = torch.tensor([[[1.0, 0.0]]] * 3, dtype=torch.float64)
            with numeric_mode():
                found, _ = margins(domain(name), ctx, Spec.rows(weight, torch.zeros(3, 1, dtype=torch.float64) - 0.5))
            assert found.lower[1].tolist() == [inf], name
            assert bool((found.lower[[0, 2]] <= -0.5).all()), name
