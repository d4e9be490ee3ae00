"""What one attempt or one step of a search says of a batch, and whether real inputs contradict it."""

from __future__ import annotations

from torch import Tensor

from absint.analyses.verify.undecided import Undecided
from absint.errors import PluginError

# Bounds may exceed what is evaluated in floating point by so much of the size of the numbers.
_ROOM = 1e-6


class Centres:
    """The rows of a batch's properties at the centres of its regions, in floating point.

    A certified lower bound above a concrete value is a bug, in the domain or here: the whole run is refused.
    """

    def __init__(self, work: Undecided, name: str) -> None:
        self.index, self.name, self.spec = work.part.index, name, work.spec
        outputs = work.part.graph(work.part.region.center.to(work.device))
        self.values = work.spec.values(outputs)
        self.size = _ROOM * (1 + outputs.flatten(1).abs().amax(1, keepdim=True))

    def check_rows(self, lower: Tensor) -> None:
        """Bounds (n, rows). Raises PluginError E-CONTRADICTION."""
        if lower.shape != self.values.shape:
            self._refuse([f"bounds of shape {tuple(lower.shape)} for rows of shape {tuple(self.values.shape)}"])
        self._check("row", lower, self.values)

    def check_disjuncts(self, lower: Tensor) -> None:
        """Bounds (n, disjuncts); of a disjunct as a whole they are at most its greatest row. Raises PluginError E-CONTRADICTION."""
        self._check("disjunct", lower.to(self.values), self.spec.refutation(self.values))

    def _check(self, what: str, lower: Tensor, values: Tensor) -> None:
        wrong = (lower.double() > values + self.size + _ROOM * values.abs()) & lower.isfinite()
        if bool(wrong.any()):
            self._refuse([f"instance {self.index[int(i)]}, {what} {int(r)}: bound {float(lower[i, r]):.6g}, "
                          f"value at the centre {float(values[i, r]):.6g}" for i, r in wrong.nonzero()[:3]])

    def _refuse(self, details: list[str]) -> None:
        raise PluginError("E-CONTRADICTION", "certified bounds exceed values that real inputs attain", where=self.name,
                          details=details, hint="the domain or an operator is unsound: run absint.testing.kit on it")
