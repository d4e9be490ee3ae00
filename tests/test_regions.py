"""Regions other than boxes: support functions against exact rationals, planted faults, whole nets, patches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import nextafter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import absint
from absint import affine_bounds, samples
from absint.analyses.verify import VerifyOptions, robustness, verify
from absint.attacks.pgd import Pgd, violation
from absint.backend import numeric_mode
from absint.context import Context
from absint.domain import DOMAINS
from absint.domains import zonotope as zonotope_module
from absint.errors import AbsintError
from absint.graph import Graph, GraphBuilder
from absint.interpret import margins, tensor_bounds
from absint.ops.conv import Conv
from absint.ops.gemm import Gemm
from absint.ops.relu import Relu
from absint.ops.shape import Reshape
from absint.region import LinfBall, Region, box_below
from absint.regions import L1Ball, L2Ball, Patches, Photometric, ZonotopeRegion, all_positions, balls, photometric, zonotope
from absint.rounding import Numerics
from absint.spec import Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

NAMES = ("box", "zonotope", "deeppoly")
F = Fraction
MAGNITUDES = (1e-30, 1e-3, 1.0, 1e6, 1e30)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with numeric_mode():
        yield
    torch.set_num_threads(before)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fractions(values: Tensor) -> list[Fraction]:
    return [F(v) for v in values.flatten().tolist()]


def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), F(0))


def lower(region: Region, rows: Tensor, about: Tensor | None = None) -> list[Fraction]:
    """Bounds of rows (R, n) over instance 0."""
    found = region.lower_of(rows, torch.zeros(len(rows), dtype=torch.int64), region.center if about is None else about)
    return fractions(found)


# ---- claims about linear functionals, in rationals -----------------------------------------------------------------------


def claim_l2_is_above_no_exact_minimum() -> None:
    """Without a range the minimum over the ball is -eps ||a||: squares compared in rationals, and nearly attained."""
    for scale, eps in product(MAGNITUDES, ("0.3", "1e-9", "1/7")):
        rows = randn(60, 300, seed=1) * scale
        region = L2Ball(torch.zeros(1, 300, dtype=torch.float64), F(eps), None)
        norms = fractions(region.dual_norm(rows))
        for row, norm, bound in zip(rows, norms, lower(region, rows), strict=True):
            square = dot(fractions(row), fractions(row))
            assert norm**2 >= square
            exact = F(eps) ** 2 * square
            assert bound < 0
            assert bound**2 >= exact
            assert bound**2 <= exact * F(1 + 1e-11)


def claim_l1_is_above_no_vertex() -> None:
    """center +- eps e_i, and nearly attained."""
    for scale, eps in product(MAGNITUDES, ("0.3", "1e-9", "1/7")):
        center, rows = randn(1, 40, seed=2) * scale, randn(8, 40, seed=3)
        region = L1Ball(center, F(eps), None)
        assert F(float(region.radii)) >= F(eps)
        for row, bound in zip(rows, lower(region, rows), strict=True):
            a = fractions(row)
            least = min(sign * F(eps) * x for x in a for sign in (1, -1))
            assert bound <= least
            assert bound >= least * F(1 + 1e-11)


def knapsack(a: list[Fraction], room: list[Fraction], eps: Fraction) -> Fraction:
    """Exact minimum over the l1 ball met with the range: the steepest entries move first."""
    value = F(0)
    for slope, most in sorted(zip((abs(x) for x in a), room, strict=True), reverse=True):
        step = min(most, eps)
        value, eps = value - slope * step, eps - step
    return value


def claim_l1_in_a_range_is_the_exact_minimum() -> None:
    center = rand(1, 30, seed=4)
    center[0, :10] = 0
    rows = randn(30, 30, seed=5)
    for eps in ("0.1", "0.7", "3", "40"):
        for row, bound in zip(rows, lower(L1Ball(center, F(eps)), rows), strict=True):
            a, c = fractions(row), fractions(center)
            exact = knapsack(a, [x if s > 0 else 1 - x for s, x in zip(a, c, strict=True)], F(eps))
            assert bound <= exact
            assert bound >= exact * F(1 + 1e-9) - F(1e-12)


def claim_l2_in_a_range_is_near_a_feasible_point() -> None:
    """Sound: below a feasible point found by bisection. Tight: by less than 1e-5 of it; the plain ball is far worse."""
    center = rand(1, 30, seed=6)
    center[0, :10] = 0
    rows = randn(30, 30, seed=7)
    for eps in ("0.1", "0.7", "2", "40"):
        region = L2Ball(center, F(eps))
        for row, bound in zip(rows, lower(region, rows), strict=True):
            low, high = 0.0, 1e6
            for _ in range(200):
                ratio = (low + high) / 2
                step = (-ratio * row).clamp(-center[0], 1 - center[0])
                low, high = (ratio, high) if float(step.norm()) < float(F(eps)) * (1 - 1e-12) else (low, ratio)
            step = (-low * row).clamp(-center[0], 1 - center[0])
            point = (center[0] + step).clamp(0, 1)
            assert region.contains(0, point.numpy())
            attained = dot(fractions(row), [x - c for x, c in zip(fractions(point), fractions(center), strict=True)])
            assert bound <= attained
            assert bound >= attained * F(1.00001) - F(1e-9)


def claim_zonotope_is_above_no_vertex() -> None:
    for scale in MAGNITUDES:
        center, generators = randn(1, 12, seed=8) * scale, randn(1, 4, 12, seed=9) * scale
        rest = rand(1, 12, seed=10) * scale * 0.1
        rows, about = randn(12, 12, seed=11), randn(1, 12, seed=12) * scale
        for tail in (None, rest):
            bounds = lower(ZonotopeRegion(center, generators, tail), rows, about)
            for row, bound in zip(rows, bounds, strict=True):
                a = fractions(row)
                middle = dot(a, [c - b for c, b in zip(fractions(center), fractions(about), strict=True)])
                least = middle - sum((abs(dot(a, fractions(g))) for g in generators[0]), F(0))
                if tail is not None:
                    least -= dot([abs(x) for x in a], fractions(tail))
                assert bound <= least
                assert bound >= least - F(1e-11) * F(scale) * 100


def claim_photometric_bounds_every_image() -> None:
    """Corners and inner points of alpha, beta in rationals, clipped, moved by the tolerance."""
    x = rand(1, 40, seed=13)
    x[0, :8] = 0
    rows = randn(6, 40, seed=14)
    for clip, contrast in product(((0.0, 1.0), None), ((F(1, 2), F(3, 2)), (F(1), F(1)))):
        region = Photometric(x, contrast, (F(-1, 10), F(1, 7)), clip)
        bounds = lower(region, rows, torch.zeros_like(x))
        tolerance = fractions(region.rest)
        for share in product((F(0), F(1, 3), F(1)), repeat=2):
            alpha, beta = (a + s * (b - a) for s, (a, b) in zip(share, (contrast, region.brightness), strict=True))
            image = [alpha * v + beta for v in fractions(x)]
            if clip is not None:
                image = [min(max(v, F(0)), F(1)) for v in image]
            for row, bound in zip(rows, bounds, strict=True):
                a = fractions(row)
                worst = [v - t * (1 if s > 0 else -1) for v, t, s in zip(image, tolerance, a, strict=True)]
                if clip is not None:
                    worst = [min(max(v, F(0)), F(1)) for v in worst]
                assert bound <= dot(a, worst)


def claim_the_reference_need_not_be_the_centre() -> None:
    """lower_of about any point; the floats between centre and reference are charged."""
    center, about = rand(1, 50, seed=15), rand(1, 50, seed=16)
    rows = randn(40, 50, seed=17)
    for region in (L2Ball(center, F("1e-13"), None), L1Ball(center, F("1e-13"), None)):
        for row, bound in zip(rows, lower(region, rows, about), strict=True):
            a = fractions(row)
            middle = dot(a, [c - b for c, b in zip(fractions(center), fractions(about), strict=True)])
            length = max(abs(v) for v in a) if isinstance(region, L1Ball) else F(float(row.norm()) * (1 - 1e-12))
            assert bound <= middle - F("1e-13") * length


def claim_a_box_bound_survives_cancellation() -> None:
    rows = torch.cat([randn(50, 40, seed=18), -randn(50, 40, seed=18)], 1)
    offsets = rand(1, 80, seed=19).expand(50, -1) * 1e3
    for row, bound in zip(rows, fractions(box_below(rows, offsets, offsets)), strict=True):
        assert bound <= dot(fractions(row), fractions(offsets[0]))


CLAIMS: dict[str, Callable[[], None]] = {name.removeprefix("claim_"): value for name, value in list(globals().items())
                                         if name.startswith("claim_")}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim: str) -> None:
    CLAIMS[claim]()


def _l2_without_slack(self: Any, rows: Tensor) -> Tensor:
    return rows.norm(dim=1)


def _unrounded(self: Any, rows: Tensor, eps: Tensor) -> Tensor:
    return eps * self.dual_norm(rows)


def _forgets_what_the_ball_does_not_pay(self: Any, a: Tensor, instance: Tensor, box: Any, shift: Any) -> Tensor:
    low, high = (side[instance] for side in self._from_center)
    eps = self.radii[instance]
    caps = self.caps(a.abs(), torch.where(a > 0, -low, high), eps[:, None])
    return -self._paid(a.sign() * torch.minimum(a.abs(), caps), eps)


def _reach_without_slack(self: Any, a: Tensor, i: int) -> Tensor:
    return (a @ self.generators_[i].flatten(1).T).abs().sum(1)


FAULTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "l2 with the dual of l1": ("l2_is_above_no_exact_minimum", lambda p: p.setattr(L2Ball, "dual_norm", L1Ball.dual_norm)),
    "l1 with the mean entry": ("l1_is_above_no_vertex", lambda p: p.setattr(L1Ball, "dual_norm", lambda self, r: r.abs().mean(1))),
    "l2 norm without slack": ("l2_is_above_no_exact_minimum", lambda p: p.setattr(L2Ball, "dual_norm", _l2_without_slack)),
    "radius to nearest": ("l1_is_above_no_vertex", lambda p: p.setattr(balls, "float_above", float)),
    "product with the radius unrounded": ("l1_is_above_no_vertex", lambda p: (p.setattr(balls.NormBall, "_paid", _unrounded),
                                                                             p.setattr(balls, "down", lambda x: x))[0]),
    "split loses its second part": ("l2_in_a_range_is_near_a_feasible_point",
                                    lambda p: p.setattr(balls.NormBall, "_below", _forgets_what_the_ball_does_not_pay)),
    "the other side of the range": ("l1_in_a_range_is_the_exact_minimum",
                                    lambda p: p.setattr(balls, "box_below", lambda a, low, high: box_below(-a, low, high))),
    "shift dropped": ("the_reference_need_not_be_the_centre",
                      lambda p: p.setattr(balls, "offset_between", lambda c, about: 2 * (torch.zeros_like(c).flatten(1),))),
    "zonotope without slack": ("zonotope_is_above_no_vertex", lambda p: (p.setattr(ZonotopeRegion, "_reach", _reach_without_slack),
                                                                        p.setattr(zonotope, "down", lambda x: x),
                                                                        p.setattr(zonotope, "box_below", _sharp))[0]),
    "zonotope without remainder": ("zonotope_is_above_no_vertex",
                                   lambda p: p.setattr(ZonotopeRegion, "_rest", property(lambda self: torch.zeros_like(self.center)))),
    "clip ignored by the band": ("photometric_bounds_every_image",
                                 lambda p: p.setattr(Photometric, "enclosure", property(lambda self: self._unclipped))),
    "contrast taken as half": ("photometric_bounds_every_image", lambda p: p.setattr(photometric, "float_above", lambda x: float(x) / 2)),
    "box dot product unrounded": ("a_box_bound_survives_cancellation",
                                  lambda p: p.setitem(globals(), "box_below", _sharp)),
}


def _sharp(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (rows.clamp(min=0) * low + rows.clamp(max=0) * high).sum(1)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, plant = FAULTS[fault]
    CLAIMS[claim]()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        CLAIMS[claim]()


# ---- membership and projection -------------------------------------------------------------------------------------------


def test_membership_is_decided_on_the_rim() -> None:
    zero = torch.zeros(1, 2, dtype=torch.float64)
    l2, l1 = L2Ball(zero, F(5), None), L1Ball(zero, F(7), None)
    assert all(region.contains(0, np.array([3.0, 4.0])) for region in (l2, l1))
    for out in (np.array([3.0, nextafter(4.0, 9)]), np.array([nextafter(3.0, 9), 4.0])):
        assert not any(region.contains(0, out) for region in (l2, l1))
    assert not L2Ball(zero, F(5)).contains(0, np.array([-1.0, 0.0])), "outside the range"
    assert not l2.contains(0, np.array([np.nan, 0.0]))


@pytest.mark.parametrize("make", [lambda c: L2Ball(c, F("0.3")), lambda c: L1Ball(c, F("0.3")), lambda c: L2Ball(c, F(1, 3), None),
                                  lambda c: Photometric(c, (F("0.7"), F("1.3")), (F("-0.2"), F("0.1"))),
                                  lambda c: Photometric(c, (F("0.7"), F("1.3")), (F("-0.2"), F("0.1")), None),
                                  lambda c: ZonotopeRegion(c, (randn(len(c), 3, 50, seed=9) * 4).round() / 64),
                                  lambda c: ZonotopeRegion(c, randn(len(c), 3, 50, seed=9), torch.full_like(c, 1e-14))])
def test_projections_and_pulled_points_lie_inside(make: Callable[[Tensor], Region]) -> None:
    center = (rand(4, 50, seed=20) * 64).round() / 64
    center[:, :9] = 0
    region = make(center)
    wild = center + randn(4, 50, seed=21)
    for k, (start, pulled) in enumerate(zip(wild, region.pull(wild), strict=True)):
        for candidate in (start, pulled, center[k]):
            point = region.project(k, candidate.numpy())
            assert region.contains(k, point)
            assert bool((torch.from_numpy(point) >= region.hull.lower[k]).all() and (torch.from_numpy(point) <= region.hull.upper[k]).all())
        assert not region.contains(k, start.numpy())


def test_zonotope_membership_by_elimination_is_exact() -> None:
    generators = torch.tensor([[[1.0, 2.0, 0.0], [0.5, 0.0, 1.0]]], dtype=torch.float64)
    region = ZonotopeRegion(torch.zeros(1, 3, dtype=torch.float64), generators)
    for e in product((-1.0, -0.375, 0.0, 1.0), repeat=2):
        assert region.contains(0, (torch.tensor(e, dtype=torch.float64) @ generators[0]).numpy())
    assert not region.contains(0, np.array([1.5, 2.0, nextafter(1.0, 2)]))
    assert not region.contains(0, np.array([1.0, 1.0, 0.5]))


def test_exact_radii_per_channel() -> None:
    center = torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)
    region = LinfBall(center, (F("0.1"), F(2, 255), F(0)))
    hull = region.hull
    for channel, eps in enumerate((F("0.1"), F(2, 255), F(0))):
        assert F(float(hull.lower[0, channel, 0, 0])) <= F(1, 2) - eps
        assert F(float(hull.upper[1, channel, 1, 1])) >= F(1, 2) + eps
        point = center[0].numpy().copy()
        point[channel, 0, 0] = hull.upper[0, channel, 0, 0]
        assert region.contains(0, point) == (eps == 0)
        assert region.contains(0, region.project(0, point))
    assert region.take(torch.tensor([1])).batch == 1
    with pytest.raises(AbsintError, match="2 radii"):
        LinfBall(center, (F(0), F(1)))


# ---- whole nets ----------------------------------------------------------------------------------------------------------


@lru_cache
def mnist() -> Graph:
    return absint.load(samples.default_network())


def digits(count: int) -> tuple[Tensor, Tensor]:
    data = samples.data("mnist").shaped_for(mnist().input.shape)
    assert data.labels is not None
    return torch.tensor(data.inputs[:count]).double(), torch.tensor(data.labels[:count])


def small(conv: bool = False, seed: int = 30) -> Graph:
    builder = GraphBuilder("x", (1, 6, 6))
    last = "x"
    if conv:
        builder.add(Conv(randn(4, 1, 3, 3, seed=seed) / 3, randn(4, seed=seed + 1) / 9, (1, 1), ((0, 0), (0, 0)), (1, 1)), (last,), "pre")
        builder.add(Relu(), ("pre",), "relu")
        last = builder.add(Reshape((64,)), ("relu",))
    else:
        last = builder.add(Reshape((36,)), (last,))
        last = builder.add(Gemm(randn(12, 36, seed=seed) / 6, randn(12, seed=seed + 1) / 9), (last,), "pre")
        last = builder.add(Relu(), (last,))
    width = 64 if conv else 12
    builder.add(Gemm(randn(3, width, seed=seed + 2) / width**0.5, randn(3, seed=seed + 3)), (last,), "y")
    return builder.graph("y")


def context(graph: Graph, region: Region, name: str, dtype: torch.dtype = torch.float64, **more: Any) -> tuple[Any, Context]:
    dom = DOMAINS.get(name)()
    numerics = Numerics(dtype, **more)
    return dom, Context(graph, region, numerics if dom.mixed else numerics.single())


def regions_on(x: Tensor) -> list[Region]:
    return [L2Ball(x, F("0.4")), L2Ball(x, F("0.4"), None), L1Ball(x, F("0.9")), L1Ball(x, F("0.9"), None),
            L2Ball(x, torch.linspace(0, 0.5, len(x), dtype=torch.float64)),
            Photometric(x, (F("0.8"), F("1.2")), (F("-0.1"), F("0.1"))), Photometric(x, (F("0.8"), F("1.2")), (F("0.1"), F("0.2")), None),
            ZonotopeRegion(x, randn(len(x), 5, *x.shape[1:], seed=40) / 20, rand(*x.shape, seed=41) / 100)]


def points_of(region: Region, count: int) -> list[Tensor]:
    """Points of the sets: pulled corners, pulled noise, and each functional's own worst direction."""
    generator = torch.Generator().manual_seed(5)
    out = []
    for k in range(count):
        gradient = torch.randn(region.center.shape, generator=generator, dtype=torch.float64)
        far = region.center + region.descent(gradient) * (1 if k % 2 else 10)
        out.append(region.pull(far if k % 3 else region.center + gradient))
    return out


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_bounds_contain_what_points_of_the_set_attain(name: str, conv: bool, dtype: torch.dtype, limit: int | None,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """limit 0: one norm per output instead of rows per instance, where the first operator reads the input."""
    if limit is not None:
        monkeypatch.setattr(affine_bounds, "_ROW_ENTRIES", limit)
    graph = small(conv)
    x = rand(3, 1, 6, 6, seed=42)
    x[:, :, :2] = 0
    for region in regions_on(x):
        dom, ctx = context(graph, region, name, dtype)
        with torch.no_grad():
            found = tensor_bounds(dom, ctx, ("pre", "y"))
            for point in points_of(region, 24):
                for tensor, bounds in found.items():
                    value = graph.upto(tensor)(point)
                    assert bool((value >= bounds.lower - 1e-12).all() and (value <= bounds.upper + 1e-12).all())
        wide = tensor_bounds(*context(graph, _Hull(region), name, dtype), ("pre",))["pre"]
        assert bool((found["pre"].upper <= wide.upper + 1e-4).all()), "never worse than the box"


class _Hull(Region):
    """The enclosing box of another region, with its centre."""

    def __init__(self, inner: Region) -> None:
        self.inner = inner

    hull = property(lambda self: self.inner.hull)
    center = property(lambda self: self.inner.center)

    def take(self, index: Tensor) -> Region:
        return _Hull(self.inner.take(index))

    def contains(self, instance: int, point: np.ndarray) -> bool:
        raise NotImplementedError

    def project(self, instance: int, point: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_radius_zero_keeps_the_exact_value(name: str, dtype: torch.dtype) -> None:
    """On whole nets at every magnitude; float32 semantics too."""
    graph = small(True)
    for scale, semantics in product(MAGNITUDES, (False, True)):
        x = randn(2, 1, 6, 6, seed=50) * scale
        for region in (L2Ball(x, F(0), None), L1Ball(x, F(0), None), ZonotopeRegion(x, torch.zeros(2, 1, 1, 6, 6, dtype=torch.float64))):
            dom, ctx = context(graph, region, name, dtype, float32_semantics=semantics)
            found = tensor_bounds(dom, ctx, ("pre",))["pre"]
            for row in range(0, 64, 7):
                channel, place = divmod(row, 16)
                top, left = divmod(place, 4)
                op: Any = graph["pre"].op
                exact = F(float(op.offset.flatten()[channel])) + dot(fractions(op.weight[channel]),
                                                                    fractions(x[1, :, top : top + 3, left : left + 3]))
                low, high = (F(float(side[1].flatten()[row])) for side in (found.lower, found.upper))
                assert low <= exact <= high


@pytest.mark.parametrize("name", NAMES)
def test_a_linear_net_gets_the_dual_norm_itself(name: str) -> None:
    weight, x = randn(3, 40, seed=60), rand(2, 40, seed=61)
    builder = GraphBuilder("x", (40,))
    builder.add(Gemm(weight), ("x",), "y")
    graph = builder.graph("y")
    spec = Spec.robust(torch.tensor([0, 1]), 3)
    for region, norm in ((L2Ball(x, F("0.2"), None), 2), (L1Ball(x, F("0.2"), None), torch.inf)):
        dom, ctx = context(graph, region, name)
        lower = margins(dom, ctx, spec)[0].lower
        rows = spec.weight @ weight
        exact = (rows * x[:, None]).sum(2) - 0.2 * torch.linalg.vector_norm(rows, norm, dim=2)
        single = name == "deeppoly"
        assert bool((lower <= exact).all())
        if single:
            torch.testing.assert_close(lower, exact, rtol=1e-9, atol=1e-9)
        unit = tensor_bounds(dom, ctx, ("y",))["y"]
        radius = 0.2 * torch.linalg.vector_norm(weight, norm, dim=1)
        torch.testing.assert_close(unit.lower, x @ weight.T - radius, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(unit.upper, x @ weight.T + radius, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [L1Ball, L2Ball])
def test_margins_on_a_trained_net_beat_the_enclosing_box(name: str, kind: type[L1Ball | L2Ball]) -> None:
    inputs, labels = digits(6)
    spec = Spec.robust(labels, 10)
    ball = kind(inputs, F("0.1"))
    with torch.no_grad():
        own, box, free = (spec.margin(margins(*context(mnist(), region, name), spec)[0].lower)
                          for region in (ball, _Hull(ball), kind(inputs, F("0.1"), None)))
    assert bool((own > box).all())
    assert float(own.mean()) > float(free.mean()), "the range cuts the ball"


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_does_not_depend_on_its_batch(name: str) -> None:
    inputs, labels = digits(5)
    for region in (L2Ball(inputs, F("0.2")), L1Ball(inputs, F("0.5")), Photometric(inputs, (F("0.9"), F("1.1")))):
        spec = Spec.robust(labels, 10)
        with torch.no_grad():
            whole = spec.margin(margins(*context(mnist(), region, name), spec)[0].lower)
            one = torch.tensor([3])
            alone = spec.take(one).margin(margins(*context(mnist(), region.take(one), name), spec.take(one))[0].lower)
        torch.testing.assert_close(whole[3:4], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("region", "verified", "falsified"), [
    (lambda x: L2Ball(x, F("0.2")), 10, 0), (lambda x: L2Ball(x, F(2)), 0, 5), (lambda x: L1Ball(x, F("0.8")), 8, 0),
    (lambda x: L1Ball(x, F(20)), 0, 5), (lambda x: Photometric(x, (F("0.95"), F("1.05")), (F("-0.01"), F("0.01"))), 8, 0),
    (lambda x: Photometric(x, (F("0.2"), F("1.5")), (F("-0.5"), F("0.5"))), 0, 3)])
def test_verify_and_falsify_on_the_bundled_net(region: Callable[[Tensor], Region], verified: int, falsified: int) -> None:
    inputs, labels = digits(12)
    area = region(inputs)
    results = verify(robustness(mnist(), area, labels), VerifyOptions("deeppoly"))
    spec = Spec.robust(labels, 10)
    counts = [r.verdict for r in results]
    assert counts.count(Verdict.VERIFIED) >= verified
    assert counts.count(Verdict.FALSIFIED) >= falsified
    attacked = Pgd(steps=30, restarts=3, seed=9)(mnist(), area, spec, torch.device("cpu"))
    with torch.no_grad():
        broken = violation(mnist(), attacked, spec) < 0
    for k, result in enumerate(results):
        if result.verdict is Verdict.FALSIFIED:
            assert result.witness is not None
            point = np.array(result.witness).reshape(mnist().input.shape)
            assert area.contains(k, point)
            assert int(mnist()(torch.from_numpy(point)[None]).argmax()) != int(labels[k])
        elif result.verdict is Verdict.VERIFIED:
            assert not bool(broken[k]), "a sampled point contradicts a proof"


def test_a_zonotope_region_keeps_its_relations() -> None:
    """x2 = x1 on the set, so that x1 - x2 = 0: exact for Zonotope and DeepPoly."""
    builder = GraphBuilder("x", (2,))
    builder.add(Gemm(torch.tensor([[1.0, -1.0]], dtype=torch.float64)), ("x",), "y")
    region = ZonotopeRegion(torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 1, 2, dtype=torch.float64))
    for name in NAMES:
        found = tensor_bounds(*context(builder.graph("y"), region, name, torch.float32), ("y",))["y"]
        assert float(found.upper - found.lower) < 1e-5


def test_the_cast_of_generators_is_charged() -> None:
    """0.1 is no float32: the fault of forgetting it is seen in the zonotope's own element."""
    generators = torch.full((1, 1, 1), 1 / 3, dtype=torch.float64)
    region = ZonotopeRegion(torch.zeros(1, 1, dtype=torch.float64), generators * 3e5)
    builder = GraphBuilder("x", (1,))
    builder.add(Gemm(torch.ones(1, 1, dtype=torch.float64)), ("x",), "y")
    graph = builder.graph("y")
    dom = zonotope_module.Zonotope()
    _, ctx = context(graph, region, "zonotope", torch.float32)
    ctx = replace(ctx, known={"x": region.hull})
    hull = dom.hull(dom.start(graph.input, ctx), ctx)
    assert float(hull.upper) >= float(region.generators()[1])
    assert float(hull.lower) <= -float(region.generators()[1])


# ---- patches -------------------------------------------------------------------------------------------------------------


def test_patches_are_all_positions() -> None:
    x = rand(2, 3, 5, 4, seed=70)
    patches = Patches(2, 3)
    region, owner = patches.of(x)
    assert patches.positions((3, 5, 4)) == [(t, left) for t in range(4) for left in range(2)]
    assert owner.tolist() == [0] * 8 + [1] * 8
    for k, (top, left) in enumerate(patches.positions((3, 5, 4))):
        free = torch.zeros(3, 5, 4, dtype=torch.bool)
        free[:, top : top + 2, left : left + 3] = True
        low, high = region.lower[8 + k], region.upper[8 + k]
        assert bool((low[free] == 0).all() and (high[free] == 1).all())
        assert bool((low[~free] == x[1][~free]).all() and (high[~free] == x[1][~free]).all())
    assert torch.equal(region.center, x[owner])
    flat, _ = Patches(2, 3, image=(5, 4)).of(x.flatten(1))
    assert torch.equal(flat.lower.reshape(region.lower.shape), region.lower)


@pytest.mark.parametrize("bad", [lambda x: Patches(0, 1).of(x), lambda x: Patches(6, 1).of(x), lambda x: Patches(1, 1, image=(7, 5)).of(x),
                                 lambda x: Patches(1, 1).of(x.flatten(1)), lambda x: Patches(1, 1, (0.9, 1.0)).of(x)])
def test_a_patch_that_does_not_fit_is_refused(bad: Callable[[Tensor], object]) -> None:
    with pytest.raises(AbsintError, match=r"patch|range"):
        bad(rand(2, 3, 5, 4, seed=70) * 0.5)


def test_an_input_is_verified_only_if_every_position_is() -> None:
    good = InstanceResult(0, Verdict.VERIFIED, margin=2.0, assurance=Assurance.SOUND)
    worse = replace(good, margin=0.5)
    bad = InstanceResult(1, Verdict.UNKNOWN, reason=Reason.IMPRECISE, margin=-1.0)
    broken = InstanceResult(2, Verdict.FALSIFIED, assurance=Assurance.REPLAYED, witness=(0.0,))
    places = [(0, 0), (0, 1)]
    joined = all_positions([good, worse], 7, places)
    assert (joined.verdict, joined.margin, joined.index, joined.assurance) == (Verdict.VERIFIED, 0.5, 7, Assurance.SOUND)
    assert all_positions([good, bad], 7, places).verdict is Verdict.UNKNOWN
    assert all_positions([bad, broken], 7, places).verdict is Verdict.FALSIFIED
    assert all_positions([good, replace(good, verdict=Verdict.LIKELY)], 7).verdict is Verdict.LIKELY
    assert all_positions([good, replace(good, assurance=Assurance.SOLVER)], 7).assurance is Assurance.SOLVER
    assert "column 1" in str(all_positions([good, broken], 7, places).detail)
    for short in ([], [good]):
        with pytest.raises(AbsintError):
            all_positions(short, 7, places)


def test_patches_end_to_end() -> None:
    graph = small(True)
    x = rand(3, 1, 6, 6, seed=71)
    patches = Patches(1, 1)
    region, owner = patches.of(x)
    labels = graph(x).argmax(1)
    results = verify(robustness(graph, region, labels[owner]), VerifyOptions("deeppoly"))
    for k in range(3):
        mine = [r for r, o in zip(results, owner.tolist(), strict=True) if o == k]
        joined = all_positions(mine, k, patches.positions(graph.input.shape))
        truth = [int(graph(point[None]).argmax()) == int(labels[k]) for value in (0.0, 1.0)
                 for top, left in patches.positions(graph.input.shape) for point in [_painted(x[k], top, left, value)]]
        if joined.verdict is Verdict.VERIFIED:
            assert all(truth)
        if joined.verdict is Verdict.FALSIFIED:
            assert joined.witness is not None
    assert {r.verdict for r in results} >= {Verdict.VERIFIED}


def _painted(x: Tensor, top: int, left: int, value: float) -> Tensor:
    out = x.clone()
    out[:, top, left] = value
    return out


# ---- API and command line ------------------------------------------------------------------------------------------------


def test_the_api_takes_norms_and_regions() -> None:
    inputs, labels = digits(4)
    by_norm = absint.verify(mnist(), inputs, labels, "0.1", norm="l2", domain="deeppoly")
    by_region = absint.verify(mnist(), L2Ball(inputs, F("0.1")), labels, domain="deeppoly")
    assert [(r.verdict, r.margin) for r in by_norm] == [(r.verdict, r.margin) for r in by_region]
    assert all(r.verdict is Verdict.VERIFIED for r in by_norm)
    narrow, wide = (absint.bounds(mnist(), inputs, "0.1", norm=norm)["logits"] for norm in ("l2", "linf"))
    assert (narrow.upper < wide.upper).all()
    assert absint.verify(mnist(), inputs, labels, ["0.01"])[0].eps == "0.01"
    assert [r.verdict for r in absint.verify(mnist(), inputs, labels, [[[[0.1]]]] * 4, norm="l2", domain="deeppoly")] \
        == [r.verdict for r in by_norm]


@pytest.mark.parametrize("arguments", [{"eps": "0.1", "norm": "l3"}, {"eps": ["0.1", "0.2"]}, {}, {"eps": ["0.1"], "norm": "l2"},
                                       {"eps": np.linspace(0, 1, 784).reshape(1, 1, 28, 28), "norm": "l1"}])
def test_the_api_refuses_regions_without_meaning(arguments: dict[str, Any]) -> None:
    inputs, labels = digits(2)
    with pytest.raises(AbsintError):
        absint.verify(mnist(), inputs, labels, **arguments)
    with pytest.raises(AbsintError, match="own radius"):
        absint.verify(mnist(), L1Ball(inputs, F(1)), labels, 0.1)


def run_cli(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "absint", "verify", str(samples.default_network()), "--domain", "deeppoly", *arguments],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("arguments", "said"), [
    (("--norm", "l2", "--eps", "0.1"), {"norm": "l2", "eps": "0.1"}), (("--norm", "l1", "--eps", "0.2"), {"norm": "l1"}),
    (("--patch", "26x26"), {"norm": None, "eps": None, "patch": {"height": 26, "width": 26, "image": None}}),
    (("--brightness", "0.01", "--contrast", "0.99:1.02"), {"brightness": ["-1/100", "1/100"], "contrast": ["99/100", "51/50"]}),
    (("--eps", "0.001"), {"norm": "linf"})])
def test_the_command_says_which_region_it_proved(arguments: tuple[str, ...], said: dict[str, Any]) -> None:
    code, out, err = run_cli(*arguments, "--index", "0:1", "--format", "json", "--quiet")
    assert code in (0, 1), err
    report = json.loads(out)
    shown = report["header"]["property"] if "header" in report else report["property"]
    assert {key: shown[key] for key in said} == said
    if arguments[0] != "--patch":
        assert code == 0
        text = run_cli(*arguments, "--index", "0:1", "--quiet")[1]
        assert ("l_inf" in text) == (said.get("norm") == "linf")


@pytest.mark.parametrize(("arguments", "code"), [
    (("--norm", "l7"), "E-NORM"), (("--norm", "l2", "--patch", "3x3"), "E-USAGE"), (("--patch", "0x3"), "E-PATCH"),
    (("--patch", "3"), "E-PATCH"), (("--patch", "99x1"), "E-PATCH"), (("--patch", "1x1", "--clip", "none"), "E-PATCH"),
    (("--contrast", "2:3"), "E-RANGE"), (("--brightness", "1/0"), "E-RANGE"), (("--eps", "0.1,0.2"), "E-EPS")])
def test_the_command_refuses_regions_without_meaning(arguments: tuple[str, ...], code: str) -> None:
    found, _, err = run_cli(*arguments)
    assert found == 2
    assert code in err
    assert "Traceback" not in err


def test_a_journal_is_bound_to_the_region(tmp_path: Path) -> None:
    journal = ("--index", "0:2", "--eps", "0.01", "--quiet", "--journal", str(tmp_path / "run.jsonl"))
    assert run_cli(*journal, "--norm", "l1")[0] == 0
    for other in ((), ("--norm", "l2"), ("--patch", "1x1"), ("--brightness", "0.1")):
        code, _, err = run_cli(*journal, "--resume", *other)
        assert code == 3
        assert "E-JOURNAL-MISMATCH" in err
    assert run_cli(*journal, "--norm", "l1", "--resume")[0] == 0
