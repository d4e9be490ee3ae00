"""Faults of case splits: of a node's bound, of what a cut leaves, and of the search over them; each with the tests that must notice it."""

from __future__ import annotations

import torch

from absint.engine.frozen import tables
from absint.engine.frozen.cuts import Cuts
from absint.engine.frozen.proof import Prover, _SplitWalk
from absint.engine.frozen.tables import _PlacesOf
from absint.model.families.real_function import RealFunction
from absint.model.ops.step import Compare
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
BOUNDS = ("test_no_hint_makes_a_bound_that_a_point_lies_below", "SINGLE")
TIGHT = ("test_a_bound_of_decided_entries_is_the_truth_less_roundings", "SINGLE", 2e-3)
ADJOINTS = ("test_what_adjoints_lose_below_cut_entries_is_charged",)
KERNELS = ("test_what_kernels_of_cut_entries_lose_is_charged",)


def on_cuts(op):
    """One operator, by its name in the tests."""
    return ("test_every_point_is_on_a_side_that_bounds_it", op)


# ---- the bound of a node ----------------------------------------------------------------------------------------------


@mutant(BOUNDS, TIGHT)
def a_hint_of_the_wrong_sign(patch):
    edit(patch, _SplitWalk, "_least", ("a, b = here.double(), hint.double()", "a, b = here.double(), -hint.double()"))


@mutant(BOUNDS, TIGHT)
def a_hint_that_the_walk_goes_on_without(patch):
    edit(patch, _SplitWalk, "_least", ("return least.sum(1), lost, hint", "return least.sum(1), lost, 0 * hint"))


@mutant(TIGHT)
def hints_of_the_search_that_the_proof_rounds_otherwise(patch):
    edit(patch, _SplitWalk, "_least", ("hint.double()", "(hint * 1.001).double()"))


@mutant(TIGHT)
def the_term_of_the_parents_interval(patch):
    """Sound, and worth nothing: no child is better than its parent."""
    edit(patch, _SplitWalk, "_least", ("(first <= k) & (k <= last)", "(first >= 0) & (k >= 0)"))


@mutant(BOUNDS)
def the_term_of_one_point_alone(patch):
    edit(patch, _SplitWalk, "_least", ("(first <= k) & (k <= last)", "(first <= k) & (k < last)"))


@mutant(ADJOINTS)
def what_is_charged_below_a_cut_entry_is_forgotten(patch):
    edit(patch, _SplitWalk, "_least", ("charge = (b.abs() * self", "charge = 0 * (b.abs() * self"))


@mutant(KERNELS)
def what_the_adjoint_is_charged_at_a_cut_entry_is_forgotten(patch):
    edit(patch, _SplitWalk, "_least", ("if node.name in self.prover.noise:", "if False:"))


@mutant(("test_sums_of_many_terms_are_charged_their_roundings",))
def what_the_minima_lose_is_forgotten(patch):
    edit(patch, _SplitWalk, "_least", ("lost = (slack + charge", "lost = (0 * slack + charge"))


@mutant(on_cuts("OFF"))
def an_enclosure_inside_out(patch):
    edit(patch, _SplitWalk, "_least", ("torch.where(a > 0, points.least", "torch.where(a < 0, points.least"))


@mutant(on_cuts("OFF"))
def kernels_that_do_not_err(patch):
    patch(tables, "kernel_error", lambda error, value, num: torch.zeros_like(value))


@mutant(BOUNDS)
def the_tables_of_another_instance(patch):
    edit(patch, _SplitWalk, "_least", ("part, instance, points = self.prover.net.slices[node.name], self.instance, one.points",
                                       "part, instance, points = self.prover.net.slices[node.name], 0 * self.instance, one.points"))


@mutant(BOUNDS)
def the_row_of_another_instance(patch):
    edit(patch, Prover, "bounds", ("Block(rows.instance, index", "Block(rows.instance.flip(0), index"))


# ---- what a cut leaves -------------------------------------------------------------------------------------------------


@mutant(BOUNDS, on_cuts("RELU"))
def sides_are_exchanged(patch):
    edit(patch, Cuts, "cut", ("code % 2 == 1", "code % 2 == 0"))


@mutant(BOUNDS)
def the_interval_of_another_node(patch):
    edit(patch, Cuts, "cut", ("return CaseSplits(splits.instance, first,", "return CaseSplits(splits.instance, first.roll(1, 0),"))


@mutant(BOUNDS)
def what_is_known_in_a_node_leaks_into_the_others(patch):
    edit(patch, Cuts, "cut", ("(splits.instance, first, last,", "(splits.instance, first, last.amin(0).expand_as(last),"))


@mutant(on_cuts("SIGN"), on_cuts("GAP"))
def a_cut_at_a_jump_that_covers_neither_side(patch):
    edit(patch, _PlacesOf, "beside", ("[left], [*own, right]", "[left], [right]"))


@mutant(on_cuts("STEP"))
def a_jump_is_a_kink(patch):
    edit(patch, RealFunction, "cuts", ("torch.full_like(like, jumps[x].right)", "torch.full_like(like, jumps[x].left)"))


@mutant(on_cuts("EACH"), ("test_entries_that_bend_at_places_of_their_own_are_cut_there",))
def a_cut_of_another_entry(patch):
    patch(Compare, "cuts", RealFunction.cuts)


@mutant(("test_many_steps_are_bounded_between_the_few_that_are_cut", "FLOOR"),
        ("test_many_steps_are_bounded_between_the_few_that_are_cut", "TRUNCATE"))
def the_corners_of_many_steps_are_forgotten(patch):
    patch(_PlacesOf, "corners", lambda self, before: [])


@mutant(("test_steps_that_no_number_holds_are_bounded",))
def steps_that_no_number_holds_are_forgotten(patch):
    edit(patch, tables, "_points", ("slack = places.slack[:, None]", "slack = 0 * places.slack[:, None]"))


@mutant(("test_the_last_hint_of_an_entry_counts",))
def the_hint_of_an_older_cut(patch):
    edit(patch, Cuts, "dense", ("scatter_reduce_(1, entry, step", "scatter_reduce_(1, entry, 0 * step"))
