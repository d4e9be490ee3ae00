"""Unsound variants of operators: elementwise functions, maxima, linear maps."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import torch

from absint.model.families import elementwise
from absint.model.families.elementwise import Elementwise
from absint.model.families.maximum import Maximum
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.pool import AveragePool
from absint.model.ops.power import Power
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Concat, Gather, Pad, Transpose
from absint.model.ops.sum import Sum
from absint.numeric.interval import Band, Relaxation
from mutants.planting import mutant


@mutant("op:gemm")
def every_matrix_is_nonnegative(patch):
    patch(Gemm, "nonnegative", True)


@mutant("op:power(3)")
def odd_powers_are_never_negative(patch):
    patch(Power, "codomain", (0.0, inf))


# ---- elementwise and maximum --------------------------------------------------------------------------------------------


@mutant("op:relu", "op:sigmoid")
def planes_swapped(patch):
    original = Elementwise.planes

    def planes(self, *args):
        r = original(self, *args)
        return Relaxation(r.upper, r.upper_offset, r.lower, r.lower_offset)

    patch(Elementwise, "planes", planes)


@mutant("op:relu", "domain:deeppoly/net/relu")
def slope_sign_flipped(patch):
    original = Elementwise.planes

    def planes(self, *args):
        r = original(self, *args)
        return replace(r, upper=tuple(-s for s in r.upper))

    patch(Elementwise, "planes", planes)


@mutant("op:relu", "op:leaky-relu(0.3)")
def slopes_not_of_the_matrix_format(patch):
    patch(elementwise, "_matrix", lambda slope, num: slope)


@mutant("op:relu", "op:leaky-relu(0.3)")
def offsets_of_the_unrounded_slope(patch):
    """Lambda is rounded after its radius was computed."""
    original_band, original_planes, matrix = Elementwise.band, Elementwise.planes, elementwise._matrix

    def band(self, intervals, num):
        found = original_band(self, intervals, replace(num, dtype=num.vector))
        return Band(tuple(matrix(s, num) for s in found.slope), found.offset, found.radius)

    def planes(self, intervals, num, free=None):
        found = original_planes(self, intervals, replace(num, dtype=num.vector), free)
        return Relaxation(tuple(matrix(s, num) for s in found.lower), found.lower_offset, tuple(matrix(s, num) for s in found.upper),
                          found.upper_offset)

    patch(Elementwise, "band", band)
    patch(Elementwise, "planes", planes)


@mutant("op:relu", "op:leaky-relu(0.3)", "op:tanh")
def line_offset_without_slack(patch):
    patch(Elementwise, "_product_error", lambda self, value, product, slope, num: torch.zeros_like(value))


@mutant("claim:touch_points_may_be_anywhere")
def touch_point_without_slack(patch):
    patch(Elementwise, "_slope_distance", lambda self, point, slope, num: torch.zeros_like(point))


@mutant("op:sigmoid", "op:tanh")
def kernel_error_forgotten(patch):
    patch(Elementwise, "_kernel_error", lambda self, value, num: torch.zeros_like(value))


@mutant("op:relu", "domain:zonotope/net/relu")
def band_radius_halved(patch):
    original = Elementwise.band

    def band(self, intervals, num):
        found = original(self, intervals, num)
        return Band(found.slope, found.offset, found.radius / 2)

    patch(Elementwise, "band", band)


@mutant("op:leaky-relu(-0.7)", "domain:box/net/leaky-negative")
def range_by_the_ends_only(patch):
    patch(Elementwise, "_ends", lambda self, low, high: [low, high])


@mutant("op:leaky-relu(2.5)", "op:leaky-relu(-0.7)")
def every_kink_is_convex(patch):
    patch(LeakyRelu, "knots", property(lambda self: ()))


@mutant("op:relu", "op:tanh")
def everything_is_decided(patch):
    patch(Elementwise, "undecided", lambda self, intervals: (torch.zeros_like(intervals[0].lower, dtype=torch.bool),))


@mutant("op:relu")
def relu_without_its_kink(patch):
    patch(Relu, "knots", ())


@mutant("op:maximum", "domain:deeppoly/net/maximum")
def maximum_of_greatest_lower_bound(patch):
    patch(Maximum, "_winner", lambda self, interval: (
        torch.zeros_like(interval.lower).scatter_(-1, interval.lower.argmax(-1, keepdim=True), 1.0),
        torch.ones(interval.lower.shape[:-1], dtype=torch.bool)))


# ---- linear operators ---------------------------------------------------------------------------------------------------


@mutant("op:gemm", "domain:box/net/gemm")
def gemm_drops_an_abs(patch):
    patch(Gemm, "apply_abs", lambda self, r: self.apply(r))


@mutant("op:conv", "domain:box/net/conv")
def conv_drops_an_abs(patch):
    patch(Conv, "apply_abs", lambda self, r: self.apply(r))


@mutant("op:scale", "domain:box/net/affine")
def scale_drops_an_abs(patch):
    patch(Affine, "apply_abs", lambda self, r: self.apply(r))


@mutant("op:sub", "domain:box/net/residual")
def sub_subtracts_radii(patch):
    patch(Sum, "apply_abs", lambda self, *rs: self.apply(*rs))


@mutant("op:gemm")
def gemm_adjoint_not_transposed(patch):
    patch(Gemm, "adjoint", lambda self, y, shapes: (y @ self.constant("weight", y).T,))


@mutant("op:conv", "domain:deeppoly/net/conv")
def conv_adjoint_forgets_padding(patch):
    original = Conv.adjoint

    def adjoint(self, y, shapes):
        free = replace(self, pads=tuple((0, a + b) for a, b in self.pads))
        return original(free, y, shapes)

    patch(Conv, "adjoint", adjoint)


@mutant("op:sub", "domain:deeppoly/net/residual")
def sub_adjoint_forgets_the_sign(patch):
    patch(Sum, "adjoint", lambda self, y, shapes: (y, y))


@mutant("op:sub", "domain:zonotope/net/residual")
def sub_part_forgets_the_sign(patch):
    patch(Sum, "part", lambda self, position, x, shapes: x)


@mutant("op:concat", "domain:deeppoly/net/concat-gather")
def concat_adjoint_in_wrong_order(patch):
    original = Concat.adjoint
    patch(Concat, "adjoint", lambda self, y, shapes: original(self, y.flip(self.axis + 1), shapes))


@mutant("op:gather")
def gather_adjoint_overwrites(patch):
    def adjoint(self, y, shapes):
        back = y.new_zeros(len(y), *shapes[0]).flatten(1)
        return (back.index_copy(1, self.index.reshape(-1), y.flatten(1)).reshape(len(y), *shapes[0]),)

    patch(Gather, "adjoint", adjoint)


@mutant("op:transpose")
def transpose_adjoint_not_inverted(patch):
    patch(Transpose, "adjoint", lambda self, y, shapes: (self.apply(y),))


@mutant("op:pad", "domain:deeppoly/net/shapes")
def pad_adjoint_forgets_padding(patch):
    original = Pad.adjoint
    patch(Pad, "adjoint", lambda self, y, shapes: (original(self, y, shapes)[0].roll(1, 1),))


@mutant("op:scale", "domain:zonotope/net/affine")
def monomial_forgets_the_scale(patch):
    original = Affine.monomial
    patch(Affine, "monomial", lambda self, shape: None if original(self, shape) is None else replace(original(self, shape), scale=None))


@mutant("op:gemm-wide")
def gemm_counts_one_term(patch):
    patch(Gemm, "forward_terms", 1)


@mutant("op:average-pool")
def pool_adjoint_counts_one_term(patch):
    patch(AveragePool, "adjoint_terms", 1)


@mutant("op:negate")
def negation_claims_to_move_entries(patch):
    patch(Affine, "forward_terms", property(lambda self: 1))


