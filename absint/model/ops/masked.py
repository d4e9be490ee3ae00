"""Softmax behind a mask: entries that a constant mask sets to minus infinity take no part, and get nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.op import Shape
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble
from absint.model.ops.exponential import Exp
from absint.model.ops.log_sum_exp import LogSumExp
from absint.model.ops.normalise import log_of_one_plus_sum
from absint.model.ops.product import Build
from absint.model.ops.shape import Transpose
from absint.model.ops.sum import Sum
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_upper


@dataclass(frozen=True, eq=False)
class MaskedSoftmax(Composite):
    """softmax(x + m) along one axis for m = -inf where `hidden`, 0 elsewhere: 1 / sum_{j visible} exp(x_j - x_i), and 0 where hidden.

    hidden: bool, broadcast to the shape without batch; no row may be hidden whole (its softmax is not defined).
    What x is where it is hidden does not matter, as long as it is a number.
    Source: as `Softmax`; exp(-inf) = 0 is what the runtime adds for a hidden entry, exactly.
    """

    axis: int
    hidden: Tensor

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        (shape,) = shapes
        try:
            fits = torch.broadcast_shapes(self.hidden.shape, shape) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"a mask of shape {tuple(self.hidden.shape)} does not broadcast to {shape}")
        if bool(self.hidden.expand(shape).all(self.axis).any()):
            raise ValueError("a row of the softmax is masked whole")
        return shape

    def forward(self, *xs: Tensor) -> Tensor:
        """By torch's stable kernel."""
        return torch.softmax(xs[0].masked_fill(self.placed("hidden", xs[0]), -inf), self.axis + 1)

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """As that of a softmax of the visible entries: falls in every other visible x_j and rises in x_i; 0 where hidden."""
        (box,) = intervals
        exact, axis = replace(num, vector=torch.float64), self.axis + 1
        low, high = (end.detach().double().movedim(axis, -1) for end in (box.lower, box.upper))
        hidden = self.placed("hidden", low).expand(box.lower.shape[1:]).movedim(self.axis, -1)
        least, most = log_of_one_plus_sum(low, high, exact, hidden)
        one, two = (Exp().range((Interval(-end, -end),), exact) for end in (most, least))
        lower, upper = (torch.where(hidden, 0.0, end) for end in (no_lower(one.lower), no_upper(two.upper).clamp(max=1.0)))
        return Interval(lower.movedim(-1, axis), upper.movedim(-1, axis)).to(num.vector)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Along the last axis: differences of visible pairs, as a softmax of them, and zeros for what is hidden."""
        shape = self.output_shape(*shapes)
        last = len(shape) - 1
        if self.axis != last:
            order = (*(k for k in range(len(shape)) if k != self.axis), self.axis)
            inverse = tuple(sorted(range(len(order)), key=lambda k: order[k]))
            hidden = self.hidden.expand(shape).permute(order).contiguous()
            moved = build(MaskedSoftmax(last, hidden), (build(Transpose(order), inputs),))
            return build(Transpose(inverse), (moved,))
        seen = ~self.hidden.expand(shape).reshape(-1, shape[-1])
        row, own, other = (seen[:, :, None] & seen[:, None, :]).nonzero(as_tuple=True)
        start = row * shape[-1]
        counts = seen.sum(-1)
        difference = build(Sum(-1.0), tuple(build(_selected(start + k), inputs) for k in (other, own)))
        # One line for each visible entry, filled up to the length of the longest.
        lengths = counts.repeat_interleave(counts)
        ends, columns = lengths.cumsum(0), torch.arange(int(counts.max()))
        absent = columns >= lengths[:, None]
        lines = torch.where(absent, -1, (ends - lengths)[:, None] + columns)
        total = LogSumExp(len(columns), absent if bool(absent.any()) else None)
        negative = build(Affine(scale=-torch.ones((), dtype=torch.float64)), (build(total, (build(_selected(lines), (difference,)),)),))
        places = torch.full((prod(shape),), -1)
        places[seen.reshape(-1)] = torch.arange(len(lengths))
        return build(_selected(places.reshape(shape)), (build(Exp(), (negative,)),))


def _selected(index: Tensor) -> Assemble:
    """Entries of one flattened tensor, and 0 where the index is -1."""
    used = index[index >= 0]
    return Assemble(index, int(torch.bincount(used).max()))
