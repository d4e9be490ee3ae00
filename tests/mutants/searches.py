"""Faults of the frontier, of the search over it and of what its steps are told to, each with the tests that must notice it."""

from __future__ import annotations

from math import inf

from absint.analyses.verify.portfolio import Portfolio
from absint.search.branchers.by_phases import ByPhases
from absint.search.branching import Branching
from absint.search.frontier import Frontier
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
LISTS = ("test_any_sequence_of_operations_is_what_lists_say", 0)
UNABLE = ("test_who_has_too_many_inputs_is_proved_nothing_by_halves",)


@mutant(LISTS, ("test_what_was_never_planted_proves_nothing",), UNABLE)
def what_was_never_planted_is_proved(patch):
    real = Frontier.__init__

    def init(self, kinds, trees, memory=inf):
        real(self, kinds, trees, memory)
        self.left.fill_(inf)

    patch(Frontier, "__init__", init)


@mutant(LISTS, ("test_what_is_dropped_proves_nothing",))
def what_is_dropped_is_closed(patch):
    edit(patch, Frontier, "drop", ("= -inf", "= inf"))


@mutant(("test_who_has_left_is_not_worked_on_and_proves_nothing_more",))
def who_left_is_proved(patch):
    edit(patch, Frontier, "drop", ("= -inf", "= inf"))
    real = Branching.keep

    def keep(self, live):
        real(self, live)
        self._learnt()

    patch(Branching, "keep", keep)


@mutant(LISTS, ("test_nodes_count_until_somebody_says_what_became_of_them",),
        ("test_an_exception_between_taking_and_settling_raises_no_bound",))
def what_is_taken_out_is_forgotten(patch):
    edit(patch, Frontier, "_nodes", ("(None if pool is None else pool.nodes, out)", "(None if pool is None else pool.nodes,)"))


@mutant(LISTS)
def a_child_is_forgotten(patch):
    edit(patch, Frontier, "settle", ("self._push(kind, opened)", "self._push(kind, opened.take(torch.arange(len(opened) - 1)))"))


@mutant(LISTS, ("test_a_tree_whose_leaves_are_all_closed_proves_the_least_of_them",))
def a_leaf_is_closed_by_another(patch):
    edit(patch, Frontier, "settle", ('neginf=-inf), "amin")', 'neginf=-inf), "amax")'))


@mutant(LISTS, ("test_a_bound_that_is_none_proves_nothing", "closed", float("nan")))
def no_number_is_a_bound(patch):
    edit(patch, Frontier, "settle", ("nan=-inf", "nan=inf"))


@mutant(("test_what_interrupts_the_work_loses_nothing", "LPS", KeyboardInterrupt(), 1))
def an_interrupted_node_is_gone(patch):
    edit(patch, Frontier, "restore", ("if out is not None:", "if False:"))


@mutant(("test_a_model_without_any_point_is_told_and_not_taken",))
def a_model_without_any_point_proves_everything(patch):
    edit(patch, ByPhases, "proved", ("if not self.ctx.assumed and", "if False and"))


@mutant(("test_programs_over_a_solvers_word_prove_nothing", (True, False)))
def a_word_in_a_model_is_a_proof(patch):
    edit(patch, ByPhases, "proved", ("torch.where(self.unproved, -inf, scaled)", "scaled"))


@mutant(("test_what_a_step_proves_reaches_its_own_instance", "exact:nodes=60,inputs=0"))
def what_is_proved_of_one_is_given_to_another(patch):
    edit(patch, Portfolio, "_branched", (".take(work.origin)", ".take(torch.arange(len(work)))"))


@mutant(("test_in_a_batch_each_has_what_it_has_alone", "LPS"))
def a_tree_proves_for_all_instances(patch):
    edit(patch, Branching, "_learnt", ("torch.fmax(self.refuted[place], sound)", "torch.fmax(self.refuted[place], sound.max())"))


@mutant(("test_memory_for_open_nodes_ends_it_with_its_reason", "HALVES", 1200))
def memory_is_no_reason(patch):
    edit(patch, Branching, "_limits", ("limit is None and bool(self._crowded[instance])", "False"))
