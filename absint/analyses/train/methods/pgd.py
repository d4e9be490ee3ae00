"""Adversarial training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.analyses.train.method import TrainingMethod
from absint.analyses.train.step import Step, ball


@dataclass(frozen=True)
class PgdTraining(TrainingMethod):
    """Cross entropy of attacked inputs: sign steps from a random start (Madry et al. 2018, arXiv:1706.06083, section 2.1).

    steps: of the attack.  rate: length of one step, as a share of eps.
    """

    steps: int = 7
    rate: float = 0.25

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0:
            raise ValueError("steps is at least 1, and rate is positive")

    def loss(self, step: Step) -> Tensor:
        """The clean loss while the radius is 0."""
        return step.clean if step.eps == 0 else step.cross_entropy(step.graph(self._attacked(step)))

    def _attacked(self, step: Step) -> Tensor:
        lower, upper = ball(step.inputs, step.eps, step.clip)
        share = torch.rand(step.inputs.shape, generator=step.generator).to(lower)
        points = lower + share * (upper - lower)
        for _ in range(self.steps):
            points.requires_grad_()
            (slope,) = torch.autograd.grad(step.cross_entropy(step.graph(points)), points)
            points = (points.detach() + self.rate * step.eps * slope.sign()).clamp(lower, upper)
        return points
