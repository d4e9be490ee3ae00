"""CLEVER within a limit of the whole run: images that it left no time for, beside those that are scored."""

from __future__ import annotations

import torch

from absint.analyses.clever.sampling import Sampling
from absint.analyses.clever.settings import ScoreSettings, with_targets


def curved(x: torch.Tensor) -> torch.Tensor:
    """Two classes, with a Hessian."""
    return torch.stack([2 - (x * x).sum(1), x.sum(1)], 1)


def test_images_without_a_sample_of_order_2_are_told_beside_those_that_have_some(monkeypatch, clock) -> None:
    settings = ScoreSettings(2, "l2", 1.0, None, 10, 16, dtype=torch.float64, end=clock() + 1, memory=1 << 13)
    chosen = with_targets(curved, None, torch.zeros(2, 3, dtype=torch.float64), ("runner-up",), (0, 1), settings)
    sampling = Sampling(curved, None, settings, 10, 10.0)
    first = sampling._compute

    def compute(*words: object) -> None:
        first(*words)
        clock.sleep(10)      # the first chunk takes all the time there is

    monkeypatch.setattr(sampling, "_compute", compute)
    found = list(sampling.run(chosen))
    assert [one.row for one in found] == [0, 1]
    assert [one.late for one in found] == [True, True]
    assert found[1].maxima.shape[1] == 0
    assert found[1].steps.tolist() == [0]
    assert found[0].maxima.shape[1] < 10
