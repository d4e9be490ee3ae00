"""Faults in masks of -inf, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

import test_masks_of_infinity

from absint.frontends import onnx_growing, onnx_masks, onnx_nonfinite, onnx_translate
from absint.model.ops import masked, normalise
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
SAME, REFUSED = "test_it_is_the_softmax_of_what_is_visible", "test_what_a_mask_may_not_be_is_refused"
BOUNDS = "test_bounds_hold_and_a_hidden_entry_moves_nothing"


@mutant((SAME, "added"), (SAME, "along another axis"))
def hidden_entries_are_in_the_sums(patch):
    patch(masked.MaskedSoftmax, "expand", lambda self, build, inputs, shapes: normalise.Softmax(self.axis).expand(build, inputs, shapes))


@mutant((SAME, "added"), (SAME, "filled"))
def masks_are_overlooked(patch):
    patch(onnx_growing, "behind", lambda op, kind, hidden, *, batched: op)


@mutant((BOUNDS, "box"))
def the_closed_form_counts_hidden_entries(patch):
    edit(patch, normalise, "log_of_one_plus_sum", (" if hidden is None else hidden[..., None, :] & ~own", ""))
    patch(masked, "log_of_one_plus_sum", normalise.log_of_one_plus_sum)


@mutant((SAME, "masked twice"), (SAME, "two masks"))
def the_first_mask_alone_counts(patch):
    edit(patch, onnx_masks, "_combined", ("np.logical_or(*np.broadcast_arrays(*given))", "np.broadcast_arrays(*given)[1]"))
    edit(patch, onnx_masks, "_folded", ("np.logical_or(*np.broadcast_arrays(*(np.isneginf(v) for v in inputs if v is not None)))",
                                        "np.broadcast_arrays(*(np.isneginf(v) for v in inputs if v is not None))[0]"))


@mutant((REFUSED, "taken away"))
def a_mask_that_is_taken_away_hides(patch):
    edit(patch, onnx_masks, "_combined", ('kind in ("Sub", "Div") and given[1].any()', "False"))


@mutant((REFUSED, "scaled by 0"))
def a_mask_may_be_scaled_by_anything(patch):
    edit(patch, onnx_masks, "_combined", ("factor is None or not bool((factor >= np.finfo(np.float32).tiny).all())", "False"))


@mutant((REFUSED, "NaN asked for behind a logarithm"))
def nothing_is_ever_nan(patch):
    patch(onnx_nonfinite, "never_nan", lambda name, steps, constants: True)


@mutant(("test_no_bounds_go_by_the_name_of_a_masked_tensor",))
def masked_tensors_keep_their_names(patch):
    patch(onnx_translate, "unnamed", lambda graph, masks: graph)


@mutant(("test_a_softmax_of_another_kind_is_asked_for_no_mask",))
def whatever_is_called_softmax_is_one(patch):
    edit(patch, onnx_masks, "behind", ("    if not isinstance(op, Softmax):\n        raise NodeProblemError(_LOST, MASK_HINT)\n",
                                       "    if not isinstance(op, Softmax):\n        return op\n"))
    patch(test_masks_of_infinity, "behind", onnx_masks.behind)
