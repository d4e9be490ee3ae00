"""What a run of `taboo calibrate` works on."""

from __future__ import annotations

from dataclasses import dataclass

from absint.analyses.taboo.calibrating import TrapCalibration
from absint.problem.dataset import Dataset


@dataclass(frozen=True, eq=False)
class TabooTask:
    """Traps in the making, of these inputs; held: others, or None.  public: whether the key is the one that everybody knows."""

    making: TrapCalibration
    training: Dataset
    held: Dataset | None
    public: bool
