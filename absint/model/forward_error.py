"""What an execution of a network may err by, followed along one concrete evaluation of its graph.

Beside every value stands a bound on how far a conforming execution in the model's own format may be from it, entry by entry
(section 5 of the design; Higham 2002, section 3.3, running error analysis). A linear node passes |L| e on and adds
gamma_{n+2}(|L||x| + |b|); any other node is enclosed over [x - e, x + e] by its own range, so that beside a knot or a jump
both neighbouring values are within the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Op
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, gamma, smallest_normal, unit_roundoff

# Kernels of which nothing is stated (`execution` None, or a coefficient that executions compute in a way of their own) are
# taken to be this precise: 2^-14 of the result is 500 times the worst measured, and far below a slope wrong by 1 %.
ALLOWANCE = 2.0**-14
# Bounds of rounding errors are met this many times over at most: once by the runtime, once by the evaluation here, and twice
# because they are computed in the same format.
FACTOR = 4.0


@dataclass(frozen=True, eq=False)
class Followed:
    """value: (batch, *shape), computed here.  error: same shape, how far an execution may be from it; None for exactly 0.

    format: the narrowest that the execution has stored it in so far.
    """

    value: Tensor
    error: Tensor | None
    format: torch.dtype

    @property
    def interval(self) -> Interval:
        """All that an execution may have here."""
        if self.error is None:
            return Interval(self.value, self.value, proper=True)
        return Interval(torch.nan_to_num(self.value - self.error, nan=-inf), torch.nan_to_num(self.value + self.error, nan=inf))


def narrowest(formats: Sequence[torch.dtype]) -> torch.dtype:
    """The format of the largest unit roundoff."""
    return max(formats, key=unit_roundoff)


def follow(op: Op, inputs: Sequence[Followed], stored: torch.dtype | None = None) -> Followed:
    """One operator on what was followed so far. stored: the execution's format of the result, where it is known."""
    formats = [i.format for i in inputs] + ([] if stored is None else [stored])
    fmt = narrowest(formats)
    value = op.forward(*(i.value for i in inputs))
    if isinstance(op, Linear):
        error = _linear(op, inputs, fmt)
    else:
        assert isinstance(op, Nonlinear)
        error = _nonlinear(op, inputs, value, fmt)
    return Followed(value, _or_overflow(value, error, fmt), fmt)


def _or_overflow(value: Tensor, error: Tensor | None, fmt: torch.dtype) -> Tensor | None:
    """Nothing is known of entries that an execution may not be able to hold."""
    limit = torch.finfo(fmt).max / 16
    low, high = value.aminmax()
    if -limit <= float(low) and float(high) <= limit:
        return error
    large = ~(value.abs() <= limit)
    return torch.where(large, inf, torch.zeros_like(value) if error is None else error)


def _linear(op: Linear, inputs: Sequence[Followed], fmt: torch.dtype) -> Tensor | None:
    if op.exact:
        if all(i.error is None for i in inputs):
            return None
        return op.apply_abs(*(torch.zeros_like(i.value) if i.error is None else i.error for i in inputs))
    g = _gamma(op.execution_terms + 2, fmt)
    parts = [i.value.abs().mul_(g) if i.error is None else (i.error * (1 + g)).add_(i.value.abs(), alpha=g) for i in inputs]
    error = op.apply_magnitude(*parts)
    scale = op.execution_scale
    # A sum of its own, since what a product returns may be a view of one of the parts; the others are added in place.
    error = error + 2 * op.execution_terms * smallest_normal(fmt) * (1.0 if scale == inf else max(1.0, scale))
    if op.offset_magnitude is not None:
        error += op.constant("offset_magnitude", error) * g
    if op.offset_error is not None:
        error += op.constant("offset_error", error)
    if scale == inf:
        largest = torch.stack([i.value.abs().flatten(1).amax(1) for i in inputs]).amax(0)
        error += ALLOWANCE * largest.reshape(-1, *(1,) * (error.dim() - 1))
    return error


def _gamma(terms: float, fmt: torch.dtype) -> float:
    """gamma; infinite where so many terms in so narrow a format have no bound."""
    return gamma(terms, fmt) if terms * unit_roundoff(fmt) < 0.5 else inf


def _nonlinear(op: Nonlinear, inputs: Sequence[Followed], value: Tensor, fmt: torch.dtype) -> Tensor | None:
    num = Numerics(value.dtype, value.dtype)
    image = op.range(tuple(i.interval for i in inputs), num)
    reach = torch.nan_to_num(torch.maximum(image.upper - value, value - image.lower), nan=inf, posinf=inf).clamp(min=0)
    error = op.execution_error(image, num)
    if error is None:  # exact in every format
        return reach
    allowed = image.magnitude * ALLOWANCE + ALLOWANCE / 16
    error = torch.where(error == inf, allowed, error)
    wider = unit_roundoff(fmt) / unit_roundoff(torch.float32)
    return reach + error * max(1.0, wider) + smallest_normal(fmt)


def accepted(here: Followed, theirs: Tensor, stored: torch.dtype) -> tuple[Tensor, Tensor, bool]:
    """Bounds on the deviations that rounding explains, the deviations, and whether all are within. stored: theirs' format.

    A bound is infinite where nothing is known of an entry: the value, or an execution's, may not be finite there.
    """
    ours = here.value
    allowed = ours.abs().mul_(2 * unit_roundoff(stored)).add_(smallest_normal(stored))
    if here.error is not None:
        allowed.add_(here.error, alpha=FACTOR)
    deviation = (ours - theirs).abs_()
    if bool((deviation <= allowed).all()):  # nothing is NaN
        return allowed, deviation, True
    error = torch.zeros_like(ours) if here.error is None else here.error
    unknown = ~ours.isfinite() | error.isnan() | (ours.abs() + error > torch.finfo(stored).max / 2)
    allowed = torch.where(unknown, inf, allowed)
    deviation = torch.where((ours == theirs) | (ours.isnan() & theirs.isnan()), 0.0, deviation)
    deviation = torch.where(deviation.isnan(), torch.where(unknown, 0.0, inf), deviation)
    return allowed, deviation, bool((deviation <= allowed).all())
