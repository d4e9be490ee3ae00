"""Faults of files with an alarm, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from absint.analyses.taboo import deployed
from absint.model import alarms
from absint.model.alarms import _Writer
from absint.model.watched import Watch
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
STRICT, OWN = "test_above_the_threshold_and_nowhere_else", "test_each_trap_has_thresholds_of_its_own"
IMAGES = "test_entries_of_images_are_counted_channel_by_channel"
SET, ENDS = "test_every_operator_set", "test_the_greatest_and_the_least_threshold"
READS = "test_the_export_compares_the_values_it_reads"
NEXT = "next_above(np.array(limits, np.float32))"


def unconfirmed(patch):
    """Without the comparison that follows an export, which would notice most."""
    patch(alarms, "_confirm", lambda *given: None)


@mutant((STRICT, False), (STRICT, True), (SET, 7, 1))
def a_value_on_its_threshold_alarms(patch):
    unconfirmed(patch)
    edit(patch, _Writer, "_rows", (NEXT, "np.array(limits, np.float32)"))


@mutant((STRICT, False), (STRICT, True), (SET, 17, 2))
def nan_is_quiet(patch):
    unconfirmed(patch)
    over = 'self._node("GreaterOrEqual", "over", compared, '
    edit(patch, _Writer, "write", ('self._node("Less", "within", compared, ', f'self._node("Not", "within", {over}'),
         ('self._constant(limits, "limits"))', 'self._constant(limits, "limits")))'))


@mutant((OWN, False), (OWN, True))
def a_mask_of_the_wrong_layer(patch):
    unconfirmed(patch)
    original = alarms.selection
    patch(alarms, "selection", lambda proto, watch, *given, **more: original(proto, replace(watch, tensor="g"), *given, **more))


@mutant((IMAGES, "n", False), (IMAGES, 1, True))
def entries_counted_channels_last(patch):
    unconfirmed(patch)
    original = alarms.selection

    def selection(proto, watch, *given, **more):
        entries = np.arange(60).reshape(4, 5, 3).transpose(2, 0, 1).reshape(-1)[[*watch.entries]]
        original(proto, Watch(watch.tensor, tuple(int(entry) for entry in entries)), *given, **more)

    patch(alarms, "selection", selection)


@mutant((OWN, False), (OWN, True), (SET, 11, 2))
def one_traps_thresholds_for_the_other(patch):
    unconfirmed(patch)
    edit(patch, _Writer, "_rows", (NEXT, NEXT + "[::-1]"))


@mutant((OWN, False))
def thresholds_in_the_order_of_the_trap_for_values_in_that_of_the_file(patch):
    unconfirmed(patch)
    edit(patch, _Writer, "_rows", ("pairs = sorted(", "pairs = list("),
         ("rows.append([place for place, _ in pairs])", "rows.append(sorted(place for place, _ in pairs))"))


@mutant((OWN, False), (SET, 13, 2))
def short_rows_are_filled_with_another_neuron(patch):
    unconfirmed(patch)
    edit(patch, _Writer, "_rows", ("[pairs[0]] *", "[(0, 1e-3)] *"))


@mutant((OWN, False))
def a_neuron_of_several_traps_has_one_threshold(patch):
    unconfirmed(patch)
    original = alarms._neurons

    def neurons(trap):
        return ((neuron, 5.0 if neuron == ("h", 4) else threshold) for neuron, threshold in original(trap))

    patch(alarms, "_neurons", neurons)


@mutant((STRICT, False))
def all_neurons_must_fire(patch):
    unconfirmed(patch)
    least = 'f"least_of_{label}", number, axes=axes'
    edit(patch, _Writer, "_any", (f'"ReduceMin", {least}', f'"ReduceMax", {least}'))


@mutant((ENDS, False))
def thresholds_lose_digits(patch):
    unconfirmed(patch)
    edit(patch, _Writer, "_rows", (NEXT, NEXT + ".astype(np.float16).astype(np.float32)"))


@mutant((READS, "n", "E-TABOO-ONNX"), (READS, 1, "E-CONTRADICTION"), ("test_the_export_compares_the_first_output",))
def values_are_not_confirmed(patch):
    patch(alarms, "_same", lambda ones, others: True)


@mutant(("test_the_export_compares_the_alarms",))
def alarms_are_not_confirmed(patch):
    edit(patch, alarms, "_confirm", ("if [bool(row.all()) for row in made[found.alarm]] != ", "if False and "))


@mutant(("test_several_instances_in_an_order_of_its_own",))
def instances_together_are_not_confirmed(patch):
    edit(patch, alarms, "_confirm", ("(False, True) if theirs.batchable else (False,)", "()"))


@mutant(("test_a_file_with_other_thresholds_is_a_contradiction",))
def proofs_are_not_held_against_onnxruntime(patch):
    edit(patch, deployed, "equality", ("if not way.optimised:", "if False:"))


@mutant(("test_a_file_with_other_thresholds_is_a_contradiction",))
def only_proved_alarms_are_looked_at(patch):
    patch(deployed._Proof, "broken", lambda self, alarms: np.asarray((self.alarmed & ~alarms).any(1)))


@mutant(("test_a_file_of_another_network_is_a_contradiction",))
def the_first_output_is_not_compared(patch):
    patch(deployed._Answers, "differs", lambda self, other: np.zeros(len(self.first), dtype=bool))
