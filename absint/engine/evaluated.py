"""Many points through a network at once, in float64, with one bound on what all of them err by.

A box step costs three products of a network's size for every point. What rounding does to a batch of points is bounded here by one walk
beside them: of every entry the greatest value and the greatest error of any point, as if of one more point. So a batch costs little more
than the bare passes, and the bound is as good as a box step's wherever rounding errors are small beside the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.families.real_function import RealFunction, kernel_error
from absint.model.graph import Graph
from absint.model.op import Input
from absint.numeric.interval import Interval
from absint.numeric.outward import down, up
from absint.numeric.rounding import Numerics, gamma, no_lower, no_upper, smallest_normal

_FORMAT = torch.float64
_FLOOR = smallest_normal(_FORMAT)
_LARGE = 2.0**960    # an error of less is at least 2^-53 of the sum of absolute values, so that this is far from the largest number


@dataclass(frozen=True, eq=False)
class Evaluated:
    """value: (n, *shape) float64, n > 0.  error: (1, *shape), how far any of them may be from the exact one; inf: nothing is known."""

    value: Tensor
    error: Tensor

    @cached_property
    def size(self) -> Tensor:
        """(1, *shape): the greatest |value|; NaN where one is."""
        return torch.maximum(self.value.amax(0, keepdim=True).abs(), self.value.amin(0, keepdim=True).abs())   # `aminmax` is slower

    @property
    def lower(self) -> Tensor:
        """(n, *shape), of the exact values; -inf where nothing is known."""
        return no_lower(down(self.value - self.error))

    @property
    def upper(self) -> Tensor:
        """The mirror image."""
        return no_upper(up(self.value + self.error))


def evaluated(graph: Graph, points: Tensor) -> Evaluated:
    """The exact-real network's output at each point, up to an error. points: (n, *input shape) float64, n > 0, in numeric mode.

    Sound: |value - f(point)| <= error for every point. A linear node passes |L| e on, and its own rounding is at most gamma_k of
    |L||x| + |b| with the greatest |x| of the batch (Higham 2002, section 3.1; docs/soundness.md, "Box"); a function with a Lipschitz
    constant L passes L e on and adds its kernel's error; any other node is enclosed over [x - e, x + e], point by point.
    """
    values: dict[str, Evaluated] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            found = Evaluated(points, torch.zeros_like(points[:1]))
        else:
            inputs = [values[name] for name in node.inputs]
            if isinstance(node.op, Linear):
                found = _linear(node.op, inputs)
            else:
                assert isinstance(node.op, Nonlinear)
                found = _nonlinear(node.op, inputs)
        values[node.name] = found
        for name in set(node.inputs):
            if graph.last_use[name] == node.name and name != graph.output.name:
                del values[name]
    return values[graph.output.name]


def _linear(op: Linear, inputs: list[Evaluated]) -> Evaluated:
    value = op.forward(*(one.value for one in inputs))
    if op.exact:
        return Evaluated(value, _known(op.apply_abs(*(one.error for one in inputs))))
    g = gamma(op.forward_terms + 4, _FORMAT)
    # The floor inside of |L| is what underflows in the products, here and in the bounds themselves.
    error = op.apply_abs(*(one.error + one.size * g + 4 * _FLOOR for one in inputs))
    if op.offset is not None:
        error = error + op.constant("offset", error, absolute=True) * g
    # Some partial sum may have overflowed, although the exact one is a number: then the value is nothing to be near to.
    error = torch.where(error < _LARGE, error, inf)
    error = error * (1 + 4 * g) + 8 * op.forward_terms * _FLOOR
    if op.offset_error is not None:
        error = error + op.constant("offset_error", error) * (1 + g)
    return Evaluated(value, _known(up(error)))


def _nonlinear(op: Nonlinear, inputs: list[Evaluated]) -> Evaluated:
    if isinstance(op, RealFunction) and op.lipschitz is not None:
        made = Evaluated(op.forward(inputs[0].value), inputs[0].error)
        carried = inputs[0].error * (op.lipschitz * (1 + 4 * gamma(1, _FORMAT))) + 2 * _FLOOR
        exact = op.error.ulps == op.error.absolute == 0
        own = torch.zeros_like(carried) if exact else up(kernel_error(op.error, made.size, Numerics()))
        return Evaluated(made.value, _known(up(carried + own)))
    intervals = tuple(Interval(one.value, one.value, proper=True) if not bool(one.error.any()) else Interval(one.lower, one.upper)
                      for one in inputs)
    image = op.range(intervals, Numerics())
    middle = image.lower / 2 + image.upper / 2
    reach = torch.maximum(image.upper - middle, middle - image.lower).amax(0, keepdim=True)
    return Evaluated(middle, _known(up(reach)))


def _known(error: Tensor) -> Tensor:
    """What is no number bounds nothing."""
    return torch.nan_to_num(error, nan=inf, posinf=inf)
