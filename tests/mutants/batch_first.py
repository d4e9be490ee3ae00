"""Faults in writing recurrent layers of layout 1 with layout 0, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from absint.frontends import onnx_file, onnx_recurrent
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
FIRST = "test_the_batch_may_come_first"


@mutant((FIRST, "LSTM"))
def all_results_are_turned_the_same_way(patch):
    patch(onnx_recurrent, "_Y_TURNED", (2, 1, 0, 3))


@mutant((FIRST, "GRU"))
def nothing_is_said_of_it(patch):
    edit(patch, onnx_file, "open_model", ("(*found.notes, *notes)", "found.notes"))
    from absint.frontends import onnx_reader

    patch(onnx_reader, "open_model", onnx_file.open_model)
