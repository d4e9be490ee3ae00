"""Faults of the exact answers, and of what searches, splits, refines and believes, each with the tests that must notice it.

Killers are (test, arguments...); the tests themselves run unmutated in their own files.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from importlib import import_module

import agreement
import agreement_nets
import exact_cells
import numpy as np
import torch
from exact_cells import Cell

from absint.attacks.witness import Witness
from absint.search.bounders import models, neurons
from absint.search.branchers import boxes, phases
from absint.search.branchers.by_phases import ByMixedPrograms
from absint.search.frontier import Frontier
from absint.solvers.session import Session
from mutants.planting import into

# Of the exact answers, which are kept from test to test, and of what is compared with them.
ANSWERS, ENGINE = {}, {}
answer, mutant = into(ANSWERS), into(ENGINE)
VERTICES = "test_cells_and_vertices_give_the_same_minimum"
SAMPLES = ("test_no_point_undercuts_a_minimum_or_leaves_a_range",)
ATTAINED = ("test_minima_are_attained_in_the_box",)
JUDGE = ("test_false_claims_are_told",)
SEEDS = ("test_the_seeds_provoke_what_they_are_for",)
# Seeds that tell: more of them say the same, in more time.
EXACT = ("verdicts", "exact:inputs=0", range(6))
# Seeds whose counterexamples no descent finds before the false proof is told.
CUT_SHORT = ("verdicts", "exact:nodes=2,inputs=0", range(62, 68))
BOXES = ("verdicts", "exact:nodes=1,boxes=100", range(3, 6))
BELIEVED = ("test_milp_alone_proves_nothing",)
REFINED = ("bounds", "refine:base=deeppoly", range(4))


# ---- the oracle -----------------------------------------------------------------------------------------------------


@answer(("test_a_cut_keeps_every_vertex_and_makes_those_on_the_cut",), SAMPLES)
def one_crossed_edge_alone(patch):
    real = Cell._crossed
    patch(Cell, "_crossed", lambda self, signs: list(real(self, signs))[:1])


@answer((VERTICES, 18), SAMPLES)
def one_side_of_a_kink_alone(patch):
    real = Cell.split
    patch(Cell, "split", lambda self, function: list(real(self, function))[:1])


@answer(SAMPLES)
def faces_forgotten(patch):
    """Vertices on no face: any two would have no edge in common but where there are two alone."""
    real = exact_cells.box

    def box(lower, upper):
        whole = real(lower, upper)
        return Cell(whole.points, (0,) * len(whole.points), whole.faces)

    patch(exact_cells, "box", box)


@answer(SAMPLES)
def a_box_without_its_last_corner(patch):
    real = exact_cells.box

    def box(lower, upper):
        whole = real(lower, upper)
        few = slice(0, max(1, len(whole.points) - 1))
        return Cell(whole.points[few], whole.masks[few], whole.faces)

    patch(exact_cells, "box", box)


@answer(SAMPLES)
def slopes_of_rectifiers_alone(patch):
    patch(exact_cells, "segments", lambda op: ([Fraction(0)], [(Fraction(0), Fraction(0)), (Fraction(1), Fraction(0))]))


@answer(SAMPLES)
def a_maximum_is_its_first_entry(patch):
    patch(exact_cells, "greatest", lambda cell, functions: [(cell, functions[0])])


@answer(ATTAINED)
def the_middle_of_a_cell_is_its_least_point(patch):
    real = Cell.least
    patch(Cell, "least", lambda self, function: (real(self, function)[0], self.points[0]))


@answer(("test_ties_count_by_the_strictness_of_their_rows", (True, False), False))
def strictness_forgotten(patch):
    real = exact_cells._unsafe
    patch(exact_cells, "_unsafe", lambda cell, rows: real(cell, [(row, False) for row, _ in rows]))


@answer(("test_a_strict_row_that_is_slack_does_not_forbid_a_tie",))
def every_row_is_strict(patch):
    real = exact_cells._unsafe
    patch(exact_cells, "_unsafe", lambda cell, rows: real(cell, [(row, any(s for _, s in rows)) for row, _ in rows]))


# ---- the problems and the judge -------------------------------------------------------------------------------------


@answer(SEEDS)
def everything_is_a_near_tie(patch):
    real = agreement_nets._scale
    patch(agreement_nets, "_scale", lambda case, instance: real(case, instance) * 10**9)


@answer(SEEDS)
def gaps_forgotten(patch):
    patch(agreement_nets, "_moved", lambda case, gaps: case)


@answer(SEEDS)
def rows_that_are_never_opposed(patch):
    real = agreement_nets.rows

    def rows(numbers, kind, outputs):
        weight, *others, opposed = real(numbers, kind, outputs)
        return abs(weight), *others, opposed

    patch(agreement_nets, "rows", rows)


@answer(JUDGE)
def any_witness_will_do(patch):
    patch(agreement, "unsafe", lambda case, instance, point: point is not None)


@answer(JUDGE)
def a_margin_is_not_looked_at(patch):
    real = agreement.faults
    patch(agreement, "faults", lambda case, result: real(case, replace(result, margin=None)))


# ---- searches, refinement, belief -----------------------------------------------------------------------------------


@mutant(EXACT)
def an_alternative_never_visited(patch):
    real = phases.Phases.branch

    def branch(self, *given):
        found = real(self, *given)
        return replace(found, positions=found.positions[:1], distance=found.distance[:1])

    patch(phases.Phases, "branch", branch)


@mutant(EXACT)
def what_a_sibling_imposed_stays(patch):
    """Column bounds of one node still there at the next."""
    real = phases.Phases.impose

    def impose(self, chosen):
        self._touched = self._touched[:0]
        real(self, chosen)

    patch(phases.Phases, "impose", impose)


@mutant(CUT_SHORT)
def open_nodes_forgotten(patch):
    patch(Frontier, "lower", property(lambda self: self.left.clone()))


@mutant(EXACT)
def a_conjunction_without_its_constants(patch):
    real = models.with_greatest
    patch(models, "with_greatest", lambda model, costs, offsets: real(model, costs, np.maximum(offsets, 0.0)))


@mutant(REFINED)
def objectives_in_place_of_proofs(patch):
    """Believed to the tolerance that solvers work with."""
    real = Session._judge

    def judge(self, claim):
        answer = real(self, claim)
        return answer if claim.value is None else replace(answer, bound=claim.value + 1e-7)

    patch(Session, "_judge", judge)


@mutant(REFINED)
def neurons_a_little_too_narrow(patch):
    real = neurons._down
    patch(neurons, "_down", lambda values, like: real(values, like) + 1e-7 * values.abs().to(like))


@mutant(BOXES)
def half_of_each_box_lost(patch):
    real = boxes.halves
    patch(boxes, "halves", lambda nodes: real(nodes).take(torch.arange(len(nodes))))


@mutant(BOXES)
def boxes_left_over_count_for_nothing(patch):
    real = Frontier._nodes
    patch(Frontier, "_nodes", lambda self, kind: real(self, kind)[: 1 - kind])


@mutant(BELIEVED)
def a_word_is_a_proof(patch):
    real = ByMixedPrograms.proved
    patch(ByMixedPrograms, "proved", lambda self, lower: (real(self, lower)[1],) * 2)


@mutant(EXACT)
def a_candidate_is_a_witness(patch):
    """Proofs left out: what violates in floats is a witness."""
    # The package has a function of the module's name.
    falsify = import_module("absint.attacks.falsify")
    patch(falsify, "prove_witness", lambda graph, region, spec, slot, point: Witness(tuple(point.reshape(-1).tolist()), (), 0.0))
