"""Faults in how constants that round are enclosed and charged, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from absint.frontends import onnx_computed, onnx_enclosed, onnx_rounded_ends, onnx_translate
from absint.model import enclosing
from absint.numeric import enclosed
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
PRODUCT = ("test_a_product_of_matrices_is_known_up_to_its_roundings",)
SUMMAND = ("test_a_summand_errs_by_what_is_stated",)
RUN_PRODUCT = ("test_float32_executions_of_a_product_that_cancels_are_within", "box")
RUN_SUMMAND = ("test_float32_executions_of_a_summand_that_cancels_are_within",)
HELD, PASSED = "test_bounds_hold_in_rationals", "test_errors_of_operands_are_passed_on"


@mutant(PRODUCT)
def roundings_of_coefficients_are_forgotten(patch):
    patch(onnx_computed, "_terms", lambda one: 0.0)


@mutant(SUMMAND)
def errors_of_summands_are_forgotten(patch):
    edit(patch, onnx_computed, "_computed", ("error.offset is None", "True"))


@mutant(RUN_PRODUCT, ("test_float32_executions_of_a_product_that_cancels_are_within", "deeppoly"))
def executions_of_coefficients_are_forgotten(patch):
    patch(onnx_computed, "_reach", lambda one: (0.0, np.abs(one.high)))


@mutant(RUN_PRODUCT)
def coefficients_that_cancelled_are_taken_for_the_usual_ones(patch):
    edit(patch, onnx_computed, "_reach", ("(size + excess / (k * one.unit))", "(size + 0 * excess)"))


@mutant(RUN_SUMMAND)
def executions_of_summands_are_forgotten(patch):
    edit(patch, onnx_computed, "_computed", ("met is not None and bool(met.any())", "False"))


@mutant((PASSED, "product", (1, 0)), (PASSED, "product", (0, 1)))
def errors_of_factors_are_forgotten(patch):
    edit(patch, enclosed, "multiply", ("+ a.size * b.error + b.size * a.error", ""))


@mutant((PASSED, "matrix", (1, 0)), (PASSED, "matrix", (0, 1)))
def errors_of_matrices_are_forgotten(patch):
    edit(patch, enclosed, "matmul", ("error = error + a.size @ b.error + a.error @ b.size", "error = error"))


@mutant((HELD, "sums"))
def executions_of_sums_do_not_round(patch):
    real = enclosed.add

    def add(one, two):
        return replace(real(one, two), execution=one.execution + two.execution)

    patch(enclosed, "add", add)


@mutant((HELD, "sums_that_cancel"))
def errors_of_summands_stay_behind(patch):
    edit(patch, enclosed, "add", ("(error + a.error + b.error)", "(error)"))


@mutant((PASSED, "quotient", (0, 1)))
def errors_of_divisors_are_forgotten(patch):
    edit(patch, enclosed, "divide", ("(a.error + (np.abs(high) + np.abs(low) + spread) * b.error)", "0 * a.error"))


@mutant((HELD, "totals"), (HELD, "matrices"))
def sums_of_many_terms_round_once_in_executions(patch):
    patch(enclosed, "_gamma", lambda terms, unit: np.full(np.shape(terms), unit / 16))


@mutant(("test_an_execution_that_nobody_bounds_verifies_nothing",))
def kernels_of_which_nothing_is_known_are_exact(patch):
    edit(patch, enclosing, "_linear", ("max(1.0, op.execution_scale)", "1.0"))


@mutant(("test_comparisons_that_rounding_decides_are_refused",))
def comparisons_go_by_the_nearest_number(patch):
    patch(onnx_enclosed, "_truth", lambda node, found: np.asarray(found.high > 0.5) if node.op_type in onnx_enclosed._TRUTH else found)


ENDS = "test_ends_and_slopes_that_round_are_enclosed"


@mutant((ENDS, "ends that cross"))
def the_upper_end_is_taken_first(patch):
    edit(patch, onnx_rounded_ends, "_clip", ('("Max", "Min"), node.input[1:]', '("Min", "Max"), reversed(node.input[1:])'))


@mutant((ENDS, "an upper end"), (ENDS, "a slope"))
def ends_are_taken_for_exact(patch):
    """A constant is the number that executions store, to the last bit."""
    patch(onnx_translate, "spelt", lambda node, enclosed, taken: [])
    patch(onnx_translate.Translation, "_with_enclosed", lambda self, node, known, enclosed, computed: self._add(
        known, node, computed, str(node.output[0])))
