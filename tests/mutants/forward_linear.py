"""Unsound variants of forward linear bounds, each with the tests that must notice it: their names and arguments."""

from __future__ import annotations

from dataclasses import replace

import torch

from absint.domains import anchors, forward_linear, input_forms
from absint.domains.forward_linear import ForwardLinear
from absint.domains.input_forms import InputForms
from absint.engine import affine_forms
from absint.model.families.linear import Linear
from absint.numeric.interval import Relaxation
from absint.testing.kit import FLOAT64
from mutants.planting import NoFloor, NoGamma, flawed, into, with_numerics

FORWARD = {}
mutant = into(FORWARD)

LEAKY, RESIDUAL, CURVED = (("forms_hold", name, 1.0, FLOAT64) for name in ("leaky-negative", "residual", "sigmoid"))

# ---- linear operators ---------------------------------------------------------------------------------------------------


@mutant(("one_neuron",))
def a_split_without_its_sign(patch):
    """What lies between both functions goes through L instead of |L|."""
    whole = forward_linear.through
    patch(forward_linear, "through", lambda run, parts, shapes, pace: whole(run.__self__.apply, parts, shapes, pace))


@mutant(RESIDUAL, ("kit", "net/relu"))
def a_split_whose_signs_are_swapped(patch):
    """L- lower + L+ upper below."""
    whole = forward_linear.through

    def swapped(run, parts, shapes, pace):
        found = whole(run, parts, shapes, pace)
        return found if found is None or run.__name__ == "apply" else -found

    patch(forward_linear, "through", swapped)


@mutant(RESIDUAL, CURVED)
def a_gap_through_the_signed_operator(patch):
    linear = ForwardLinear.linear

    def signed(self, node, args, ctx):
        return replace(linear(self, node, args, ctx), gap=node.op.apply(*(a.gap for a in args)))

    patch(ForwardLinear, "linear", signed)


@mutant(("forms_hold", "gemm", 1.0, FLOAT64))
def a_bias_forgotten(patch):
    linear = ForwardLinear.linear

    def bare(self, node, args, ctx):
        return replace(linear(self, node, args, ctx), center=node.op.apply(*(a.center for a in args)))

    patch(ForwardLinear, "linear", bare)


@mutant(("claim", "point_dot", "float64"), ("claim", "point_dot", "mixed"))
def a_linear_step_without_gamma(patch):
    patch(ForwardLinear, "linear", with_numerics(ForwardLinear.linear, NoGamma))


@mutant(("claim", "underflow", "float64"))
def a_linear_step_without_floors(patch):
    patch(ForwardLinear, "linear", with_numerics(ForwardLinear.linear, NoFloor))


@mutant(("coefficients_cancel",))
def coefficients_that_round_for_nothing(patch):
    """Only constants are charged."""
    patch(InputForms, "size", lambda self, num: (self.center.abs() + self.gap.abs()).detach())


@mutant(("constants_cancel",))
def constants_that_round_for_nothing(patch):
    """Only coefficients are charged."""
    patch(InputForms, "size", lambda self, num: self.spread(num).detach())


@mutant(("kit", "rows/offset-error"))
def what_folding_lost_forgotten(patch):
    mixed = ForwardLinear._mixed

    class Exact:
        def __init__(self, op):
            self.op = op

        def __getattr__(self, name):
            return None if name == "offset_error" else getattr(self.op, name)

    patch(ForwardLinear, "_mixed", lambda self, op, *args: mixed(self, Exact(op), *args))


@mutant(("kit", "float32-semantics"))
def executions_that_do_not_round(patch):
    for name in ("linear", "nonlinear"):
        method = getattr(ForwardLinear, name)
        patch(ForwardLinear, name, lambda self, node, args, ctx, method=method: method(self, node, args, replace(ctx, noise={})))


@mutant(*(("lone_part_moves", part) for part in ("center", "gap", "rest")))
def what_leaves_the_normal_numbers_is_kept(patch):
    """Entries times powers of two never round."""
    patch(Linear, "lost", lambda self, image, xs, num: torch.zeros_like(image))


# ---- lines --------------------------------------------------------------------------------------------------------------


@mutant(RESIDUAL, CURVED)
def the_lower_line_above(patch):
    patch(forward_linear, "met_lines", lambda node, lines, *_: Relaxation(lines.lower, lines.lower_offset, lines.lower, lines.lower_offset))


@mutant(LEAKY)
def a_falling_line_on_the_wrong_side(patch):
    """The sign of the slope does not choose the operand's side: constants."""
    def careless(args, slopes, offset, sign):
        return forward_linear._sum(slopes, [a.center + sign * a.gap for a in args], offset)

    patch(forward_linear, "_offset", careless)


@mutant(LEAKY, RESIDUAL)
def coefficients_of_the_operands_middle_alone(patch):
    """The part of both sides that differs is dropped from the new functions."""
    whole = forward_linear.scaled
    patch(forward_linear, "scaled", lambda parts, shape: whole(parts[::2], shape))


@mutant(RESIDUAL, CURVED)
def lines_with_parallel_functions(patch):
    """The new functions have one slope, as if both lines had."""
    between = forward_linear._between
    patch(forward_linear, "_between", lambda *args: replace(between(*args), wide=None))


@mutant(("lines_hold_everywhere", 0), ("lines_hold_everywhere", 100))
def lines_without_gamma(patch):
    charged = forward_linear._charged
    patch(forward_linear, "_charged", lambda *args: charged(*args[:-1], flawed(args[-1], NoGamma)))


@mutant(("lines_hold_everywhere", -318))
def lines_without_floors(patch):
    charged = forward_linear._charged
    patch(forward_linear, "_charged", lambda *args: charged(*args[:-1], flawed(args[-1], NoFloor)))


@mutant(("claim", "slope_chain", "float64"))
def every_line_is_an_identity(patch):
    passed = forward_linear._passed
    patch(forward_linear, "_passed", lambda lines: torch.ones_like(passed(lines)))


@mutant(("remainders_pass",))
def what_was_rounded_before_forgotten(patch):
    """The operand's remainder does not pass a line."""
    charged = forward_linear._charged
    patch(forward_linear, "_charged", lambda args, *rest: charged([replace(a, rest=0 * a.rest) for a in args], *rest))


# ---- bounds -------------------------------------------------------------------------------------------------------------


@mutant(("claim", "spec_dot", "float64"), ("claim", "spec_dot", "mixed"))
def rows_without_gamma(patch):
    patch(ForwardLinear, "bounds", with_numerics(ForwardLinear.bounds, NoGamma))


@mutant(("swings_are_raised",))
def sums_of_products_without_gamma(patch):
    patch(input_forms, "raised", lambda swing, coordinates, num: swing)


@mutant(("forms_hold", "gemm", 1.0, FLOAT64))
def a_radius_rounded_to_nearest(patch):
    patch(input_forms, "middle_radius", lambda low, high, num: (low / 2 + high / 2, (high - low) / 2))


@mutant(("kit", "take"))
def coordinates_of_other_instances(patch):
    take = InputForms.take
    patch(InputForms, "take", lambda self, index: replace(take(self, index), coordinates=self.coordinates))


@mutant(("sharp_l2",))
def the_far_side_of_a_ball(patch):
    fall = input_forms._fall
    patch(input_forms, "_fall", lambda *args: -fall(*args))


@mutant(("symbols_hold",))
def a_region_without_its_remainder(patch):
    whole = forward_linear.symbols_of
    patch(forward_linear, "symbols_of", lambda given, num: whole((*given[:2], 0 * given[2]), num))


@mutant(("test_symbols_hold_in_every_format", "remainder"))
def a_regions_remainder_rounded_to_nearest(patch):
    patch(input_forms, "cast_up", lambda x, dtype: x.to(dtype))


@mutant(*(("test_symbols_hold_in_every_format", name) for name in ("centre", "generators")))
def symbols_that_no_cast_moves(patch):
    whole = forward_linear.symbols_of
    patch(input_forms, "symbols_of", lambda given, num: replace(whole(given, num), rest=0 * given[2].to(num.vector)))


# ---- anchors ------------------------------------------------------------------------------------------------------------


@mutant(("forms_hold", "residual", 1.0, FLOAT64, 1 << 40))
def a_restart_without_its_upper_side(patch):
    forms = anchors.backward_forms_about

    def one_sided(*args):
        found = forms(*args)
        return replace(found, upper=found.lower, upper_bias=found.lower_bias)

    patch(anchors, "backward_forms_about", one_sided)


@mutant(("off_centre",))
def a_restart_about_the_reference(patch):
    """Coefficients of x - c are taken for those of x - middle."""
    patch(affine_forms, "offset_between", lambda x, about: 2 * ((0 * x).flatten(1),))


@mutant(("restarted", 0), ("restarted", 1))
def a_restart_whose_halves_do_not_round(patch):
    chosen = anchors.InputForms
    patch(anchors, "InputForms", lambda center, gap, rest, *more: chosen(center, gap, 0 * rest, *more))
