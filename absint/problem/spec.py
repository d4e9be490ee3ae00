"""Output properties: what must be proved, as rows with their own weights per instance.

A property is given by its negation in disjunctive normal form: the unsafe set is a union of disjuncts, each the
conjunction of rows  weight . y + bias <= 0  (or < 0 where the row is strict).  A disjunct is refuted once one of its
rows is proved positive, or a strict one not negative; the property is verified once every disjunct is refuted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.errors import InputError, UsageError
from absint.numeric.short_repr import short_repr
from absint.problem.trusted import trusted
from absint.problem.whereabouts import check_together

# What a bound of 0 on a strict row counts as: refuted, by next to nothing. A normal number in every format.
ATTAINED = 2.0**-126


@dataclass(frozen=True, eq=False)
class Spec:
    """Rows of the unsafe set's disjuncts.

    weight: (batch, rows, outputs) float64.  bias: (batch, rows) float64.  disjunct: (rows,) int64, the disjunct each row
    belongs to.  strict: (rows,) bool, True where the unsafe row is `< 0`.  Numbers are taken as exact.
    """

    __repr__ = short_repr

    weight: Tensor
    bias: Tensor
    disjunct: Tensor
    strict: Tensor
    text: str = ""

    def __post_init__(self) -> None:
        check_together("E-SPEC", weight=self.weight, bias=self.bias, disjunct=self.disjunct, strict=self.strict)
        batch, rows, _ = self.weight.shape
        if self.bias.shape != (batch, rows) or self.disjunct.shape != (rows,) or self.strict.shape != (rows,):
            raise InputError("E-SPEC", f"weight {tuple(self.weight.shape)}, bias {tuple(self.bias.shape)} and "
                             f"disjunct {tuple(self.disjunct.shape)} do not fit together")
        if not bool(self.weight.isfinite().all() and self.bias.isfinite().all()):
            raise InputError("E-SPEC", "the property has NaN or infinite coefficients")

    @cached_property
    def disjuncts(self) -> int:
        """Number of disjuncts."""
        return int(self.disjunct.max()) + 1 if len(self.disjunct) else 0

    def take(self, index: Tensor) -> Spec:
        """Instances `index`."""
        return self._same_rows(self.weight[index], self.bias[index], self.disjunct, self.strict)

    def to(self, device: torch.device) -> Spec:
        """On another device."""
        if self.weight.device == device:
            return self
        return self._same_rows(self.weight.to(device), self.bias.to(device), self.disjunct.to(device), self.strict.to(device))

    def _same_rows(self, weight: Tensor, bias: Tensor, disjunct: Tensor, strict: Tensor) -> Spec:
        """Other instances, or another device: the numbers were checked, the disjuncts counted."""
        return trusted(Spec, weight=weight, bias=bias, disjunct=disjunct, strict=strict, text=self.text, disjuncts=self.disjuncts)

    def refutation(self, lower: Tensor) -> Tensor:
        """(batch, rows) certified lower bounds of the rows -> (batch, disjuncts): the best row of each disjunct.

        A disjunct is refuted exactly where the result is > 0: a strict row with a bound of 0 counts as `ATTAINED`.
        """
        out = lower.new_full((len(lower), self.disjuncts), -inf)
        index = self.disjunct.expand_as(lower)
        lower = torch.nan_to_num(lower, nan=-inf, neginf=-inf, posinf=inf)
        return out.scatter_reduce(1, index, attained(lower, self.strict.to(lower.device)), "amax")

    def margin(self, lower: Tensor) -> Tensor:
        """(batch,): certified margin; the property is proved where it is > 0. An empty unsafe set has margin +inf."""
        best = self.refutation(lower)
        return best.amin(1) if best.shape[1] else best.new_full((len(lower),), inf)

    def values(self, outputs: Tensor) -> Tensor:
        """(batch, rows): weight . y + bias at concrete outputs (batch, *shape), in float64, not rounded outward."""
        return torch.einsum("brn,bn->br", self.weight, outputs.flatten(1).double()) + self.bias

    def violated_exactly(self, instance: int, output: np.ndarray) -> bool:
        """Whether the exact real output (flat float64) lies in the unsafe set; rationals throughout."""
        return self.unsafe(instance, [Fraction(float(v)) for v in output.reshape(-1)])

    def unsafe(self, instance: int, output: Sequence[Fraction]) -> bool:
        """Whether an output (flat) lies in the unsafe set, exactly."""
        hit = dict.fromkeys(range(self.disjuncts), True)
        weight, bias = self.weight[instance].cpu(), self.bias[instance].tolist()
        for row, (d, strict) in enumerate(zip(self.disjunct.tolist(), self.strict.tolist(), strict=True)):
            value = Fraction(bias[row])
            for k in weight[row].nonzero().flatten().tolist():
                value += Fraction(float(weight[row, k])) * output[k]
            hit[d] &= value < 0 if strict else value <= 0
        return any(hit.values())

    @staticmethod
    def robust(labels: Tensor, classes: int) -> Spec:
        """Untargeted: for every other class j,  y[label] - y[j] > 0. Ties count as violations.

        labels: (batch,) int64. Raises InputError E-LABEL naming labels outside 0..classes-1.
        """
        Spec.check_labels(labels, classes)
        batch = len(labels)
        others = torch.arange(classes, device=labels.device).expand(batch, -1)
        others = others[others != labels[:, None]].reshape(batch, classes - 1)
        weight = torch.zeros(batch, classes - 1, classes, dtype=torch.float64, device=labels.device)
        weight.scatter_(2, others[:, :, None], -1.0)
        weight.scatter_add_(2, labels[:, None, None].expand(-1, classes - 1, 1),
                            torch.ones(batch, classes - 1, 1, dtype=torch.float64, device=labels.device))
        return _each_its_own(weight, "y[label] > y[j] for every other class j")

    @staticmethod
    def targeted(labels: Tensor, targets: Tensor, classes: int) -> Spec:
        """Targeted: y[label] - y[target] > 0. labels, targets: (batch,) int64, different in every instance."""
        Spec.check_labels(labels, classes)
        Spec.check_labels(targets, classes)
        if bool((labels == targets).any()):
            same = (labels == targets).nonzero().flatten().tolist()
            raise InputError("E-LABEL", "a target equals the true label", where="targets",
                             details=[f"instance {i}: class {int(labels[i])}" for i in same[:5]], hint="a target must be another class")
        weight = torch.zeros(len(labels), 1, classes, dtype=torch.float64, device=labels.device)
        weight.scatter_(2, labels[:, None, None], 1.0)
        weight.scatter_(2, targets[:, None, None], -1.0)
        return _each_its_own(weight, "y[label] > y[target]")

    @staticmethod
    def check_labels(labels: Tensor, classes: int) -> None:
        """Raise InputError E-LABEL naming the labels outside 0..classes-1."""
        bad = ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist()
        if bad:
            shown = [f"instance {i}: label {int(labels[i])}" for i in bad[:5]]
            raise InputError("E-LABEL", f"{len(bad)} of {labels.numel()} labels are not in 0..{classes - 1}", where="labels", details=shown,
                             hint="check the label column, or the network's number of outputs")

    @staticmethod
    def rows(weight: Tensor, bias: Tensor, disjunct: Tensor | None = None, strict: Tensor | None = None) -> Spec:
        """From given unsafe rows; by default every row is a disjunct of its own and not strict.

        weight: (batch, rows, outputs), bias: (batch, rows).
        """
        count = weight.shape[1]
        disjunct = torch.arange(count, device=weight.device) if disjunct is None else disjunct
        strict = torch.zeros(count, dtype=torch.bool, device=weight.device) if strict is None else strict
        if count and sorted(set(disjunct.tolist())) != list(range(int(disjunct.max()) + 1)):
            raise UsageError("E-SPEC", "disjuncts must be numbered 0, 1, 2, ... without gaps")
        return Spec(weight.double(), bias.double(), disjunct, strict)


def attained(lower: Tensor, strict: Tensor) -> Tensor:
    """Bounds of rows where > 0 means refuted: those of strict rows that are not negative are `ATTAINED` at least."""
    return torch.where(strict & (lower >= 0), lower.clamp(min=ATTAINED), lower)


@dataclass(frozen=True, eq=False)
class Refutation:
    """What is proved of whole disjuncts, and what was seen on the way.

    lower: (batch, disjuncts) sound lower bounds of a disjunct's greatest row; -inf where none is known. A positive one refutes it.
    claimed: the same where a solver's word counts, or None.  points: (batch, *input) float64, inputs that seem to violate the
    property, NaN where there is none; candidates, no more.  late: (batch,) bool, instances that time left open; None for none.
    notes: (position in the batch, what went wrong), for the user.  limits: (position, which limit of the method's own ended it).
    """

    lower: Tensor
    claimed: Tensor | None = None
    points: Tensor | None = None
    late: Tensor | None = None
    notes: tuple[tuple[int, str], ...] = ()
    limits: tuple[tuple[int, str], ...] = ()

    def take(self, index: Tensor) -> Refutation:
        """Positions `index` (k,) int64 on the CPU, without repeats."""
        place = {int(old): new for new, old in enumerate(index.tolist())}

        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[index.to(values.device)]

        def told(texts: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
            return tuple((place[k], text) for k, text in texts if k in place)

        return Refutation(self.lower[index.to(self.lower.device)], pick(self.claimed), pick(self.points), pick(self.late),
                          told(self.notes), told(self.limits))

    def joined(self, other: Refutation) -> Refutation:
        """The better of both, disjunct by disjunct; points of the first that has one; open by a limit where both are."""
        claimed = _either(self.claimed, other.claimed, torch.fmax)
        points = _either(self.points, other.points, lambda one, two: torch.where(one.isnan(), two, one))
        late = _either(self.late, other.late, torch.logical_and)
        lower = torch.fmax(self.lower, other.lower.to(self.lower.device))
        return Refutation(lower, claimed, points, late, self.notes + other.notes, self.limits + other.limits)


def _either(one: Tensor | None, two: Tensor | None, both: Callable[[Tensor, Tensor], Tensor]) -> Tensor | None:
    return two if one is None else one if two is None else both(one, two.to(one.device))


def _each_its_own(weight: Tensor, text: str) -> Spec:
    count = weight.shape[1]
    return Spec(weight, weight.new_zeros(weight.shape[:2]), torch.arange(count, device=weight.device),
                torch.zeros(count, dtype=torch.bool, device=weight.device), text)
