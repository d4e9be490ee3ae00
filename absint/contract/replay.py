"""What became of a record's counterexamples when they were held to the question again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WitnessReplay:
    """Of one record. held: so many are proved again.  refuted: so many are no counterexamples.  left: why others were not looked at,
    with their number; those of which nothing is said count as of a kind that is not replayed."""

    held: int = 0
    refuted: int = 0
    left: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(*found: bool) -> WitnessReplay:
        """One answer a counterexample: whether it is one."""
        return WitnessReplay(sum(found), len(found) - sum(found))

    @staticmethod
    def skipped(why: str, count: int = 1) -> WitnessReplay:
        """None was looked at."""
        return WitnessReplay(left={why: count} if count else {})

    def with_(self, other: WitnessReplay) -> WitnessReplay:
        """Both together."""
        left = {why: self.left.get(why, 0) + other.left.get(why, 0) for why in (*self.left, *other.left)}
        return WitnessReplay(self.held + other.held, self.refuted + other.refuted, left)

    @property
    def count(self) -> int:
        """Counterexamples of which something is said."""
        return self.held + self.refuted + sum(self.left.values())
