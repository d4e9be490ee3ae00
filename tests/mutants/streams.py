"""Wrong ways of yielding results, of counting time and of naming limits, each with the tests that must notice it."""

from __future__ import annotations

from absint.analyses.query.answering import Answering
from absint.analyses.radius import bisection
from absint.analyses.verify import portfolio
from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.undecided import Undecided
from absint.attacks.starts import StartWork
from absint.domains.generators import Pace
from absint.engine import batch_size
from absint.numeric import backend
from absint.numeric.backend import Budget
from absint.search.branchers.by_phases import ByMixedPrograms
from absint.search.branching import Branching
from mutants.planting import into
from mutants.refinement import rewritten

MUTANTS = {}
mutant = into(MUTANTS)
BIG = ("test_a_batch_too_large_is_done_again_without_what_was_told",)
HARD = ("test_a_hard_instance_ends_at_its_own_limit_and_robs_nobody",)


@mutant(BIG)
def a_retry_yields_twice(patch):
    patch(Portfolio, "results", rewritten(Portfolio.results, ("k not in told", "True")))


@mutant(BIG)
def a_retry_loses_what_was_not_told(patch):
    patch(Portfolio, "results", rewritten(Portfolio.results, ("k not in told", "k not in told and k >= int(part[-1])")))


@mutant(("test_time_lost_to_a_batch_too_large_counts",))
def a_retry_forgets_the_time(patch):
    patch(Portfolio, "_batch", rewritten(Portfolio._batch, ("self.device, self.name, self.spent)\n        if self",
                                                            "self.device, self.name, [0.0] * len(self.spent))\n        if self")))


@mutant(("test_counterexamples_are_out_before_any_proof_starts",), ("test_what_a_stage_proves_is_out_before_the_next_one_starts",),
        ("test_one_by_one_each_is_out_before_the_next_one_starts",))
def results_wait_for_the_end_of_the_batch(patch):
    real = Portfolio._batch
    patch(Portfolio, "_batch", lambda self, todo: iter(list(real(self, todo))))


@mutant(("test_one_by_one_each_is_out_before_the_next_one_starts",), HARD)
def one_by_one_is_a_batch(patch):
    patch(Undecided, "split", lambda self, size: [self])


@mutant(("test_an_input_of_a_radius_is_out_in_the_round_that_closes_it",))
def radii_wait_for_the_end_of_the_chunk(patch):
    real = bisection._Chunk.run
    patch(bisection._Chunk, "run", lambda self, labels: iter(list(real(self, labels))))


@mutant(("test_closed_early_nothing_is_left_behind", "zonotope"))
def the_numeric_mode_stays_on_between_results(patch):
    def within(steps):
        with backend.numeric_mode():
            yield from steps

    from absint.analyses.verify import deciding as verify

    patch(verify, "in_numeric_mode", within)


@mutant(("test_a_query_yields_its_instances_and_ends_with_a_counterexample",))
def a_query_goes_on_after_its_counterexample(patch):
    patch(Answering, "_run", rewritten(Answering._run, ("if self._found is not None:", "if False:")))


# ---- shares of time -------------------------------------------------------------------------------------------------


@mutant(HARD, ("test_easy_mates_lend_nothing", 4))
def the_limit_is_the_batchs(patch):
    """As one deadline of timeout x batch."""
    real = Undecided.soonest
    patch(Undecided, "soonest", lambda self, allowed: 4 * real(self, allowed))


@mutant(("test_in_a_batch_each_has_its_limit_in_shares",))
def the_limit_is_compared_with_the_whole_time(patch):
    real = Undecided.soonest
    patch(Undecided, "soonest", lambda self, allowed: real(self, allowed) / len(self))


@mutant(("test_who_has_time_left_goes_on_where_another_ends",))
def one_limit_ends_all(patch):
    patch(Undecided, "expire", lambda self, allowed, left: left and self.give_up(portfolio.Reason.TIMEOUT))


@mutant(("test_what_the_caller_does_in_between_is_nobodys_time",))
def the_callers_time_counts(patch):
    """Each result is told inside of the clock."""
    real = Portfolio._told

    def told(self, work):
        with work.clock():
            yield from real(self, work)

    patch(Portfolio, "_told", told)


def _blind(report):
    def run(self, *given, **more):
        report(self, *given, **{**more, "cut": False})

    return run


@mutant(("test_the_limit_of_the_whole_call_says_that_it_cut",),
        ("test_timeout_is_the_users_limit", "exact:solver=highs", "total_timeout", True))
def nothing_says_what_cut(patch):
    patch(Undecided, "_report", _blind(Undecided._report))


@mutant(("test_timeout_is_the_users_limit", "exact:solver=highs", "timeout", False), HARD)
def every_timeout_is_the_whole_calls(patch):
    real = Undecided._report
    patch(Undecided, "_report", lambda self, *given, cut=False, **more: real(self, *given, cut=True, **more))


@mutant(("test_an_input_whose_share_is_over_stops_and_the_others_go_on",))
def a_radius_has_no_limit_of_its_own(patch):
    patch(bisection._Chunk, "run", rewritten(bisection._Chunk.run, (".time_s >= self.", ".time_s >= 9e9 + self.")))


@mutant(("test_a_ball_has_an_even_share_of_what_its_input_has_left",))
def a_ball_takes_all_that_is_left(patch):
    patch(bisection._Chunk, "_allowed", rewritten(bisection._Chunk._allowed, ("(rounds[slot] * balls[slot])", "1.0")))


# ---- reasons --------------------------------------------------------------------------------------------------------

LIMITS = ("test_a_count_of_programs_is_named", {})


@mutant(LIMITS)
def a_count_is_a_timeout(patch):
    done = "if not bool(search.open.any()):\n"
    patch(Portfolio, "_branched", rewritten(Portfolio._branched, (done, done + 16 * " " + "work.late()\n")))


@mutant(LIMITS, ("test_the_seconds_of_a_mixed_program_are_named",))
def limits_are_not_named(patch):
    patch(Branching, "_limits", lambda self, over: [])


@mutant(("test_the_seconds_of_a_mixed_program_are_named",))
def the_seconds_of_a_milp_are_forgotten(patch):
    patch(ByMixedPrograms, "_mixed", rewritten(ByMixedPrograms._mixed, ("self._limits[tree] =", "_ =")))


@mutant(("test_a_mixed_program_that_a_share_of_the_whole_time_ends_is_a_timeout",))
def the_users_limit_is_the_milps(patch):
    patch(ByMixedPrograms, "_mixed", rewritten(ByMixedPrograms._mixed, ("own = self", "own = True or self")))


# ---- looks at the clock ---------------------------------------------------------------------------------------------


@mutant(("test_a_zonotope_stops_between_two_pieces_of_one_layer",))
def generators_go_through_at_once(patch):
    patch(Pace, "apply", lambda self, run, vectors: run(vectors))


@mutant(("test_no_step_of_an_attack_is_longer_than_one_look",))
def attacks_are_cut_by_memory_alone(patch):
    patch(StartWork, "room", property(lambda self: self.search.budget.rows(self.row_bytes)))


@mutant(("test_no_step_is_longer_than_one_look", "deeppoly", None))
def rows_are_cut_by_memory_alone(patch):
    from absint.engine.backward import walk

    patch(walk, "heaviest", lambda nodes: 1.0)


@mutant(("test_a_batch_asked_for_is_no_more_than_one_step_holds",))
def a_batch_is_as_large_as_was_asked_for(patch):
    patch(batch_size, "work", lambda graph: 1.0)


@mutant(("test_a_graph_that_nobody_compared_in_time_is_not_analysed",))
def a_comparison_out_of_time_counts(patch):
    from absint.analyses.verify import deciding as verify

    real = verify.check_import
    patch(verify, "check_import", lambda graph, region, budget: real(graph, region=region, budget=Budget()))
