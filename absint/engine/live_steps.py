"""Box steps of a network whose parameters are live, without rounding: what a training step back-propagates through.

The same intervals as the engine's own step, as centres and radii: a linear operator takes and gives these, and an increasing function
keeps nothing for its gradient but the centre and radius of its image, which the next linear operator keeps anyway. Ends are computed
where they are asked for. What is not a number stays so, because a loss has to show it. Nothing here is a proof; what is reported of a
trained network is bounded again.
Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from absint.engine.context import Context
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.families.real_function import RealFunction
from absint.model.graph import Node
from absint.numeric.interval import Interval


class Centred(Interval):
    """All within `reach` of `center`, entry by entry: (batch, ...) each; reach >= 0 or not a number."""

    center: Tensor
    reach: Tensor

    def __init__(self, center: Tensor, reach: Tensor) -> None:
        for name, value in (("center", center), ("reach", reach), ("solver", None), ("slack", None), ("proper", True)):
            object.__setattr__(self, name, value)

    @cached_property
    def lower(self) -> Tensor:
        """center - reach."""
        return self.center - self.reach

    @cached_property
    def upper(self) -> Tensor:
        """center + reach."""
        return self.center + self.reach

    @property
    def width(self) -> Tensor:
        """2 reach."""
        return self.reach * 2.0


def centred(interval: Interval) -> Centred:
    """The same interval by its centre and radius."""
    if isinstance(interval, Centred):
        return interval
    center = torch.lerp(interval.lower, interval.upper, 0.5)
    return Centred(center, interval.upper - center)


def applies(ctx: Context) -> bool:
    """Whether the bounds of this walk are a training step's."""
    return ctx.graph.live and not ctx.numerics.rounding


def live_step(node: Node, ctx: Context) -> Interval:
    """One interval step from `known`."""
    op, inputs = node.op, ctx.inputs(node.inputs)
    if isinstance(op, RealFunction) and op.increasing:
        if op.slope_by_image:
            one = centred(inputs[0])
            return Centred(*_Increasing.apply(one.center, one.reach, op))  # type: ignore[no-untyped-call]
        return Interval(op.evaluate(inputs[0].lower), op.evaluate(inputs[0].upper), proper=True)
    if isinstance(op, Nonlinear):
        return op.range(inputs, ctx.numerics)
    assert isinstance(op, Linear)
    if op.exact and not all(isinstance(i, Centred) for i in inputs):
        return Interval(op.apply(*(i.lower for i in inputs)), op.apply(*(i.upper for i in inputs)), proper=True)
    pairs = [centred(i) for i in inputs]
    return Centred(op.forward(*(i.center for i in pairs)), op.apply_abs(*(i.reach for i in pairs)))


class _Increasing(torch.autograd.Function):
    """Centre and radius through an increasing function whose slope its image tells.

    Both ends are exact in what is kept: where the lower end's image is 0, centre and radius are the same half of the upper one's.
    """

    @staticmethod
    def forward(ctx: Any, center: Tensor, reach: Tensor, op: RealFunction) -> tuple[Tensor, Tensor]:
        upper, lower = op.evaluate(center + reach), op.evaluate(center - reach)
        middle = torch.lerp(lower, upper, 0.5)
        half = upper.sub_(middle)
        ctx.save_for_backward(middle, half)
        ctx.op = op
        return middle, half

    @staticmethod
    def backward(ctx: Any, to_center: Tensor, to_reach: Tensor) -> tuple[Tensor, Tensor, None]:
        middle, half = ctx.saved_tensors
        # One end after the other: this is where a step needs the most memory.
        above = _weighted(to_center + to_reach, ctx.op.derivative(middle.detach() + half))
        below = _weighted(to_center - to_reach, ctx.op.derivative(middle.detach() - half))
        mean = torch.lerp(below, above, 0.5)
        return mean, above - mean if torch.is_grad_enabled() else above.sub_(mean), None


def _weighted(value: Tensor, weight: Tensor) -> Tensor:
    """value * weight; value is not needed any more."""
    return value * weight if torch.is_grad_enabled() else value.mul_(weight)
