"""Boxes clipped by affine forms: what is cut off is proved positive, in rationals, at every magnitude."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import inf

import numpy as np
import pytest
import torch

from absint.search.branchers.clipping import LowerForms, clipped


def forms_at(seed, scale, count=60, rows=3, n=3):
    """Boxes about their centres, with rows that cross zero somewhere in the box, or only just do not."""
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(count, n))
    high = low + rng.uniform(0, 2, (count, n))
    low, high = (torch.from_numpy(end * scale) for end in (low, high))
    weight = torch.from_numpy(rng.normal(size=(count, rows, n)) * rng.choice([0, 1e-12, 1, 1e3], (count, rows, n)) / scale)
    center = low / 2 + high / 2
    reach = (weight.abs() * (high - low)[:, None] / 2).sum(2)
    share = torch.from_numpy(np.where(rng.random((count, rows)) < 0.5, rng.uniform(-1, 1, (count, rows)), 1.0))
    nudge = torch.from_numpy(rng.integers(-3, 4, (count, rows)) * 2.0**-53)
    return LowerForms(weight, reach * share * (1 + nudge), center), low, high


def least_exactly(forms, k, row, low, high):
    """Of one form over one box, in rationals."""
    total = Fraction(float(forms.offset[k, row]))
    for a, c, below, above in zip(*(v.tolist() for v in (forms.weight[k, row], forms.center[k], low, high)), strict=True):
        total += Fraction(a) * ((Fraction(below) if a > 0 else Fraction(above)) - Fraction(c))
    return total


def lost_points(forms, cut, low, high, seed):
    """(box, point) of corners and random points of the boxes that the clips left no room for."""
    rng = np.random.default_rng(seed)
    shares = torch.from_numpy(np.concatenate([np.array(list(product((0.0, 1.0), repeat=3))), rng.random((20, 3))]))
    points = torch.minimum(low[:, None] + shares * (high - low)[:, None], high[:, None])
    kept = ((points >= cut.low[:, None]) & (points <= cut.high[:, None])).all(2) & ~cut.void[:, None]
    return [(int(k), points[k, p]) for k, p in (~kept).nonzero()]


def check_clips(seed, scale):
    """What is cut off has a row that is proved positive: next to what is left, at the cut itself, and elsewhere; in rationals."""
    forms, low, high = forms_at(seed, scale)
    cut = clipped(forms, torch.zeros(3, dtype=torch.bool), low, high)
    assert bool(((low <= cut.low) & (cut.low <= cut.high) & (cut.high <= high)).all())
    faces = 0
    for k in range(len(low)):
        if bool(cut.void[k]):
            assert max(least_exactly(forms, k, row, cut.low[k], cut.high[k]) for row in range(3)) >= Fraction(float(cut.proved[k])) > 0
        for j in range(3):
            for moved, end, other in ((cut.low, low, "high"), (cut.high, high, "low")):
                if float(moved[k, j]) != float(end[k, j]):
                    ends = {"low": cut.low[k].clone(), "high": cut.high[k].clone()}
                    ends[other][j] = moved[k, j]
                    at = max(least_exactly(forms, k, row, ends["low"], ends["high"]) for row in range(3))
                    assert at >= Fraction(float(cut.proved[k])) > 0
                    faces += 1
    for k, point in lost_points(forms, cut, low, high, seed):
        assert max(least_exactly(forms, k, row, point, point) for row in range(3)) >= Fraction(float(cut.proved[k])) > 0
    return faces, int(cut.void.sum())


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e7, 1e20])
def test_clips_are_sound_in_rationals(scale):
    faces, void = (sum(part) for part in zip(*(check_clips(seed, scale) for seed in range(2)), strict=True))
    assert faces > 50
    assert void > 2


def test_what_is_not_finite_cuts_nothing():
    forms, low, high = forms_at(1, 1.0, count=6)
    for weight, offset in product((inf, torch.nan, 1e308), (-inf, torch.nan, inf)):
        bad = LowerForms(torch.full_like(forms.weight, weight), torch.full_like(forms.offset, offset), forms.center)
        cut = clipped(bad, torch.ones(3, dtype=torch.bool), low, high)
        assert torch.equal(cut.low, low)
        assert torch.equal(cut.high, high)
        assert not bool(cut.void.any())
        assert bool((cut.proved == inf).all())
