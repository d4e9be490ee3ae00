"""The logarithm of a sum of exponentials: range, planes and bands around vertices and points, in more digits than any float has."""

from __future__ import annotations

from itertools import product
from math import inf

import pytest
import torch
from mpmath import mp, mpf

from absint.model.ops.log_sum_exp import LogSumExp
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

FORMATS = {"float64": Numerics(), "mixed": Numerics(torch.float32), "float32": Numerics(torch.float32).single()}
SIZES = (1e-300, 1e-30, 1e-8, 1e-3, 1.0, 30.0, 700.0, 1e3, 1e9, 1e30)
SINGLE_SIZES = (1e-40, *SIZES[1:])
SHAPES = {"wide": 1.0, "narrow": 1e-3, "of one side": 0.4, "nearly points": 1e-9}
ABSENT = torch.tensor([False, True, False])


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad(), mp.workdps(60):
        yield


def boxes_of(shape, num, n=3):
    """One box a size, with a few entries that are points; entries of several sizes beside one another in the last ones."""
    draw = torch.Generator().manual_seed(len(shape) + n)
    size = torch.tensor(SIZES if num.vector == torch.float64 else SINGLE_SIZES, dtype=torch.float64)[:, None].repeat(1, n)
    size = torch.cat([size, torch.tensor([[1.0] * (n - 1) + [far] for far in (30.0, 700.0, 1e4, 1e9, 1e30)], dtype=torch.float64)])
    centre = (torch.rand(len(size), n, generator=draw, dtype=torch.float64) * 2 - 1) * size
    reach = torch.rand(len(size), n, generator=draw, dtype=torch.float64) * size * SHAPES[shape]
    reach = torch.where(torch.rand(len(size), n, generator=draw) < 0.2, 0.0, reach)
    centre = centre.abs() + reach if shape == "of one side" else centre
    return Interval(centre - reach, centre + reach).to(num.vector)


def points_of(interval, row):
    """Every vertex of a box, and points within."""
    ends = [(mpf(a), mpf(b)) for a, b in zip(interval.lower[row].tolist(), interval.upper[row].tolist(), strict=True)]
    yield from product(*ends)
    for k in range(4):
        yield tuple(a + (b - a) * mpf((7 * k + 3 * j) % 11) / 11 for j, (a, b) in enumerate(ends))


def exact(x, absent):
    seen = [v for v, gone in zip(x, absent.tolist(), strict=True) if not gone]
    top = max(seen)
    return top + mp.log(mp.fsum(mp.exp(v - top) for v in seen))


def line(slopes, offset, row, x):
    return mpf(float(offset[row])) + mp.fsum(mpf(s) * v for s, v in zip(slopes[row].tolist(), x, strict=True))


def holds(op, interval, num):
    """Range, planes (with and without a free slope) and band enclose f at all points."""
    absent = torch.zeros(interval.lower.shape[-1], dtype=torch.bool) if op.absent is None else op.absent
    share = torch.linspace(0, 1, len(interval.lower), dtype=num.vector)
    image, band = op.range((interval,), num), op.band((interval,), num)
    lines = [op.planes((interval,), num, free) for free in (None, share)]
    for row in range(len(interval.lower)):
        for x in points_of(interval, row):
            y = exact(x, absent)
            assert float(image.lower[row]) <= y <= float(image.upper[row])
            for found in lines:
                assert line(found.lower[0], found.lower_offset, row, x) <= y <= line(found.upper[0], found.upper_offset, row, x)
            assert abs(y - line(band.slope[0], band.offset, row, x)) <= float(band.radius[row])


@pytest.mark.parametrize("num", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_enclosed_at_vertices_and_points(shape, num):
    holds(LogSumExp(3), boxes_of(shape, FORMATS[num]), FORMATS[num])


@pytest.mark.parametrize("num", FORMATS)
def test_what_is_absent_does_not_count(num):
    holds(LogSumExp(3, ABSENT), boxes_of("wide", FORMATS[num]), FORMATS[num])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_groups_of_any_number_of_entries(n):
    holds(LogSumExp(n), boxes_of("wide", FORMATS["float64"], n), FORMATS["float64"])


def test_one_entry_alone_is_passed_on():
    box = Interval(torch.tensor([[-3.0, -1.0, -9.0]], dtype=torch.float64), torch.tensor([[5.0, 1.0, 9.0]], dtype=torch.float64))
    op = LogSumExp(3, torch.tensor([True, False, True]))
    lines = op.planes((box,), FORMATS["float64"])
    assert lines.lower[0].tolist() == lines.upper[0].tolist() == [[0, 1, 0]]
    assert float(lines.lower_offset) == float(lines.upper_offset) == 0
    assert not bool(op.undecided((box,))[0].any())


def test_planes_are_near_the_best_there_are():
    """Of log(1 + exp x), the tangent and the chord; of equal entries, half the sum of p r^2 apart from the tangent, and little more."""
    box = Interval(torch.tensor([[0.0, -10.0]], dtype=torch.float64), torch.tensor([[0.0, 10.0]], dtype=torch.float64))
    lines = LogSumExp(2).planes((box,), FORMATS["float64"])
    assert float(lines.upper_offset) == pytest.approx(5.0000454, abs=1e-6)   # the chord at 0
    assert float(lines.lower_offset) == pytest.approx(0.6931472, abs=1e-6)
    small = Interval(torch.full((1, 4), -0.1, dtype=torch.float64), torch.full((1, 4), 0.1, dtype=torch.float64))
    lines = LogSumExp(4).planes((small,), FORMATS["float64"])
    assert 0.0049 < float(lines.upper_offset - lines.lower_offset) < 0.0051


def test_where_little_is_known_of_its_operand():
    low = torch.tensor([[-inf, 0.0], [-inf, -inf], [0.0, 1.0]], dtype=torch.float64)
    high = torch.tensor([[1.0, 1.0], [inf, 0.0], [inf, 1.0]], dtype=torch.float64)
    found = LogSumExp(2).range((Interval(low, high),), FORMATS["float64"])
    assert found.lower.tolist() == [pytest.approx(0, abs=1e-12), -inf, pytest.approx(1.3132617, abs=1e-6)]
    assert found.upper.tolist() == [pytest.approx(1.6931472, abs=1e-6), inf, inf]
    lines = LogSumExp(2).planes((Interval(low, high),), FORMATS["float64"])
    assert lines.lower_offset.tolist() == found.lower.tolist()
    assert not bool(lines.upper_offset.isnan().any())


def test_gradients_pass_through():
    with torch.enable_grad():
        x = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
        box = Interval(x - 0.5, x + 0.5)
        lines, band = LogSumExp(3).planes((box,), FORMATS["float64"]), LogSumExp(3).band((box,), FORMATS["float64"])
        total = lines.lower_offset.sum() + lines.upper_offset.sum() + band.radius.sum()
        assert bool(torch.autograd.grad(total, x)[0].isfinite().all())
