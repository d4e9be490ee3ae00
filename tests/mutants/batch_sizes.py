"""Faults in telling of values made of an open batch's size, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from absint.frontends import onnx_batch, onnx_translate
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
TOLD, SHAPES = "test_a_value_made_of_the_batch_size_is_told", "test_shapes_made_of_the_batch_size_are_no_values"
RESULTS = "test_results_that_differ_by_the_size_are_told_whatever_computes_them"


@mutant((TOLD, "divided by"), (TOLD, "counted"))
def nobody_asks(patch):
    patch(onnx_translate, "depends_on_size", lambda file, read, constants: None)


@mutant((TOLD, "where no sample sees it"))
def only_results_are_compared(patch):
    patch(onnx_batch, "_same", lambda first, other: True)


@mutant((RESULTS,))
def only_constants_are_compared(patch):
    patch(onnx_batch, "_alike", lambda first, other: True)


@mutant((SHAPES, "a shape"))
def shapes_count_as_values(patch):
    patch(onnx_batch, "_PLACES", {})


@mutant((SHAPES, "zeros of its shape"), (SHAPES, "a row repeated"))
def repeated_rows_count_as_others(patch):
    edit(patch, onnx_batch, "_same", ("np.array_equal(np.broadcast_to(first, other.shape), other)", "np.array_equal(first, other)"))


@mutant((TOLD, "a quarter of it"), (TOLD, "three at least"))
def few_instances_are_asked(patch):
    patch(onnx_batch, "_SIZES", (1, 2, 3))


@mutant(("test_a_result_of_another_shape_for_each_size_is_told",))
def other_shapes_are_nothing_to_compare(patch):
    edit(patch, onnx_batch, "_alike", ("        return False", "        return True"))
