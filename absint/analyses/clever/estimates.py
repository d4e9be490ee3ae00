"""From the maxima of batches to scores: the fitted endpoint, and the distance at which the margin could be gone by it.

Source: Weng et al., ICLR 2018, theorem 3.2 and algorithm 1 (order 1); Weng et al., GlobalSIP 2018, theorem 3.1 (order 2), whose b is
the dual norm of the gradient, as Hoelder's inequality has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from absint.analyses.clever.maxima import Sampled
from absint.analyses.clever.record import TargetScore
from absint.analyses.clever.settings import Images, ScoreSettings
from absint.analyses.clever.weibull import fit_endpoints


def first_order(margin: np.ndarray, bound: np.ndarray, radius: float) -> np.ndarray:
    """The distance at which a margin is gone that falls by at most `bound` a unit; the radius at most."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(np.where(margin > 0, margin / bound, 0.0), radius)


def second_order(margin: np.ndarray, slope: np.ndarray, bound: np.ndarray, radius: float) -> np.ndarray:
    """The positive root of margin = slope r + bound r^2 / 2, in the form that loses no digits; the radius at most."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = 2 * margin / (slope + np.sqrt(slope**2 + 2 * bound * margin))
    return np.minimum(np.where(margin > 0, root, 0.0), radius)


def scored(images: Images, found: Sequence[Sampled], settings: ScoreSettings, level: float) -> list[tuple[TargetScore, ...]]:
    """Of each image that was sampled; all of the same number of batches."""
    fits = fit_endpoints(np.concatenate([one.maxima.numpy() for one in found]), level)
    margin, slope = (np.concatenate([table[one.row].cpu().numpy() for one in found]) for table in (images.margin, images.slope))
    score, high, low = (distance(margin, slope, bound, settings) for bound in (fits.endpoint, fits.lower, fits.upper))
    count = len(images.kinds)
    rows = []
    for k, one in enumerate(found):
        places = range(k * count, (k + 1) * count)
        rows.append(tuple(
            TargetScore(kind, int(images.target[one.row, j]), float(margin[p]), float(slope[p]), float(score[p]), float(low[p]),
                        float(high[p]), float(fits.endpoint[p]), float(one.maxima[j].max()), not bool(fits.fallback[p]),
                        _or_none(fits.shape[p]), _or_none(fits.p_value[p]), bool(score[p] >= settings.radius),
                        float(one.quotient[j]), float(one.steps[j]))
            for j, (kind, p) in enumerate(zip(images.kinds, places, strict=True))))
    return rows


def distance(margin: np.ndarray, slope: np.ndarray, bound: np.ndarray, settings: ScoreSettings) -> np.ndarray:
    """The score that a bound on gradients or Hessians leads to."""
    if settings.order == 2:
        return second_order(margin, slope, bound, settings.radius)
    return first_order(margin, bound, settings.radius)


def _or_none(value: float) -> float | None:
    return float(value) if isfinite(value) else None
