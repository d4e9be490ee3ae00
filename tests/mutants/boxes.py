"""Faults of boxes that are bounded, clipped and halved, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

import torch

from absint.search.branchers import boxes, clipping
from absint.search.branchers.boxes import ByBoxes, _Kinds
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
OPEN = ("check_unsafe_points_stay_open", 0)
LEAVES = ("check_bounds_are_of_every_leaf", 1)
RATIONAL = ("check_clips", 0, 1.0)
WORD = ("test_a_word_closes_and_clips_nothing", 7)
ZERO = ("test_a_bound_of_zero_refutes_strict_rows_alone",)
HELD = ("test_boxes_that_cannot_be_halved_are_held",)


# ---- clips ----------------------------------------------------------------------------------------------------------


@mutant(OPEN, RATIONAL)
def a_clip_cuts_a_corner_too_much(patch):
    edit(patch, clipping, "_by_row", ("(rise[:, None] - rest)", "(-64 * rise[:, None] - rest)"),
         ("(piece > 0)", "(piece > -128 * rise[:, None])"))


@mutant(RATIONAL, ("check_clips", 1, 1e20))
def what_a_clip_rounds_is_not_charged(patch):
    edit(patch, clipping, "_by_row", ("error = gamma(2 * n + 32, torch.float64)", "error = 0"))


@mutant(OPEN, RATIONAL)
def a_piece_is_bounded_as_if_the_rest_were_a_point(patch):
    edit(patch, clipping, "_by_row", ("rest = total[:, None] - least", "rest = offset[:, None] + 0 * least"))


@mutant(OPEN, RATIONAL)
def a_clip_keeps_the_piece_that_is_proved(patch):
    edit(patch, clipping, "_by_row", ("low=torch.where(cut & ~positive, at, low)", "low=torch.where(cut & positive, at, low)"),
         ("high=torch.where(cut & positive, at, high)", "high=torch.where(cut & ~positive, at, high)"))


@mutant(RATIONAL)
def what_is_cut_off_counts_as_much_as_the_last_of_it(patch):
    edit(patch, clipping, "_by_row", ("torch.minimum(boxes.proved, proved)", "torch.where(proved < inf, proved, boxes.proved)"))


@mutant(LEAVES)
def what_is_cut_off_is_forgotten(patch):
    edit(patch, ByBoxes, "_divided", ("closed = boxes.tree[pieces < inf], pieces[pieces < inf]", "closed = None"))


# ---- leaves ---------------------------------------------------------------------------------------------------------


@mutant(OPEN)
def a_leaf_is_closed_by_the_bound_of_another(patch):
    edit(patch, ByBoxes, "_bounded", ("torch.fmax(boxes.bound, best)", "torch.fmax(boxes.bound, best.amax())"))


@mutant(OPEN)
def a_half_is_forgotten(patch):
    edit(patch, boxes, "halves", ("lower.take(cut), upper.take(cut)]", "lower.take(cut)]"))


@mutant(OPEN)
def halves_do_not_meet(patch):
    edit(patch, boxes, "halves", ("flat_high.scatter(1, where, middle)", "flat_high.scatter(1, where, 0.75 * middle + 0.25 * start)"),
         ("    middle =", "    start = flat_low.gather(1, where)\n    middle ="))


@mutant(LEAVES)
def the_bounds_of_closed_leaves_are_forgotten(patch):
    edit(patch, ByBoxes, "_bounded", ("Grown.joined([Grown(closed=closed), grown])", "grown"))


@mutant(HELD)
def what_cannot_be_halved_is_dropped(patch):
    edit(patch, ByBoxes, "_divided", ("stuck = boxes.tree[~able], boxes.bound[~able]", "stuck = None"))


@mutant(HELD)
def a_box_is_halved_into_itself(patch):
    edit(patch, boxes, "best_axis", ("able = (middle > low) & (middle < high)", "able = high > low"))


# ---- whose rows, whose word -----------------------------------------------------------------------------------------


@mutant(OPEN)
def the_rows_of_another_disjunct(patch):
    edit(patch, _Kinds, "rows", ("self.member[disjuncts]", "self.member[disjuncts * 0]"))


@mutant(OPEN)
def the_rows_of_another_instance(patch):
    edit(patch, ByBoxes, "_spec", ("self.trees.instance[tree].to(device)[:, None]", "0 * self.trees.instance[tree].to(device)[:, None]"))


@mutant(ZERO)
def every_row_is_strict(patch):
    patch(_Kinds, "strict", lambda self, kind: torch.ones(int((self.pattern[kind] >= 0).sum()), dtype=torch.bool))


@mutant(WORD)
def a_word_closes_a_box(patch):
    edit(patch, ByBoxes, "_bounded", ("torch.where(trusted, torch.fmax(boxes.bound, best), boxes.bound)", "torch.fmax(boxes.bound, best)"))


@mutant(WORD)
def a_word_clips_a_box(patch):
    edit(patch, ByBoxes, "_forms", ("torch.where(trusted[left].to(device)[:, None], offset.reshape(grid), -inf)", "offset.reshape(grid)"))


@mutant(WORD)
def a_word_is_inherited(patch):
    edit(patch, ByBoxes, "_learnt", ("mask = trusted.to(self._low.device)", "mask = torch.ones_like(trusted)"))


@mutant(OPEN)
def what_is_known_of_another_box_is_inherited(patch):
    edit(patch, ByBoxes, "_ends", ("known[name].take(index)", "known[name].take(index.flip(0))"))
