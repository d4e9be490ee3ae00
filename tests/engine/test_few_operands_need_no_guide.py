"""Where a guide answers for intermediate nodes, what has no more entries than are asked for in the end is bounded by the domain itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import analyse, boxes, tensor_bounds
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

DeepPoly = DOMAINS.get("deeppoly")
GUIDED = DeepPoly(intermediate="box")


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_rectified_layers() -> Graph:
    """4 inputs, 6 rectified neurons, 2 rectified outputs."""
    build = GraphBuilder("x", (4,))
    first = build.add(Relu(), (build.add(Gemm(drawn(6, 4, seed=1), drawn(6, seed=2)), ("x",), "one"),), "r1")
    return build.graph(build.add(Relu(), (build.add(Gemm(drawn(2, 6, seed=3), drawn(2, seed=4)), (first,), "two"),), "r2"))


def context(graph: Graph, rows: int | None) -> Context:
    center = torch.rand(3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    spec = None if rows is None else Spec.rows(torch.ones(3, rows, 2), torch.zeros(3, rows))
    return Context(graph, BoxRegion(center - 0.4, center + 0.4), Numerics(), target=spec)


@pytest.mark.parametrize(("rows", "keep", "own"), [(2, (), True), (5, (), True), (1, (), False), (None, (), False), (None, ("r2",), True)])
def test_as_many_rows_as_are_asked_for_need_no_guide(rows, keep, own) -> None:
    graph = two_rectified_layers()
    with numeric_mode():
        box, full = (run.known["two"] for run in (boxes(context(graph, rows)), analyse(DeepPoly(), context(graph, rows)).ctx))
        found = analyse(GUIDED, context(graph, rows), frozenset(keep)).ctx.known
    wanted = full if own else box
    for end in ("lower", "upper"):      # but for the rounding of the first layer, which either bounds exactly
        assert torch.allclose(getattr(found["two"], end), getattr(wanted, end), rtol=1e-12)
    assert bool((full.upper < box.upper - 0.01)[:, 1].all()), "else it would show nothing; neuron 0 is never positive"
    assert torch.equal(found["one"].upper, boxes(context(graph, rows)).known["one"].upper), "six entries are left to the guide"


def test_a_rectified_output_is_as_tight_as_its_operand() -> None:
    """Its own relaxation, over the guide's loose box, is none that loses anything."""
    graph = two_rectified_layers()
    with numeric_mode():
        found = tensor_bounds(GUIDED, context(graph, None), ("r2",))["r2"]
        operand = tensor_bounds(DeepPoly(), context(graph, None), ("two",))["two"]
    assert bool((found.upper <= operand.upper.relu() + 1e-12).all())
