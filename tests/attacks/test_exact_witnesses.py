"""A counterexample on a tie rests on rational numbers: what operators state of themselves, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from absint.attacks.proof import exact_output, in_rationals
from absint.attacks.witness import prove_witness
from absint.model.families.bilinear import Times
from absint.model.families.maximum import Maximum
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble
from absint.model.ops.compare import Select
from absint.model.ops.conv import Conv
from absint.model.ops.conv_transpose import ConvTranspose
from absint.model.ops.exponential import Exp
from absint.model.ops.extremum import Total
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.piecewise import Abs, Clip, HardSwish, PRelu, ThresholdedRelu
from absint.model.ops.pool import AveragePool, PoolingWindow
from absint.model.ops.power import Power
from absint.model.ops.product import SumLast
from absint.model.ops.reduce import AxisMap, Reduce
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Concat, Gather, Pad, Reshape, Transpose
from absint.model.ops.step import INTEGERS, Ceil, Compare, Floor, Held, Round, Sign, Truncate
from absint.model.ops.sum import Sum
from absint.model.passes import apply_passes
from absint.numeric.rational import Rationals, product, whole
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec


def tensor(*shape, seed=0):
    """Multiples of a quarter between -2 and 2: every operator below is exact on them in float64."""
    return torch.tensor(np.random.default_rng(seed).integers(-8, 9, shape) / 4, dtype=torch.float64)


AT = torch.tensor([[-0.5], [0.75]], dtype=torch.float64)
ONE = torch.ones((), dtype=torch.float64)
POOL = PoolingWindow((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), False)
# operator, shapes of its inputs
STATED = {
    "gemm": (Gemm(tensor(3, 4), tensor(3, seed=1)), [(2, 4)]), "left matmul": (LeftMatMul(tensor(3, 4)), [(4, 2)]),
    "conv": (Conv(tensor(4, 1, 2, 2), tensor(4), (2, 1), ((1, 0), (0, 1)), (1, 2), 2), [(2, 4, 4)]),
    "conv transpose": (ConvTranspose(tensor(2, 3, 2), tensor(3), (2,), ((1, 0),), (1,)), [(2, 3)]),
    "affine": (Affine(tensor(3), tensor(2, 1)), [(2, 3)]), "grows": (Affine(shift=tensor(2, 3), fan_out=2), [(3,)]),
    "sum": (Sum(), [(2, 3), (2, 3)]), "difference": (Sum(-1.0), [(2, 3), (2, 3)]), "sum last": (SumLast(3), [(2, 3)]),
    "total": (Total(3, None, tensor(2)), [(2,), (2,)]), "mean of two": (Total(2, torch.tensor(0.5, dtype=torch.float64)), [(2,), (2,)]),
    "reduce": (Reduce((0,), 2, True), [(2, 3)]), "mean": (Reduce((1,), 4, False, torch.tensor(0.25, dtype=torch.float64)), [(2, 4)]),
    "axis": (AxisMap(0, tensor(3, 2)), [(2, 3)]), "pool": (AveragePool(POOL, torch.full((2, 2), 0.25, dtype=torch.float64)), [(2, 3, 3)]),
    "concat": (Concat(0), [(2, 3), (1, 3)]), "gather": (Gather.of(torch.tensor([[2, 2], [0, 5]])), [(2, 3)]),
    "assemble": (Assemble(torch.tensor([3, -1, 0]), 1, torch.tensor([0.0, 2.5, 0.0]).double()), [(2,), (2,)]),
    "pad": (Pad(((1, 0), (0, 2)), torch.zeros(3, 5).double().index_fill_(0, torch.tensor([0]), 1.5)), [(2, 3)]),
    "transpose": (Transpose((1, 0)), [(2, 3)]), "reshape": (Reshape((3, 2)), [(2, 3)]),
    "relu": (Relu(), [(2, 9)]), "leaky": (LeakyRelu(0.25), [(2, 9)]), "prelu": (PRelu(tensor(2, 1)), [(2, 9)]), "abs": (Abs(), [(2, 9)]),
    "clip": (Clip(-0.5, 1.0), [(2, 9)]), "clip above": (Clip(high=0.25), [(2, 9)]), "clip crossed": (Clip(1.0, -1.0), [(2, 9)]),
    "thresholded": (ThresholdedRelu(0.75), [(2, 30)]), "square": (Power(2.0), [(2, 9)]), "cube": (Power(3.0), [(2, 9)]),
    "sign": (Sign(), [(2, 30)]), "floor": (Floor(), [(2, 30)]), "ceil": (Ceil(), [(2, 30)]), "round": (Round(), [(2, 30)]),
    "truncate": (Truncate(*INTEGERS[6]), [(2, 30)]), "held": (Held(*INTEGERS[6]), [(2, 3)]),
    "greater": (Compare(AT, 0.0, 0.0, 1.0), [(2, 30)]), "equal": (Compare(AT, 0.0, 1.0, 0.0), [(2, 30)]),
    "at most": (Compare(AT, 1.0, 1.0, 0.0), [(2, 30)]), "maximum": (Maximum(), [(2, 3, 4)]), "times": (Times(), [(2, 3), (2, 3)]),
}


@pytest.mark.parametrize("name", STATED)
def test_what_is_stated_is_the_value(name):
    op, shapes = STATED[name]
    xs = [tensor(*shape, seed=7 + k) for k, shape in enumerate(shapes)]
    value = op.rational(*(Rationals.of(x) for x in xs))
    expected = op.forward(*(x[None] for x in xs))[0]
    assert value.shape == tuple(expected.shape) == op.output_shape(*shapes)
    assert value.list() == [Fraction(v) for v in expected.reshape(-1).tolist()]


@pytest.mark.parametrize("branches", ["computed", "yes", "no", "constant"])
def test_a_selection_takes_the_branch(branches):
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    yes, no = tensor(4, seed=1), tensor(4, seed=2)
    op = Select(yes if branches in ("yes", "constant") else None, no if branches in ("no", "constant") else None)
    operands = [truth, *(branch for branch, fixed in ((yes, op.yes), (no, op.no)) if fixed is None)]
    assert op.rational(*map(Rationals.of, operands)).list() == [Fraction(v) for v in torch.where(truth > 0, yes, no).tolist()]


def test_means_divide_by_the_count_and_reciprocals_are_fractions():
    x = Rationals.of(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0]], dtype=torch.float64))
    third = torch.tensor(1 / 3, dtype=torch.float64)
    assert Reduce((1,), 3, False, third).rational(x).list() == [Fraction(7, 3), Fraction(1, 3)]
    assert Total(3, third).rational(x, x, x).list() == x.list()
    pool = AveragePool(PoolingWindow((3,), (1,), ((1, 1),), (1,), False), 1 / torch.tensor([2.0, 3.0, 2.0], dtype=torch.float64))
    assert pool.rational(Rationals.of(torch.tensor([[1.0, 1.0, 5.0]], dtype=torch.float64))).list() == [1, Fraction(7, 3), 3]
    assert Power(-1.0).rational(whole(np.array([3, -4]))).list() == [Fraction(1, 3), Fraction(-1, 4)]
    assert HardSwish().rational(whole(np.array([-3, 1, 5]))).list() == [0, Fraction(2, 3), 5]


@pytest.mark.parametrize(("op", "x"), [
    (Gemm(tensor(2, 2), weight_terms=1), [1, 1]), (Gemm(tensor(2, 2), tensor(2), bias_error=torch.tensor([0.0, 1e-17]).double()), [1, 1]),
    (Affine(tensor(2), weight_terms=1), [1, 1]), (Affine(shift=tensor(2), shift_error=torch.full((2,), 1e-20).double()), [1, 1]),
    (AxisMap(0, tensor(2, 2), 1), [1, 1]), (Total(1, None, tensor(2), torch.full((2,), 1e-20).double()), [1, 1]),
    (Exp(), [0, 0]), (Power(0.5), [4, 4]), (Power(-1.0), [1, 0]), (Power(1e6), [2, 2]),
    (Truncate(*INTEGERS[2]), [1, 256]), (Held(*INTEGERS[3]), [0, -129]),
])
def test_nothing_is_stated_where_a_number_was_rounded_or_does_not_exist(op, x):
    assert op.rational(whole(np.array(x))) is None


def test_floats_are_taken_exactly_and_sums_do_not_round():
    values = torch.tensor([5e-324, 1e308, -0.1, 0.0, 3.0], dtype=torch.float64)
    assert Rationals.of(values).list() == [Fraction(v) for v in values.tolist()]
    assert Rationals.of(torch.zeros(3)).list() == [0, 0, 0]
    assert Rationals.of(torch.tensor(2.5)).list() == [Fraction(5, 2)]
    tiny, large = Rationals.of(values[:1]), Rationals.of(values[1:2])
    assert (large + tiny - large).list() == [Fraction(5e-324)]
    assert product(Rationals.of(tensor(2, 3)), Rationals.of(tensor(3, seed=1))).list() == [
        sum((Fraction(a) * Fraction(b) for a, b in zip(row, tensor(3, seed=1).tolist(), strict=True)), Fraction(0))
        for row in tensor(2, 3).tolist()]


def chain(*ops):
    """One operator after the other, on a number."""
    build = GraphBuilder("x", (1,))
    name = "x"
    for op in ops:
        name = build.add(op, (name,))
    return build.graph(name)


def at_most(bias, strict=False, weight=1.0):
    """Unsafe: weight y + bias <= 0, or < 0."""
    return Spec.rows(torch.tensor([[[weight]]]).double(), torch.tensor([[bias]], dtype=torch.float64), strict=torch.tensor([strict]))


def proved(graph, spec, x, half=1.0):
    region = BoxRegion(torch.tensor([[-half]]).double(), torch.tensor([[half]]).double())
    return prove_witness(graph, region, spec, 0, np.array([x])) is not None


NEGATED = (Relu(), Affine(scale=torch.tensor([-3.0], dtype=torch.float64)))


def test_a_tie_is_proved_and_no_more_than_the_tie():
    graph = chain(*NEGATED)
    assert proved(graph, at_most(0.0, weight=-1.0), -0.5)                # -3 relu(x) >= 0
    assert not proved(graph, at_most(0.0, strict=True, weight=-1.0), -0.5)
    assert not proved(graph, at_most(5e-324, weight=-1.0), -0.5)         # >= the least positive number
    assert not proved(graph, at_most(0.0, weight=-1.0), 2.0**-60)


def test_a_tie_of_floats_that_is_none_of_numbers_is_no_witness():
    """1 + x rounds to 1 in every format; the exact output is x, which is positive."""
    graph = chain(Affine(shift=ONE), Affine(shift=-ONE))
    x = 2.0**-60
    assert float(graph(torch.tensor([[x]], dtype=torch.float64))) == 0.0
    assert not proved(graph, at_most(0.0), x)
    assert proved(graph, at_most(-x), x)


def test_every_row_of_a_disjunct_counts():
    graph = chain(*NEGATED)
    both = Spec.rows(torch.tensor([[[-1.0], [1.0]]]), torch.tensor([[0.0, 0.0]]), torch.tensor([0, 0]), torch.tensor([False, False]))
    assert proved(graph, both, 0.0)                                      # y = 0
    assert not proved(graph, both, 0.25)
    other = Spec.rows(torch.tensor([[[-1.0], [1.0]]]), torch.tensor([[-1.0, 0.75]]), torch.tensor([0, 1]), torch.tensor([False, False]))
    assert proved(graph, other, 0.25)                                    # y >= 1, or y <= -3/4


def test_what_cannot_be_evaluated_exactly_stays_open():
    zero = [Fraction(0)]
    assert exact_output(chain(Exp()), zero) is None
    assert exact_output(chain(Affine(tensor(1, seed=3), weight_terms=1)), zero) is None
    assert not in_rationals(chain(Exp()), at_most(-1.0), 0, zero)
    grows = chain(*[Power(2.0)] * 20)                                    # a million times as many bits
    assert exact_output(grows, [Fraction(1, 3)]) is None
    wide = GraphBuilder("x", (8192,))
    wide.add(Gemm(torch.zeros(1, 8192, dtype=torch.float64).expand(8192, 8192)), ("x",), "y")
    assert exact_output(wide.graph("y"), zero * 8192) is None            # 67 million products


def test_a_bias_folded_by_rounding_is_not_taken_for_the_networks():
    """0.1 + 0.2 rounds; a pass that adds them leaves an error behind, and no exact value."""
    tenth = torch.tensor([0.1], dtype=torch.float64)
    graph = apply_passes(chain(Gemm(torch.ones(1, 1, dtype=torch.float64), tenth), Affine(shift=2 * tenth)))
    assert len(graph.nodes) == 2
    assert exact_output(graph, [Fraction(0)]) is None


@pytest.mark.parametrize("x", [Fraction(1, 3), Fraction(-7, 5), Fraction(0)])
def test_a_network_at_rational_points(x):
    graph = chain(Affine(scale=2 * ONE, shift=ONE), Relu(), Affine(shift=-ONE), Abs(), LeakyRelu(0.125))
    assert exact_output(graph, [x]) == [abs(max(2 * x + 1, Fraction(0)) - 1)]
