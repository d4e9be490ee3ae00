"""What `absint.sweep` returns."""

from __future__ import annotations

from absint.analyses.sweep.record import SweepCell
from absint.contract.results import Results


class SweepResults(Results[SweepCell]):
    """The verdicts, one a network, norm, domain, input and radius. `shares` is the table of curves."""

    @property
    def shares(self) -> list[dict[str, object]]:
        """Of each network, norm, domain and radius: counts, percent verified of all inputs, with a 95 % interval."""
        found: list[dict[str, object]] = self.document.values["shares"]
        return found
