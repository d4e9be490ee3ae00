"""What lies between two networks in a row: shapes and ranges that fit, are made to fit, or are refused.

A generator of images in [-1, 1] before a classifier of images in [0, 1] is a network, too, but not the one that is meant:
nothing is rescaled, and nothing is left as it is, unless someone says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite, prod
from typing import Protocol

import torch
from torch import Tensor

from absint.errors import InputError, UsageError, shown
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Op, Shape
from absint.model.ops.affine import Affine
from absint.model.ops.shape import Reshape
from absint.numeric.interval import Interval
from absint.numeric.outward import next_above
from absint.numeric.rounding import Numerics

Range = tuple[float, float]
UNIT: Range = (0.0, 1.0)        # what a network of images expects, where nobody says otherwise
_SLACK = 2.0**-20               # of the width of a range: ends are told apart beyond it
_FACTOR = Fraction(2)**1000        # beyond it, or below its inverse, a rounding may be more than 2^-53 of a number
_FLAGS = ("--rescale maps the one range to the other (rescale=True in Python), --as-is leaves the values as they are (as_is=True); "
          "--classifier-range LOW,HIGH where the network expects another range")


@dataclass(frozen=True)
class Fit:
    """How values reach the next network: rescaled, or as they are; by default they must fit.

    expects: the range of the next network's input, None where any value will do.
    """

    rescale: bool = False
    as_is: bool = False
    expects: Range | None = UNIT

    def __post_init__(self) -> None:
        if self.expects is not None and not _is_range(self.expects):
            raise UsageError("E-CLIP", f"not a range: {shown(self.expects)}", where="--classifier-range",
                             hint="a pair of numbers, such as (0, 1), or None")
        if self.rescale and self.as_is:
            raise UsageError("E-USAGE", "--rescale and --as-is do not go together", where="--as-is", hint="give one of them")
        if self.rescale and (self.expects is None or not self.expects[0] < self.expects[1]):
            raise UsageError("E-USAGE", "--rescale needs a range to map to", where="--classifier-range", hint="for example 0,1")


class Computed(Protocol):
    """What is looked at of a node (`absint.model.graph.Node`)."""

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def op(self) -> Op:
        """The operator."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes that it reads."""

    @property
    def shape(self) -> Shape:
        """Of its value, without the batch axis."""

    @property
    def closed(self) -> ClosedParts | None:
        """The composite whose expansion ends here."""


class ClosedParts(Protocol):
    """See `absint.model.graph.Closed`."""

    @property
    def op(self) -> Composite:
        """The composite."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes that it reads."""


def joint(given: Shape, wanted: Shape, where: str | None) -> tuple[Op, ...]:
    """What makes the one shape the other: nothing, or the same entries in row-major order.

    Entries keep their order between shapes that differ in axes of size 1 alone, and between a flat one and one of two axes at
    most besides those. Where there are channels, too, a flat order is a choice that nobody has made.
    Raises InputError E-SHAPE.
    """
    if given == wanted:
        return ()
    one, two = (tuple(size for size in shape if size > 1) for shape in (given, wanted))
    if prod(given) == prod(wanted) and (one == two or (min(len(one), len(two)) <= 1 and max(len(one), len(two)) <= 2)):
        return (Reshape(wanted),)
    raise InputError("E-SHAPE", f"an output of shape {given} cannot feed an input of shape {wanted}", where=where,
                     hint="end the first network with the shape that the second one takes" if prod(given) == prod(wanted) else
                     "these are no two networks in a row: the sizes differ")


def fitted(nodes: Sequence[Computed], fit: Fit, where: str) -> tuple[tuple[Op, ...], tuple[str, ...]]:
    """The operators that `fit` puts behind a graph of these nodes, and what to say of them.

    Raises InputError E-COMPOSE-RANGE where the graph's values do not fit and nobody says what becomes of them, or where there
    is no range to rescale.
    """
    if fit.expects is None or (fit.as_is and not fit.rescale):
        return (), (("the values between the two networks are left as they are",) if fit.as_is else ())
    low, high = codomain(nodes)
    slack = _SLACK * max(fit.expects[1] - fit.expects[0], 0.0)
    within = fit.expects[0] - slack <= low and high <= fit.expects[1] + slack
    if not fit.rescale:
        if within:
            return (), ()
        raise InputError("E-COMPOSE-RANGE", f"the first network's values lie in {_shown((low, high))}, the second one expects "
                         f"{_shown(fit.expects)}", where=where or None, hint=_FLAGS)
    if not (isfinite(low) and isfinite(high) and low < high):
        raise InputError("E-COMPOSE-RANGE", f"the first network's values lie in {_shown((low, high))}: there is no range to rescale",
                         where=where or None, hint="--as-is leaves them as they are (as_is=True in Python); or end the first network "
                         "with a function of bounded range")
    if abs(low - fit.expects[0]) <= slack and abs(high - fit.expects[1]) <= slack:
        return (), ()
    affine = _affine((low, high), fit.expects)
    if affine is None:
        raise InputError("E-COMPOSE-RANGE", f"mapping {_shown((low, high))} to {_shown(fit.expects)} leaves the normal numbers of float64",
                         where=where or None,
                         hint="--classifier-range states a range of about the size of the values (classifier_range= in Python)")
    return (affine,), (f"values in {_shown((low, high))} are mapped to {_shown(fit.expects)} between the two networks",)


def codomain(nodes: Sequence[Computed]) -> Range:
    """The range of the last node's values over all inputs there are, infinite where none is known; a hint, not rounded outward.

    Every operator states its own; linear ones map boxes to boxes.
    """
    boxes: dict[str, Interval] = {}
    num = Numerics()
    with torch.no_grad():
        for node in nodes:
            inputs = tuple(boxes[name] for name in node.inputs)
            box = _image(node, inputs, num)
            if node.closed is not None:
                closed = node.closed.op.enclosure(tuple(boxes[name] for name in node.closed.inputs), num)
                box = box if closed is None else box.meet(closed)
            boxes[node.name] = box
    low, high = float(boxes[nodes[-1].name].lower.min()), float(boxes[nodes[-1].name].upper.max())
    return _plain(low), _plain(high)


def _image(node: Computed, inputs: tuple[Interval, ...], num: Numerics) -> Interval:
    unknown = torch.full((1, *node.shape), inf, dtype=torch.float64)
    if not inputs:
        return Interval(-unknown, unknown)
    if isinstance(node.op, Linear):
        lower, upper = _linear(node.op, inputs)
    elif isinstance(node.op, Nonlinear):
        image = node.op.range(inputs, num)
        lower, upper = image.lower, image.upper
    else:
        return Interval(-unknown, unknown)
    return Interval(torch.nan_to_num(lower, nan=-inf, posinf=inf, neginf=-inf), torch.nan_to_num(upper, nan=inf, posinf=inf, neginf=-inf))


def _linear(op: Linear, inputs: tuple[Interval, ...]) -> tuple[Tensor, Tensor]:
    """Entries that are only moved keep their own ends; a sum with an unbounded summand is unbounded."""
    if op.exact:
        return op.apply(*(box.lower for box in inputs)), op.apply(*(box.upper for box in inputs))
    infinite = [~(box.lower.isfinite() & box.upper.isfinite()) for box in inputs]
    ends = [(torch.where(k, 0.0, box.lower), torch.where(k, 0.0, box.upper)) for k, box in zip(infinite, inputs, strict=True)]
    middle = op.forward(*((low + high) / 2 for low, high in ends))
    radius = op.apply_abs(*((high - low) / 2 for low, high in ends))
    reached = op.apply_abs(*(k.double() for k in infinite)) > 0
    radius = torch.where(reached, inf, radius)
    return middle - radius, middle + radius


def _plain(end: float) -> float:
    """Without the last digits, which outward rounding made: a float32 number where that is near enough."""
    near = float(torch.tensor(end, dtype=torch.float32))
    return near if isfinite(near) and abs(near - end) <= 2.0**-40 * abs(end) + 1e-30 else end


def _affine(given: Range, wanted: Range) -> Affine | None:
    """x -> a + (b - a) (x - low) / (high - low) as one operator; what its constants err by is carried along.

    None where a constant is so large, or so small, that its error is not in proportion to it.
    """
    low, high, a, b = map(Fraction, (*given, *wanted))
    scale = (b - a) / (high - low)
    shift = a - low * scale
    if not (1 / _FACTOR <= scale <= _FACTOR and abs(shift) <= _FACTOR):
        return None
    error = abs(shift - Fraction(float(shift)))
    return Affine(
        scale=torch.tensor(float(scale), dtype=torch.float64), shift=torch.tensor(float(shift), dtype=torch.float64),
        weight_terms=int(Fraction(float(scale)) != scale),
        shift_error=torch.tensor(next_above(float(error)), dtype=torch.float64) if error else None,
    )


def _is_range(value: object) -> bool:
    if not (isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value)):
        return False
    return isfinite(value[0]) and isfinite(value[1]) and bool(value[0] <= value[1])


def _shown(ends: Range) -> str:
    """As intervals are written: an infinite end is open."""
    return f"{'(' if ends[0] == -inf else '['}{ends[0]:g}, {ends[1]:g}{')' if ends[1] == inf else ']'}"
