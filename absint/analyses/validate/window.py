"""Validation by distribution: a sliding window of radii that should stay as normal as those of valid inputs are.

Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, Algorithm 2 (its slices are
inclusive at both ends). Added here: where the window itself is not normal, every drop of its p-value is small and the
published rule would accept anything; then the threshold decides instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from absint.analyses.validate.normality import MEANINGFUL, normality
from absint.analyses.validate.record import Basis
from absint.errors import UsageError


@dataclass(frozen=True)
class WindowRule:
    """The parameters of Algorithm 2. Radii are whole steps of the grid; step: the length of one, in raw input units.

    sigma0: a radius that is accepted at once.  sigma1: the fall of the p-value that is tolerated.  threshold: what decides
    where p(window) <= guard, or where a p-value is not defined.  size: radii in the window.
    Raises UsageError E-WINDOW for a size below 20, sigma1 or guard outside [0, 1].
    """

    step: Fraction
    threshold: int
    sigma0: int
    sigma1: float = 0.001
    guard: float = 0.05
    size: int = 50

    def __post_init__(self) -> None:
        if self.size < MEANINGFUL:
            raise UsageError("E-WINDOW", f"a window of {self.size} radii", where="--window",
                             hint=f"the normality test means nothing below {MEANINGFUL} values")
        for name, value in (("sigma1", self.sigma1), ("guard", self.guard)):
            if not 0 <= value <= 1:
                raise UsageError("E-WINDOW", f"{name} is {value}", where=f"--{name}", hint="a difference of probabilities: 0 to 1")


@dataclass(frozen=True)
class SlidingWindow:
    """The last radii that were accepted, oldest first, in steps of the grid."""

    rule: WindowRule
    steps: tuple[int, ...]

    @cached_property
    def p(self) -> float:
        """The window's p-value; NaN where it has none."""
        return normality([float(k * self.rule.step) for k in self.steps])

    def slid(self, radius: int) -> SlidingWindow:
        """Without the oldest, with the new one; the length stays."""
        return SlidingWindow(self.rule, (*self.steps[1:], radius))

    def decide(self, radius: int) -> tuple[bool, Basis, SlidingWindow]:
        """Whether the radius is accepted, why, and the window after it: slid where accepted, the same where rejected."""
        slid = self.slid(radius)
        if radius >= self.rule.sigma0:
            return True, Basis.RADIUS, slid
        if self.p > self.rule.guard and slid.p == slid.p:
            accepted, basis = self.p - slid.p <= self.rule.sigma1, Basis.NORMALITY
        else:
            accepted, basis = radius >= self.rule.threshold, Basis.THRESHOLD
        return accepted, basis, slid if accepted else self


def filled(rule: WindowRule, steps: Sequence[int]) -> SlidingWindow | None:
    """A window of the first `size` radii, or None where there are fewer."""
    return SlidingWindow(rule, tuple(steps[:rule.size])) if len(steps) >= rule.size else None


def order_statistic(steps: Sequence[int], below: int) -> int:
    """The largest k such that at most `below` (fewer than all) of the values are less than k. Ties count as not less."""
    return sorted(steps)[below]
