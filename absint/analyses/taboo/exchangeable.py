"""What held-out calibration promises of false alarms, whatever the inputs' distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from absint.analyses.taboo.traps import Traps

RARE = 0.025


@dataclass(frozen=True)
class HeldOut:
    """Thresholds of which each is not below all but `above` of its neuron's values on `inputs` inputs that neither the network, nor the
    keys, nor any other choice has seen. masked: neurons before any was dropped.
    """

    masked: int
    inputs: int
    above: int = 0

    @property
    def bound(self) -> Fraction:
        """P(alarm) <= m (j + 1) / (n + 1) for an input that is exchangeable with them.

        Among the n + 1 values of a neuron, at most j + 1 are above the (j + 1)-th greatest of the others, ties or not; then over neurons.
        """
        return min(Fraction(1), Fraction(self.masked * (self.above + 1), self.inputs + 1))

    @property
    def most(self) -> float:
        """A rate of alarms that at most RARE of all calibrations on independent inputs lie above; `bound` is their average alone.

        Above the (j + 1)-th greatest of n values lies a share of new ones that is Beta(j + 1, n - j) distributed at most; over neurons.
        """
        from absint.numeric.statistics import clopper_pearson

        return min(1.0, self.masked * clopper_pearson(self.above, self.inputs, 1 - 2 * RARE / self.masked)[1])


def held_out(traps: Traps) -> HeldOut | None:
    """As the facts of the traps say: `held_out` with `inputs`, and `above` where it is not 0; None where thresholds come from elsewhere.

    A neuron in several traps counts once for each.
    """
    facts: Any = traps.facts.get("held_out")
    if not isinstance(facts, Mapping) or not isinstance(facts.get("inputs"), int) or facts["inputs"] < 1:
        return None
    return HeldOut(sum(trap.masked for trap in traps.traps), facts["inputs"], int(facts.get("above", 0)))
