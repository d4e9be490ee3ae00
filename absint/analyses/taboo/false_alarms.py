"""What traps say of inputs that no threshold was made of: false alarms, which of them rounding decides, neurons that fire too often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from absint.analyses.taboo.alarms import alarms_of, proved_by_trap
from absint.analyses.taboo.observing import Observer
from absint.analyses.taboo.traps import Trap, Traps

Neuron = tuple[str, int]


@dataclass(frozen=True, eq=False)
class HeldValues:
    """Of n held-out inputs. neurons: the columns.  values: (n, k) float32, of one execution.

    right: how many the network classifies as labelled; None without labels.
    """

    neurons: tuple[Neuron, ...]
    values: Tensor
    right: int | None

    @staticmethod
    def of(observer: Observer, inputs: Tensor, labels: Tensor | None = None) -> HeldValues:
        """inputs: (n, *shape).  labels: (n,) or None."""
        seen = observer.seen(inputs)
        right = None if labels is None else int((seen.predicted == labels).sum())
        return HeldValues(observer.traps.union.neurons, seen.values, right)

    def __len__(self) -> int:
        return len(self.values)

    def fires(self, trap: Trap) -> tuple[int, ...]:
        """Of each neuron of a trap: on how many inputs it is above its threshold, or NaN."""
        values = self.values[:, self._columns(trap.neurons)]
        above = (values.double() > torch.tensor(trap.thresholds, dtype=torch.float64)) | values.isnan()
        return tuple(above.sum(0).tolist())

    def too_often(self, trap: Trap, budget: Fraction) -> frozenset[Neuron]:
        """Neurons that fire on more than that share of the inputs; the one that fires least always stays, the first of several."""
        fires = self.fires(trap)
        bad = [neuron for neuron, hits in zip(trap.neurons, fires, strict=True) if hits > budget * len(self)]
        if len(bad) == len(trap):
            bad.remove(trap.neurons[fires.index(min(fires))])
        return frozenset(bad)

    def alarms(self, traps: Traps, lower: Tensor, upper: Tensor) -> FalseAlarms:
        """Of traps on some of the neurons. lower, upper: (n, k), between which the values of every float32 execution lie."""
        columns = self._columns(traps.union.neurons)
        found = alarms_of(traps, self.values[:, columns])
        alarmed, quiet = proved_by_trap(traps, lower[:, columns], upper[:, columns])
        together = (found.by_trap.double().T @ found.by_trap.double()).long()
        return FalseAlarms(len(self), tuple(found.by_trap.sum(0).tolist()), int(found.any.sum()), int((found.any & ~alarmed.any(1)).sum()),
                           int((~found.any & ~quiet.all(1)).sum()), self.right, tuple(map(tuple, together.tolist())))

    def _columns(self, neurons: Sequence[Neuron]) -> list[int]:
        place = {neuron: column for column, neuron in enumerate(self.neurons)}
        return [place[neuron] for neuron in neurons]


@dataclass(frozen=True)
class FalseAlarms:
    """On n held-out inputs. by_trap, any: alarms.  shaky: alarms that another float32 execution might not raise.

    near: quiet inputs on which another one might.  right: classified as labelled, None without labels.
    together: [i][j] inputs on which traps i and j both alarm.
    """

    n: int
    by_trap: tuple[int, ...]
    any: int
    shaky: int
    near: int
    right: int | None
    together: tuple[tuple[int, ...], ...]
