"""Faults of what operators keep of their constants, each with the tests that must notice it: (test, arguments...)."""

from __future__ import annotations

import copy
from functools import cached_property

from absint.encode import linear_rows, network
from absint.model import constants, op
from absint.model.families.linear import Linear
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)
HAND, ALIAS, STEP = (("test_every_way_to_change_them", way, "box") for way in ("by_hand", "by_alias", "by_optimiser"))


@mutant(HAND, ALIAS, STEP, ("test_every_way_to_change_them", "by_copy", "deeppoly"),
        ("test_every_operator_that_holds_constants", "conv", "zonotope"),
        ("test_a_graph_whose_constants_leave_a_format_does_not_fit_it",), ("test_a_selection_that_is_none_any_more",))
def a_cast_outlives_a_change(patch):
    edit(patch, Op, "_held", ("or tensor._version != version ", ""))


@mutant(("test_tensors_inside_other_fields_count",))
def tensors_inside_other_fields_are_not_looked_at(patch):
    patch(op, "unchanged", lambda inner: True)


@mutant(("test_a_tensor_put_in_place_of_another_is_seen",))
def another_tensor_is_taken_for_the_first(patch):
    edit(patch, Op, "_held", ("own.get(name) is not tensor or ", ""))


@mutant(("test_of_a_live_operator_nothing_is_kept",))
def live_operators_answer_from_what_they_kept(patch):
    edit(patch, Op, "_held", (" or self.live", ""))


@mutant(("test_of_what_requires_a_gradient_nothing_is_kept",))
def a_gradient_asked_for_later_is_not_noticed(patch):
    edit(patch, Op, "_held", (" or tensor.requires_grad", ""))


@mutant(("test_of_an_operator_that_is_not_frozen_nothing_is_kept",))
def anything_counts_as_frozen(patch):
    patch(constants, "_frozen", lambda value: True)


@mutant(("test_a_copy_whose_versions_come_to_be_the_same_has_casts_of_its_own", copy.deepcopy))
def copies_take_along_what_was_kept(patch):
    patch(Op, "__getstate__", lambda self: dict(vars(self)))


@mutant(("test_a_change_while_something_is_made_is_seen",))
def versions_are_read_after_the_fact(patch):
    edit(patch, Op, "known", ("found = make()", "found = make(); made_of = sources(self)"))


@mutant(("test_a_selection_that_is_none_any_more",))
def a_flag_is_found_once(patch):
    flag = cached_property(Gemm.single.fget)
    flag.__set_name__(Gemm, "single")
    patch(Gemm, "single", flag)


@mutant(("test_what_solvers_prove_after_a_change", "exact"), ("test_what_solvers_prove_after_a_change", "milp"))
def rows_for_solvers_are_kept_by_the_node(patch):
    found = {}

    def rows(graph, node, *more):
        if node not in found:
            found[node] = linear_rows.linear_rows(graph, node, *more)
        return found[node]

    patch(network, "linear_rows", rows)


@mutant(("test_gradients_reach_constants_in_walks_of_either_direction", "deeppoly", "matrices"),
        ("test_gradients_reach_constants_in_walks_of_either_direction", "deeppoly", "affine-broadcast"))
def an_adjoint_records_gradients_of_rows_alone(patch):
    edit(patch, Linear, "adjoint", ("(y.requires_grad or any(c.requires_grad for c in self.constants()))", "y.requires_grad"))
