"""What is claimed of a trap on a set of inputs, as a property of the watched neurons: that it never alarms, or that it always does.

The property is over the outputs of `absint.model.watched.watched`, z_1 to z_k; T_i are the thresholds, numbers of float32. The trap
alarms where z_i > T_i for some i. What is proved under float32 semantics holds of the values of every float32 execution, NaN included:
where an execution may overflow nothing is proved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.analyses.radius.kept import Kept, outputs_at
from absint.analyses.taboo.traps import Trap
from absint.model.graph import Graph
from absint.problem.spec import Spec


@dataclass(frozen=True)
class TrapClaim:
    """About one trap. alarmed: that every input alarms; False: that none does."""

    trap: Trap
    alarmed: bool = False

    def specify(self, slots: Tensor) -> Spec:
        """The property of instances (n,). Unsafe for `never`: T_i - z_i < 0 for some i; for `always`: z_i - T_i <= 0 for every i."""
        count, k = len(slots), len(self.trap)
        sign = 1.0 if self.alarmed else -1.0
        weight = (sign * torch.eye(k, dtype=torch.float64)).expand(count, -1, -1)
        bias = (-sign * self.thresholds).expand(count, -1)
        disjunct = torch.zeros(k, dtype=torch.int64) if self.alarmed else torch.arange(k)
        return Spec(weight, bias, disjunct, torch.full((k,), not self.alarmed),
                    "some watched neuron above its threshold" if self.alarmed else "no watched neuron above its threshold")

    @property
    def thresholds(self) -> Tensor:
        """(k,) float64, exact."""
        return torch.tensor(self.trap.thresholds, dtype=torch.float64)

    def violated(self, values: Tensor) -> Tensor:
        """(batch,) bool: whether values (batch, k) contradict it; NaN is an alarm."""
        return above(values, self.thresholds).any(1) != self.alarmed

    def kept(self, graph: Graph, center: Tensor, positions: Tensor) -> Kept:
        """As `absint.analyses.radius.kept.Asked`: an input that contradicts it itself has radius 0."""
        values = outputs_at(graph, center)
        return Kept(self.specify, self.violated(values), values.isfinite().all(1))


def above(values: Tensor, thresholds: Tensor) -> Tensor:
    """(..., k) bool: which of the values (..., k) alarm: above the threshold, or NaN. Compared as the numbers that they are."""
    return ~(values.double() <= thresholds)
