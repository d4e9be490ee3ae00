"""Wrong ways to an error rate, each with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace

import torch

from absint.analyses.errors import deciding
from absint.analyses.errors.record import ImageErrors
from absint.numeric.rounding import Numerics
from absint.search import error_rates
from mutants.planting import into

MUTANTS = {}
# Killers: module of the tests, name, arguments.
mutant = into(MUTANTS)


@mutant(("test_error_rates", "test_ties_in_exact_arithmetic_are_never_proved"))
def proofs_without_rounding(patch):
    patch(error_rates, "Numerics", lambda dtype, device: Numerics(dtype, device=device, rounding=False))


@mutant(("test_error_rates", "test_the_edge_of_a_robust_ball_is_found_to_the_last_digit", "0.249999999999", True))
def float32_has_the_last_word(patch):
    patch(error_rates, "by_rounding", lambda margin, slack: torch.zeros_like(margin, dtype=torch.bool))


@mutant(("test_error_rates", "test_ties_in_exact_arithmetic_are_never_proved"))
def what_looks_broken_is_broken(patch):
    patch(error_rates._Attack, "_proved_wrong", lambda self, points, labels: torch.ones_like(labels, dtype=torch.bool))


@mutant(("test_error_rates", "test_the_range_of_the_data_is_kept"))
def the_attack_leaves_the_range(patch):
    real = error_rates._Attack._inside
    patch(error_rates._Attack, "_inside", lambda self: real(replace(self, clip=None)))


@mutant(("test_error_rates", "test_the_edge_of_a_robust_ball_is_found_to_the_last_digit", "0.249999999999", True))
def the_attack_leaves_the_ball(patch):
    real = error_rates._Attack._inside
    patch(error_rates._Attack, "_inside", lambda self: real(replace(self, radius=self.radius + 1)))


@mutant(("test_error_rates", "test_time_ends_between_chunks"))
def a_chunk_that_the_time_cut_counts_as_done(patch):
    real = error_rates._by_chunks
    patch(error_rates, "_by_chunks", lambda count, size, decide, end: replace(real(count, size, decide, end), done=count))


@mutant(("test_errors_table", "test_a_proof_of_what_an_attack_broke_ends_the_run"),
        ("test_errors_table", "test_a_witness_of_one_domain_and_a_proof_of_another_end_the_run"))
def contradictions_go_unnoticed(patch):
    patch(deciding, "check_order", lambda *_: None)


@mutant(("test_errors_table", "test_rates_are_of_the_images_that_are_decided"))
def misclassified_images_may_be_verified(patch):
    patch(ImageErrors, "answer", lambda self, domains: any(self.proved.get(name) for name in domains) or (None if self.correct else True))


@mutant(("test_errors_table", "test_what_a_limit_ends_counts_as_an_error"))
def what_the_time_cut_is_verified(patch):
    real = deciding._Block._learn

    def learn(self, name, slot, result):
        real(self, name, slot, result)
        if result.reason is not None and result.reason.value == "timeout":
            self.proofs[name][slot] = True

    patch(deciding._Block, "_learn", learn)


@mutant(("test_errors_table", "test_under_attack_what_is_proved_is_unbroken"))
def attacked_images_count_as_unbroken(patch):
    patch(ImageErrors, "unbroken", property(lambda self: self.correct))


@mutant(("test_errors_table", "test_what_rests_on_a_solver_alone_or_is_likely_is_no_proof"))
def a_solvers_word_is_a_proof(patch):
    real = deciding._Block._learn
    patch(deciding._Block, "_learn", lambda self, name, slot, result: real(
        self, name, slot, replace(result, assurance=deciding.Assurance.SOUND)))
