"""What is known of one draw: of its latent itself, and of all within each radius of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from absint.contract.record import column

VERIFIED, FALSIFIED, UNKNOWN = "verified", "falsified", "unknown"


@dataclass(frozen=True)
class LatentRobustness:
    """Of draw `draw` of a class, by one generator, before one classifier.

    correct: whether the latent itself is classified as the class, as proved; None within rounding of a tie.
    predicted: its class, -1 for scores that are NaN.  margin: by how much the class leads all others there, about.
    verdicts: by radius. verified: proved for every real latent within it.  falsified: a latent within it is proved to be classified
    otherwise, and is by both models one after the other.  reasons: of the unknown ones.
    witness: the nearest such latent known, flat.  distance: how far it is, linf, rounded up.  taken: its class.
    cut: the limit of the whole run ended it: it counts as not drawn.
    """

    index: int = column(width=5)
    classifier: str = column(width=12)
    generator: str = column(width=12)
    label: int = column(width=5)
    draw: int = column(width=5)
    correct: bool | None = column(width=7)
    predicted: int = column(width=9)
    margin: float | None = column(width=9)
    verdicts: Mapping[str, str] = column(width=24)
    reasons: Mapping[str, str] = column(width=0)
    distance: float | None = column(None, width=9)
    taken: int | None = column(None, width=5)
    witness: tuple[float, ...] | None = column(None, width=0)
    time_s: float = column(0.0, unit="s", width=8)
    cut: bool = column(False, width=0)

    def cells(self) -> Mapping[str, str]:
        """A letter a radius: v, f or u."""
        return {"verdicts": " ".join(f"{eps}:{verdict[0]}" for eps, verdict in self.verdicts.items()), "time_s": f"{self.time_s:.3f}"}
