"""Batches of points in float64 with one error bound: the exact outputs, in rational numbers, lie within it; what has none is said so."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest
import torch
from contract.operators import INSTANCES

from absint.attacks.proof import exact_output
from absint.engine import evaluated as room
from absint.engine.evaluated import evaluated
from absint.model.families.maximum import Maximum
from absint.model.families.real_function import RealFunction
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.exponential import Exp, Log
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.step import Sign
from absint.numeric.backend import numeric_mode
from absint.search.classified import classified

KINDS = {"relu": Relu, "leaky": lambda: LeakyRelu(0.2), "abs": Abs, "clip": lambda: Clip(-0.3, 0.7)}


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + sum(shape)))


def network(kind: str, *, cancel: bool = False) -> Graph:
    """Two layers with a maximum between them; cancel: none, and outputs far smaller than their summands."""
    build = GraphBuilder("x", (5,))
    name = build.add(KINDS[kind](), (build.add(Gemm(numbers(8, 5), numbers(8)), ("x",)),))
    if not cancel:
        name = build.add(Maximum(), (build.add(Reshape((4, 2)), (name,)),))
        return build.graph(build.add(Gemm(numbers(3, 4, seed=1), numbers(3)), (name,)))
    last = numbers(1, 8, seed=1) * (1 + 1e-15 * numbers(3, 8, seed=2))
    name = build.add(Gemm(1e9 * last), (name,))
    difference = torch.tensor([[1.0, -1, 0], [0, 1, -1], [1, 0, -1]], dtype=torch.float64)
    return build.graph(build.add(Gemm(difference), (name,)))


def excess(graph: Graph, points: torch.Tensor) -> float:
    """By how much the exact outputs leave the bound, at most; 0 where none does."""
    with numeric_mode(), torch.no_grad():
        found = evaluated(graph, points)
    error, worst = [Fraction(one) for one in found.error.flatten().tolist()], Fraction(0)
    for point, value in zip(points.tolist(), found.value.flatten(1).tolist(), strict=True):
        exact = exact_output(graph, [Fraction(one) for one in point])
        assert exact is not None
        worst = max([worst, *(abs(Fraction(v) - e) - b for v, e, b in zip(value, exact, error, strict=True))])
    return float(worst)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cancel", [False, True])
def test_exact_outputs_are_within_the_bound(kind: str, cancel: bool) -> None:
    assert excess(network(kind, cancel=cancel), numbers(20, 5, seed=3)) == 0


def test_without_rounding_terms_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail: the bound is made of them alone."""
    monkeypatch.setattr(room, "gamma", lambda terms, dtype: 0.0)
    assert excess(network("relu", cancel=True), numbers(20, 5, seed=3)) > 0


def test_the_bound_is_of_every_point_whatever_the_batch() -> None:
    graph, points = network("leaky"), numbers(30, 5, seed=4)
    with numeric_mode(), torch.no_grad():
        whole = evaluated(graph, points)
        alone = [evaluated(graph, point[None]) for point in points]
    assert float(whole.error.max()) < 1e-12
    for k, one in enumerate(alone):
        assert bool((one.error <= whole.error).all())
        assert bool(((one.value[0] - whole.value[k]).abs() <= one.error + whole.error).all())


def test_a_jump_and_what_is_not_defined_have_wide_bounds() -> None:
    build = GraphBuilder("x", (2,))
    name = build.add(Gemm(torch.tensor([[1 / 3, 1.0], [1.0, 0.1]], dtype=torch.float64)), ("x",))
    jump = build.graph(build.add(Sign(), (name,)))
    points = torch.tensor([[3.0, -1.0], [5.0, 1.0]], dtype=torch.float64)
    with numeric_mode(), torch.no_grad():
        assert float(evaluated(jump, points).error[0, 0]) >= 1
        assert float(evaluated(jump, points[1:]).error.max()) < 1e-9
    logarithm = GraphBuilder("x", (2,))
    made = logarithm.graph(logarithm.add(Log(), ("x",)))
    with numeric_mode(), torch.no_grad():
        found = evaluated(made, torch.tensor([[-1.0, 2.0], [1.0, 2.0]], dtype=torch.float64))
    assert found.error[0, 0] == inf
    assert bool((found.lower[:, 0] == -inf).all())
    assert bool((found.upper[:, 0] == inf).all())


def test_overflow_bounds_nothing() -> None:
    build = GraphBuilder("x", (1,))
    name = build.add(Exp(), ("x",))
    graph = build.graph(build.add(Gemm(torch.tensor([[1.0], [-1.0]], dtype=torch.float64)), (name,)))
    with numeric_mode(), torch.no_grad():
        found = evaluated(graph, torch.tensor([[800.0], [1.0]], dtype=torch.float64))
    assert bool((found.error == inf).all())
    assert bool((found.lower == -inf).all())
    assert bool((found.upper == inf).all())


@pytest.mark.parametrize("signs", [(1, 1, -1, -1), (-1, -1, 1, 1)])
def test_a_partial_sum_that_overflows_bounds_nothing(signs: tuple[int, ...]) -> None:
    """The exact sum is 0; behind a clip, what overflowed would be a number again."""
    build = GraphBuilder("x", (4,))
    weight = torch.tensor([[1.5e308 * sign for sign in signs], [0.0] * 4], dtype=torch.float64)
    name = build.add(Gemm(weight, torch.tensor([0.0, 1e298], dtype=torch.float64)), ("x",))
    graph = build.graph(build.add(Clip(-1e300, 1e300), (name,)))
    points = torch.ones(3, 4, dtype=torch.float64)
    with numeric_mode(), torch.no_grad():
        found = evaluated(graph, points)
    assert bool((found.lower[:, 0] <= 0).all())
    assert bool((found.upper[:, 0] >= 0).all())
    assert bool((found.error[:, 1] < 1e290).all()), "what cannot overflow keeps its bound"
    decided = classified(graph, points, 0)
    assert not bool(decided.right.any())


@pytest.mark.parametrize("op", [Tanh, Sigmoid])
def test_smooth_functions_keep_the_error_of_their_operands(op) -> None:
    build = GraphBuilder("x", (3,))
    name = build.add(op(), (build.add(Gemm(numbers(3, 3), numbers(3)), ("x",)),))
    graph = build.graph(build.add(Gemm(numbers(2, 3)), (name,)))
    points = numbers(40, 3, seed=9)
    with numeric_mode(), torch.no_grad():
        found = evaluated(graph, points)
        assert float(found.error.max()) < 1e-13
        assert bool(((found.value - graph(points)).abs() <= found.error).all())


def with_constants() -> list[str]:
    """Operators that state one."""
    made = ((name, instance()[0]) for name, instance in INSTANCES.items())
    return sorted(name for name, op in made if isinstance(op, RealFunction) and op.lipschitz is not None)


def test_which_functions_state_a_constant() -> None:
    kinds = {type(INSTANCES[name]()[0]).__name__ for name in with_constants()}
    assert kinds >= {"Relu", "LeakyRelu", "Tanh", "Sigmoid", "Abs", "Clip"}


@pytest.mark.parametrize("name", with_constants())
def test_a_stated_constant_is_one(name: str) -> None:
    """Of pairs near each other and far apart, on both sides of every knot."""
    op = INSTANCES[name]()[0]
    assert isinstance(op, RealFunction)
    assert op.lipschitz is not None
    x = torch.cat([torch.linspace(-8, 8, 4001, dtype=torch.float64), torch.tensor([k.x for k in op.knots], dtype=torch.float64)])
    for step in (1e-6, 0.01, 1.0, 5.0):
        change = (op.evaluate(x + step) - op.evaluate(x)).abs() / ((x + step) - x)
        assert float(change.max()) <= op.lipschitz * (1 + 1e-7)
    constant = float(op.evaluate(x).min()) == float(op.evaluate(x).max())
    assert constant or float(op.derivative(x).abs().max()) >= 0.99 * op.lipschitz, "and no smaller one is"
