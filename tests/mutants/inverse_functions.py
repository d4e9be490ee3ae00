"""Faults in Tan and the inverse functions, each with the claims that must notice it: (claim, arguments...)."""

from __future__ import annotations

from math import inf

import torch

from absint.model.families.elementwise import Curvature, Piece
from absint.model.ops.inverse_functions import Acos, Acosh, Asin, Atanh
from absint.model.ops.lp_pool import Root
from absint.model.ops.power import Power
from absint.model.ops.trigonometric import Tan
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)
NOTHING = ("nothing_is_claimed_elsewhere",)


@mutant(NOTHING)
def poles_are_overlooked(patch):
    patch(Tan, "defined", lambda self, low, high: torch.ones_like(low, dtype=torch.bool))


@mutant(("holds", "tan"), ("holds", "tan, another branch"))
def the_tangent_bends_the_other_way(patch):
    original = Tan._places
    patch(Tan, "_places", lambda self, low, high, side, *, near=False: original(self, low, high, -side))


@mutant(("holds", "tan, another branch"))
def the_tangent_bends_at_zero_alone(patch):
    patch(Tan, "_zero", lambda self, low, high: torch.minimum(torch.maximum(torch.zeros_like(low), low), high))


@mutant(("holds", "asin"))
def the_arcsine_bends_the_other_way(patch):
    patch(Asin, "pieces", tuple(Piece(p.low, p.high, p.direction, Curvature(-p.curvature)) for p in Asin.pieces))


@mutant(NOTHING)
def the_arcsine_goes_on_to_the_left(patch):
    patch(Asin, "defined", lambda self, low, high: high <= 1)


@mutant(("holds", "acos"))
def the_arccosine_rises(patch):
    patch(Acos, "pieces", tuple(Piece(p.low, p.high, 1, p.curvature) for p in Acos.pieces))


@mutant(("holds", "acosh"))
def the_area_cosine_is_convex(patch):
    patch(Acosh, "pieces", (Piece(-inf, inf, 1, Curvature.CONVEX),))


@mutant(("holds", "atanh"))
def the_area_tangent_is_convex(patch):
    patch(Atanh, "pieces", (Piece(-inf, inf, 1, Curvature.CONVEX),))


@mutant(NOTHING)
def the_area_tangent_reaches_one(patch):
    patch(Atanh, "defined", lambda self, low, high: (low >= -1) & (high <= 1))


@mutant(("widths_are_small",))
def slopes_are_looked_for_up_to_infinite_ones(patch):
    patch(Asin, "_bracket", Power._bracket)


@mutant(("holds", "third root of large numbers"))
def the_rounded_exponent_is_not_charged(patch):
    patch(Root, "error", Power.error)
