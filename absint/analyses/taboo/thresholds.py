"""Thresholds of watched neurons from training inputs: what each rule keeps of a block of inputs, and what all blocks lead to.

No rule depends on how the inputs are divided into blocks, nor on their order. What depends on who is bounded together are the last bits
of a bound in float64; a threshold is the float32 number above it.
Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, 2020, section 3; The Taboo Trap, 2018 (percentiles).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from absint.analyses.taboo.executions import Executions, fed
from absint.analyses.taboo.refining import Refining
from absint.errors import InputError
from absint.numeric.decimal import exact_text
from absint.problem.regions.region import LinfBall


@dataclass(frozen=True, eq=False)
class InputBlock:
    """Training inputs (n, *shape) float64. lower, upper: (n, k), between which every float32 execution's values on them lie."""

    inputs: Tensor
    lower: Tensor
    upper: Tensor

    @staticmethod
    def of(inputs: Tensor, names: Sequence[int], executions: Executions) -> InputBlock:
        """Raises InputError E-TABOO-NAN naming inputs on which an execution may end in NaN or overflow."""
        lower, upper = executions.bounds(fed(inputs, inputs))
        bad = (~(lower.isfinite() & upper.isfinite())).any(1).nonzero().flatten().tolist()
        if bad:
            shown = ", ".join(str(names[slot]) for slot in bad[:5]) + (f", ... and {len(bad) - 5} more" if len(bad) > 5 else "")
            raise InputError("E-TABOO-NAN", f"watched values of {len(bad)} training inputs are NaN or overflow in some float32 execution",
                             where=f"inputs {shown}", hint="no threshold is above them: leave these inputs out, or repair the network")
        return InputBlock(inputs, lower, upper)


@dataclass(frozen=True, eq=False)
class KeptRows:
    """What a rule keeps of a block. rows: (r, w) float64.  refined, open: as `Greatest`."""

    rows: Tensor
    refined: int = 0
    open: int = 0


class Rule(ABC):
    """How thresholds are made."""

    promise: ClassVar[str]              # said of every threshold
    carries: ClassVar[bool] = False     # whether what blocks lead to so far spares work on the next one
    sound: ClassVar[bool] = False       # whether no float32 execution alarms on a training input

    @abstractmethod
    def keep(self, block: InputBlock, before: Tensor | None, end: float) -> KeptRows:
        """Of a block. before: (k,) what `bounds` says of blocks that were seen, or None.  end: of dearer work, on the monotonic clock."""

    @abstractmethod
    def bounds(self, kept: Sequence[Tensor]) -> Tensor:
        """(k,) float64: of all rows kept, what the thresholds must not be below."""

    def above(self, count: int) -> int | None:
        """At most so many of `count` inputs are above each threshold; None where the rule does not say."""
        return 0


@dataclass(frozen=True)
class Lite(Rule):
    """The greatest bound of any float32 execution on any input: no training input alarms, whoever executes the network."""

    promise: ClassVar[str] = "no float32 execution alarms on a training input"
    sound: ClassVar[bool] = True

    def keep(self, block: InputBlock, before: Tensor | None, end: float) -> KeptRows:
        """The greatest bound of each neuron."""
        return KeptRows(block.upper.amax(0, keepdim=True))

    def bounds(self, kept: Sequence[Tensor]) -> Tensor:
        """The greatest of all."""
        return torch.cat(tuple(kept)).amax(0)


@dataclass(frozen=True)
class Percentile(Rule):
    """The ceil(q n / 100)-th smallest of a neuron's n bounds: above it lie at most n - ceil(q n / 100) values of any float32 execution.

    Bounds, not values: where many inputs agree, as on a plain background, rounding alone could lift all of them above their exact value.
    Raises InputError E-TABOO-FEW where that is the greatest of them although q is not 100.
    """

    promise: ClassVar[str] = "an order statistic of the training activations: some training inputs alarm by intent"
    q: Fraction
    count: int

    def __post_init__(self) -> None:
        if self.q < 100 and self.above(self.count) == 0:
            raise InputError("E-TABOO-FEW", f"the {exact_text(self.q)}-th percentile of {self.count} activations is their maximum",
                             where="--percentile", hint=f"give at least {ceil(100 / (100 - self.q))} inputs, or a smaller percentile")

    def above(self, count: int) -> int:
        """n - ceil(q n / 100)."""
        return count - ceil(self.q * count / 100)

    def keep(self, block: InputBlock, before: Tensor | None, end: float) -> KeptRows:
        """The highest bounds of the block, as many as may stand up to the threshold."""
        return KeptRows(block.upper.sort(dim=0, descending=True).values[: self.above(self.count) + 1])

    def bounds(self, kept: Sequence[Tensor]) -> Tensor:
        """The order statistic of all."""
        return torch.cat(tuple(kept)).sort(dim=0, descending=True).values[self.above(self.count)]


@dataclass(frozen=True)
class Literal(Rule):
    """The paper's Eq. 3 as printed: the two ends of the per-pixel range of the inputs, each pushed through the signed weights.

    That is the network's own evaluation of two images, each pixel's maximum and each pixel's minimum. Where a weight is negative the
    ends change places, which Eq. 3 ignores: the larger of the two values bounds nothing. For comparison with the paper only.
    """

    promise: ClassVar[str] = "for comparison with the paper only: Eq. 3 with signed weights bounds neither activations nor balls"
    executions: Executions

    def above(self, count: int) -> int | None:
        """Nothing is known of it."""
        return None

    def keep(self, block: InputBlock, before: Tensor | None, end: float) -> KeptRows:
        """Each pixel's greatest and least value."""
        flat = block.inputs.flatten(1)
        return KeptRows(torch.stack((flat.amax(0), flat.amin(0))))

    def bounds(self, kept: Sequence[Tensor]) -> Tensor:
        """The larger value of the two images."""
        ends = torch.stack((torch.stack([one[0] for one in kept]).amax(0), torch.stack([one[1] for one in kept]).amin(0)))
        return self.executions.exact(ends.reshape(2, *self.executions.graph.input.shape)).amax(0)


@dataclass(frozen=True)
class Certified(Rule):
    """The greatest certified upper bound on the balls of radius eps around the inputs, met with the data range; never below `Lite`.

    Sound for every input of every ball, and for every float32 execution of it: no input within eps of a training input alarms.
    """

    promise: ClassVar[str] = "no float32 execution alarms on an input within eps of a training input"
    carries: ClassVar[bool] = True
    sound: ClassVar[bool] = True
    refining: Refining
    eps: Fraction
    clip: tuple[float, float] | None

    def keep(self, block: InputBlock, before: Tensor | None, end: float) -> KeptRows:
        """The greatest bound of each neuron, where it may exceed those of other blocks; else what is known not to."""
        hull = LinfBall(block.inputs, self.eps, self.clip).hull
        inputs = block.upper.amax(0)    # what the inputs themselves reach: no certified bound is below, whatever is certified of balls
        floor = inputs if before is None else torch.maximum(before, inputs)
        found = self.refining.greatest(fed(hull.lower, hull.upper), floor, end)
        return KeptRows(found.upper[None], found.refined, found.open)

    def bounds(self, kept: Sequence[Tensor]) -> Tensor:
        """The greatest of all."""
        return torch.cat(tuple(kept)).amax(0)
