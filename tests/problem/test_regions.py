"""Regions other than boxes: support functions against exact rationals, planted faults, membership."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import nextafter
from typing import Any

import numpy as np
import pytest
import torch
from regional import MAGNITUDES, F, dot, fractions, rand, randn
from torch import Tensor

from absint.errors import AbsintError
from absint.problem.regions import L1Ball, L2Ball, Photometric, ZonotopeRegion, balls, photometric, zonotope
from absint.problem.regions.region import LinfBall, Region, box_below

pytestmark = pytest.mark.usefixtures("numerics")


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
        LinfBall(center, (F(0), F(1)), layout="chw")
