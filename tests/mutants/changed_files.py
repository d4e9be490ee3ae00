"""Records of other files, or of other inputs, taken for the run's own: each with the checks that must notice it."""

from __future__ import annotations

from absint.analyses.verify.question import Question
from absint.runs import worker
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("changed", "net.onnx", "model_sha256"), ("changed", "rows.npz", "data_sha256"), ("changed", "limits.csv", "within"))
def a_process_believes_what_it_finds(patch):
    patch(worker, "_different", lambda told, found: [])


@mutant(("changed", "net.onnx", "model_sha256"))
def a_binding_is_compared_with_itself(patch):
    real = worker._different
    patch(worker, "_different", lambda told, found: real(told, told))


@mutant(("changed", "of_a_run.py", "the plug-in "))
def a_plug_in_may_be_another_one(patch):
    edit(patch, worker, "answer", ("sha256 not in (None, hashlib.sha256(content).hexdigest())", "False"))


@mutant(("choice", (0.35, 1.65)))
def radii_of_a_range_of_outputs_bind_no_inputs(patch):
    edit(patch, Question, "by_position", ("not (any(several) or labelled)", "self.within is not None or not (any(several) or labelled)"))
