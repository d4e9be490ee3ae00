"""Affine bounds in terms of the network's input, as numbers that can be handed out: every rounding lies in the constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import inf

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.backward.slopes import Ascent, Slopes, SlopeSearch
from absint.engine.backward.walk import at_input
from absint.engine.context import Context
from absint.engine.rows import Rows
from absint.numeric.outward import down
from absint.problem.regions.region import box_below, offset_between


@dataclass(frozen=True, eq=False)
class AffineForms:
    """lower . x + lower_bias <= row(x) <= upper . x + upper_bias, in exact real arithmetic, for every x of the row's region.

    lower, upper: (R, *input) float64.  lower_bias, upper_bias: (R,) float64. A row of which nothing affine is known has
    coefficients 0 and an infinite constant.
    """

    lower: Tensor
    lower_bias: Tensor
    upper: Tensor
    upper_bias: Tensor

    @staticmethod
    def of_sides(below: tuple[Tensor, Tensor], above: tuple[Tensor, Tensor]) -> AffineForms:
        """From (weight, bias) below the rows, and below their negatives."""
        return AffineForms(*below, -above[0], -above[1])

    @staticmethod
    def joined(parts: Sequence[AffineForms]) -> AffineForms:
        """One after the other; at least one."""
        return AffineForms(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(AffineForms)))

    def unbounded(self) -> tuple[Tensor, Tensor]:
        """(R,) bool: rows without a lower bound, and without an upper one."""
        return self.lower_bias == -inf, self.upper_bias == inf


def backward_forms(rows: Rows, relax: Relax, ctx: Context) -> AffineForms:
    """By one substitution down to the input. No bound of a node on the way is concretised: the forms stay affine."""
    return AffineForms.of_sides(_below(rows, relax, ctx, 1.0), _below(rows, relax, ctx, -1.0))


def backward_forms_about(rows: Rows, relax: Relax, ctx: Context, about: Tensor) -> AffineForms:
    """The same as functions of x - about: lower . (x - about) + lower_bias <= row(x), and so on. about: (batch, *input) float64."""
    origin = ctx.reference[ctx.graph.input.name].double()
    low, high = (end[rows.instance] for end in offset_between(about, origin))
    sides = [from_point(*at_input(rows, relax, ctx, sign), (low, high)) for sign in (1.0, -1.0)]
    return AffineForms.of_sides(sides[0], sides[1])


def ascended_forms(rows: Rows, ctx: Context, slopes: Slopes, ascent: Ascent) -> AffineForms:
    """With slopes searched for each row and side (`SlopeSearch`), for as long as the deadline allows; else with the start values."""
    steps = ascent.steps_at(rows.node, ctx)
    search = SlopeSearch(rows.node, ctx, slopes, replace(ascent, steps=steps))
    if not steps or not len(rows) or not search.net.free:
        return backward_forms(rows, slopes.relax, ctx)
    sides = []
    for sign in (1.0, -1.0):
        parts = []
        for part in rows.chunks(search.chunk):
            chosen = ctx if search.late else replace(ctx, row_slopes=search.chosen(part, sign), memo={})
            parts.append(_below(part, slopes.relax, chosen, sign))
        sides.append((torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])))
    return AffineForms.of_sides(sides[0], sides[1])


def from_zero(weight: Tensor, offset: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    """A (x - c) + d as A x + b, b rounded down. weight: A (R, *input).  offset: d (R,).  origin: c (R, *input), all exact.

    b <= d - A c, where the dot product and its error are those of `box_below` over the single point -c. Zeros and -inf
    where b or an entry of A is not finite.
    """
    point = -origin.double()
    return from_point(weight, offset, (point, point))


def from_point(weight: Tensor, offset: Tensor, moved: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A (x - c) + d as A (x - p) + b, b rounded down; see `from_zero`. moved: bounds (R, *input) float64 of p - c."""
    coefficients, (low, high) = weight.double(), (end.flatten(1) for end in moved)
    bias = down(offset.double() + box_below(coefficients.flatten(1), low, high))
    known = bias.isfinite() & coefficients.flatten(1).isfinite().all(1)
    shape = (-1, *(1,) * (weight.dim() - 1))
    return torch.where(known.reshape(shape), coefficients, 0.0), torch.where(known, bias, -inf)


def _below(rows: Rows, relax: Relax, ctx: Context, sign: float) -> tuple[Tensor, Tensor]:
    weight, offset = at_input(rows, relax, ctx, sign)
    return from_zero(weight, offset, ctx.reference[ctx.graph.input.name][rows.instance])
