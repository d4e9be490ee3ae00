"""Box (interval bound propagation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from absint.domain import Context, Domain, Interval, Node, Rows, Sense
from absint.rounding import gamma, no_lower, no_upper, smallest_normal


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
        num, box = ctx.numerics, element.filled
        if rows.index is not None and rows.bias is None:
            i = rows.instance
            return Interval(box.lower.flatten(1)[i, rows.index], box.upper.flatten(1)[i, rows.index])
        # In float64 whatever the format of the walk: the rows are exact float64 numbers, and few.
        lower, upper = box.lower.flatten(1).double(), box.upper.flatten(1).double()
        weight = rows.padded(len(lower), torch.float64)
        n = weight.shape[2]
        g, floor = (gamma(2 * (n + 9), torch.float64), smallest_normal(torch.float64)) if num.rounding else (0.0, 0.0)
        total = lower + upper
        rho = ((upper - lower) * 0.5 + total.abs() * (0.5 * g)) * (1 + g) + 2 * floor
        center = rows.unpadded((weight @ (total * 0.5)[..., None])[..., 0])
        reach = rows.unpadded((weight.abs() @ rho[..., None])[..., 0])
        if rows.bias is not None:
            center, reach = center + rows.bias, reach + g * rows.bias.abs()
        reach = reach * (1 + g) + 4 * n * floor
        return Interval(no_lower(center - reach), no_upper(center + reach))
