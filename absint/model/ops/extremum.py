"""Max, Min, Sum and Mean of several tensors, computed or constant, broadcast against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.families.rational_linear import image, reciprocals
from absint.model.op import OnnxNode, Op, Shape, register_import, unerring
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Plan, assembled, broadcast, moved, steps
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Identity
from absint.model.shapes import held
from absint.numeric.rational import Rationals
from absint.numeric.rounding import gamma


@dataclass(frozen=True, eq=False)
class Total(Linear):
    """y = weight (x1 + ... + xk) + shift for tensors of one shape; weight None means 1.

    weight: 0-dimensional, rounded once.  shift_error, shift_magnitude: as `Linear` has them for the offset.
    addends: how many numbers the original network adds up, constants included.
    """

    addends: int
    weight: Tensor | None = None
    shift: Tensor | None = None
    shift_error: Tensor | None = None
    shift_magnitude: Tensor | None = None
    arity = None

    @property
    def execution_scale(self) -> float:
        """A mean is a sum before it is divided."""
        return 1.0 if self.weight is None else float(self.addends)

    @property
    def forward_terms(self) -> int:
        """The sum; for a mean one product with a reciprocal that was rounded, then cast."""
        return self.addends + (0 if self.weight is None else 3)

    @property
    def adjoint_terms(self) -> int:
        """One product with the weight."""
        return 1 if self.weight is None else 3

    @property
    def offset(self) -> Tensor | None:
        """The constants' sum."""
        return self.shift

    @property
    def offset_error(self) -> Tensor | None:
        """Error of the shift."""
        return self.shift_error

    @property
    def offset_magnitude(self) -> Tensor | None:
        """The constants' magnitudes, which may cancel."""
        return super().offset_magnitude if self.shift_magnitude is None else self.shift_magnitude

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        if len(set(shapes)) != 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} differ")
        return shapes[0]

    def apply(self, *xs: Tensor) -> Tensor:
        """The weighted sum."""
        total = reduce(torch.add, xs)
        return total if self.weight is None else total * self.constant("weight", total)

    apply_abs = apply

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The sum; a mean divides by the very count."""
        if not unerring(self.shift_error):
            return None
        return image(self, xs) if self.weight is None else image(self, xs, reciprocals)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The same rows for every input."""
        back = y if self.weight is None else y * self.constant("weight", y)
        return (back,) * len(shapes)


@register_import("Sum", "Mean")
def total_from_onnx(node: OnnxNode) -> Op:
    """Linear in the computed tensors; the constants' sum is the offset."""
    inputs = range(len(node.shapes))
    sources, places = broadcast(node, inputs)
    computed = [k for k in inputs if node.constant(k) is None]
    moves = tuple(tuple(o for o in (spread(node, k, places[k], sources),) if not isinstance(o, Identity)) for k in computed)
    mean = node.op_type == "Mean" and len(inputs) > 1
    weight = torch.tensor(1 / len(inputs), dtype=torch.float64) if mean else None
    values = values_of(sources)
    constants = [values[places[k]] for k in inputs if node.constant(k) is not None]
    if not constants:
        return Plan(moves, (Total(len(inputs), weight),))
    factor = 1.0 if weight is None else float(weight)
    magnitude = torch.stack(constants).abs().sum(0) * factor
    exact = len(constants) == 1 and weight is None
    error = None if exact else magnitude * gamma(len(inputs) + 4, torch.float64)
    return Plan(moves, (Total(len(inputs), weight, torch.stack(constants).sum(0) * factor, error, magnitude),))


def values_of(sources: Sequence[Tensor | Shape]) -> Tensor:
    """The constants among the sources, flattened and joined, with zeros for computed entries."""
    parts = (s.double().reshape(-1) if isinstance(s, Tensor) else torch.zeros(prod(s), dtype=torch.float64) for s in sources)
    return torch.cat(list(parts))


def spread(node: OnnxNode, position: int, places: Tensor, sources: list[Tensor | Shape]) -> Op:
    """One computed input in the shape of the result."""
    before = sum(s.numel() if isinstance(s, Tensor) else prod(s) for s in sources[:position])
    return moved(places - before, node.unbatched(position))


def spread_each(node: OnnxNode, *last: Op) -> Op:
    """Two or more computed inputs broadcast against each other, then operators of which the first takes them all."""
    inputs = range(len(node.shapes))
    sources, places = broadcast(node, inputs)
    parts = [spread(node, k, places[k], sources) for k in inputs]
    if len(last) == 1 and all(isinstance(part, Identity) for part in parts):
        return last[0]
    return Plan(tuple(() if isinstance(p, Identity) else (p,) for p in parts), last)


# Beyond, x - c would lose x; and nets that clamp with the largest float mean no clamp at all.
_SHIFT_LIMIT = 2.0**20


@register_import("Max", "Min")
def extremum_from_onnx(node: OnnxNode) -> Op:
    """Of one tensor and constants: max(x, c) = c + relu(x - c), tight in every domain. Else a Maximum; min(x) = -max(-x)."""
    inputs = range(len(node.shapes))
    sources, places = broadcast(node, inputs)
    computed = [k for k in inputs if node.constant(k) is None]
    if len(inputs) == 1:
        return Identity()
    sign = 1.0 if node.op_type == "Max" else -1.0
    flip: tuple[Op, ...] = () if sign > 0 else (Affine(-torch.ones((), dtype=torch.float64)),)
    if len(computed) == 1:
        values = values_of(sources)
        rest = sign * torch.stack([sign * values[places[k]] for k in inputs if k != computed[0]]).amax(0)
        if float(rest.abs().max()) <= _SHIFT_LIMIT:
            first = spread(node, computed[0], places[computed[0]], sources)
            return steps(first, Affine(shift=-rest), *flip, Relu(), *flip, Affine(shift=rest))
    stack = assembled(sources, torch.stack([places[k].reshape(held(tuple(places[k].shape))) for k in inputs], -1))
    if not flip:
        return Plan(((),) * len(computed), (stack, Maximum()))
    return Plan(((),) * len(computed), (stack, *flip, Maximum(), *flip))
