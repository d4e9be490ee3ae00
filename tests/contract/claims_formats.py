"""Claims of relaxations, of constants in their formats, and of kernels: as those of `claims`."""

from __future__ import annotations

import decimal
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf

import numpy as np
import torch

from absint.engine.context import Context
from absint.engine.forward import margins, tensor_bounds
from absint.errors import UnsupportedError
from absint.model.families.elementwise import Curvature, Elementwise, KernelError, Piece
from absint.model.graph import GraphBuilder
from absint.model.op import OnnxNode
from absint.model.ops.affine import Affine, batch_norm_from_onnx
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu
from absint.model.passes.fold_affine import fold_affine
from absint.numeric import backend
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import gamma
from absint.testing.kit import FLOAT64, MIXED, SINGLE, check_op
from contract.claims import box_region, chain, claim, domain, encloses, rows, settings

# ---- relaxations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SloppySquare(Elementwise):
    """x^2 with a touch point that is far off: any point is sound, if the line pays for it."""

    pieces = (Piece(-inf, 0.0, -1, Curvature.CONVEX), Piece(0.0, inf, 1, Curvature.CONVEX))
    error = KernelError(ulps=1)
    codomain = (0.0, inf)

    def evaluate(self, x):
        return x * x

    def derivative(self, x):
        return 2 * x

    def inverse_derivative(self, slope, piece):
        return slope * 0.45 + 0.01


@claim
def touch_points_may_be_anywhere():
    check_op(SloppySquare(), reference=lambda x: x * x)


# ---- formats ------------------------------------------------------------------------------------------------------------


def refused_or_sound(name, graph, x, num):
    region, points = box_region(x, x)
    with suppress(UnsupportedError):
        encloses(domain(name), graph, region, rows([1.0], [-1.0]), points, num)


@claim
def constants_that_float32_loses_are_refused():
    tiny = Gemm(torch.tensor([[1.1e-44, -0.4e-44]], dtype=torch.float64))
    for name, num in (("box", SINGLE), ("zonotope", MIXED), ("deeppoly", MIXED)):
        refused_or_sound(name, chain((2,), tiny), [1e30, 3e29], num)
    refused_or_sound("box", chain((1,), LeakyRelu(1e-60)), [-1e37], SINGLE)
    refused_or_sound("box", chain((1,), LeakyRelu(1e-44)), [-1e37], SINGLE)
    assert not Gemm(torch.tensor([[1e300]], dtype=torch.float64)).fits(torch.float32)


@claim
def folding_bounds_its_errors():
    random = np.random.default_rng(9)
    weight, bias = torch.from_numpy(random.normal(size=(4, 3))), torch.from_numpy(random.normal(size=4) * 1e8)
    scale = torch.from_numpy(random.random(4) + 0.1)
    shift = -bias * scale
    x = random.normal(size=3) * 1e-12
    region, points = box_region(x, x)
    for op in (Gemm(weight, bias),):
        build = GraphBuilder("x", (3,))
        whole = build.graph(build.add(Affine(scale, shift), (build.add(op, ("x",), "inner"),), "y"))
        folded = fold_affine(whole)
        assert len(folded.nodes) == 2
        for name in ("box", "zonotope", "deeppoly"):
            encloses(domain(name), folded, region, rows([1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.0, 2.0]), points, FLOAT64, whole)
        assert folded.output.op.forward_terms >= 3 + 1 + 1, "one rounding per folded coefficient"
        again = fold_affine(folded)
        assert again.output.op.forward_terms == folded.output.op.forward_terms


@claim
def folding_keeps_inner_errors():
    """The error of a bias that a pass made earlier is scaled, not lost."""
    op = Gemm(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0, torch.full((2,), 1e-3, dtype=torch.float64))
    build = GraphBuilder("x", (2,))
    inner = build.add(op, ("x",), "inner")
    shift = torch.zeros(2, dtype=torch.float64)
    affine = Affine(torch.full((2,), 10.0, dtype=torch.float64), shift, 0, torch.full((2,), 1e-3, dtype=torch.float64))
    folded = fold_affine(build.graph(build.add(affine, (inner,), "y")))
    assert bool((folded.output.op.offset_error >= 10 * 1e-3 + 1e-3).all())


@claim
def offset_errors_reach_every_domain():
    op = Gemm(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0, torch.full((2,), 1e-3, dtype=torch.float64))
    region, _ = box_region([0.0, 0.0], [0.0, 0.0])
    for name in ("box", "zonotope", "deeppoly"):
        for num in settings(name).values():
            with numeric_mode():
                found, _ = margins(domain(name), Context(chain((2,), op), region, num), rows([1.0, 1.0]))
            assert float(found.lower[0, 0]) <= -2e-3 * (1 - 1e-6)


@claim
def batch_normalisation_bounds_its_errors():
    random = np.random.default_rng(10)
    weight, mean, variance = (torch.from_numpy(v) for v in (random.random(3) + 0.5, random.normal(size=3) * 1e6, random.random(3)))
    beta = mean * (weight / (variance + 1e-5).sqrt())  # the shift cancels
    node = OnnxNode("BatchNormalization", {"epsilon": 1e-5}, 13, (None, weight, beta, mean, variance), ((1, 3),), (True,))
    op = batch_norm_from_onnx(node)
    graph = chain((3,), op)
    region, _ = box_region(np.zeros(3), np.zeros(3))
    context, epsilon = decimal.Context(prec=80), 1e-5
    truth = []
    for w, b, m, v in zip(weight.tolist(), beta.tolist(), mean.tolist(), variance.tolist(), strict=True):
        root = context.sqrt(context.add(decimal.Decimal(v), decimal.Decimal(epsilon)))
        truth.append(Fraction(b) - Fraction(m) * Fraction(w) / Fraction(root))
    for name in ("box", "zonotope", "deeppoly"):
        with numeric_mode():
            box = tensor_bounds(domain(name), Context(graph, region, FLOAT64), (graph.output.name,))[graph.output.name]
        for k, value in enumerate(truth):
            assert Fraction(float(box.lower[0, k])) <= value <= Fraction(float(box.upper[0, k])), name


# ---- kernels ------------------------------------------------------------------------------------------------------------


@claim
def convolution_kernels_keep_the_bound():
    """1e8 in one pixel: Winograd, FFT and TF32 spread its rounding over the neighbours."""
    random = torch.Generator().manual_seed(0)
    for channels, size, kernel in ((16, 16, 3), (3, 32, 5), (32, 8, 3)):
        weight = torch.randn(16, channels, kernel, kernel, generator=random)
        x = torch.randn(20, channels, size, size, generator=random)
        x[:, 0, 4, 4] = 1e8
        op = Conv(weight.double(), None, (1, 1), ((1, 1), (1, 1)), (1, 1))
        with numeric_mode():
            found = op.apply(x).double()
            back = op.adjoint(found.float(), ((channels, size, size),))[0].double()
        n = channels * kernel * kernel
        assert bool(((found - op.apply(x.double())).abs() <= gamma(n + 1, torch.float32) * op.apply_abs(x.double().abs()) + 1e-37).all())
        y = found.float().double()
        shapes = ((channels, size, size),)
        exact, size_ = op.adjoint(y, shapes)[0], replace(op, weight=op.weight.abs()).adjoint(y.abs(), shapes)[0]
        assert bool(((back - exact).abs() <= gamma(op.adjoint_terms, torch.float32) * size_ + 1e-37).all())


@claim
def subnormals_survive():
    """numeric_mode switches flushing off. Nothing is compared while it may be on: comparisons would flush, too."""
    tiny, wide = torch.tensor([[3e-40, 1e-41]]), torch.tensor([[3e-310, 1e-311]], dtype=torch.float64)
    gemm = Gemm(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    conv = Conv(torch.ones(1, 1, 1, dtype=torch.float64), None, (1,), ((0, 0),), (1,))
    torch.set_flush_denormal(True)
    try:
        with backend.numeric_mode():
            found = [f(x) for x in (tiny, wide) for f in (lambda v: v * 1.0, gemm.apply, lambda v: conv.apply(v[None])[0])]
    finally:
        torch.set_flush_denormal(False)
    for value, x in zip(found, [tiny] * 3 + [wide] * 3, strict=True):
        assert float(value[0, 0]) == float(x[0, 0]) > 0
