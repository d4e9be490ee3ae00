"""Wrong ways to skip, count and compare in a sweep, each with the tests that must notice it."""

from __future__ import annotations

from dataclasses import replace

from absint.analyses.sweep import deciding, implied, summary
from absint.analyses.sweep.analysis import Sweep
from absint.analyses.sweep.grid import AskedRadius
from absint.problem.regions.region import LinfBall
from absint.runs import header
from absint.runs.gathered import Gathered
from absint.runs.reported import Reported
from absint.verdict import Verdict
from mutants.planting import into

MUTANTS = {}
# Killers: module of the tests, name, arguments.
mutant = into(MUTANTS)


@mutant(("test_sweep", "test_no_domain_lives_on_the_proofs_of_another"))
def a_proof_of_another_domain_counts(patch):
    real, proofs = deciding._Block._decided, {}

    def decided(self, radius):
        for name, cells in self.known.items():
            kept = proofs.get((self.line.net, self.line.norm, name, radius))
            if kept is not None and radius not in cells:
                cells[radius] = replace(kept, domain=self.line.domain, basis=f"proof at {kept.eps}")
        yield from real(self, radius)
        proofs.update({(self.line.net, self.line.norm, name, radius): cells[radius] for name, cells in self.known.items()
                       if radius in cells and cells[radius].verdict is Verdict.VERIFIED})

    patch(deciding._Block, "_decided", decided)


@mutant(("test_sweep_radii", "test_a_proof_says_something_of_smaller_radii_alone"), ("test_sweep", "test_of_seven_radii_three_are_asked"))
def the_wrong_direction(patch):
    patch(AskedRadius, "within", lambda self, other, real=AskedRadius.within: real(other, self))


@mutant(("test_sweep_radii", "test_one_ball_within_another_is_decided_in_rationals"))
def radii_are_compared_as_floats(patch):
    patch(AskedRadius, "within", lambda self, other: max(map(float, self.exact)) <= max(map(float, other.exact)))


@mutant(("test_sweep_radii", "test_a_witness_that_lies_outside_refutes_nothing", (0.6, 0.5), (0.45, 0.55)))
def the_data_range_is_ignored(patch):
    patch(LinfBall, "contains", lambda self, instance, point, real=LinfBall.contains: real(replace(self, clip=None), instance, point))


@mutant(("test_sweep_radii", "test_a_witness_that_lies_outside_refutes_nothing", (0.75, 0.5), (0.0, 1.0)))
def any_witness_refutes_what_is_larger(patch):
    patch(LinfBall, "contains", lambda self, instance, point: True)


@mutant(("test_sweep_radii", "test_what_is_no_proof_says_nothing", "SOLVER"))
def a_solvers_word_carries_over(patch):
    patch(implied, "proves", lambda found: found.verdict is Verdict.VERIFIED)


@mutant(("test_sweep", "test_unknown_says_nothing_of_other_radii"))
def unknown_carries_over(patch):
    real = deciding._Block._learn

    def learn(self, radius, result):
        real(self, radius, result)
        for other in range(radius, len(self.task.radii)):
            self.known[result.index].setdefault(other, self.known[result.index][radius])

    patch(deciding._Block, "_learn", learn)


@mutant(("test_sweep", "test_a_witness_within_the_reach_of_a_proof_ends_the_run", "0.05"),
        ("test_sweep", "test_contradictions_of_other_processes_are_found_at_the_end"))
def contradictions_go_unnoticed(patch):
    patch(implied.Evidences, "_reaches", lambda self, proof, witness: False)


@mutant(("test_sweep", "test_a_witness_within_the_reach_of_a_proof_ends_the_run", "0.05"))
def contradictions_at_the_same_radius_alone(patch):
    patch(implied.Evidences, "_reaches", lambda self, proof, witness: proof.eps == witness.eps)


@mutant(("test_sweep", "test_a_witness_beyond_a_proof_is_none"))
def any_witness_contradicts_any_proof(patch):
    patch(implied.Evidences, "_reaches", lambda self, proof, witness: True)


@mutant(("test_sweep", "test_misclassified_inputs_are_verified_nowhere_and_counted"))
def misclassified_inputs_are_left_out_of_n(patch):
    patch(summary.Shares, "n", property(lambda self: self.verified + self.falsified + self.unknown))


@mutant(("test_sweep", "test_what_the_limit_of_the_run_cut_is_none_of_the_journal"))
def what_the_limit_cut_is_kept(patch):
    patch(deciding._Block, "_record", lambda self, name, real=deciding._Block._record: replace(real(self, name), cut=False))


KILLED = ("test_sweep", "test_the_journal_of_a_killed_sweep_is_summed_up", True)


@mutant(("test_sweep", "test_a_journal_is_bound_to_the_order_of_its_lines", {"domains": "deeppoly,box"}),
        ("test_sweep", "test_a_journal_is_bound_to_the_order_of_its_lines", {"net": 1}))
def a_journal_is_bound_to_sets_of_domains_and_networks(patch):
    def binding(self, run, real=Sweep.binding):
        found = real(self, run)
        return {**found, **{name: sorted(found[name], key=str) for name in ("domains", "networks")}}

    patch(Sweep, "binding", binding)


@mutant(("test_sweep", "test_a_journal_is_bound_to_constants_that_were_changed_in_memory"))
def constants_of_live_graphs_are_those_of_the_file(patch):
    def binding_of(run, real=header.binding_of):
        return {name: value for name, value in real(run).items() if name != "constants_sha256"}

    patch(header, "binding_of", binding_of)


@mutant(KILLED)
def a_report_passes_over_contradictions(patch):
    def summed_up(self, real=Reported._summed_up):
        found = real(self)
        return None if found is None else replace(found, error=None)

    patch(Reported, "_summed_up", summed_up)


@mutant(("test_sweep_journals", "test_journals_that_overlap_are_one_whatever_their_times"))
def times_inside_of_a_record_are_answers(patch):
    patch(Gathered, "_timeless", lambda self, value: {name: item for name, item in value.items() if name not in self._times})


@mutant(("test_sweep_journals", "test_verdicts_that_differ_are_a_conflict"))
def what_a_line_says_inside_is_no_answer(patch):
    def timeless(self, value, real=Gathered._timeless):
        return {name: item for name, item in real(self, value).items() if name != "cells"}

    patch(Gathered, "_timeless", timeless)


@mutant(("test_sweep_journals", "test_the_journal_of_a_killed_sweep_of_live_networks_is_summed_up"))
def objects_keep_a_report_from_any_sum(patch):
    patch(Sweep, "unread", frozenset())
