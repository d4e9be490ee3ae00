"""Where the search for one input's radius stands, and what each answer makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from absint.verdict import Reason


@dataclass(frozen=True)
class RadiusAnswer:
    """One ball's: whether it is proved, or the witness in it and how many steps away that is (rounded up).

    over: whether a time limit that it ran into was that of the whole call, not its share of it.
    """

    proved: bool
    reason: Reason | None
    time_s: float
    distance: int | None = None
    witness: tuple[float, ...] | None = None
    over: bool = True


@dataclass(frozen=True)
class Bracket:
    """Where one input's search stands, in steps of the grid: `low` is proved (or 0), `high` is not."""

    low: int
    high: int
    refuted: int | None = None
    calls: int = 0
    reason: Reason | None = None
    tied: bool = False
    closed: bool = False
    time_s: float = 0.0
    witness: tuple[float, ...] | None = None
    cut: bool = False

    @property
    def open(self) -> bool:
        """Whether there is something left to refine."""
        return self.high - self.low > 1 and not self.closed

    @property
    def steps(self) -> int:
        """Refinements that are left."""
        return (self.high - self.low - 1).bit_length() if self.open else 0

    @property
    def middle(self) -> int:
        """The next radius to ask about."""
        return (self.low + self.high) // 2

    def after(self, answer: RadiusAnswer) -> Bracket:
        """What the answer about `middle` leaves: unknown counts as not robust, a nearer witness lowers the upper end."""
        asked = replace(self, calls=self.calls + 1, time_s=self.time_s + answer.time_s)
        if answer.proved:
            return replace(asked, low=self.middle)
        if answer.reason is Reason.TIMEOUT and answer.over:
            return asked.timed_out(cut=True)
        if answer.distance is None:
            return replace(asked, high=self.middle, reason=answer.reason)
        asked = replace(asked, high=min(self.middle, answer.distance), reason=None)
        if self.refuted is not None and self.refuted <= answer.distance:
            return asked
        return replace(asked, refuted=answer.distance, witness=answer.witness)

    def timed_out(self, *, cut: bool) -> Bracket:
        """No further refinement; what is certified stands. cut: by the limit of the whole call, not by its own."""
        return replace(self, closed=True, reason=Reason.TIMEOUT, cut=cut)

    def tree(self, levels: int) -> list[int]:
        """Every radius that the next `levels` refinements may ask about."""
        if levels == 0 or not self.open:
            return []
        below, above = replace(self, high=self.middle), replace(self, low=self.middle)
        return [self.middle, *below.tree(levels - 1), *above.tree(levels - 1)]
