"""Networks whose gradients are right are scored, however near to the image samples fall: rounding is no masked gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_clever_scores import FEW, images, net

import absint
from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Tanh
from absint.model.ops.step import Floor


def _far_from_zero(size: int, between: Op, offset: float) -> Graph:
    """Scores near `offset`, whose float32 rounding is large beside their changes in a small ball."""
    generator, build = torch.Generator().manual_seed(5), GraphBuilder("x", (size,))
    first = build.add(Gemm(torch.randn(20, size, generator=generator, dtype=torch.float64),
                           torch.randn(20, generator=generator, dtype=torch.float64) / 4), ("x",), "first")
    inner = build.add(between, (first,))
    second = build.add(Gemm(torch.randn(3, 20, generator=generator, dtype=torch.float64) / 20**0.5,
                            offset + torch.randn(3, generator=generator, dtype=torch.float64) / 4), (inner,), "second")
    return build.graph(second)


@pytest.mark.parametrize("between", [Relu(), Tanh()])
@pytest.mark.parametrize(("size", "offset", "radius"), [(1, 0.0, 1e-3), (1, 10.0, 1e-2), (1, 100.0, 1e-2), (10, 100.0, 3e-4)])
def test_rounding_of_float32_in_small_balls_is_not_taken_for_masking(between: Op, size: int, offset: float, radius: float) -> None:
    found = absint.clever(_far_from_zero(size, between, offset), images(3, 3, size), norm="linf", radius=radius, targets="untargeted",
                          batches=20, samples=100)
    assert [record.skipped for record in found] == [""] * 3
    for record in found:
        for one in record.targets:
            assert one.quotient <= 1.01 * one.maximum


def test_a_ball_smaller_than_floats_can_tell_is_scored_to_its_radius() -> None:
    found = absint.clever(net(3, 6, 8, 3, between=Tanh()), images(1, 2, 6), radius=1e-30, targets="untargeted", **FEW)
    assert all(one.score == 1e-30 for record in found for one in record.targets)


def test_steps_inside_a_network_are_refused_still() -> None:
    """The allowance for rounding hides no step that a ball of usual size meets, however large the scores."""
    generator, build = torch.Generator().manual_seed(5), GraphBuilder("x", (4,))
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    steps = build.add(Floor(), (build.add(Gemm(16 * torch.eye(4, dtype=torch.float64)), ("x",), "many"),), "steps")
    graph = build.graph(build.add(Gemm(weight, torch.full((3,), 50.0, dtype=torch.float64)), (steps,), "scores"))
    with pytest.raises(AbsintError) as caught:
        absint.clever(graph, np.full((1, 4), 0.5), radius=0.5, targets="untargeted", **FEW)
    assert caught.value.code == "E-GRADIENT-MASKED"


def _flat_left_of_half() -> Graph:
    """relu(x - 1/2) behind a linear layer: constant around images that are small."""
    generator, build = torch.Generator().manual_seed(5), GraphBuilder("x", (4,))
    moved = build.add(Gemm(torch.eye(4, dtype=torch.float64), torch.full((4,), -0.5, dtype=torch.float64)), ("x",), "moved")
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    return build.graph(build.add(Gemm(weight, bias), (build.add(Relu(), (moved,), "relu"),), "scores"))


def test_a_resumed_run_says_what_the_whole_run_said_of_the_failures_among_its_images(tmp_path: Path) -> None:
    x, journal = np.full((4, 4), 0.7), tmp_path / "journal.jsonl"
    x[2:] = 0.2
    options = {"radius": 0.1, "targets": "untargeted", "journal": journal, **FEW}
    first = absint.clever(_flat_left_of_half(), x, **options)
    again = absint.clever(_flat_left_of_half(), x, resume=True, **options)
    assert [record.index for record in first] == [record.index for record in again] == [0, 1]
    assert first.document.exit_code == again.document.exit_code == 1
    with pytest.raises(AbsintError) as caught:
        absint.clever(_flat_left_of_half(), x[2:], radius=0.1, targets="untargeted", **FEW)
    assert caught.value.code == "E-GRADIENT-MASKED"


def test_a_class_that_is_spelled_in_two_ways_is_named_twice() -> None:
    with pytest.raises(AbsintError) as caught:
        absint.clever(net(3, 6, 3), images(1, 1, 6), targets="1,01", **FEW)
    assert caught.value.code == "E-CLEVER-TARGETS"
