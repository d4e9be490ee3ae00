"""Wrong ways to an interval of a probability, each with the tests that must notice it."""

from __future__ import annotations

from fractions import Fraction

from absint.analyses.global_robustness import counting, deciding, judging, shown
from absint.analyses.global_robustness.counting import Count
from absint.analyses.global_robustness.robustness_record import FALSIFIED, VERIFIED
from absint.analyses.global_robustness.task import GlobalTask
from absint.engine import evaluated
from absint.numeric import statistics
from absint.search import classified
from mutants.planting import into

MUTANTS = {}
# Killers: module of the tests, name, arguments.
mutant = into(MUTANTS)


@mutant(("test_global_counting", "test_of_a_whole_run_it_is_the_interval_of_both_counts"))
def the_interval_of_the_wrong_tail(patch):
    patch(counting, "binomial_lower", lambda hits, count, rest: statistics.binomial_lower(hits, count, 1 - rest))


@mutant(("test_intervals_of_proportions", "test_known_values", 24, 0.7965, 0.9990))
def all_of_the_error_in_each_tail(patch):
    patch(statistics, "binomial_lower", lambda hits, count, rest, real=statistics.binomial_lower: real(hits, count, 2 * rest))


@mutant(("test_global_counting", "test_of_a_whole_run_it_is_the_interval_of_both_counts"),
        ("test_global_robustness", "test_without_an_answer_a_draw_is_unknown_in_the_interval"))
def unknown_counts_as_falsified(patch):
    real = Count.interval

    def interval(self, rest, *, sequential):
        return real(Count(self.asked, self.counted, self.yes, self.counted - self.yes), rest, sequential=sequential)

    patch(Count, "interval", interval)


@mutant(("test_global_counting", "test_a_worst_class_is_that_of_the_least_ends"),
        ("test_global_robustness", "test_worst_classes_and_curves"))
def the_average_for_the_worst_class(patch):
    def mean(intervals):
        return tuple(sum(ends) / len(intervals) for ends in zip(*intervals, strict=True))

    patch(counting, "worst", mean)
    patch(shown, "worst", mean)


@mutant(("test_global_counting", "test_intervals_of_stopped_runs_hold", True),
        ("test_global_counting", "test_a_stopped_run_counts_the_longest_complete_prefix"))
def finished_draws_alone_are_counted(patch):
    def finished(found, order):
        return [found[place] for place in order if place in found]

    for room in (counting, deciding, judging):
        patch(room, "prefix", finished)


@mutant(("test_intervals_of_proportions", "test_a_confidence_sequence_holds_at_every_look", 0.9))
def peeking(patch):
    patch(statistics, "confidence_sequence", statistics.clopper_pearson)


@mutant(("test_global_correctness", "test_a_stopped_run_counts_its_prefix_and_goes_on", False))
def a_stopped_run_is_one_of_fewer_draws(patch):
    real = Count.interval
    patch(Count, "interval", lambda self, rest, *, sequential: real(Count(self.counted, self.counted, self.yes, self.no), rest,
                                                                    sequential=sequential))


@mutant(("test_global_correctness", "test_the_worst_class_is_said"))
def classes_share_nothing(patch):
    patch(GlobalTask, "rest", lambda self, group: self.miss)


@mutant(("test_global_robustness", "test_what_the_limit_of_the_run_cut_is_not_drawn"))
def what_was_cut_is_counted(patch):
    def all_of(found, pair, radii):
        return counting.prefix(found, (draw * len(radii.task.pairs) + pair.place for draw in range(radii.task.draws)))

    patch(deciding, "of_pair", all_of)


@mutant(("test_global_robustness", "test_every_verdict_is_the_true_one"))
def verified_counts_for_larger_radii(patch):
    real = deciding._Draws._answered

    def answered(self, draw, eps, result):
        real(self, draw, eps, result)
        if draw.verdicts.get(eps) == VERIFIED:
            for larger in self.radii.exact:
                draw.verdicts[larger] = VERIFIED

    patch(deciding._Draws, "_answered", answered)


@mutant(("test_global_robustness", "test_a_solvers_word_is_no_proof"))
def a_solvers_word_is_one(patch):
    class Sound:
        SOUND = deciding.Assurance.SOLVER

    patch(deciding, "Assurance", Sound)


@mutant(("test_global_robustness", "test_a_near_witness_of_a_large_radius_counts_for_small_ones"))
def a_witness_counts_for_every_radius(patch):
    real = deciding._Draws._reached

    def reached(self, draw, witness):
        real(self, draw, witness)
        for eps in self.radii.exact:
            draw.verdicts[eps] = FALSIFIED

    patch(deciding._Draws, "_reached", reached)


@mutant(("test_global_contradictions", "test_a_witness_within_a_proved_radius_is_an_error_and_no_count"),
        ("test_global_contradictions", "test_what_stands_at_one_radius_is_not_changed_by_another"))
def what_is_learnt_first_stands_whatever_denies_it(patch):
    def learn(draw, eps, verdict, reason=""):
        if draw.verdicts.get(eps, "unknown") == "unknown":
            draw.verdicts[eps] = verdict
            draw.reasons.pop(eps, None)
            draw.reasons.update({eps: reason} if reason else {})

    patch(deciding._Draws, "_learn", staticmethod(learn))


@mutant(("test_ends_of_intervals_are_outward", "test_the_tails_at_both_ends_are_no_larger_than_they_may_be", 0.005))
def ends_as_the_inverse_of_the_tail_has_them(patch):
    from scipy.special import betaincinv

    patch(statistics, "binomial_lower", lambda hits, count, rest: float(betaincinv(hits, count - hits + 1, rest)) if hits else 0.0)


@mutant(("test_ends_of_intervals_are_outward", "test_a_sequence_leaves_out_only_what_its_martingale_leaves_out", 10**10, 0.01))
def logarithms_of_large_numbers_do_not_round(patch):
    patch(statistics, "_UNIT", 0.0)


@mutant(("test_classified", "test_a_tie_is_neither"))
def ties_are_decided_by_what_is_computed(patch):
    patch(evaluated, "gamma", lambda terms, dtype: 0.0)
    patch(classified, "_boxed", lambda graph, points, memory: (graph(points), graph(points)))


@mutant(("test_evaluated_batches", "test_exact_outputs_are_within_the_bound", "relu", True))
def sums_do_not_round(patch):
    patch(evaluated, "gamma", lambda terms, dtype: 0.0)


@mutant(("test_global_correctness", "test_ends_are_rounded_outward_for_people"))
def ends_are_rounded_to_nearest(patch):
    patch(shown, "rounded", lambda value, side: f"{value + 4e-6 * -side:.5f}")


@mutant(("test_global_counting", "test_the_least_probability_lies_there_at_the_level"))
def intervals_of_half_the_error_budget(patch):
    real = Count.interval
    patch(Count, "interval", lambda self, rest, *, sequential: real(self, min(Fraction(9, 10), 12 * rest), sequential=sequential))
