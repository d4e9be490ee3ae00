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
from absint.search.bounders import models, refined
from absint.search.bounders import neurons as tighten
from absint.search.bounders.models import Models
from absint.search.branchers import boxes
from absint.search.branchers.boxes import ByBoxes
from absint.search.branchers.by_phases import ByMixedPrograms, ByPhases
from absint.search.branchers.phases import Phases, PhaseTree
from absint.search.candidates import Candidates
from absint.search.frontier import Frontier
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
    edit(patch, PhaseTree, "_visit", ("found.open.append((bound,", "found.open.append((bound + 1.0,"))


@mutant((LEAST, 5), ("test_boxes_end_at_their_limits",))
def what_waits_is_forgotten(patch):
    patch(Frontier, "lower", property(lambda self: self.left.clone()))


@mutant((LEAST, 2))
def what_there_was_no_time_for_is_forgotten(patch):
    edit(patch, PhaseTree, "expand", ("found.open.append((above,", "(lambda lost: None)((above,"))


@mutant((LEAST, 400))
def what_is_stuck_is_forgotten(patch):
    edit(patch, PhaseTree, "_visit", ("found.held.append(bound)", "pass"))


@mutant((LEAST, 400))
def a_node_cut_short_is_forgotten(patch):
    edit(patch, PhaseTree, "expand", ("bound = self._visit(", "bound = above if position % 2 else self._visit("))


@mutant((LEAST, 5))
def a_leaf_has_the_bound_of_another(patch):
    change = "bound = max(above,", "bound = max(above, *found.closed, *found.held, *(b for b, *_ in found.open),"
    edit(patch, PhaseTree, "_visit", change)


@mutant((LEAST, 400))
def columns_keep_the_bounds_of_the_node_before(patch):
    edit(patch, Phases, "impose", ("np.union1d(self._touched, columns)", "np.unique(columns)"))


@mutant(("test_a_bound_equal_to_the_goal_closes_nothing",))
def a_goal_that_is_reached_is_passed(patch):
    edit(patch, PhaseTree, "_visit", ("bound > self.goal or", "bound >= self.goal or"))


@mutant((TRUTH, PHASES))
def a_goal_below_zero(patch):
    edit(patch, ByPhases, "_tree", ("target.offset, 0.0,", "target.offset + 1e-2 * (1 + abs(target.offset)), 0.0,"))


# ---- conjunctions ---------------------------------------------------------------------------------------------------


@mutant((TRUTH, PHASES), (TRUTH, "refine"))
def rows_of_a_conjunction_with_the_wrong_sign(patch):
    patch(models, "with_greatest", rewritten(builder.with_greatest, ("sparse.csr_array(-costs)", "sparse.csr_array(costs)")))


@mutant((TRUTH, PHASES), (TRUTH, "refine"))
def rows_of_a_conjunction_with_the_wrong_offset(patch):
    change = "np.concatenate([model.row_lower, offsets])", "np.concatenate([model.row_lower, np.abs(offsets) + 1])"
    patch(models, "with_greatest", rewritten(builder.with_greatest, change))


# ---- proofs and words -----------------------------------------------------------------------------------------------


@mutant(WORD, ("test_no_lie_becomes_a_verdict", HONEST))
def a_claim_is_a_proof(patch):
    real = ByMixedPrograms.proved
    patch(ByMixedPrograms, "proved", lambda self, lower: (real(self, lower)[1],) * 2)


@mutant(WORD)
def a_word_is_learned_as_a_proof(patch):
    edit(patch, Undecided, "searched", ("found.lower.to(self.refuted)", "(found.claimed if found.claimed is not None else found.lower)"))


@mutant(WORD)
def a_word_counts_unasked(patch):
    edit(patch, Portfolio, "_settle", ("if self.options.accept_solver and", "if"))


@mutant(("test_what_rounding_does_not_cover_is_no_word_either",))
def a_word_counts_without_rounding(patch):
    edit(patch, Portfolio, "_settle", ("self.options.accept_solver and self.options.rounding", "self.options.accept_solver"))


@mutant(WORD)
def a_word_is_called_sound(patch):
    edit(patch, Undecided, "trust", ("assurance=Assurance.SOLVER", "assurance=Assurance.SOUND"))


@mutant(("test_a_word_that_an_input_contradicts_is_not_taken",))
def a_contradicted_word_is_taken(patch):
    edit(patch, ByMixedPrograms, "_mixed", ("if claimed > self._at_centre(", "if False and claimed > self._at_centre("))


@mutant(("test_a_word_is_not_inherited_as_a_proof",))
def a_word_closes_a_box(patch):
    real = boxes._trusted
    patch(boxes, "_trusted", lambda found: real(found) | True)


# ---- neurons, instances, candidates ---------------------------------------------------------------------------------


@mutant((NEURON, HONEST))
def the_upper_side_with_the_wrong_sign(patch):
    edit(patch, tighten._Sweep, "_bound", ("] = sign", "] = 1.0"))


@mutant((NEURON, HONEST))
def neurons_of_every_instance_at_once(patch):
    patch(refined, "tightened", rewritten(tighten.tightened, ("mine = wanted & (rows.instance.cpu() == k)", "mine = wanted")))


@mutant(("test_each_instance_of_a_batch_has_bounds_of_its_own", "refine"), ("test_each_instance_of_a_batch_has_bounds_of_its_own", PHASES))
def the_region_of_another_instance(patch):
    edit(patch, Models, "of", ("encode(self.ctx, instance)", "encode(self.ctx, self.ctx.batch - 1 - instance)"))


@mutant(("test_points_outside_the_box_end_no_search",))
def candidates_outside_the_box(patch):
    edit(patch, Candidates, "columns",
         ("point = torch.minimum(torch.maximum(point, hull.lower[part].cpu()), hull.upper[part].cpu())", "pass"))


# ---- halved boxes ---------------------------------------------------------------------------------------------------


@mutant(BOXES)
def a_gap_between_the_halves(patch):
    start = '"lower": flat_low.scatter(1, where, '
    edit(patch, boxes, "halves", (start + "middle)", start + "(middle + flat_high.gather(1, where)) / 2)"))


@mutant(BOXES)
def a_box_is_closed_too_early(patch):
    edit(patch, ByBoxes, "_bounded", ("done = replace(boxes, bound=bound), bound > 0", "done = replace(boxes, bound=bound), bound > -0.5"))


@mutant(BOXES)
def a_box_is_closed_by_the_bound_of_another(patch):
    edit(patch, ByBoxes, "_bounded", ("torch.fmax(boxes.bound, best)", "torch.fmax(boxes.bound, best.max())"))


@mutant(BOXES, (LEAST, 400))
def a_child_is_lost_on_the_way_to_the_frontier(patch):
    edit(patch, Frontier, "settle", ("self._push(kind, opened)", "self._push(kind, opened.take(torch.arange(len(opened) - 1)))"))
