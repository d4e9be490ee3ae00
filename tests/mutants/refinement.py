"""Faults of the searches, of the bookkeeping of proofs and words, and of halved boxes, each with the tests that must notice it.

Killers are (test, arguments...); the tests themselves run unmutated in their own files.
"""

from __future__ import annotations

import inspect
import sys
import textwrap

from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.undecided import Undecided
from absint.encode import builder
from absint.numeric.interval import Interval
from absint.search.bounders import disjuncts, refined
from absint.search.bounders import neurons as tighten
from absint.search.bounders.disjuncts import _Instance
from absint.search.branchers import inputs as splitting
from absint.search.branchers.inputs import _Cover
from absint.search.branchers.phases import Phases, _Search
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)
TRUTH = "test_the_truth_comes_out"
PHASES = "exact:nodes=60,inputs=0"
LEAST = "test_a_least_value_is_never_above_an_execution"
NEURON = "test_no_lie_moves_a_bound_of_a_neuron"
WORD = ("test_a_milp_is_a_word",)
BOXES = ("test_boxes_prove_what_holds_and_nothing_else",)
HONEST = "a MILP's bound"  # a lie that LPs do not tell


def rewritten(function, *changes):
    """The function with pieces (old, new) of its source replaced; each must stand there exactly once."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise LookupError(f"{function.__qualname__} has '{old}' {source.count(old)} times")
        source = source.replace(old, new)
    place = dict(vars(sys.modules[function.__module__]))
    exec(compile("from __future__ import annotations\n" + source, f"<mutant of {function.__qualname__}>", "exec"), place)
    return place[function.__name__]


def edit(patch, owner, name, *changes):
    patch(owner, name, rewritten(getattr(owner, name), *changes))


# ---- branching ------------------------------------------------------------------------------------------------------


@mutant((LEAST, 400), (TRUTH, PHASES))
def a_child_forgotten(patch):
    edit(patch, Phases, "branch", ("int(last))", "int(last) - 1)"))


@mutant((LEAST, 2), (LEAST, 5))
def waiting_nodes_are_worth_more(patch):
    edit(patch, _Search, "_push", ("_Node(bound,", "_Node(bound + 1.0,"))


@mutant((LEAST, 5))
def what_waits_is_forgotten(patch):
    edit(patch, _Search, "run", ("[n.bound for n in self.heap] + self.stuck", "self.stuck"))


@mutant((LEAST, 400))
def what_is_stuck_is_forgotten(patch):
    edit(patch, _Search, "run", ("for n in self.heap] + self.stuck", "for n in self.heap]"))


@mutant((LEAST, 400))
def a_node_cut_short_is_forgotten(patch):
    edit(patch, _Search, "run", ("bound = self._visit(", "bound = node.bound if position % 2 else self._visit("))


@mutant((LEAST, 400))
def columns_keep_the_bounds_of_the_node_before(patch):
    edit(patch, Phases, "impose", ("np.union1d(self._touched, columns)", "np.unique(columns)"))


@mutant(("test_a_bound_equal_to_the_goal_closes_nothing",))
def a_goal_that_is_reached_is_passed(patch):
    edit(patch, _Search, "_visit", ("bound > self.goal", "bound >= self.goal"))


@mutant((TRUTH, PHASES))
def a_goal_below_zero(patch):
    edit(patch, _Instance, "_branched", ("target.offset, 0.0,", "target.offset + 1e-2 * (1 + abs(target.offset)), 0.0,"))


# ---- conjunctions ---------------------------------------------------------------------------------------------------


@mutant((TRUTH, PHASES), (TRUTH, "refine"))
def rows_of_a_conjunction_with_the_wrong_sign(patch):
    patch(disjuncts, "with_greatest", rewritten(builder.with_greatest, ("sparse.csr_array(-costs)", "sparse.csr_array(costs)")))


@mutant((TRUTH, PHASES), (TRUTH, "refine"))
def rows_of_a_conjunction_with_the_wrong_offset(patch):
    change = "np.concatenate([model.row_lower, offsets])", "np.concatenate([model.row_lower, np.abs(offsets) + 1])"
    patch(disjuncts, "with_greatest", rewritten(builder.with_greatest, change))


# ---- proofs and words -----------------------------------------------------------------------------------------------


@mutant(WORD, ("test_no_lie_becomes_a_verdict", HONEST))
def a_claim_is_a_proof(patch):
    edit(patch, _Instance, "_learn", ("(self.claimed,) if unproved else", "(self.claimed, self.proved) if unproved else"))


@mutant(WORD)
def a_word_is_learned_as_a_proof(patch):
    edit(patch, Undecided, "learn", ("torch.fmax(self.refuted, refuted)", "torch.fmax(self.refuted, self.claimed)"))


@mutant(WORD)
def a_word_counts_unasked(patch):
    edit(patch, Portfolio, "_prove", ("if self.options.accept_solver and", "if"))


@mutant(("test_what_rounding_does_not_cover_is_no_word_either",))
def a_word_counts_without_rounding(patch):
    edit(patch, Portfolio, "_prove", ("self.options.accept_solver and numerics.rounding", "self.options.accept_solver"))


@mutant(WORD)
def a_word_is_called_sound(patch):
    edit(patch, Undecided, "trust", ("assurance=Assurance.SOLVER", "assurance=Assurance.SOUND"))


@mutant(("test_a_word_that_an_input_contradicts_is_not_taken",))
def a_contradicted_word_is_taken(patch):
    edit(patch, _Instance, "_mixed", ("if claimed > self._at_centre(", "if False and claimed > self._at_centre("))


@mutant(("test_a_word_is_not_inherited_as_a_proof",))
def halves_inherit_a_word(patch):
    patch(splitting, "_but", lambda distrusted, old, new: Interval(new.lower, new.upper))


# ---- neurons, instances, candidates ---------------------------------------------------------------------------------


@mutant((NEURON, HONEST))
def the_upper_side_with_the_wrong_sign(patch):
    edit(patch, tighten._Sweep, "_bound", ("] = sign", "] = 1.0"))


@mutant((NEURON, HONEST))
def neurons_of_every_instance_at_once(patch):
    patch(refined, "tightened", rewritten(tighten.tightened, ("mine = wanted & (rows.instance.cpu() == k)", "mine = wanted")))


@mutant(("test_each_instance_of_a_batch_has_bounds_of_its_own", "refine"), ("test_each_instance_of_a_batch_has_bounds_of_its_own", PHASES))
def the_region_of_another_instance(patch):
    edit(patch, _Instance, "run", ("encode(self.ctx, self.k,", "encode(self.ctx, self.ctx.batch - 1 - self.k,"))


@mutant(("test_points_outside_the_box_end_no_search",))
def candidates_outside_the_box(patch):
    edit(patch, _Instance, "_test", ("point = torch.minimum(torch.maximum(point, hull.lower.cpu()), hull.upper.cpu())", "pass"))


# ---- halved boxes ---------------------------------------------------------------------------------------------------


@mutant(BOXES)
def a_gap_between_the_halves(patch):
    edit(patch, _Cover, "_halved", ("torch.cat([low, lower])", "torch.cat([low, (lower + high) / 2])"))


@mutant(("test_boxes_end_at_their_limits",))
def boxes_that_are_left_are_forgotten(patch):
    edit(patch, _Cover, "run", ("[self.least, *(boxes.refuted.amin(0) for boxes in self.open)]", "[self.least]"))


@mutant(BOXES)
def a_box_is_dropped_for_one_disjunct_of_nothing(patch):
    edit(patch, _Cover, "_bounded", ("gone = (refuted > 0)", "gone = (refuted > -0.5)"))
