"""Faults of the search over case splits: what is closed by what, what is forgotten, whose rows and whose word; with their tests."""

from __future__ import annotations

from absint.engine.backward.combinations import of_disjuncts
from absint.search.branchers import by_cuts
from absint.search.branchers.by_cuts import ByCuts, Roots
from absint.search.trees import TreeSearch
from mutants.planting import into
from mutants.refinement import edit, rewritten

MUTANTS = {}
mutant = into(MUTANTS)
HINTS = ("test_whatever_hints_and_estimates_say_nothing_wrong_is_proved",)
SHARES = ("test_shares_are_charged_what_mixing_rows_loses",)
# Seeds by whose truth at least one of the mutants is found.
TRUTH = ("check_all", (0, 4, 2, 7))


# ---- what closes a leaf ------------------------------------------------------------------------------------------------


@mutant(TRUTH)
def the_bound_of_the_wrong_child(patch):
    edit(patch, ByCuts, "_prove", ("torch.fmax(bound[chosen.cpu()], proved)", "torch.fmax(bound[chosen.cpu()], proved.amax())"))


@mutant(TRUTH)
def the_floor_of_a_sibling(patch):
    """Lower children first, then the upper ones."""
    shared = "bound = bound.reshape(2, -1).amax(0).repeat(2) if bool((nodes.columns['path'] >= 0).any()) else bound"
    edit(patch, ByCuts, "_bounded", ("closed = bound > 0", f"{shared}; closed = bound > 0"))


@mutant(TRUTH)
def what_an_open_node_reaches_is_that_of_all(patch):
    edit(patch, ByCuts, "reached", ("bound[group[mine] - part[0]]", "bound.amax().expand(len(mine))"))


@mutant(HINTS)
def an_estimate_is_a_bound(patch):
    edit(patch, ByCuts, "_bounded", ("bound, device = nodes.bound.clone(), self.net.device",
                                     "bound, device = torch.fmax(nodes.bound, climbed.bound.double()), self.net.device"))


@mutant(("check_all", (24,)))
def the_cuts_of_another_node(patch):
    edit(patch, ByCuts, "_prove", ("splits.take(chosen)", "splits.take(chosen.flip(0))"))


# ---- what is forgotten -------------------------------------------------------------------------------------------------


@mutant(TRUTH)
def a_leaf_is_dropped(patch):
    edit(patch, ByCuts, "_bounded", ("open_.take(~stuck)", "open_.take((~stuck).nonzero().flatten()[1:])"))


@mutant(TRUTH)
def what_cannot_be_cut_is_dropped(patch):
    edit(patch, ByCuts, "_bounded", ("(held.tree, held.bound))", "None)"))


@mutant(TRUTH)
def a_side_is_forgotten(patch):
    edit(patch, ByCuts, "_children", ("code = torch.cat([2 * chosen, 2 * chosen + 1])", "code = torch.cat([2 * chosen, 2 * chosen])"))


# ---- whose rows, whose word --------------------------------------------------------------------------------------------


@mutant(TRUTH)
def what_is_proved_of_one_is_given_to_all(patch):
    edit(patch, TreeSearch, "_tell", ("torch.fmax(self.refuted[place], sound)", "torch.fmax(self.refuted[place], sound.max())"))


@mutant(TRUTH)
def the_rows_of_another_disjunct(patch):
    edit(patch, Roots, "conjunctions", ("self._member[disjunct]", "self._member[0 * disjunct]"))


@mutant(TRUTH)
def the_rows_of_another_instance(patch):
    edit(patch, Roots, "conjunctions", ("self.trees.instance[tree].to(device), self", "0 * self.trees.instance[tree].to(device), self"))


@mutant(("test_a_tie_refutes_strict_rows_alone",))
def every_row_is_strict(patch):
    edit(patch, Roots, "conjunctions", ("inside & self.spec.strict[member]", "inside"))


@mutant(SHARES)
def what_mixing_rows_loses_is_forgotten(patch):
    patch(by_cuts, "of_disjuncts", rewritten(of_disjuncts, ("error = todo.mixing_error(", "error = 0 * todo.mixing_error(")))


@mutant(("test_a_negative_share_proves_nothing",))
def negative_shares_count(patch):
    edit(patch, Roots, "shares", ("hints.share.double().clamp(min=0)", "hints.share.double()"))


@mutant(("test_a_single_row_needs_no_share",))
def the_share_of_a_single_row_counts(patch):
    edit(patch, Roots, "shares", ("return torch.ones_like(found.bias)", "return hints.share.double()"))


@mutant(("test_the_share_of_what_is_no_row_counts_for_nothing",))
def the_share_of_what_is_no_row_counts(patch):
    edit(patch, Roots, "shares", ("torch.where(found.inside, hints.share.double().clamp(min=0), 0.0)", "hints.share.double().clamp(min=0)"))
