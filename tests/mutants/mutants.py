"""Unsound variants of absint, each a small patch at run time, with the contract checks that must notice it.

A patch names an attribute that must exist: a mutant that no longer applies is an error, never a pass. Killers are
`claim:NAME`, `per:CLAIM/DOMAIN/SETTING`, `op:INSTANCE`, `domain:NAME/CHECK`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from math import inf

import torch

from absint.domains import zonotope
from absint.domains.generators import Dense
from absint.engine import context as context_module
from absint.engine import forward as interpret
from absint.engine.backward import block, charges
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu
from absint.numeric import backend, rounding
from absint.numeric.interval import Interval, Relaxation
from absint.numeric.rounding import Numerics
from absint.problem.regions import region
from absint.problem.spec import Spec
from mutants.planting import NoFloor, NoGamma, flawed, mutant, with_numerics

folding = import_module("absint.model.passes.fold_affine")

# ---- region, outward rounding, formats ----------------------------------------------------------------------------------


@mutant("claim:region_rounds_outward")
def region_not_rounded_outward(patch):
    def hull(self):
        eps = self.eps.double() if isinstance(self.eps, torch.Tensor) else float(self.eps)
        low, high = self.center - eps, self.center + eps
        return Interval(low, high) if self.clip is None else Interval(low.clamp(*self.clip), high.clamp(*self.clip))

    patch(region.LinfBall, "hull", property(hull))


@mutant("claim:region_rounds_outward")
def radius_rounded_to_nearest(patch):
    patch(region, "float_above", float)


@mutant("claim:outward_of_overflow_is_infinite", "domain:zonotope/overflow")
def nextafter_of_an_overflow(patch):
    patch(Numerics, "down", lambda self, x: torch.nextafter(x, x.new_tensor(-inf)))
    patch(Numerics, "up", lambda self, x: torch.nextafter(x, x.new_tensor(inf)))


@mutant("claim:outward_of_overflow_is_infinite")
def no_outward_step(patch):
    patch(Numerics, "down", lambda self, x: rounding.no_lower(x))
    patch(Numerics, "up", lambda self, x: rounding.no_upper(x))


@mutant("claim:casts_round_outward")
def casts_to_nearest(patch):
    from absint.numeric import interval

    for module in (rounding, interval):
        patch(module, "cast_up", lambda x, dtype: x.to(dtype))
        patch(module, "cast_down", lambda x, dtype: x.to(dtype))


@mutant("claim:nan_never_narrows", "domain:box/known")
def meet_by_minimum(patch):
    patch(Interval, "meet", lambda self, other: Interval(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper)))


@mutant("claim:constants_that_float32_loses_are_refused")
def every_constant_fits(patch):
    patch(Op, "fits", lambda self, dtype: True)


@mutant("claim:constants_that_float32_loses_are_refused")
def every_slope_fits(patch):
    patch(LeakyRelu, "fits", lambda self, dtype: True)


# ---- box ----------------------------------------------------------------------------------------------------------------


@mutant("per:point_dot/box/float64", "per:point_dot/box/float32")
def box_step_without_gamma(patch):
    patch(interpret, "box_step", with_numerics(interpret.box_step, NoGamma))


@mutant("per:underflow/box/float32", "domain:box/underflow")
def box_step_without_floor(patch):
    patch(interpret, "box_step", with_numerics(interpret.box_step, NoFloor))


@mutant("per:spec_dot/box/float64", "per:spec_dot/box/float32")
def box_rows_without_gamma(patch):
    from absint.domains.box import Box

    patch(Box, "bounds", with_numerics(Box.bounds, NoGamma))


@mutant("domain:box/net/gemm")
def box_forgets_the_bias(patch):
    patch(Gemm, "forward", lambda self, x: self.apply(x))


# ---- zonotope -----------------------------------------------------------------------------------------------------------


@mutant("per:point_dot/zonotope/float64", "per:point_dot/zonotope/mixed")
def zonotope_without_linear_remainder(patch):
    patch(zonotope.Zonotope, "linear", with_numerics(zonotope.Zonotope.linear, NoGamma))


@mutant("per:underflow/zonotope/float64")
def zonotope_without_floor(patch):
    patch(zonotope.Zonotope, "linear", with_numerics(zonotope.Zonotope.linear, NoFloor))


@mutant("claim:zonotope_concretisation_adds_gamma_m")
def zonotope_sums_without_gamma_m(patch):
    original = zonotope.Zonotope.linear
    patch(zonotope.Zonotope, "linear", lambda *args: replace(original(*args), gamma=0.0))


@mutant("per:slope_chain/zonotope/mixed")
def zonotope_without_scaling_term(patch):
    patch(zonotope.Zonotope, "nonlinear", with_numerics(zonotope.Zonotope.nonlinear, NoGamma))


@mutant("per:spec_dot/zonotope/float64", "per:spec_dot/zonotope/mixed")
def zonotope_rows_without_gamma(patch):
    patch(zonotope.Zonotope, "bounds", with_numerics(zonotope.Zonotope.bounds, NoGamma))


@mutant("domain:zonotope/net/residual")
def zonotope_misaligns_symbols(patch):
    """The second summand's symbols are those of its neighbours."""
    original = zonotope.Zonotope.linear

    def linear(self, node, args, ctx):
        if len(args) > 1:
            blocks = {k: Dense(torch.roll(b.dense(), 1, 1)) for k, b in args[1].blocks.items()}
            args = [args[0], replace(args[1], blocks=blocks), *args[2:]]
        return original(self, node, args, ctx)

    patch(zonotope.Zonotope, "linear", linear)


@mutant("domain:zonotope/net/relu", "domain:zonotope/net/residual")
def zonotope_shares_fresh_symbols(patch):
    """Fresh symbols get the identity of the input's."""
    original = zonotope.Zonotope.nonlinear

    def nonlinear(self, node, args, ctx):
        out = original(self, node, args, ctx)
        if node.name not in out.blocks or "x" not in out.blocks:
            return out
        fresh, old = out.blocks[node.name].dense(), out.blocks["x"].dense()
        count = min(fresh.shape[1], old.shape[1])
        merged = torch.cat([old[:, :count] + fresh[:, :count], old[:, count:]], 1)
        rest = {k: b for k, b in out.blocks.items() if k not in (node.name, "x")}
        left = fresh[:, count:]
        return replace(out, blocks={**rest, "x": Dense(merged), **({node.name: Dense(left)} if left.shape[1] else {})}, moved_spread=None)

    patch(zonotope.Zonotope, "nonlinear", nonlinear)


@mutant("domain:zonotope/net/relu", "domain:zonotope/net/tanh")
def zonotope_drops_fresh_symbols(patch):
    original = zonotope.Zonotope.nonlinear

    def nonlinear(self, node, args, ctx):
        out = original(self, node, args, ctx)
        return replace(out, blocks={k: b for k, b in out.blocks.items() if k != node.name}, moved_spread=None)

    patch(zonotope.Zonotope, "nonlinear", nonlinear)


# ---- backward substitution ----------------------------------------------------------------------------------------------


def nothing(plan, name):
    """A cost vector of zeros."""
    return torch.zeros_like(plan.spread(name))


@mutant("claim:backward_linear_term_is_charged", "claim:drift_of_the_reference_is_charged")
def backward_without_linear_term(patch):
    patch(charges.Charges, "cost_of_linear", lambda self, node, op: nothing(self, node.name))


@mutant("claim:drift_of_the_reference_is_charged", "claim:offset_errors_reach_every_domain")
def reference_without_drift(patch):
    original = charges.Charges.cost_of_linear

    def cost(self, node, op):
        plan = replace(self, ctx=replace(self.ctx, drift={k: torch.zeros_like(v) for k, v in self.ctx.drift.items()}))
        return original(plan, node, op)

    patch(charges.Charges, "cost_of_linear", cost)


@mutant("claim:fan_out_is_charged")
def backward_without_fan_out_term(patch):
    patch(charges.Charges, "fan_out", lambda self, node, meeting: nothing(self, node.name))


@mutant("claim:drift_of_the_reference_is_charged", "claim:fan_out_is_charged")
def backward_charges_nothing_on_arrival(patch):
    patch(charges.Charges, "arrival", nothing)


@mutant("claim:relaxation_offsets_are_charged", "per:slope_chain/deeppoly/mixed")
def backward_without_relaxation_term(patch):
    original = charges.Charges.through

    def through(self, node, op):
        lines, below, above, cost = original(self, node, op)
        return lines, below, above, torch.zeros_like(cost)

    patch(charges.Charges, "through", through)


@mutant("claim:relaxation_offsets_are_charged", "claim:concretising_is_charged")
def backward_pays_nothing(patch):
    patch(charges.Charges, "_paid", lambda self, cost, node: torch.zeros_like(cost))


@mutant("claim:concretising_is_charged")
def backward_without_concretising_term(patch):
    original = charges.Charges.ends

    def ends(self, node):
        return original(replace(self, ctx=replace(self.ctx, numerics=flawed(self.ctx.numerics, NoGamma))), node)

    patch(charges.Charges, "ends", ends)


@mutant("domain:deeppoly/net/relu")
def backward_swaps_planes(patch):
    original = charges.Charges.through

    def through(self, node, op):
        lines, below, above, cost = original(self, node, op)
        return Relaxation(lines.upper, lines.upper_offset, lines.lower, lines.lower_offset), above, below, cost

    patch(charges.Charges, "through", through)


@mutant("domain:deeppoly/net/residual", "domain:deeppoly/net/fan-out")
def backward_forgets_a_branch(patch):
    patch(block.BlockWalk, "_gather", lambda self, node: self.frontier.pop(node.name)[-1])


@mutant("domain:deeppoly/net/residual")
def concretises_before_all_branches_arrived(patch):
    """every_layer may only stop where a single node carries all of the row."""
    original = block.BlockWalk._nonlinear

    def nonlinear(self, node, op, adjoint):
        kept, self.frontier = self.frontier, {}
        original(self, node, op, adjoint)
        for name, parts in self.frontier.items():
            kept.setdefault(name, []).extend(parts)
        self.frontier = kept

    patch(block.BlockWalk, "_nonlinear", nonlinear)


@mutant("domain:deeppoly/net/gemm")
def backward_confuses_the_signs(patch):
    """The upper bounds walk with the lower ones' rows."""
    original = block.BlockWalk._signed
    patch(block.BlockWalk, "_signed", lambda self, part: original(self, part).abs())


# ---- passes, semantics, kernels -----------------------------------------------------------------------------------------


@mutant("claim:folding_bounds_its_errors")
def folding_forgets_the_bias_error(patch):
    patch(folding, "gamma", lambda terms, dtype: 0.0)


@mutant("claim:folding_bounds_its_errors")
def folding_forgets_the_weight_error(patch):
    original = folding._combine

    def combine(op, affine, scale, shift):
        found = original(op, affine, scale, shift)
        return None if found is None else replace(found, weight_terms=op.weight_terms)

    patch(folding, "_combine", combine)


@mutant("claim:batch_normalisation_bounds_its_errors", "claim:offset_errors_reach_every_domain")
def offset_errors_ignored(patch):
    patch(Gemm, "offset_error", property(lambda self: None))
    patch(Affine, "offset_error", property(lambda self: None))


@mutant("domain:box/float32-semantics", "domain:zonotope/float32-semantics", "domain:deeppoly/float32-semantics")
def no_float32_noise(patch):
    patch(interpret, "execution_noise", lambda node, ctx: None)


@mutant("claim:subnormals_survive")
def subnormals_flushed(patch):
    patch(backend, "numeric_mode", nullcontext)


# ---- properties and splits ----------------------------------------------------------------------------------------------


@mutant("claim:equality_is_no_proof")
def equality_counts_as_proof(patch):
    original = Spec.margin
    patch(Spec, "margin", lambda self, lower: (original(self, lower) + 1e-9))


@mutant("claim:every_disjunct_must_be_refuted")
def one_disjunct_is_enough(patch):
    patch(Spec, "margin", lambda self, lower: self.refutation(lower).amax(1))


@mutant("claim:every_disjunct_must_be_refuted")
def nan_margin_is_infinite(patch):
    patch(Spec, "refutation", lambda self, lower: lower.new_full((len(lower), self.disjuncts), -inf).scatter_reduce(
        1, self.disjunct.expand_as(lower), torch.nan_to_num(lower, nan=inf, posinf=inf), "amax"))


@mutant("claim:an_empty_split_closes_only_its_instance", "domain:box/split")
def an_empty_split_closes_the_batch(patch):
    original = context_module.Context.empty.fget
    patch(context_module.Context, "empty", property(lambda self: original(self).any().expand(self.batch)))


@mutant("claim:an_empty_split_closes_only_its_instance")
def a_tight_split_counts_as_empty(patch):
    patch(Interval, "empty", property(lambda self: (self.lower >= self.upper - 2).flatten(1).any(1)))
    patch(context_module.Context, "empty", property(lambda self: torch.stack([v.empty for v in self.known.values()]).any(0)))

