"""Faults of the exact answers, each with the tests that must notice it.

Killers are (test, arguments...); the tests themselves run unmutated in their own files.
"""

from __future__ import annotations

from fractions import Fraction

import agreement
import agreement_nets
import exact_cells
from exact_cells import Cell

from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)
VERTICES = "test_cells_and_vertices_give_the_same_minimum"
SAMPLES = ("test_no_point_undercuts_a_minimum_or_leaves_a_range",)
ATTAINED = ("test_minima_are_attained_in_the_box",)
JUDGE = ("test_false_claims_are_told",)
SEEDS = ("test_the_seeds_provoke_what_they_are_for",)


# ---- the oracle -----------------------------------------------------------------------------------------------------


@mutant(("test_a_cut_keeps_every_vertex_and_makes_those_on_the_cut",), SAMPLES)
def one_crossed_edge_alone(patch):
    real = Cell._crossed
    patch(Cell, "_crossed", lambda self, signs: list(real(self, signs))[:1])


@mutant((VERTICES, 18), SAMPLES)
def one_side_of_a_kink_alone(patch):
    real = Cell.split
    patch(Cell, "split", lambda self, function: list(real(self, function))[:1])


@mutant(SAMPLES)
def faces_forgotten(patch):
    """Vertices on no face: any two would have no edge in common but where there are two alone."""
    real = exact_cells.box

    def box(lower, upper):
        whole = real(lower, upper)
        return Cell(whole.points, (0,) * len(whole.points), whole.faces)

    patch(exact_cells, "box", box)


@mutant(SAMPLES)
def a_box_without_its_last_corner(patch):
    real = exact_cells.box

    def box(lower, upper):
        whole = real(lower, upper)
        few = slice(0, max(1, len(whole.points) - 1))
        return Cell(whole.points[few], whole.masks[few], whole.faces)

    patch(exact_cells, "box", box)


@mutant(SAMPLES)
def slopes_of_rectifiers_alone(patch):
    patch(exact_cells, "segments", lambda op: ([Fraction(0)], [(Fraction(0), Fraction(0)), (Fraction(1), Fraction(0))]))


@mutant(SAMPLES)
def a_maximum_is_its_first_entry(patch):
    patch(exact_cells, "greatest", lambda cell, functions: [(cell, functions[0])])


@mutant(ATTAINED)
def the_middle_of_a_cell_is_its_least_point(patch):
    real = Cell.least
    patch(Cell, "least", lambda self, function: (real(self, function)[0], self.points[0]))


@mutant(("test_ties_count_by_the_strictness_of_their_rows", (True, False), False))
def strictness_forgotten(patch):
    real = exact_cells._unsafe
    patch(exact_cells, "_unsafe", lambda cell, rows: real(cell, [(row, False) for row, _ in rows]))


@mutant(("test_a_strict_row_that_is_slack_does_not_forbid_a_tie",))
def every_row_is_strict(patch):
    real = exact_cells._unsafe
    patch(exact_cells, "_unsafe", lambda cell, rows: real(cell, [(row, any(s for _, s in rows)) for row, _ in rows]))


# ---- the problems and the judge -------------------------------------------------------------------------------------


@mutant(SEEDS)
def everything_is_a_near_tie(patch):
    real = agreement_nets._scale
    patch(agreement_nets, "_scale", lambda case, instance: real(case, instance) * 10**9)


@mutant(SEEDS)
def gaps_forgotten(patch):
    patch(agreement_nets, "_moved", lambda case, gaps: case)


@mutant(SEEDS)
def rows_that_are_never_opposed(patch):
    real = agreement_nets.rows

    def rows(numbers, kind, outputs):
        weight, *others, opposed = real(numbers, kind, outputs)
        return abs(weight), *others, opposed

    patch(agreement_nets, "rows", rows)


@mutant(JUDGE)
def any_witness_will_do(patch):
    patch(agreement, "unsafe", lambda case, instance, point: point is not None)


@mutant(JUDGE)
def a_margin_is_not_looked_at(patch):
    from dataclasses import replace

    real = agreement.faults
    patch(agreement, "faults", lambda case, result: real(case, replace(result, margin=None)))
