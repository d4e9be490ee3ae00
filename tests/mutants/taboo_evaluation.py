"""Wrong ways to count what a taboo trap detects, each with the tests that must notice it. Killers: module of the tests, name, arguments."""

from __future__ import annotations

from dataclasses import replace

import torch

from absint.analyses.taboo import alarms, evaluation, evaluation_summary, exchangeable, observing
from absint.analyses.taboo.evaluation import TabooExperiment
from absint.attacks import foolbox_attacks, perturbations
from absint.attacks.foolbox_attacks import ATTACK_KINDS, Sent
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)
HERE, SENT = "test_taboo_evaluation", "test_perturbations"
NOTHING = "test_an_attack_that_finds_nothing_sends_its_last_step_and_no_black_image"


@mutant((HERE, "test_detection_is_counted_over_all_perturbed_inputs_not_over_those_that_fool"))
def detection_over_successes_alone(patch):
    real = evaluation_summary.rates_of
    patch(evaluation_summary, "rates_of", lambda rows: tuple(replace(one, detection=one.of_fooled) for one in real(rows)))


@mutant((HERE, "test_each_key_has_its_own_alarms"), (HERE, "test_a_neuron_of_two_keys_is_held_to_each_key_s_threshold"))
def alarms_of_one_trap_stand_for_the_other(patch):
    real = alarms.alarms_of

    def alarms_of(traps, values):
        found = real(traps, values)
        return replace(found, by_trap=found.by_trap.roll(1, 1))

    patch(observing, "alarms_of", alarms_of)


@mutant((HERE, "test_a_value_on_its_threshold_is_no_alarm_but_not_sure"))
def a_value_on_its_threshold_alarms(patch):
    real = alarms.alarms_of

    def alarms_of(traps, values):
        found = real(traps, values)
        return replace(found, by_trap=found.by_trap | (found.scores >= 0)[:, None])

    patch(observing, "alarms_of", alarms_of)


@mutant((SENT, "test_the_attack_itself_searches_in_the_support_alone", "deepfool"),
        (SENT, "test_the_attack_itself_searches_in_the_support_alone", "ddn:steps=60"))
def the_support_is_cut_out_afterwards(patch):
    """The attack searches among all entries."""
    real = foolbox_attacks._Module

    def module(call, setting, inputs, support):
        return real(call, setting, inputs, None)

    patch(foolbox_attacks, "_Module", module)


@mutant((SENT, "test_outside_of_the_support_every_bit_stays", "pgd:eps=0.2,steps=5"),
        (SENT, "test_outside_of_the_support_every_bit_stays", "sign:eps=0.2"),
        (HERE, "test_noise_on_the_support_leaves_the_background_and_its_alarms"))
def the_support_holds_everything(patch):
    real = foolbox_attacks.Setting.__init__

    def setting(self, clip=(0.0, 1.0), seed=0, support=None, look=int):
        real(self, clip, seed, None if support is None else torch.ones_like(support), look)

    patch(foolbox_attacks.Setting, "__init__", setting)


@mutant((HERE, "test_false_alarms_are_those_of_the_inputs_given"), (HERE, "test_each_key_has_its_own_alarms"))
def false_alarms_on_training_inputs(patch):
    """None of them alarms, by the way thresholds are made."""
    real = TabooExperiment.measured

    def measured(self, place, end=float("inf")):
        found = real(self, place, end)
        none = tuple(0 for _ in found.row.by_key)
        return found if place else replace(found, row=replace(found.row, alarms=0, by_key=none))

    patch(TabooExperiment, "measured", measured)


@mutant((SENT, NOTHING, "cw:binary_search_steps=1,steps=5,initial_const=0.0001"), (SENT, NOTHING, "ddn:steps=1"))
def what_foolbox_returns_is_what_was_found(patch):
    """Zeros among them."""
    patch(foolbox_attacks, "ATTACK_KINDS", {name: replace(kind, keeps_best=False) for name, kind in ATTACK_KINDS.items()})


@mutant((HERE, "test_alarms_under_noise_are_those_of_the_perturbed_inputs"),
        (HERE, "test_a_step_up_alarms_exactly_where_it_passes_the_threshold"))
def the_clean_inputs_are_evaluated(patch):
    real = TabooExperiment._sent
    patch(TabooExperiment, "_sent", lambda self, one, region, end: Sent(self.inputs, real(self, one, region, end).gave_up))


@mutant((SENT, "test_attacks_go_away_from_the_label_not_from_the_answer"))
def attacks_go_away_from_the_answer(patch):
    real = perturbations.send
    patch(perturbations, "send", lambda model, inputs, labels, plan, setting: real(model, inputs, model(inputs).argmax(1), plan, setting))


@mutant((SENT, "test_bim_makes_ten_steps_of_a_tenth_inside_the_ball", "bim:eps=0.2,steps=5", 0.1))
def steps_of_foolbox_s_own_length(patch):
    kind = ATTACK_KINDS["bim"]
    changed = replace(kind, defaults={**kind.defaults, "rel_stepsize": 0.2})
    patch(foolbox_attacks, "ATTACK_KINDS", {**ATTACK_KINDS, "bim": changed})


@mutant((HERE, "test_the_transfer_matrix_divides_by_the_alarms_of_the_row_s_key"))
def shares_of_the_other_key(patch):
    """P(i | j) in place of P(j | i)."""
    real = evaluation_summary.Transfer.shares.fget
    patch(evaluation_summary.Transfer, "shares", property(lambda self: tuple(zip(*real(self), strict=True))))


@mutant((HERE, "test_held_out_calibration_promises_m_times_j_plus_one_over_n_plus_one"))
def the_promise_forgets_dropped_neurons(patch):
    real = exchangeable.held_out

    def held_out(traps):
        found = real(traps)
        return found and replace(found, masked=sum(map(len, traps.traps)))

    patch(exchangeable, "held_out", held_out)


@mutant((HERE, "test_the_promise_holds_on_average_and_is_attained", 0))
def the_promise_forgets_that_one_of_several_is_enough(patch):
    real = exchangeable.HeldOut.bound.fget
    patch(exchangeable.HeldOut, "bound", property(lambda self: real(replace(self, masked=1)) if self.masked > 1 else real(self)))


@mutant((HERE, "test_inputs_of_the_same_kind_are_seldom_said_to_be_unlike", 99, 0, 1))
def rates_held_against_an_average(patch):
    patch(exchangeable.HeldOut, "most", property(lambda self: float(self.bound)))


@mutant((HERE, "test_separable_scores_have_the_whole_area_and_equal_ones_half"))
def curves_reject_low_scores(patch):
    real = evaluation_summary.roc
    patch(evaluation_summary, "roc", lambda usual, others: real([-one for one in usual], [-one for one in others]))


@mutant((HERE, "test_a_neuron_that_never_fires_hides_no_other"), (HERE, "test_a_neuron_of_two_keys_is_held_to_each_key_s_threshold"))
def curves_shift_thresholds(patch):
    """By differences, where a neuron that never fires is as near to an alarm as float32 has numbers."""
    patch(evaluation, "ratios", lambda traps, values: alarms.alarms_of(traps, values).scores + 1)


@mutant((HERE, "test_a_network_that_is_wrong_already_is_not_fooled"))
def every_wrong_answer_is_a_success(patch):
    patch(TabooExperiment, "right", property(lambda self: torch.ones(len(self.inputs), dtype=torch.bool)))


@mutant((HERE, "test_nan_is_an_alarm"))
def nan_is_a_class(patch):
    patch(evaluation, "classes", lambda seen: torch.zeros(len(seen.outputs), dtype=torch.int64))
