"""Faults of tensors that lie on the wrong device, each with the scenarios (tests/device) that must notice it.

`LEGAL` are those that CUDA lets pass: they cost a wait for the card each time, which is what is held against them.
"""

from __future__ import annotations

from importlib import import_module

from absint.analyses.verify import attempted, portfolio, undecided
from absint.attacks import starts, walk
from absint.domains import generators
from absint.domains.zonotope import Zonotope
from absint.engine import affine_bounds, attempts, forward
from absint.engine.backward import combinations, slopes
from absint.engine.rows import Rows
from absint.model.op import Op
from absint.model.ops.shape import Gather
from absint.numeric.rounding import Numerics
from absint.problem.live import arrays
from absint.problem.problem import Problem
from absint.problem.regions.region import Region
from absint.search.branchers.boxes import ByBoxes
from mutants.planting import into
from mutants.refinement import edit

falsification = import_module("absint.attacks.falsify")    # the package has a function of that name
MUTANTS = {}
mutant = into(MUTANTS)
LEGAL = {}
legal = into(LEGAL)
ATTACK = "an_attack_that_finds_and_one_that_does_not"
INPUTS = "inputs_labels_targets_and_radii"


# ---- left at home --------------------------------------------------------------------------------------------------------


@mutant("walk-crown", "strategy-zonotope")
def the_constants_of_operators(patch):
    edit(patch, Op, "constant", ("dtype=like.dtype, device=like.device", "dtype=like.dtype"))


@mutant("strategy-box", "walk-crown")
def the_hull_of_a_region(patch):
    edit(patch, forward, "_enter", (
        'Interval(box.lower.to(num.device), box.upper.to(num.device), proper=box.proper) if num.device.type != "cpu" else box', "box"))


@mutant("walk-crown")
def the_reference_of_a_walk_back(patch):
    edit(patch, forward, "_enter", ("device=num.device, dtype=num.vector", "dtype=num.vector"))


@mutant("strategy-deeppoly")
def the_property(patch):
    edit(patch, undecided.Undecided, "__init__", ("self.spec: Spec = self.exact.to(device)", "self.spec: Spec = self.exact"))


@mutant("strategy-box")
def the_centres_that_bounds_are_compared_at(patch):
    edit(patch, attempted.Centres, "__init__", ("region.center.to(work.device)", "region.center"))


@mutant(ATTACK)
def the_samples_of_an_attack(patch):
    edit(patch, starts, "_shares", ("share.to(work.search.device)", "share"))


@mutant("slopes_over_a_ball")
def the_generators_of_a_region(patch):
    edit(patch, Zonotope, "start", ("part.to(num.device) for part in given", "part for part in given"))


@mutant("norms_instead_of_rows")
def the_centre_of_a_ball(patch):
    edit(patch, affine_bounds, "_by_norms", ("ctx.region.center.to(like.device)", "ctx.region.center"))


@mutant("walk-deeppoly")
def the_places_that_an_adjoint_adds_to(patch):
    edit(patch, Gather, "adjoint", ('self.placed("index", y)', "self.index"))


@mutant("boxes_are_halved")
def which_rows_of_a_box_are_strict(patch):
    edit(patch, ByBoxes, "_spec", ("self._disjuncts.strict(kind).to(device)", "self._disjuncts.strict(kind)"))


@mutant(ATTACK)
def the_ends_of_the_boxes_that_corners_are_taken_from(patch):
    edit(patch, attempts, "least_corner", ("end.to(adjoint.device).double()", "end.double()"))


# ---- made at home --------------------------------------------------------------------------------------------------------


@mutant("walk-crown")
def infinite_ends(patch):
    edit(patch, forward, "_scatter", ("lower = torch.full((ctx.batch, node.size), -inf, dtype=num.vector, device=num.device)",
                                      "lower = torch.full((ctx.batch, node.size), -inf, dtype=num.vector)"))


@mutant("walk-zonotope")
def zeros_that_generators_are_scattered_into(patch):
    edit(patch, generators, "added_at", ("torch.arange(len(values), device=values.device)", "torch.arange(len(values))"))


@mutant("conjunctions_of_rows")
def the_slots_of_rows_in_a_conjunction(patch):
    edit(patch, combinations, "conjunctions", (", device=count.device", ""))


@mutant("walk-alpha")
def rows_that_are_made_dense(patch):
    edit(patch, Rows, "dense", ("dtype=dtype, device=self.instance.device", "dtype=dtype"))


@mutant("walk-alpha")
def the_best_of_several_slopes(patch):
    edit(patch, slopes.SlopeSearch, "_climb", (", dtype=free.dtype, device=free.device", ", dtype=free.dtype"))


@mutant(ATTACK)
def random_numbers_drawn_on_the_device(patch):
    edit(patch, walk.Walk, "_draw", ("generator=self.generator, dtype=torch.float64",
                                     "generator=self.generator, dtype=torch.float64, device=self.velocity.device"))


# ---- read from the device --------------------------------------------------------------------------------------------------


@mutant(ATTACK)
def a_candidate_read_without_coming_home(patch):
    edit(patch, portfolio, "falsify", ("points.cpu().numpy()", "points.numpy()"))


@mutant(ATTACK)
def the_values_at_candidates(patch):
    edit(patch, falsification, "_candidates", (".to(spec.weight.device), points", ", points"))


@mutant(INPUTS)
def inputs_at_the_door(patch):
    edit(patch, arrays, "_tensor", ('given.to("cpu", torch.float64)', "given.double()"))


@mutant(INPUTS)
def labels_at_the_door(patch):
    edit(patch, arrays, "_tensor", ("given.cpu().numpy()", "given.numpy()"))


@mutant("every_kind_of_region")
def regions_at_the_door(patch):
    patch(Region, "to", lambda self, device: self)


@mutant("problems_put_together_by_hand")
def problems_at_the_door(patch):
    patch(Problem, "__post_init__", lambda self: None)


# ---- what CUDA lets pass -----------------------------------------------------------------------------------------------


@legal("walk-box")
def places_of_the_host_are_gathered(patch):
    """Indices may lie on the host: they are copied every time."""
    edit(patch, Gather, "apply", ('self.placed("index", xs[0])', "self.index"))


@legal("walk-crown")
def infinity_is_copied_to_the_device(patch):
    """A tensor may be made of a number of Python's at every step: it is made on the host and copied."""
    edit(patch, Numerics, "down", ("stepped(x, -inf)", "torch.nextafter(x, x.new_tensor(-inf))"))
