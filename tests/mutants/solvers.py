"""Unsound variants of safe bounds, sessions and encodings, each with the tests that must notice it.

Killers are (module, test, arguments); the tests themselves run unmutated in their own files.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from absint.encode import builder, expressions, linear_rows, network
from absint.encode import segments as kinks_module
from absint.encode.builder import Builder
from absint.encode.expressions import Expressions, LinearRows
from absint.solvers import model, reproved_bounds, session
from absint.solvers.model import Model, SolverAnswer, Status
from absint.solvers.reproved_bounds import SafeBounds
from absint.solvers.session import Session
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)    # killers are (test, arguments...)
EXECUTIONS = "test_every_execution_is_a_point_of_the_model"
EXACT = "test_a_safe_bound_is_below_its_exact_value"
LIES = "test_lies_never_move_a_bound_above_an_execution"


# ---- safe bounds ----------------------------------------------------------------------------------------------------


@mutant((EXACT, 1.0), (EXACT, 1e8))
def no_slack(patch):
    patch(reproved_bounds, "_gamma", lambda terms: np.zeros(np.shape(terms)))


@mutant((EXACT, 1e8))
def reduced_costs_taken_as_exact(patch):
    real = SafeBounds._columns
    patch(SafeBounds, "_columns", lambda self, *given: (real(self, *given)[0], np.zeros(len(given[1]))))


@mutant(("test_infinite_sides_and_columns",))
def multipliers_of_infinite_sides(patch):
    patch(SafeBounds, "usable", lambda self, y: np.zeros(len(self.model.row_lower)) if y is None else np.nan_to_num(y))


@mutant((EXACT, 1.0))
def rows_count_for_nothing(patch):
    patch(SafeBounds, "_side", staticmethod(lambda ends: np.zeros(len(ends))))


@mutant((LIES, "infeasible with a ray", "relu"))
def any_ray_is_a_proof(patch):
    patch(SafeBounds, "empty", lambda self, ray, lower, upper: ray is not None)


@mutant(("test_a_feasible_model_is_never_proved_empty", np.array([1.0, -1.0])))
def a_bound_of_zero_is_a_proof(patch):
    def empty(self, ray, lower, upper):
        return ray is not None and np.isfinite(ray).all() and self.bound(ray, np.zeros(len(lower)), lower, upper) > -1e-9

    patch(SafeBounds, "empty", empty)


# ---- sessions -------------------------------------------------------------------------------------------------------


@mutant((LIES, "optimal at +5", "relu"))
def the_solvers_own_objective(patch):
    patch(Session, "_judge", lambda self, claim: SolverAnswer(claim.value, False, claim.status))


@mutant((LIES, "infeasible", "relu"), (LIES, "infeasible", "pool"))
def the_solvers_own_infeasibility(patch):
    real = Session._judge
    patch(Session, "_judge", lambda self, c: SolverAnswer(np.inf, True, c.status) if c.status is Status.INFEASIBLE else real(self, c))


@mutant(("test_after_a_crash_the_next_solver_goes_on_with_the_same_bounds_and_costs", True))
def the_next_solver_starts_afresh(patch):
    def start(self):
        if self._engine is None:
            self._engine = self._chosen().start(self.model.as_solvers_see())
        return self._engine

    patch(Session, "_start", start)


@mutant(("test_tiny_coefficients_go_with_a_wider_row",))
def tiny_coefficients_dropped_without_widening(patch):
    def without(self):
        kept = self.matrix.copy()
        kept.data = np.where(np.abs(kept.data) < model.TINY_COEFFICIENT, 0.0, kept.data)
        kept.eliminate_zeros()
        return replace(self, matrix=kept)

    patch(Model, "without_tiny", without)


@mutant(("test_tiny_coefficients_go_with_a_wider_row",))
def the_bound_of_a_model_without_tiny_coefficients(patch):
    def without(given):
        kept = given.matrix.copy()
        kept.data = np.where(np.abs(kept.data) < model.TINY_COEFFICIENT, 0.0, kept.data)
        return SafeBounds(replace(given, matrix=kept))

    patch(session, "SafeBounds", without)


# ---- encodings ------------------------------------------------------------------------------------------------------


@mutant((EXECUTIONS, "linear chain", 1), (EXECUTIONS, "residual", 1))
def products_of_weights_taken_as_exact(patch):
    patch(expressions, "gamma", lambda terms, dtype: 0.0)


@mutant(("test_errors_that_passes_left_widen_the_rows",))
def coefficients_taken_as_exact(patch):
    real = LinearRows
    patch(linear_rows, "LinearRows", lambda matrix, low, high, roundings: real(matrix, low, high, 0))
    patch(expressions, "gamma", lambda terms, dtype: 0.0)


@mutant(("test_errors_that_passes_left_widen_the_rows",))
def errors_of_passes_forgotten(patch):
    real = linear_rows._offset

    def middle(op, node):
        low, high = real(op, node)
        return low / 2 + high / 2, low / 2 + high / 2

    patch(linear_rows, "_offset", middle)


@mutant((EXECUTIONS, "relu", 0))
def biases_forgotten(patch):
    patch(Expressions, "shifted", lambda self, low, high: self)


@mutant((EXECUTIONS, "clip", 0))
def the_height_of_the_first_knot_forgotten(patch):
    patch(kinks_module, "_constants", lambda slope, offset, points: (np.zeros(len(points[0])), np.zeros(len(points[0]))))


@mutant((EXECUTIONS, "odd clip", 0), (EXECUTIONS, "clip", 1))
def segments_a_little_short(patch):
    real = network.kinks
    patch(network, "kinks", lambda *given: (replace(g, width=g.width * (1 - 1e-9)) for g in real(*given)))


@mutant((EXECUTIONS, "clip", 1), (EXECUTIONS, "odd clip", 1))
def later_segments_fill_too_slowly(patch):
    real = network.kinks
    patch(network, "kinks", lambda *given: (replace(g, inner=g.inner * 1.01) for g in real(*given)))


@mutant((EXECUTIONS, "relu", 0), (EXECUTIONS, "leaky", 0))
def a_triangle_a_little_low(patch):
    real = network._Encoder._bounded
    patch(network._Encoder, "_bounded", lambda self, terms, scale, limit: real(self, terms, scale, limit * 0.999))


@mutant((EXECUTIONS, "relu", 0), (EXECUTIONS, "pool", 1))
def an_alternative_lost(patch):
    real = Builder.choose

    def choose(self, alternatives, number=None):
        real(self, alternatives[1:] or [tuple(v[::2] for v in alternatives[0])], None if number is None else number[::2])

    patch(Builder, "choose", choose)


@mutant((EXECUTIONS, "relu", 0), (EXECUTIONS, "pool", 1))
def binaries_that_impose_too_much(patch):
    patch(builder, "_toward_zero", lambda a, b: 1.5 * (a - b))


@mutant((EXECUTIONS, "pool", 1))
def one_entry_of_a_maximum_wins(patch):
    from absint.model.families.maximum import Maximum

    real = Maximum.undecided

    def undecided(self, intervals):
        mask = real(self, intervals)[0]
        first = intervals[0].lower.argmax(-1, keepdim=True)
        return (mask & mask.new_zeros(mask.shape).scatter_(-1, first, True),)

    patch(Maximum, "undecided", undecided)


@mutant(("test_what_rests_on_a_solvers_number_says_so",))
def a_solvers_number_counts_as_proved(patch):
    real = network.Encoding
    patch(network, "Encoding", lambda *given: real(*given[:-1], False))
