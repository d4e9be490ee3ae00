"""TRADES, and the same with bounds in place of an attack: a training method in one file."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, no_grad, randn
from torch.autograd import grad
from torch.nn.functional import kl_div

from absint.training import Step, TrainingMethod, ball, register_training

ABSINT_CONTRACT = 1


@register_training("trades")
@dataclass(frozen=True)
class Trades(TrainingMethod):
    """Cross entropy, and how far answers move within eps (Zhang et al. 2019, arXiv:1901.08573, equation 5).

    beta: weight of the second term.  steps, rate: of the attack that looks for the furthest move; rate is a share of eps.
    """

    beta: float = 6.0
    steps: int = 5
    rate: float = 0.3

    def loss(self, step: Step) -> Tensor:
        """The clean loss while the radius is 0."""
        if step.eps == 0:
            return step.clean
        answers = step.logits.softmax(1)
        return step.clean + self.beta * _moved(step, self._furthest(step, answers.detach()), answers)

    def _furthest(self, step: Step, answers: Tensor) -> Tensor:
        lower, upper = ball(step.inputs, step.eps, step.clip)
        points = step.inputs + 0.001 * randn(step.inputs.shape, generator=step.generator).to(step.inputs)
        for _ in range(self.steps):
            points = points.detach().requires_grad_()
            (slope,) = grad(_moved(step, points, answers), points)
            with no_grad():
                points = (points + self.rate * step.eps * slope.sign()).clamp(lower, upper)
        return points.detach()


def _moved(step: Step, points: Tensor, answers: Tensor) -> Tensor:
    return kl_div(step.graph(points).log_softmax(1), answers, reduction="batchmean")
