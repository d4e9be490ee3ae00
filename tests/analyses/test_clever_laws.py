"""What holds of any CLEVER score: how its samples are drawn, and what its estimate is never below."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from test_clever_scores import FEW, images, net
from torch import Tensor

import absint
from absint.analyses.clever.sampling import Sampling
from absint.analyses.clever.settings import ScoreSettings, with_targets
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.sigmoid import Tanh
from absint.problem.transforms import Frame, transform_of


def maxima(count: int = 1, **more: object) -> list[Tensor]:
    """Of the batches of some images of a curved network."""
    graph, chosen = net(3, 8, 14, 5, between=Tanh()), torch.from_numpy(images(4, 1, 8)).repeat(count, 1)
    how = ScoreSettings(1, "l2", 0.5, (0.0, 1.0), 12, 20, **more)
    found = with_targets(graph, None, chosen, ("runner-up",), tuple(range(count)), how)
    return [one.maxima[0] for one in Sampling(graph, None, how, 60, 500.0).run(found)]


def test_every_batch_is_drawn_afresh() -> None:
    (found,) = maxima()
    assert len(set(found.tolist())) == 12


def test_images_do_not_share_their_samples() -> None:
    first, second = maxima(2)
    assert not bool((first == second).any()), "the same image twice, under two names"


def test_no_score_is_above_what_the_greatest_sample_says() -> None:
    for record in absint.clever(net(5, 6, 10, 4, between=Tanh(), scale=3.0), images(4, 6, 6), radius=0.3, **FEW):
        for one in record.targets:
            assert one.score <= min(one.margin / one.maximum, 0.3) * (1 + 1e-12)


def test_samples_are_clipped_to_the_data_range() -> None:
    """Steep beyond the range alone: no gradient within it is."""
    from absint.model.ops.relu import Relu

    build, zero = GraphBuilder("x", (3,)), torch.zeros(2, dtype=torch.float64)
    weight = torch.tensor([[50.0, 0, 0], [1.0, 1, 1]], dtype=torch.float64)
    last = build.add(Relu(), (build.add(Gemm(weight, torch.tensor([-51.0, 0.0], dtype=torch.float64)), ("x",)),))
    graph = build.graph(build.add(Gemm(torch.tensor([[1.0, 1.0], [0, 0]], dtype=torch.float64), zero), (last,), "y"))
    inside, outside = (absint.clever(graph, np.full((1, 3), 0.9), radius=0.5, clip=clip, **FEW)[0].targets[0].maximum
                       for clip in ((0.0, 1.0), None))
    assert inside == pytest.approx(sqrt(3), rel=1e-6)
    assert outside > 50


def test_the_transform_is_applied_to_the_sample_and_to_the_image() -> None:
    """Of a network whose gradients are steep above one half, with an image just below it that a coarse depth moves down to it."""
    graph, x = net(3, 8, 14, 5, between=Tanh()), np.full((1, 8), 0.49)
    record = absint.clever(graph, x, radius=0.2, transform="bits2", **FEW)[0]
    levels = transform_of("bits2", (0.0, 1.0), (8,))
    behind = levels(torch.from_numpy(x))
    scores = graph(behind)[0]
    assert not np.allclose(behind.numpy(), x)
    assert record.predicted == int(scores.argmax())
    points = torch.stack([torch.full((8,), value / 255) for value in (0, 64, 128, 192)]).double()
    for one in record.targets:
        assert one.margin == pytest.approx((scores[record.predicted] - scores[one.target]).item(), rel=1e-9)
        plain = absint.clever(graph, x, radius=0.2, targets=str(one.target), **FEW)[0].targets
        assert plain == () or one.maximum != plain[0].maximum
    assert Frame((8,), 0.0, 1.0).levels(points).unique().tolist() == [0, 64, 128, 192]


def test_samples_reach_the_network_as_the_transform_leaves_them() -> None:
    seen = []

    def scores(points: Tensor) -> Tensor:
        seen.append(points.detach().clone())
        return torch.stack([(points**2).sum(1) + 1, points.sum(1)], 1)

    how = ScoreSettings(1, "linf", 0.3, (0.0, 1.0), 10, 8)
    transform = transform_of("bits1", (0.0, 1.0), (4,))
    found = with_targets(scores, transform, torch.full((1, 4), 0.5, dtype=torch.float64), ("runner-up",), (0,), how)
    list(Sampling(scores, transform, how, 10, 10.0).run(found))
    for points in seen:
        assert set((points * 255).round().flatten().tolist()) <= {0.0, 128.0}


@pytest.mark.parametrize("order", [1, 2])
def test_twice_the_batches_change_the_mean_score_by_little(order: int) -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 5, 8)
    few, many = (np.mean([one.score for record in absint.clever(graph, x, order=order, radius=0.5, batches=count, samples=40)
                          for one in record.targets]) for count in (30, 60))
    assert few == pytest.approx(many, rel=0.1)
