"""Faults of merging linear operators, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import torch

from absint.model import passes
from absint.model.ops.gemm import Gemm
from absint.model.passes import linear_forms
from absint.numeric import expansions
from absint.numeric.expansions import Expansion
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
merging = import_module("absint.model.passes.merge_linear")
SAME = tuple(("test_merged_networks_are_the_networks", kind) for kind in ("plain", "moved", "branched", "from the left"))
COUNTED = ("test_rounded_coefficients_are_counted",)


@mutant(COUNTED, SAME[0])
def roundings_of_coefficients_are_forgotten(patch):
    edit(patch, merging, "gemm_of", ("int(rounds and bool(lost.any()))", "0"))


@mutant(SAME[0], SAME[1])
def roundings_of_constants_are_forgotten(patch):
    edit(patch, merging, "gemm_of", ("(form.offset_error.flatten() + unsaid)", "(form.offset_error.flatten())"))


@mutant(("test_errors_of_constants_go_through_the_matrices_behind_them",))
def errors_of_constants_go_through_signed_matrices(patch):
    edit(patch, linear_forms, "_above", ("op.weight.abs())", "op.weight)"))


@mutant(("test_errors_of_constants_go_through_the_matrices_behind_them",))
def own_errors_of_constants_are_forgotten(patch):
    edit(patch, linear_forms, "_shifted", ("form.offset_error + op.offset_error", "form.offset_error + 0 * op.offset_error"))


@mutant(*SAME)
def constants_are_lost(patch):
    patch(linear_forms, "_shifted", lambda form, op: form)


@mutant(SAME[0], SAME[2])
def constants_miss_the_matrices_behind_them(patch):
    original = linear_forms._image
    patch(linear_forms, "_image", lambda op, parts: original(op, parts) if parts[0].shape[0] > 1 else
          Expansion((torch.zeros((1, *op.output_shape(*(part.shape[1:] for part in parts))), dtype=torch.float64),)))


@mutant(SAME[2])
def differences_are_sums(patch):
    edit(patch, linear_forms, "_image", ("t * op.sign", "t"))


@mutant(("test_products_of_products_are_exact",))
def only_the_first_part_is_multiplied(patch):
    edit(patch, Expansion, "times", ("for part in self.parts]", "for part in self.parts[:1]]"))


@mutant(("test_products_are_exact", 20), COUNTED)
def errors_of_sums_are_dropped(patch):
    patch(expansions, "two_sum", lambda one, two: (one + two, torch.zeros_like(one)))


@mutant(("test_products_are_exact", 3))
def slices_are_too_long(patch):
    edit(patch, Expansion, "times", ("// 2", "// 1"))


@mutant(("test_numbers_too_far_apart_give_nothing",))
def what_is_left_of_a_matrix_is_dropped(patch):
    edit(patch, expansions, "_slices", ("return found\n    return []", "return found\n    return found"))


@mutant(*(("test_magnitudes_without_room_give_nothing", value) for value in (1e-320, 1e308)))
def any_magnitude_will_do(patch):
    patch(expansions, "_within", lambda x: True)


@mutant(("test_what_float32_does_not_hold_is_left_alone",))
def what_float32_does_not_hold_is_merged(patch):
    patch(merging, "fits_as", lambda op, nodes: True)


@mutant(("test_coefficients_that_were_rounded_before_are_left_alone",))
def rounded_coefficients_are_merged(patch):
    edit(patch, merging, "composable", ("return op.weight_terms == 0 and op.weight_magnitude is None", "return True"))


@mutant(("test_a_pass_is_named_even_where_as_many_nodes_are_left",))
def a_pass_is_named_where_fewer_nodes_are_left(patch):
    edit(patch, passes, "apply_passes",
         ("{id(node.op) for node in graph.nodes} != {id(node.op) for node in before.nodes}", "len(graph.nodes) != len(before.nodes)"))


@mutant(("test_float32_executions_are_refused_of_merged_graphs",))
def float32_semantics_takes_merged_graphs(patch):
    patch(passes, "PASSES", tuple(replace(p, exact=True) if p.name == "merge-linear" else p for p in passes.PASSES))
    patch(import_module("absint.engine.float32_executions"), "PASSES", passes.PASSES)


@mutant(("test_the_import_check_allows_for_what_cancels",))
def what_cancelled_is_forgotten(patch):
    edit(patch, Gemm, "apply_magnitude", ("if self.weight_magnitude is None:", "if True:"))
