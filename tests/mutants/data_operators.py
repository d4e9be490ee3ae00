"""Faults in support vector machines, operators on data and labels at the end of files, each with the tests that must notice it."""

from __future__ import annotations

import torch

from absint.frontends import onnx_gemm, onnx_labels, onnx_ml, onnx_nonfinite, onnx_outputs, onnx_translate
from absint.model import import_check
from absint.model.op import OPS
from absint.model.ops import compare, largest, sampled, support_vectors
from mutants.planting import into
from mutants.refinement import edit, rewritten

MUTANTS = {}
mutant = into(MUTANTS)
PAIRS, REGRESSORS = "test_scores_of_pairs_of_every_kernel", "test_regressors_of_every_kernel"
SAME, TOPS = "test_they_agree_with_onnxruntime", "test_the_largest_entries_in_order"
REFUSED, BRANCH = "test_what_is_refused_says_why", "test_what_overflows_takes_the_branch_for_infinity"


def rule(patch, name, module, function, *changes):
    """The import rule of an operator, edited."""
    found = rewritten(getattr(module, function), *changes)
    get = OPS.get
    patch(type(OPS), "get", lambda self, key: found if self is OPS and key == name else get(key))


# ---- support vector machines -----------------------------------------------------------------------------------------------


@mutant((PAIRS, "LINEAR", (2, 1, 3)))
def rows_of_the_other_class(patch):
    edit(patch, support_vectors, "_pairs", ("rows[second - 1, own[first]]", "rows[first, own[first]]"))


@mutant((PAIRS, "RBF", (2, 3)))
def two_classes_change_places(patch):
    rule(patch, "ai.onnx.ml.SVMClassifier", support_vectors, "classifier_from_onnx", ("[-1.0, 1.0]", "[1.0, -1.0]"))


@mutant((REGRESSORS, "RBF"))
def far_vectors_count_more(patch):
    edit(patch, support_vectors, "_of_distances", ("scale=-gamma", "scale=gamma"))


@mutant((REGRESSORS, "POLY"), (REGRESSORS, "SIGMOID"))
def products_are_not_shifted(patch):
    edit(patch, support_vectors, "_kernels", ("scale=gamma, shift=shift", "scale=gamma"))


@mutant(("test_other_machines_agree_with_onnxruntime", "one class"))
def one_class_keeps_its_number(patch):
    rule(patch, "ai.onnx.ml.SVMRegressor", support_vectors, "regressor_from_onnx", ('int(node.attribute("one_class", 0))', "0"))


@mutant(("test_what_is_refused", "probabilities"))
def probabilities_are_scores(patch):
    rule(patch, "ai.onnx.ml.SVMClassifier", support_vectors, "classifier_from_onnx", ('"prob_a" in node.attributes', "False"))


@mutant(("test_a_label_that_is_not_the_greater_score_is_said",))
def scores_that_are_turned_go_unseen(patch):
    patch(onnx_ml, "_turns", lambda node, constants: False)


@mutant(("test_scores_of_pairs_are_said_to_be_no_classes",))
def a_cast_makes_classes_of_pairs(patch):
    edit(patch, onnx_ml, "_behind", ('node.op_type in ("Cast", "Identity")', "False"))


@mutant(("test_double_numbers_that_are_rounded_inside_are_refused",))
def double_numbers_stay_as_they_are(patch):
    patch(onnx_translate, "element_types", lambda model: {})


# ---- operators on data -------------------------------------------------------------------------------------------------------


@mutant((TOPS, "two of four"), ("test_bounds_of_the_largest",))
def the_smaller_goes_first(patch):
    edit(patch, largest, "_compared", ("(name, larger, smaller)", "(name, smaller, larger)"))


@mutant((TOPS, "the least three"))
def the_least_are_the_largest(patch):
    rule(patch, "TopK", largest, "top_from_onnx", ('not node.attribute("largest", 1)', "False"))


@mutant((REFUSED, "open order"))
def any_order_is_falling(patch):
    rule(patch, "TopK", largest, "top_from_onnx", ('not node.attribute("sorted", 1)', "False"))


@mutant((SAME, "a computed bias"))
def a_factor_of_a_bias_is_lost(patch):
    edit(patch, onnx_gemm, "as_product", ('given.get("beta", 1.0)', "1.0"))
    patch(onnx_translate, "as_product", onnx_gemm.as_product)


@mutant((SAME, "two computed matrices, turned, and a bias"))
def a_matrix_is_not_turned(patch):
    edit(patch, onnx_gemm, "as_product", ("perm=[1, 0]", "perm=[0, 1]"))
    patch(onnx_translate, "as_product", onnx_gemm.as_product)


@mutant((REFUSED, "infinity behind a logarithm"))
def nothing_is_ever_infinite(patch):
    patch(onnx_nonfinite, "never_nan", lambda name, steps, constants: True)


@mutant((BRANCH, {}), ("test_both_branches_count_where_some_inputs_overflow", "real"))
def nothing_overflows(patch):
    edit(patch, onnx_nonfinite, "answer", ("and any(_signs(node))", "and False"))
    patch(onnx_translate, "answer", onnx_nonfinite.answer)


@mutant((BRANCH, {"detect_negative": 0}))
def minus_infinity_counts_too(patch):
    edit(patch, onnx_nonfinite, "as_comparison", ("if negative and positive", "if positive"))
    patch(onnx_translate, "as_comparison", onnx_nonfinite.as_comparison)


@mutant(("test_truth_values_beside_constant_ones", "Xor"))
def xor_is_or(patch):
    edit(patch, compare, "_with_constant", ("1 - 2 * c", "1 - c"))


@mutant((SAME, "places, 0, zeros"))
def places_beyond_the_image_are_its_border(patch):
    rule(patch, "GridSample", sampled, "grid_from_onnx", ('border=padding == "border"', "border=True"))


@mutant((SAME, "places, 1, zeros"), ("test_places_between_pixels_by_hand",))
def the_nearer_pixel_weighs_less(patch):
    edit(patch, sampled, "_ends", ("(first, 1 - (exact - first)), (first + 1, exact - first)",
                                   "(first, exact - first), (first + 1, 1 - (exact - first))"))


@mutant((SAME, "blocks apart, padded and spread"))
def blocks_are_not_padded(patch):
    rule(patch, "Col2Im", sampled, "blocks_from_onnx", ("p * s + o * d - low", "p * s + o * d"))


@mutant(("test_a_cast_explains_no_other_factor",))
def everything_was_kept_in_few_digits(patch):
    patch(import_check._Shared, "cast", lambda self, node, tensor, *, onward=False: torch.bfloat16)


@mutant((REFUSED, "beyond float16"))
def what_overflows_in_a_cast_is_a_fault_of_the_import(patch):
    patch(import_check, "_not_finite", lambda graph, shared, x, theirs, ours: None)


# ---- labels --------------------------------------------------------------------------------------------------------------------


@mutant(("test_what_reads_a_choice_and_computes_is_no_label",))
def whatever_reads_a_choice_is_its_label(patch):
    patch(onnx_labels, "_CARRIES", onnx_labels._CARRIES | {("", "Relu"): 0})


@mutant(("test_what_a_choice_picks_out_of_computed_numbers_is_no_label",))
def every_table_is_one_of_names(patch):
    patch(onnx_labels, "_stored", lambda name, proto: True)


@mutant(("test_a_label_of_the_least_number_beside_scores_is_said",))
def the_least_is_as_good_as_the_greatest(patch):
    patch(onnx_outputs, "least_of", lambda proto, dropped, chosen: ())
