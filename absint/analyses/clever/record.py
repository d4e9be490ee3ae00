"""The score of one image, target by target, with what it rests on and what it lies between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite

from absint.contract.record import column
from absint.numeric.decimal import outward_text

ABOVE_ATTACK, BELOW_PROOF = "above an attack", "below the proof"


@dataclass(frozen=True)
class TargetScore:
    """kind: runner-up, random, least, untargeted or a number.  margin: f_c - f_t at the image.  slope: dual norm of its gradient.

    score: the estimated distance, at most the radius; from low to high where the fitted endpoint lies in its confidence interval.
    estimate: of the greatest dual norm of a gradient (order 1) or norm of a Hessian (order 2) in the ball; never below `maximum`,
    the greatest sampled.  fitted: whether it is the fit's, else the maximum.  shape, p_value: of the fit.
    saturated: the score is the radius.
    quotient: the greatest slope between the image and a sample, less rounding.  steps: median Hessian-vector products of a sample.
    certified: a proved radius; None where none was asked for.  refuted: the nearest counterexample that the proof met.
    attacked: the nearest counterexample found, by `attack`; inf for none within the radius, None where none was looked for.
    flag: where the score lies outside of what is known, the interval between the two.
    """

    kind: str
    target: int
    margin: float
    slope: float
    score: float
    low: float
    high: float
    estimate: float
    maximum: float
    fitted: bool
    shape: float | None
    p_value: float | None
    saturated: bool
    quotient: float = 0.0
    steps: float = 0.0
    certified: float | None = None
    refuted: float | None = None
    attacked: float | None = None
    attack: str = ""

    @property
    def counterexample(self) -> float:
        """The nearest one known; inf for none."""
        return min(inf if self.attacked is None else self.attacked, inf if self.refuted is None else self.refuted)

    @property
    def flag(self) -> str:
        """What is wrong with the score, as far as is known."""
        if self.score > self.counterexample:
            return ABOVE_ATTACK
        return BELOW_PROOF if self.certified is not None and self.score < self.certified else ""


@dataclass(frozen=True)
class CleverScore:
    """Of one image. predicted: the class, behind the transform.  skipped: why there is no score: 'misclassified', 'tie', 'overflow',
    'timeout', or 'target' where the only class named is the predicted one.

    score: the least of its targets'.  batches: those that were drawn.  note: what is to be said of it.  cut: the limit of the run ended it.
    """

    index: int
    label: int | None
    predicted: int | None
    skipped: str
    targets: tuple[TargetScore, ...] = ()
    batches: int = 0
    note: str = ""
    time_s: float = column(0.0, unit="s")
    cut: bool = False

    @property
    def score(self) -> float | None:
        """The least of its targets': of all other classes where `untargeted` is asked for."""
        return min((one.score for one in self.targets), default=None)


@dataclass(frozen=True)
class TargetRow:
    """One line of a table: a target of an image."""

    index: int = column(width=5)
    label: int | None = column(width=5)
    predicted: int | None = column(width=9)
    kind: str = column(width=10)
    target: int | None = column(width=6)
    certified: float | None = column(width=9)
    score: float | None = column(width=8)
    low: float | None = column(width=8)
    high: float | None = column(width=8)
    attacked: float | None = column(width=9)
    flag: str = column(width=15)
    refuted: float | None = column(width=0)
    attack: str = column(width=0)
    margin: float | None = column(width=0)
    slope: float | None = column(width=0)
    estimate: float | None = column(width=8)
    maximum: float | None = column(width=8)
    shape: float | None = column(width=6)
    p_value: float | None = column(width=7)
    fitted: bool | None = column(width=0)
    saturated: bool | None = column(width=0)
    quotient: float | None = column(width=0)
    steps: float | None = column(width=0)
    batches: int = column(width=0)
    time_s: float = column(unit="s", width=0)

    def cells(self) -> Mapping[str, str]:
        """What is certified cut downward, counterexamples upward; none of these lies beyond the radius."""
        sides = {"certified": (self.certified, -1), "refuted": (self.refuted, 1), "attacked": (self.attacked, 1)}
        found = {name: outward_text(value, side) for name, (value, side) in sides.items() if value is not None and isfinite(value)}
        return {**found, "attacked": "none"} if self.attacked == inf else found
