"""The likelihood of a reversed Weibull's endpoint, every other parameter at its best: batched over samples, one curve each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Point:
    """A place on each sample's curve, all (P,): the two other parameters there, the log-likelihood and its slope in log(distance).

    place: the root before the shape is held at 1 or more, in units that hardly change along the curve: where to look for it next to here.
    """

    likelihood: Floats
    slope: Floats
    shape: Floats
    scale: Floats
    place: Floats


@dataclass(frozen=True, eq=False)
class Profile:
    """Samples as distances below their largest value, in units of their range.

    gaps: (P, n), every row ascending from exactly 0 to exactly 1. An endpoint is a distance d > 0 above the largest value,
    and d + gap ~ Weibull(shape, scale) with shape >= 1: below that the likelihood has no maximum (Smith 1985, section 4).
    A row's numbers are the same, bit for bit, whatever the other rows.
    """

    gaps: Floats

    def at(self, distance: Floats, place: Floats, steps: int) -> Point:
        """The best shape and scale for an endpoint at `distance` (P,) > 0, after `steps` of Newton from `place`.

        With w = log(1 + gap / d) and weights z^c the best shape solves c (weighted mean - mean of w) = 1: increasing in c, and as
        K(c) = log mean exp(c (w - mean)) is convex with K(0) = 0, its root times (largest w - mean) is in [1, 1 + log n].
        """
        ratio = self.gaps / distance[:, None]
        w = np.log1p(ratio)
        below, center = w - w[:, -1:], w.mean(1)
        reach = w[:, -1] - center
        for _ in range(steps):
            place = self._nearer(place, below, center - w[:, -1], reach)
        shape = np.maximum(place / reach, 1.0)
        weight = np.exp(shape[:, None] * below)
        total = weight.mean(1)
        share = ratio / (1 + ratio)
        log_scale = np.log(distance) + w[:, -1] + np.log(total) / shape
        likelihood = np.log(shape) - shape * (log_scale - np.log(distance) - center) - np.log(distance) - center - 1
        slope = shape * (weight * share).mean(1) / total - (shape - 1) * share.mean(1) - 1
        count = self.gaps.shape[1]
        return Point(count * likelihood, count * slope, shape, np.exp(log_scale), place)

    def _nearer(self, place: Floats, below: Floats, center: Floats, reach: Floats) -> Floats:
        """One step of Newton for log(shape * excess) = 0 in log(shape), kept between the ends that are proved of it."""
        shape = place / reach
        weight = np.exp(shape[:, None] * below)
        total = weight.mean(1)
        weight *= below
        first = weight.mean(1) / total
        weight *= below
        excess, spread = first - center, weight.mean(1) / total - first * first
        step = np.log(shape * excess) / (1 + shape * spread / excess)
        nearer: Floats = np.clip(place * np.exp(-step), 1.0, 1 + np.log(self.gaps.shape[1]))
        return nearer

    def at_sample_end(self) -> tuple[Floats, Floats]:
        """Log-likelihood and scale with the endpoint at the largest value itself, where the shape is 1 (an exponential's)."""
        scale = self.gaps.mean(1)
        return -self.gaps.shape[1] * (np.log(scale) + 1), scale
