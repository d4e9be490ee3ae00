"""What changes from step to step: the radius, the share of the clean loss, the learning rate.

Source: Gowal et al. 2018, arXiv:1810.12715, section 4 and appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass

CURVES = ("linear", "smooth")
_JOINT = 0.25                                               # share of a smooth ramp that is a curve of the fourth power
_SCALE = 1 / (_JOINT**4 + 4 * _JOINT**3 * (1 - _JOINT))     # so that it meets its line at the joint, with its slope, and ends at 1


@dataclass(frozen=True)
class Moment:
    """The settings of one step. phase: 'warm-up', 'ramp' or 'full'."""

    eps: float
    kappa: float
    rate: float
    phase: str


@dataclass(frozen=True)
class Schedule:
    """All steps of a run.

    eps: the radius at the end.  steps: all of them.  warm_up: steps of clean training alone.  ramp: steps in which eps rises from 0, and
    kappa, the share of the clean loss, falls from 1.  kappa: where it ends.  curve: of eps, 'linear' or 'smooth'; kappa falls linearly.
    rate: the first learning rate.  drops: steps from which it is multiplied by `factor`, once more each.
    """

    eps: float
    steps: int
    warm_up: int
    ramp: int
    kappa: float
    curve: str
    rate: float
    drops: tuple[int, ...]
    factor: float

    def at(self, step: int) -> Moment:
        """The settings of a step, counted from 0."""
        done = _clipped((step - self.warm_up) / self.ramp) if self.ramp else float(step >= self.warm_up)
        rate = self.rate * self.factor ** sum(step >= drop for drop in self.drops)
        phase = "warm-up" if step < self.warm_up else "ramp" if done < 1 else "full"
        risen = smooth(done) if self.curve == "smooth" else done
        return Moment(self.eps * risen, 1 - (1 - self.kappa) * done, rate, phase)


def _clipped(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def smooth(done: float) -> float:
    """A curve of the fourth power on the first quarter, then the line that continues it; from 0 to 1."""
    if done < _JOINT:
        return float(_SCALE * done**4)
    return float(_SCALE * (_JOINT**4 + 4 * _JOINT**3 * (done - _JOINT)))
