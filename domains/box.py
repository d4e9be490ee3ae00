"""Box (interval bound propagation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from absint.domain import Context, Domain, Interval, Node, Rows, Sense
from absint.rounding import no_lower, no_upper


@dataclass(frozen=True)
class Box(Domain[Interval]):
    """Boxes: gamma(lower, upper) = {x : lower <= x <= upper}, entry by entry.

    The engine's own box step is this domain: exact up to rounding for increasing elementwise operators, losing every
    relation between entries. Source: Gowal et al. 2018, arXiv:1810.12715, section 3.
    """

    source: ClassVar[str] = "Gowal et al. 2018, arXiv:1810.12715, section 3"
    mixed: ClassVar[bool] = False

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> Interval:
        """The box itself."""
        return interval

    def linear(self, node: Node, args: list[Interval], ctx: Context) -> Interval:
        """What the engine found."""
        return ctx.known[node.name]

    nonlinear = linear

    def take(self, element: Interval, index: Tensor) -> Interval:
        """Instances."""
        return element.take(index)

    def hull(self, element: Interval, ctx: Context) -> Interval:
        """Itself."""
        return element

    def bounds(self, element: Interval, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """Rows over the box: centre and radius as in a linear step of `n` terms."""
        num, box, i = ctx.numerics, element.filled, rows.instance
        if rows.index is not None and rows.bias is None:
            return Interval(box.lower.flatten(1)[i, rows.index], box.upper.flatten(1)[i, rows.index])
        weight = rows.dense(tuple(box.lower.shape[1:]), num.vector).flatten(1)
        n = weight.shape[1]
        g, floor = num.vector_gamma(2 * (n + 9)), num.vector_floor
        lower, upper = (b.flatten(1) for b in (box.lower, box.upper))
        total = lower + upper
        rho = ((upper - lower) * 0.5 + total.abs() * (0.5 * g)) * (1 + g) + 2 * floor
        slot, most = rows.slots(len(box.lower))
        padded = weight.new_zeros(len(box.lower), most, n)
        padded[i, slot] = weight
        center = torch.einsum("bkn,bn->bk", padded, total * 0.5)[i, slot]
        reach = torch.einsum("bkn,bn->bk", padded.abs(), rho)[i, slot]
        if rows.bias is not None:
            bias = rows.bias.to(center)
            center, reach = center + bias, reach + g * bias.abs()
        reach = reach * (1 + g) + 4 * n * floor
        return Interval(no_lower(center - reach), no_upper(center + reach))
