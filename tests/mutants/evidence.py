"""Evidence that says something else than what was proved, and recorders that hear of what holds on a part alone."""

from __future__ import annotations

from dataclasses import replace

import torch

from absint.engine.context import Context
from absint.engine.evidence_records import Chosen, RecordedRows
from absint.engine.growth import Growth
from absint.engine.recorder import Recorder
from absint.search.bounders import models, neurons
from absint.search.branchers.box_evidence import BoxEvidence
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)


def leaves(patch, change):
    """Every leaf of a tree of phases changed."""
    leaf = models.InstancePrograms.leaf
    patch(models.InstancePrograms, "leaf", lambda self, *given: change(leaf(self, *given)))


# ---- the wrong sign ---------------------------------------------------------------------------------------------------


@mutant(("test_trees_of_phases", 1), ("test_trees_of_phases", 2))
def multipliers_negated(patch):
    leaves(patch, lambda leaf: leaf if leaf.multipliers is None else replace(leaf, multipliers=-leaf.multipliers))


@mutant(("test_a_ray_proves_that_a_path_is_empty",))
def rays_negated(patch):
    leaves(patch, lambda leaf: leaf if leaf.ray is None else replace(leaf, ray=-leaf.ray))


@mutant(("test_trees_of_phases", 1))
def phases_of_the_other_side(patch):
    leaves(patch, lambda leaf: replace(leaf, path=tuple(replace(step, side=-step.side) for step in leaf.path)))


@mutant(("test_rows_are_followed_in_rationals", "alpha", False, "float64"))
def slopes_of_the_other_side(patch):
    def of_rows(mask, values, instance, made=Chosen.of_rows):
        return made(mask, 1 - values, instance)

    patch(Chosen, "of_rows", staticmethod(of_rows))


@mutant(("test_bounds_of_neurons_are_followed_in_rationals",))
def bounds_of_neurons_of_the_other_side(patch):
    told = Recorder.neurons
    patch(Recorder, "neurons", lambda self, rows, side, bound, slopes: told(self, rows, -side, bound, slopes))


@mutant(("test_bounds_of_neurons_by_programs",))
def multipliers_of_neurons_of_the_other_side(patch):
    add = neurons._Noted.add
    patch(neurons._Noted, "add", lambda self, row, side, bound, answer: add(self, row, -side, bound, answer))


@mutant(("test_trees_of_boxes", "deeppoly"))
def halves_of_the_other_side(patch):
    cut = Growth.cut
    patch(Growth, "cut", lambda self, *given: cut(self, *given)[::-1])


@mutant(("test_a_combination_is_followed_in_rationals",))
def shares_of_the_other_row(patch):
    leaf = RecordedRows.leaf

    def rolled(self, row, bound, rows):
        made = leaf(self, row, bound, rows)
        return replace(made, shares=made.shares[::-1])

    patch(RecordedRows, "leaf", rolled)


# ---- of something else ------------------------------------------------------------------------------------------------


@mutant(("test_trees_of_phases", 1))
def the_first_leaf_is_not_recorded(patch):
    grown = models.InstancePrograms.leaf
    seen = []

    def leaf(self, *given):
        made = grown(self, *given)
        seen.append(made)
        return made if len(seen) % 2 else replace(made, path=made.path[:-1])

    patch(models.InstancePrograms, "leaf", leaf)


@mutant(("test_instances_of_a_batch_have_their_own",), ("test_some_of_the_instances_are_recorded_under_their_own_names",))
def instances_under_the_names_of_others(patch):
    over = Recorder.over
    patch(Recorder, "over", lambda self, region, index: over(self, region, torch.arange(len(index))))


@mutant(("test_rows_are_followed_in_rationals", "alpha", False, "float64"))
def slopes_of_another_row(patch):
    leaf = RecordedRows.leaf

    def next_one(self, row, bound, rows):
        made = leaf(self, row, bound, rows)
        return made if self.slopes is None else replace(made, slopes=leaf(self, (row + 1) % len(self.bound), bound, rows).slopes)

    patch(RecordedRows, "leaf", next_one)


@mutant(("test_what_holds_on_a_part_is_not_recorded",))
def what_is_assumed_is_recorded(patch):
    patch(Context, "recording", property(lambda self: self.recorder))


@mutant(("test_what_rests_on_a_solvers_word_is_not_recorded",))
def a_solvers_word_is_recorded(patch):
    patch(Recorder, "distrust", lambda self, chosen: None)


@mutant(("test_an_unfinished_stage_is_forgotten",))
def an_unfinished_stage_counts(patch):
    begin = Recorder.begin

    def kept(self, stage):
        self.commit()
        begin(self, stage)

    patch(Recorder, "begin", kept)


@mutant(("test_trees_of_boxes", "deeppoly"))
def pieces_that_were_cut_off_are_not_told(patch):
    patch(BoxEvidence, "clipped", lambda self, place, cuts, start: place)
