"""Faults in what is known of entries divided by their norm, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from absint.model.families.linear import Linear
from absint.model.ops import norms
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.passes import quotients
from absint.model.passes.quotients import _Way
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
LESS = "test_what_is_divided_by_less_is_not_taken_for_it"
CLOSED = "test_the_closed_form_holds_at_vertices"


@mutant((LESS, "less than the norm"), (LESS, "less than a root"))
def a_norm_may_be_made_smaller(patch):
    edit(patch, _Way, "_power", (" or self.shift < 0", ""))
    edit(patch, quotients, "_within", (" or way.shift < 0", ""))


@mutant((LESS, "cut off above"))
def a_norm_may_be_cut_off_above(patch):
    edit(patch, _Way, "passes", (" and op.high == torch.inf", ""))


@mutant((LESS, "another's norm"))
def any_norm_will_do(patch):
    edit(patch, quotients, "_within", ("parts.inputs != (x,) or ", ""))


@mutant((LESS, "the root of magnitudes"))
def a_root_of_anything_is_a_norm(patch):
    edit(patch, quotients, "_within", ("(l2 if way.rooted else type(parts.op) is Abs)", "True"))


@mutant((CLOSED, "L2", 1.0), (CLOSED, "L1", 1.0))
def the_others_are_at_the_wrong_end(patch):
    edit(patch, norms, "_share", ("torch.where(near, least, most)", "torch.where(near, most, least)"))


@mutant(("test_around_0_a_quotient_is_no_more_than_its_norm_allows", "added", "box"))
def no_linear_operator_has_a_negative_coefficient(patch):
    for kind in (Linear, Affine, Gemm):
        patch(kind, "nonnegative", property(lambda self: True))
