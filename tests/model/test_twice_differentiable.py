"""What operators say of their smoothness holds, and graphs are differentiated twice by torch."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

import absint
from absint.model.families.elementwise import Elementwise
from absint.model.families.maximum import Maximum
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op, Smoothness
from absint.model.ops.exponential import Exp, ExponentialUnit, Log, Softplus
from absint.model.ops.inverse_functions import Acos, Acosh, Asin, Atanh
from absint.model.ops.lp_pool import Root
from absint.model.ops.normalise import Normalise, Softmax
from absint.model.ops.norms import InverseOfNorm
from absint.model.ops.piecewise import Abs, Clip, HardSigmoid, HardSwish, PRelu, ThresholdedRelu
from absint.model.ops.power import Power
from absint.model.ops.product import MatMul, Multiply
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.scikit_learn import AwayFromZero
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.smooth import Asinh, Atan, Cosh, Erf, Gelu, Mish, Sinh, Softsign, Swish, TanhGelu
from absint.model.ops.step import Ceil, Compare, Floor, Held, Round, Sign, Truncate
from absint.model.ops.trigonometric import Cos, Sin, Tan
from absint.model.smoothness import kinks

# In high precision, independently of absint.
EXACT = {
    "Exp": mpmath.exp, "Log": mpmath.log, "Softplus": lambda x: mpmath.log(1 + mpmath.exp(x)), "Tanh": mpmath.tanh, "Erf": mpmath.erf,
    "Sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "Gelu": lambda x: x * mpmath.ncdf(x),
    "Swish": lambda x: x / (1 + mpmath.exp(-x)),
    "Mish": lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))),
    "TanhGelu": lambda x: x * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(0.044715) * x**3))) / 2,
    "Atan": mpmath.atan, "Asinh": mpmath.asinh, "Sinh": mpmath.sinh, "Cosh": mpmath.cosh, "Sin": mpmath.sin, "Cos": mpmath.cos,
    "Asin": mpmath.asin, "Acos": mpmath.acos, "Atanh": mpmath.atanh, "Acosh": mpmath.acosh, "Tan": mpmath.tan,
    "Held": lambda x: x, "AwayFromZero": lambda x: x,
}
SMOOTH: list[Elementwise] = [
    Exp(), Log(), Softplus(), Sigmoid(), Tanh(), Erf(), Gelu(), TanhGelu(), Mish(), Swish(), Atan(), Asinh(), Sinh(), Cosh(), Sin(), Cos(),
    Tan(), Atanh(),
    Held(-128.0, 127.0), AwayFromZero(), InverseOfNorm(), *(Power(p) for p in (2.0, 3.0, 4.0, 2.5, -1.0, -2.0, -0.5)),
]
INSIDE = [Power(0.5), Power(1.5), Root(1 / 3)]
STEEP_AT_ONE = [Asin(), Acos(), Acosh()]
KINKED: list[Elementwise] = [
    Relu(), LeakyRelu(0.1), Abs(), PRelu(torch.tensor([0.25])), Clip(-1.0, 1.0), ThresholdedRelu(1.0), HardSwish(), ExponentialUnit(1.0),
    ExponentialUnit(1.6732632423543772, 1.0, 1.0507009873554805), ExponentialUnit(2.0, 2.0), Softsign(), Sign(), Floor(), Ceil(), Round(),
    Truncate(-128.0, 127.0), Compare(torch.tensor([0.5], dtype=torch.float64), 0.0, 0.0, 1.0),
]


def named(op: Op) -> str:
    return f"{type(op).__name__}{getattr(op, 'exponent', '')}"


def exact(op: Elementwise, x: float, order: int) -> float:
    with mpmath.workdps(60):
        if isinstance(op, Power):
            p, y = mpmath.mpf(op.exponent), mpmath.mpf(x)
            return float(mpmath.ff(p, order) * (y ** int(p - order) if op.whole else y ** (p - order)) if mpmath.ff(p, order) else 0)
        return float(mpmath.diff(EXACT[type(op).__name__], mpmath.mpf(x), order, h=mpmath.mpf(10) ** -15))


def places(op: Elementwise) -> list[float]:
    """0, ends of pieces and neighbours, and other points where f is defined."""
    ends = {piece.high for piece in op.pieces if piece.high < inf} | {0.0}
    near = [x + d for x in sorted(ends) for d in (-1e-3, -1e-9, 0.0, 1e-9, 1e-3)]
    points = [*near, -0.0, -30.0, -6.5, -2.25, -0.7, 0.4, 1.0, 3.5, 12.0]
    low = torch.tensor(points, dtype=torch.float64)
    fine = op.defined(low, low)
    usable = points if fine is None else [x for x, good in zip(points, fine.tolist(), strict=True) if good]
    return [x for x in usable if not (x == 0 and isinstance(op, Power) and op.exponent < 2)]


def twice(op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(op.forward(x).sum(), x, create_graph=True)
    second = torch.autograd.grad(first.sum(), x)[0] if first.requires_grad else torch.zeros_like(x)
    return first.detach(), second


def all_elementwise() -> set[type[Op]]:
    def below(cls: type[Op]) -> set[type[Op]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    kinds = below(Elementwise)
    return {kind for kind in kinds if kind.__module__.startswith("absint.model.ops") and not kind.__name__.startswith("_")}


def test_every_elementwise_operator_is_looked_at() -> None:
    assert {type(op) for op in (*SMOOTH, *INSIDE, *STEEP_AT_ONE, *KINKED)} == all_elementwise()


@pytest.mark.parametrize("op", SMOOTH, ids=named)
def test_smooth_ones_are_differentiated_twice_at_every_point(op: Elementwise) -> None:
    assert op.smoothness is Smoothness.SMOOTH
    points = places(op)
    assert len(points) >= 5
    first, second = twice(op, torch.tensor(points, dtype=torch.float64))
    for order, found in ((1, first), (2, second)):
        expected = torch.tensor([exact(op, x, order) for x in points], dtype=torch.float64)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12), (order, points, found, expected)


@pytest.mark.parametrize("op", SMOOTH, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_second_derivatives_are_finite(op: Elementwise, dtype: torch.dtype) -> None:
    x = torch.tensor([-1e4, -1000.0, -90.0, -45.0, 45.0, 90.0, 1000.0, 1e4], dtype=dtype)
    fine = op.defined(x, x)
    x = x if fine is None else x[fine]
    usable = x[op.forward(x).isfinite()]
    for found in twice(op, usable):
        assert bool(found.isfinite().all())


@pytest.mark.parametrize("op", SMOOTH, ids=named)
def test_smooth_ones_have_a_second_derivative_without_jumps(op: Elementwise) -> None:
    for x in [x for x in places(op) if abs(x) < 13 and defined_around(op, x)]:
        left, right = jet(op, x, -1), jet(op, x, 1)
        assert all(abs(a - b) <= 1e-2 * max(1, abs(b)) for a, b in zip(left, right, strict=True)), (x, left, right)


def defined_around(op: Elementwise, x: float) -> bool:
    fine = op.defined(torch.tensor([x - 0.2], dtype=torch.float64), torch.tensor([x + 0.2], dtype=torch.float64))
    return fine is None or bool(fine)


def jet(op: Elementwise, x: float, side: int) -> tuple[float, float, float]:
    """f, f' and f'' on one side of x, by a polynomial through five points there."""
    step = side * 2.0**-9
    values = op.evaluate(torch.tensor([x + step * k for k in range(1, 6)], dtype=torch.float64))
    c = np.polyfit(range(1, 6), values.numpy(), 4)[::-1]
    return float(c[0]), float(c[1] / step), float(2 * c[2] / step**2)


@pytest.mark.parametrize("op", KINKED, ids=named)
def test_kinked_ones_jump_somewhere(op: Elementwise) -> None:
    """f, f' or f'' does."""
    assert op.smoothness is Smoothness.KINKED
    where = sorted({k.x for k in op.knots} | {j.x for j in op.jumps} | {p.high for p, _ in pairwise(op.pieces)} | {0.5, 1.0})
    gaps = [abs(a - b) for x in where for a, b in zip(jet(op, x, -1), jet(op, x, 1), strict=True)]
    assert max(gaps) > 0.2


@pytest.mark.parametrize("op", INSIDE, ids=named)
def test_powers_with_a_fraction_end_at_zero(op: Power) -> None:
    assert op.smoothness is Smoothness.INSIDE
    _, second = twice(op, torch.tensor([1e-12, 1.0], dtype=torch.float64))
    assert abs(float(second[0])) > 1e5
    assert float(second[1]) == pytest.approx(op.exponent * (op.exponent - 1))


@pytest.mark.parametrize("op", STEEP_AT_ONE, ids=named)
def test_inverse_functions_end_at_one(op: Elementwise) -> None:
    assert op.smoothness is Smoothness.INSIDE
    side = 1 if isinstance(op, Acosh) else -1
    _, second = twice(op, torch.tensor([1 + side * 1e-9, 1 + side * 0.25], dtype=torch.float64))
    assert abs(float(second[0])) > 1e5
    assert float(second[1]) == pytest.approx(exact(op, 1 + side * 0.25, 2), rel=1e-6)


# ---- graphs --------------------------------------------------------------------------------------------------------------


def graph_of(shape: tuple[int, ...], *ops: Op) -> Graph:
    builder, name = GraphBuilder("x", shape), "x"
    for op in ops:
        name = builder.add(op, (name,))
    return builder.graph(name)


def test_kinks_are_told_apart() -> None:
    assert kinks(graph_of((4,), Tanh(), Softmax(0), Normalise(1, 1e-5), Softplus())) == kinks(graph_of((4,), Sigmoid()))
    assert kinks(graph_of((4,), Tanh())).activations == ()
    found = kinks(graph_of((2, 3), Relu(), HardSigmoid(0.2, 0.5), Maximum(), Power(0.5), Tanh()))
    assert found.activations[0].split()[1] == "Relu"
    assert len(found.activations) >= 2
    assert len(found.maxima) == len(found.ends) == 1
    assert "Maximum (2,)" in found.maxima[0]
    assert "Power (2,)" in found.ends[0]


def test_kinks_go_by_the_names_of_the_file() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    graph = absint.load(net, example_input=torch.zeros(1, 3))
    (line,) = kinks(graph).activations
    assert graph.find(line.split("'")[1]).name == next(n.name for n in graph.nodes if type(n.op) is Relu)


def test_a_graph_is_differentiated_twice() -> None:
    """Against second differences, through every family: convolutions, products, powers, softmax, layer normalisation."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.LayerNorm(32)
            self.up, self.pool, self.last = torch.nn.ConvTranspose2d(2, 1, 2, stride=2), torch.nn.AvgPool2d(2), torch.nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.nn.functional.mish(self.conv(x))
            y = self.norm(y.flatten(1)).reshape(-1, 2, 4, 4) * torch.sigmoid(y)
            y = self.pool(torch.nn.functional.gelu(self.up(y))).flatten(1)
            scores = self.last(y + y**3)
            return torch.log_softmax(scores, 1) + torch.log(1 + torch.exp(scores)) + torch.softmax(scores, 1) / (2 + torch.sin(scores))

    net = Net().eval()
    graph = absint.load(net, example_input=torch.zeros(1, 1, 4, 4))
    assert kinks(graph) == kinks(graph_of((3,), Tanh()))
    net = net.double()
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    x[0] = 0    # every derivative of a branch at 0 counts

    def product(f: object, v: Tensor) -> tuple[Tensor, Tensor]:
        at = x.clone().requires_grad_()
        (g,) = torch.autograd.grad((f(at)[:, 0] - f(at)[:, 1]).sum(), at, create_graph=True)  # type: ignore[operator]
        return g.detach(), torch.autograd.grad((g * v).sum(), at)[0]

    def gradient(at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        y = graph(at)
        return torch.autograd.grad((y[:, 0] - y[:, 1]).sum(), at)[0]

    for _ in range(3):
        v = torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
        first, second = product(graph, v)
        step = 1e-5
        assert torch.allclose(second, (gradient(x + step * v) - gradient(x - step * v)) / (2 * step), rtol=1e-5, atol=1e-7)
        theirs = product(net, v)
        assert torch.allclose(first, theirs[0], rtol=1e-5, atol=1e-6)
        assert torch.allclose(second, theirs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", [Softplus(), Mish()], ids=named)
def test_zero_preactivations_have_the_curvature_of_their_neighbours(op: Elementwise) -> None:
    """They are common: a black image and a bias that is 0."""
    for zero in (0.0, -0.0):
        at, beside = twice(op, torch.tensor([zero, 1e-7], dtype=torch.float64))
        assert torch.allclose(at[0], at[1], rtol=0, atol=1e-6)
        assert torch.allclose(beside[0], beside[1], rtol=0, atol=1e-6)


def test_products_of_two_computed_tensors_are_smooth() -> None:
    builder = GraphBuilder("x", (2, 2))
    squared = builder.add(MatMul(), ("x", "x"))
    graph = builder.graph(builder.add(Multiply(), (squared, "x")))
    assert kinks(graph) == kinks(graph_of((3,), Tanh()))
    x = torch.rand(1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = torch.autograd.functional.hessian(lambda at: graph(at).sum(), x)
    theirs = torch.autograd.functional.hessian(lambda at: ((at @ at) * at).sum(), x)
    assert torch.allclose(found, theirs)
