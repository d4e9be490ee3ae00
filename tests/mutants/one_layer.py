"""Faults of trees over one layer, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from dataclasses import replace

from absint.encode.one_layer import OneLayer
from absint.search.bounders import layers
from absint.search.branchers import by_layer, layer_bounds
from absint.search.branchers.by_layer import ByLayer
from absint.search.branchers.layer_bounds import LayerBounds
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
CLOSE = ("check_the_truth", 2, -1e-12)
BENT = ("check_the_truth", 5, -1e-3, 1.0, False, 12)
HINTS = (("check_any_hint", 0), ("check_any_hint", 1))


@mutant(CLOSE, BENT)
def a_leaf_is_dropped(patch):
    edit(patch, ByLayer, "_divided", ("for child in (first, second):", "for child in (first, first):"))


@mutant(BENT)
def a_phase_stands_for_the_other(patch):
    edit(patch, LayerBounds, "ends",
         ("boxes.phase > 0", "boxes.phase == -7"), ("torch.minimum(high, self.net.knot)", "self.net.knot - 10 + 0 * high"))


@mutant(CLOSE, BENT)
def a_clip_cuts_twice_too_much(patch):
    true = layer_bounds.clipped

    def clipped(found, boxes, goal):
        return true(replace(found, weight=found.weight * 4), boxes, goal)

    patch(by_layer, "clipped", clipped)


@mutant(*HINTS)
def a_clip_rises_from_the_bound_of_the_parent(patch):
    edit(patch, ByLayer, "_divided",
         ("clipped(found, boxes, goal)", "clipped(type(found)(**{**vars(found), 'bound': bound}), boxes, goal)"))


@mutant(CLOSE, BENT)
def a_piece_cut_off_counts_as_open_no_more_nor_does_the_rest(patch):
    edit(patch, ByLayer, "_divided", ("void = (cut.low > cut.high).any(1)", "void = smaller"))


@mutant(CLOSE, BENT)
def the_knot_is_forgotten(patch):
    edit(patch, LayerBounds, "proved", ("torch.where(inside, -b * net.knot, torch.inf)", "torch.inf + 0 * b"))


@mutant(*HINTS)
def a_hint_is_not_paid_for_at_the_upper_end(patch):
    edit(patch, LayerBounds, "proved", ("least = torch.minimum(torch.minimum(*at),", "least = torch.minimum(at[0],"))


@mutant(*HINTS)
def constants_before_the_layer_are_left_out(patch):
    edit(patch, LayerBounds, "proved", (" + torch.minimum(b * net.z_low, b * net.z_high)", ""))


@mutant(("check_proofs", 0, False), ("check_proofs", 1, False))
def a_proof_is_not_charged(patch):
    edit(patch, LayerBounds, "proved", ("down(total - slack)", "total"))


@mutant(("check_rows", 0), ("check_rows", 1))
def rows_are_not_charged(patch):
    edit(patch, OneLayer, "rows", ("low - 2 * charge", "low"))


@mutant(("check_ends", 0), ("check_ends", 1))
def ends_are_not_charged(patch):
    edit(patch, OneLayer, "before", ("(self.z_low - self._error)", "self.z_low"), ("(self.z_high + self._error)", "self.z_high"))


@mutant(CLOSE, BENT)
def the_bound_of_a_sibling_is_inherited(patch):
    edit(patch, ByLayer, "_divided",
         ("parts.append(Nodes(nodes.tree, bound, columns)", "parts.append(Nodes(nodes.tree, bound.amax().expand_as(bound) + 1, columns)"))


@mutant(CLOSE, BENT)
def open_nodes_are_forgotten(patch):
    edit(patch, layers.LayerSearch, "_learnt", ("self.frontier.lower[0])", "self.frontier.left[0])"))

