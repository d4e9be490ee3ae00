"""What follows from the relaxations that a domain substitutes backward, whatever the domain: its traits say which these are.

Affine bounds of rows in terms of the network's input, the corner where they are least, and combinations of a disjunct's rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from absint.engine.affine_forms import AffineForms, ascended_forms, backward_forms
from absint.engine.backward.combinations import mixed_bounds
from absint.engine.backward.walk import at_input, input_adjoints
from absint.engine.context import Context
from absint.engine.domain import Traits
from absint.engine.rows import Rows
from absint.problem.spec import Refutation, Spec


def forms_at_input(traits: Traits, rows: Rows, ctx: Context) -> AffineForms | None:
    """Bounds of the rows that are affine in the network's input, over each row's region, by the first relaxation; None without one.

    Not concretised on the way; the free slopes are those of the ascent where there is one.
    Sound as `Domain.bounds` is: for the very numbers returned, in exact real arithmetic.
    """
    if not traits.relaxations:
        return None
    slopes = traits.relaxations[0]
    return backward_forms(rows, slopes.relax, ctx) if slopes.ascent is None else ascended_forms(rows, ctx, slopes, slopes.ascent)


def lower_forms(traits: Traits, rows: Rows, ctx: Context) -> tuple[Tensor, Tensor, Tensor] | None:
    """A (R, *input), d (R,) and c (R, *input), float64, with A (x - c) + d <= row over each row's region; None without a relaxation.

    By the first relaxation with the slopes it starts from: one walk, nothing optimised. d is -inf where nothing is known.
    Sound for the very numbers returned, in exact real arithmetic. Raises DeadlineError.
    """
    if not traits.relaxations:
        return None
    weight, offset = at_input(rows, traits.relaxations[0].relax, ctx, 1.0)
    return weight.double(), offset.double(), ctx.reference[ctx.graph.input.name].double()[rows.instance]


def least_corner(traits: Traits, rows: Rows, ctx: Context) -> Tensor | None:
    """(R, *input) float64 points of the region's hull where each row's first relaxation is least; None without one.

    The corner that the adjoint at the input points away from; the middle where it is zero or NaN.
    A heuristic, used to start attacks: nothing is promised about the rows there.
    """
    if not traits.relaxations:
        return None
    adjoint = input_adjoints(rows, traits.relaxations[0].relax, ctx)
    lower, upper = (end.to(adjoint.device).double()[rows.instance] for end in (ctx.region.hull.lower, ctx.region.hull.upper))
    return torch.where(adjoint > 0, lower, torch.where(adjoint < 0, upper, lower / 2 + upper / 2))


def combined(traits: Traits, spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
    """Whole disjuncts by combinations whose weights are optimised with the slopes; None where no relaxation has an ascent.

    refuted: (batch, disjuncts), the best single row of each; positive ones need nothing more. Sound, rounding included.
    """
    whole: Refutation | None = None
    for slopes in traits.relaxations:
        if slopes.ascent is not None:
            found = Refutation(mixed_bounds(spec, refuted, ctx, slopes, slopes.ascent))
            whole = found if whole is None else whole.joined(found)
    return whole
