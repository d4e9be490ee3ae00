"""Tan, Asin, Acos, Atanh and Acosh where they are defined: ranges, lines and bands hold in high precision; elsewhere nothing is claimed."""

from __future__ import annotations

from math import inf, pi

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from absint.model.ops.inverse_functions import Acos, Acosh, Asin, Atanh
from absint.model.ops.lp_pool import Root
from absint.model.ops.trigonometric import Tan
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

DOUBLE, MIXED = Numerics(), Numerics(torch.float32)
# name -> (operator, the function in high precision, ends of a part of its domain)
FUNCTIONS = {
    "tan": (Tan, mpmath.tan, -pi / 2 + 1e-6, pi / 2 - 1e-6),
    "tan, another branch": (Tan, mpmath.tan, 41.5 * pi + 1e-6, 42.5 * pi - 1e-6),
    "asin": (Asin, mpmath.asin, -1.0, 1.0),
    "acos": (Acos, mpmath.acos, -1.0, 1.0),
    "atanh": (Atanh, mpmath.atanh, -1 + 1e-9, 1 - 1e-9),
    "acosh": (Acosh, mpmath.acosh, 1.0, 9.0),
    "third root": (lambda: Root(1 / 3), mpmath.cbrt, 0.0, 9.0),
    "third root of large numbers": (lambda: Root(1 / 3), mpmath.cbrt, 1e37, 3e38),
    "third root of small numbers": (lambda: Root(1 / 3), mpmath.cbrt, 1e-37, 3e-37),
}
_WIDTHS = (0.0, 1e-12, 1e-4, 0.05, 0.4, 1.0)


def boxes(low, high, seed=3):
    """Of many widths all over the part, at both of its ends, and the whole of it."""
    random = np.random.default_rng(seed)
    width = (high - low) * np.repeat(_WIDTHS, 6)
    left = low + (high - low - width) * np.concatenate([np.array([0.0, 1.0, 0.5, *random.random(3)]) for _ in _WIDTHS])
    lower = torch.from_numpy(np.clip(left, low, high))
    return lower, torch.clamp(lower + torch.from_numpy(width), max=high)


def holds(name):
    """Everything that is stated of the boxes holds at points of them; bounds are finite away from infinite slopes."""
    make, exact, *ends = FUNCTIONS[name]
    op = make()
    lower, upper = boxes(*ends)
    shares = [mpf(s) for s in (0, 1, 0.5, 0.1, 0.93, 0.3, 0.65, 0.999)]
    with numeric_mode(), torch.no_grad(), mpmath.workdps(40):
        for num in (DOUBLE, MIXED):
            low, high = (lower.float().double(), upper.float().double()) if num is MIXED else (lower, upper)
            inside = (low >= ends[0]) & (high <= ends[1])
            box = Interval(low[None].to(num.vector), high[None].to(num.vector))
            image, planes, band = op.range((box,), num), op.planes((box,), num), op.band((box,), num)
            assert bool(image.lower[0][inside].isfinite().all() and image.upper[0][inside].isfinite().all())
            for k in torch.nonzero(inside)[:, 0].tolist():
                stated = [t[0, k].item() for t in (planes.lower[0], planes.lower_offset, planes.upper[0], planes.upper_offset, image.lower,
                                                    image.upper, band.slope[0], band.offset, band.radius)]
                a, b, c, d, least, most, slope, offset, radius = map(mpf, stated)
                for share in shares:
                    x = mpf(low[k].item()) * (1 - share) + mpf(high[k].item()) * share
                    y = exact(x)
                    assert least <= y <= most, (name, k)
                    assert a * x + b <= y <= c * x + d, (name, k)
                    assert abs(y - slope * x - offset) <= radius, (name, k)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_stated_holds(name):
    holds(name)


def nothing_is_claimed_elsewhere():
    outside = [(Tan(), 1.0, 2.0), (Tan(), pi / 2, pi / 2), (Tan(), 1e7, 1e7 + 0.1), (Tan(), -5.0, -4.0), (Asin(), -1.5, 0.0),
               (Asin(), 0.9, 1.1), (Acos(), -1.1, -1.0), (Atanh(), 0.0, 1.0), (Atanh(), -1.0, 0.5), (Acosh(), 0.5, 2.0),
               (Acosh(), -3.0, -2.0)]
    for op, low, high in outside:
        box = Interval(torch.tensor([[low]], dtype=torch.float64), torch.tensor([[high]], dtype=torch.float64))
        with numeric_mode():
            image = op.range((box,), DOUBLE)
            lines = op.planes((box,), DOUBLE)
        assert (float(image.lower), float(image.upper)) == (-inf, inf), type(op).__name__
        assert not float(lines.lower_offset) > -inf
        assert not float(lines.upper_offset) < inf


def test_nothing_is_claimed_where_they_are_not_defined():
    nothing_is_claimed_elsewhere()


def widths_are_small():
    """Lines are about as near to the function as on the piece's own two sides: an S-shaped piece up to the end of its domain, too."""
    for op, low, high, most in ((Asin(), -0.5, 1.0, 1.2), (Acos(), -1.0, 0.5, 1.2), (Asin(), 0.2, 0.6, 0.05), (Atanh(), -0.5, 0.9, 0.9),
                                (Acosh(), 1.0, 2.0, 0.6), (Tan(), -0.5, 1.2, 1.6)):
        box = Interval(torch.tensor([[low]], dtype=torch.float64), torch.tensor([[high]], dtype=torch.float64))
        x = torch.linspace(low, high, 101, dtype=torch.float64)
        with numeric_mode():
            r, band = op.planes((box,), DOUBLE), op.band((box,), DOUBLE)
        gap = (r.upper[0] * x + r.upper_offset) - (r.lower[0] * x + r.lower_offset)
        assert float(gap.mean()) < most, type(op).__name__
        assert 2 * float(band.radius) < most, type(op).__name__


def test_lines_are_near_to_the_function():
    widths_are_small()
