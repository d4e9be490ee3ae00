"""Samples of balls, gradients and Hessians that CLEVER scores are made of."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import Tensor, nn

from absint.analyses.clever.curvature import HessianProducts, curvature
from absint.analyses.clever.gradients import dual_norms, margin_gradients
from absint.analyses.clever.samplers import ball_offsets, generator_of

ORDERS = {"l1": 1.0, "l2": 2.0, "linf": inf}


def drawn(norm: str, count: int, size: int, radius: float = 3.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return ball_offsets(norm, radius, torch.empty(count, size, dtype=dtype), generator_of(torch.device("cpu"), 5, size)).double()


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("size", [1, 2, 7, 784])
def test_every_point_is_in_the_ball_and_lengths_are_those_of_a_uniform_one(norm: str, size: int) -> None:
    lengths = torch.linalg.vector_norm(drawn(norm, 6000, size), ord=ORDERS[norm], dim=1)
    assert lengths.max() <= 3.0
    # |x| has density d r^(d-1): mean d / (d + 1), whatever the norm.
    assert lengths.mean() == pytest.approx(3 * size / (size + 1), rel=0.02 if size < 10 else 0.002)
    assert (lengths**size).mean() == pytest.approx(3.0**size / 2, rel=0.05) if size < 10 else True


@pytest.mark.parametrize("norm", ORDERS)
def test_the_ball_is_filled_evenly(norm: str) -> None:
    """In the plane: the share in a half-size ball, in each quadrant, and nearer to an axis than to the diagonal."""
    points = drawn(norm, 40_000, 2, 1.0)
    x, y = points.unbind(1)
    quadrants = torch.stack([(x > 0) & (y > 0), (x > 0) & (y < 0), (x < 0) & (y > 0), (x < 0) & (y < 0)]).double().mean(1)
    assert quadrants.sub(0.25).abs().max() < 0.01
    assert (torch.linalg.vector_norm(points, ord=ORDERS[norm], dim=1) < 0.5).double().mean() == pytest.approx(0.25, abs=0.01)
    # In the triangle |x| + |y| < 1 the part with |x| > 2 |y| is a third; in the square a quarter; in the disc atan(1/2) / (pi / 2).
    expected = {"l1": 1 / 3, "linf": 0.25, "l2": 0.2952}[norm]
    assert (x.abs() > 2 * y.abs()).double().mean() == pytest.approx(expected, abs=0.01)


def test_each_key_has_a_stream_of_its_own_and_repeats_it() -> None:
    first, again, other = (torch.rand(8, generator=generator_of(torch.device("cpu"), *key)) for key in ((1, 2, 3), (1, 2, 3), (1, 2, 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def smooth_net(seed: int = 2, inputs: int = 9) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, 8), nn.Softplus(), nn.Linear(8, 4)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.8)
    return net.requires_grad_(False)


def test_gradients_are_those_of_the_margins_asked() -> None:
    net, x = smooth_net(), torch.randn(5, 9, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    original, target = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([[1, 2], [0, 3], [3, 1], [2, 0], [3, 1]])
    values, each = margin_gradients(net, x, original, target)
    slopes = list(each)
    for row in range(5):
        jacobian = torch.autograd.functional.jacobian(net, x[row])
        for k in range(2):
            assert torch.allclose(slopes[k][row], jacobian[original[row]] - jacobian[target[row, k]], atol=1e-12)
    assert torch.allclose(values[:, 0], (net(x).gather(1, original[:, None]) - net(x).gather(1, target[:, :1]))[:, 0])


@pytest.mark.parametrize(("norm", "dual"), [("l1", inf), ("l2", 2.0), ("linf", 1.0)])
def test_gradients_are_measured_in_the_dual_norm(norm: str, dual: float) -> None:
    slope = torch.tensor([[3.0, -4.0, 1.0]])
    assert dual_norms([slope], norm).item() == pytest.approx(torch.linalg.vector_norm(slope, ord=dual).item())


@pytest.mark.parametrize("kind", ["spectral", "neg"])
def test_hessian_norms_against_dense_hessians(kind: str) -> None:
    net, generator = smooth_net(inputs=30), torch.Generator().manual_seed(8)
    x = torch.randn(25, 30, generator=generator, dtype=torch.float64)
    original, target = torch.randint(0, 4, (25,), generator=generator), torch.randint(0, 4, (25,), generator=generator)
    found = curvature(net, x, original, target, torch.randn(25, 30, generator=generator, dtype=torch.float64), kind=kind)
    assert bool(found.settled.all())
    for row in range(25):
        def margin(point: Tensor, row: int = row) -> Tensor:
            scores = net(point[None])[0]
            return scores[original[row]] - scores[target[row]]

        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(margin, x[row]))
        exact = values.abs().max() if kind == "spectral" else (-values[0]).clamp_min(0)
        assert found.norm(kind)[row].item() == pytest.approx(exact.item(), rel=1e-3, abs=1e-9)


def test_hessians_in_float32_and_few_products() -> None:
    net, generator = smooth_net(inputs=200).float(), torch.Generator().manual_seed(8)
    x, start = (torch.randn(64, 200, generator=generator) for _ in range(2))
    original, target = torch.zeros(64, dtype=torch.int64), torch.ones(64, dtype=torch.int64)
    found = curvature(net, x, original, target, start)
    exact = curvature(smooth_net(inputs=200), x.double(), original, target, start.double())
    assert torch.allclose(found.norm("spectral").double(), exact.norm("spectral"), rtol=2e-3)
    assert bool(found.settled.all())
    assert found.steps.double().median() <= 24


def test_a_quadratic_has_the_hessian_it_has() -> None:
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix = root + root.T

    def scores(x: Tensor) -> Tensor:
        return torch.stack([0.5 * torch.einsum("bi,ij,bj->b", x, matrix, x), torch.zeros_like(x[:, 0])], 1)

    x, start = (torch.randn(3, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    pair = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    values = torch.linalg.eigvalsh(matrix)
    found = curvature(scores, x, *pair, start, kind="spectral")
    assert torch.allclose(found.norm("spectral"), values.abs().max().expand(3), rtol=1e-3)
    assert torch.allclose(HessianProducts(scores, x, *pair)(start), start @ matrix)


def test_a_linear_network_has_none_and_nan_does_not_hang() -> None:
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    pair = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    flat = curvature(lambda points: points @ weight, x, *pair, torch.ones(4, 5))
    assert flat.norm("spectral").tolist() == [0.0] * 4
    assert bool(flat.settled.all())
    broken = curvature(lambda points: (points @ weight).tanh() * float("nan"), x, *pair, torch.ones(4, 5))
    assert bool(broken.norm("spectral").isnan().all())


def test_one_direction_of_curvature_beside_many_flat_ones() -> None:
    """The Krylov space is complete after two products; nothing of what is left over looks like an eigenvalue."""
    along = torch.eye(50, dtype=torch.float64)[7]

    def scores(x: Tensor) -> Tensor:
        return torch.stack([2.5 * (x @ along) ** 2 + x.sum(1), torch.zeros_like(x[:, 0])], 1)

    x, start = (torch.randn(3, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) for _ in range(2))
    found = curvature(scores, x, torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64), start)
    assert torch.allclose(found.norm("spectral"), torch.full((3,), 5.0, dtype=torch.float64), rtol=1e-6)
    assert bool((found.norm("neg").abs() < 1e-6).all())
