"""Training by interval bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from absint.analyses.train.method import TrainingMethod
from absint.analyses.train.step import Step


@dataclass(frozen=True)
class Ibp(TrainingMethod):
    """kappa * clean loss + (1 - kappa) * loss of the worst case by bounds (Gowal et al. 2018, arXiv:1810.12715, equation 10)."""

    def loss(self, step: Step) -> Iterator[Tensor]:
        """The clean loss alone while its share is 1. What it needed is freed before bounds are computed."""
        if step.kappa > 0:
            yield step.kappa * step.clean
        if step.kappa < 1:
            yield (1 - step.kappa) * step.worst


@dataclass(frozen=True)
class ConstrainedIbp(Ibp):
    """The same, with the widths of the hidden layers' bounds kept small (Morawiecki et al. 2019, arXiv:1906.00628, section 3)."""

    width_weight: ClassVar[float] = 1.0
