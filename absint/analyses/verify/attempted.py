"""What one attempt or one step of a search says of a batch, and whether real inputs contradict it."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from absint.analyses.verify.undecided import Undecided
from absint.engine.attempts import Attempt
from absint.errors import PluginError
from absint.problem.spec import Spec

# Where a domain does not say what rounding costs: of the outputs' known widths, more than was ever measured in float32.
_ROUNDING_SHARE = 1e-4
# Bounds may exceed what is evaluated in floating point by so much of the size of the numbers.
_ROOM = 1e-6


def refuted_by(found: Attempt, spec: Spec) -> Tensor:
    """(n, disjuncts): the best bound of each disjunct, by one of its rows or by a combination of them."""
    rows = spec.refutation(found.interval.lower)
    # In float64: a bound rounded to nearest is none.
    return rows if found.refuted is None else torch.fmax(rows.double(), found.refuted.to(rows.device, torch.float64))


def slack_of(found: Attempt, spec: Spec) -> Tensor:
    """(n,) float64: about what rounding took from the margins; a guess by the outputs' widths where the domain does not say."""
    if not spec.disjuncts:
        return torch.zeros(len(spec.bias), dtype=torch.float64)
    if found.interval.slack is not None:
        return found.interval.slack.double().amax(1)
    known = found.ctx.known[found.ctx.graph.output.name]
    width = (known.upper.double() - known.lower.double()).flatten(1)
    reach = torch.einsum("brn,bn->br", spec.weight.abs(), width).amax(1)
    return torch.nan_to_num(_ROUNDING_SHARE * reach, nan=inf, posinf=inf)


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
