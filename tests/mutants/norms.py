"""Faults in normalisations, pooling by powers and expanded nodes, each with the claims that must notice it: (claim, arguments...)."""

from __future__ import annotations

from absint.frontends import onnx_bodies, onnx_functions
from absint.model.families.linear import Linear
from absint.model.ops import more_norms
from absint.model.ops.more_norms import Deviations, RunningSums
from absint.model.ops.power import Power
from absint.model.ops.reduce import AxisMap, Reduce
from mutants.planting import into
from mutants.refinement import edit

MUTANTS = {}
mutant = into(MUTANTS)


@mutant(("root_mean_squares_hold",), ("root_mean_squares_are_attained",))
def the_least_of_the_others_is_taken_for_the_most(patch):
    original = more_norms._squares_of_others
    patch(more_norms, "_squares_of_others", lambda low, high, num: original(low, high, num)[::-1])


@mutant(("root_mean_squares_hold",))
def others_that_cross_zero_are_never_small(patch):
    edit(patch, more_norms, "_squares_of_others", ("torch.where((low <= 0) & (high >= 0), 0.0, ", "torch.where(low != low, 0.0, "))


@mutant(("deviations_hold",))
def deviations_stay_below_a_smaller_root(patch):
    original = Deviations.enclosure

    def enclosure(self, intervals, num):
        found = original(self, intervals, num)
        return type(found)(found.lower * 0.9, found.upper * 0.9)

    patch(Deviations, "enclosure", enclosure)


@mutant(("bounds_hold", "local response"))
def sums_that_run_are_taken_for_sums_of_their_own(patch):
    """Then onnxruntime's rounding is not explained."""
    patch(RunningSums, "apply_magnitude", Linear.apply_magnitude)
    patch(RunningSums, "execution_terms", AxisMap.forward_terms)


@mutant(("bounds_hold", "pool of 2"), ("bounds_hold", "norm"))
def sums_of_squares_may_be_negative(patch):
    patch(Reduce, "nonnegative", False)
    patch(more_norms.AxisMap, "nonnegative", False)
    patch(Linear, "nonnegative", False)
    from absint.model.ops.pool import AveragePool

    patch(AveragePool, "nonnegative", False)


@mutant(("bounds_hold", "pool of 3"))
def cubes_lose_their_sign(patch):
    patch(Power, "range", super(Power, Power).range)


@mutant(("meanings_are_told_apart",))
def a_name_is_all_that_counts(patch):
    patch(onnx_functions, "_defaults", lambda schema: {})
    patch(onnx_functions, "_operands", lambda schema: (0, 0))


@mutant(("shrink_is_itself",))
def defaults_of_the_definition_are_forgotten(patch):
    edit(patch, onnx_bodies, "_body", ("body.attribute_proto.append(attribute.default_value)", "body.attribute.append(name)"))
