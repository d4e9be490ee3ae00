"""Closed forms of composites, beside their expansions: what a composite says of its result from its inputs' intervals alone.

The engine meets it into what it knows of the node where the expansion ends; a domain that keeps relations there may replace
its own lines by that box where they say less. Nothing here knows which composite, or which domain.
"""

from __future__ import annotations

import torch

from absint.engine.context import Context
from absint.model.families.nonlinear import middle_radius
from absint.model.graph import Node
from absint.numeric.interval import Band, Interval, Relaxation


def closed_form(node: Node, ctx: Context) -> Interval | None:
    """The enclosure of the composite whose expansion ends here, in the vector format; None where there is none.

    It holds over the reals: a float32 execution of the expansion errs at every node of it, so that nothing is said then.
    """
    if node.closed is None or ctx.numerics.float32_semantics:
        return None
    return node.closed.op.enclosure(ctx.inputs(node.closed.inputs), ctx.numerics)


def met_band(node: Node, band: Band, ctx: Context) -> Band:
    """The band, but constant where the known box is narrower than the band's own width, or the band is unbounded."""
    if node.closed is None:
        return band
    box = ctx.known[node.name].filled
    middle, radius = middle_radius(box.lower, box.upper, ctx.numerics)
    better = ~(band.radius <= radius)
    slopes = tuple(torch.where(_wide(better, s), 0.0, s) for s in band.slope)
    return Band(slopes, torch.where(better, middle, band.offset), torch.where(better, radius, band.radius))


def met_lines(node: Node, lines: Relaxation, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
    """The lines, but constant where one is nowhere within the known box: the box's end is better all over the inputs then."""
    if node.closed is None:
        return lines
    box = ctx.known[node.name].filled
    below = ~(_greatest(lines.lower, lines.lower_offset, inputs) > box.lower)
    above = ~(-_greatest(tuple(-s for s in lines.upper), -lines.upper_offset, inputs) < box.upper)
    return Relaxation(
        tuple(torch.where(_wide(below, s), 0.0, s) for s in lines.lower), torch.where(below, box.lower, lines.lower_offset),
        tuple(torch.where(_wide(above, s), 0.0, s) for s in lines.upper), torch.where(above, box.upper, lines.upper_offset),
    )


def _greatest(slopes: tuple[torch.Tensor, ...], offset: torch.Tensor, inputs: tuple[Interval, ...]) -> torch.Tensor:
    """About the greatest value of a line on the inputs' intervals: it decides which of two sound lines is taken, no more."""
    total = offset
    for slope, box in zip(slopes, inputs, strict=True):
        most = torch.where(slope == 0, 0.0, torch.maximum(slope * box.lower, slope * box.upper))
        total = total + (most if most.dim() == total.dim() else most.flatten(total.dim()).sum(-1))
    return total


def _wide(mask: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """A mask of the node's shape against slopes that may have trailing axes."""
    return mask.reshape(mask.shape + (1,) * (slope.dim() - mask.dim()))
