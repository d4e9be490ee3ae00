"""The endpoint of a reversed Weibull distribution from batch maxima, and how far the sample tells it: batched over samples.

The recipe of CLEVER maximises the likelihood of shape, endpoint and scale by Nelder and Mead's search from seven starts. Here the
likelihood is a curve over the endpoint alone, the other two at their best: its global maximum is found on a grid and sharpened to the
rounding of a float, and the same curve gives a likelihood-ratio interval.
Source: Weng et al., Evaluating the Robustness of Neural Networks: An Extreme Value Theory Approach, section 3.3; the penalty is
that of the authors' code. Profile likelihood: Coles, An Introduction to Statistical Modeling of Extreme Values, section 2.6.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from absint.analyses.clever.critical import LEVELS, critical
from absint.analyses.clever.profile import Floats, Point, Profile
from absint.errors import UsageError

Flags = NDArray[np.bool_]

FEWEST = 10             # batches of a fit
LEAST_P = 1e-3          # of the Kolmogorov-Smirnov test
_PENALTY = 0.01         # of the squared mean distance to the endpoint, in squared ranges of the sample
_GRID = np.geomspace(1e-6, 1e3, 64)    # distances of the endpoint, in ranges: at the end a Weibull and a Gumbel distribution look alike
_AT_ONCE = 1 << 15      # values of a chunk: arrays of 256 KiB stay in a cache and in pages that were touched
_START, _ALONG, _HALVINGS = 12, 3, 44


@dataclass(frozen=True, eq=False)
class EndpointFit:
    """One fit a sample, all (P,): the units of endpoint, scale, lower and upper are the sample's.

    endpoint: at least the sample's largest value, and that value where fallback; NaN where the sample has NaN or infinite values.
    shape, scale, p_value: of the fit, also of one that was not taken; NaN where there was none.
    lower, upper: the interval of the *fitted distribution's endpoint*: never a bound on what was sampled.
    """

    endpoint: Floats
    shape: Floats
    scale: Floats
    p_value: Floats
    lower: Floats
    upper: Floats
    fallback: Flags


def check_level(level: float) -> None:
    """Raise UsageError E-CLEVER-LEVEL for a level that no critical value was simulated for."""
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise UsageError("E-CLEVER-LEVEL", f"no interval has level {level:g}", where="--level", hint=f"{LEVELS[0]:g} to {LEVELS[-1]:g}")


def fit_endpoints(maxima: Floats, level: float = 0.95) -> EndpointFit:
    """Fit a reversed Weibull distribution to each row of `maxima`: (P, n), n >= 10.

    The largest value itself is the answer, flagged as a fallback, where the likelihood rises up to it (shape at its bound 1), where the
    Kolmogorov-Smirnov p-value of the fit is below 1e-3, where under the fit a largest value as high as it is has a probability below 1e-3
    (a lone outlier, which that test does not see), and where all values are equal. p-values are those of given parameters, as in the
    published recipe: with fitted ones they are too large.
    The interval holds the endpoint, if maxima are independent and Weibull, in about `level` of samples (0.8 to 0.99; measured in
    benchmarks/results/clever.md). It reaches to infinity where the sample does not exclude it, or the fit was refused as improbable;
    it is one point where all values are equal.
    A row's answer does not depend on other rows or the order of its values; scaling and shifting values does the same to the answer.
    Raises UsageError E-CLEVER-BATCHES for n < 10, E-CLEVER-LEVEL for a level outside 0.8..0.99.
    """
    maxima = np.asarray(maxima, dtype=np.float64)
    rows, count = maxima.shape
    if count < FEWEST:
        raise UsageError("E-CLEVER-BATCHES", f"a fit needs at least {FEWEST} batches, not {count}", where="--batches")
    check_level(level)
    step = max(1, _AT_ONCE // count)
    parts = [_fitted(maxima[k : k + step], level) for k in range(0, max(rows, 1), step)]
    return EndpointFit(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(EndpointFit)))


def likelihood_ratio(maxima: Floats, endpoint: Floats) -> tuple[Floats, Floats]:
    """Twice by how much the best log-likelihood of each row exceeds the best with its endpoint (P,) given; and the shape there.

    What the interval is made of: endpoints whose ratio is at most `critical` of that shape. `maxima` (P, n) are finite and not all
    equal, endpoints larger than they are.
    """
    largest = maxima.max(1)
    width = largest - maxima.min(1)
    profile = Profile(np.sort((largest[:, None] - maxima) / width[:, None], axis=1))
    curve = _curve(profile)
    highest, _ = _maximum(profile, curve, curve.likelihood, 0.0)
    given = profile.at((endpoint - largest) / width, _of(curve.place, np.zeros(len(maxima), dtype=np.intp)), _START)
    return 2 * (np.maximum(highest.likelihood, profile.at_sample_end()[0]) - given.likelihood), given.shape


def _fitted(maxima: Floats, level: float) -> EndpointFit:
    """One chunk: rows without a range or with values that are not finite are answered, the others fitted, in powers of two near 1."""
    finite: Flags = np.asarray(np.isfinite(maxima).all(1))
    maxima = np.where(finite[:, None], maxima, 0.0)
    largest = np.where(finite, maxima.max(1), np.nan)
    _, exponent = np.frexp(np.abs(maxima).max(1))
    scaled = np.sort(np.ldexp(maxima, -exponent[:, None]), axis=1)[:, ::-1]
    width = scaled[:, 0] - scaled[:, -1]
    able = finite & (width > 0)
    nothing = np.full(len(maxima), np.nan)
    fit = EndpointFit(largest.copy(), nothing, nothing.copy(), nothing.copy(), largest.copy(), largest.copy(), ~able)
    if able.any():
        top, width = scaled[able, 0], width[able]
        gaps = np.ascontiguousarray((top[:, None] - scaled[able]) / width[:, None])
        found = _fit_profiles(Profile(gaps), level)
        for name in ("endpoint", "lower", "upper"):
            value = np.ldexp(top + getattr(found, name) * width, exponent[able])
            getattr(fit, name)[able] = np.maximum(value, largest[able])
        fit.shape[able], fit.p_value[able], fit.fallback[able] = found.shape, found.p_value, found.fallback
        fit.scale[able] = np.ldexp(found.scale * width, exponent[able])
    return fit


def _fit_profiles(profile: Profile, level: float) -> EndpointFit:
    """In units of the profile: endpoint, lower and upper are distances from the largest value, in ranges."""
    curve = _curve(profile)
    end_likelihood, end_scale = profile.at_sample_end()
    mean = end_scale    # of the gaps
    penalised = curve.likelihood - _PENALTY * (_GRID + mean[:, None]) ** 2
    best, distance = _maximum(profile, curve, penalised, _PENALTY)
    bound = end_likelihood - _PENALTY * mean**2 >= best.likelihood - _PENALTY * (distance + mean) ** 2
    distance = np.where(bound, 0.0, distance)
    shape, scale = np.where(bound, 1.0, best.shape), np.where(bound, end_scale, best.scale)
    p_value = _p_values((distance[:, None] + profile.gaps) / scale[:, None], shape)
    with np.errstate(under="ignore"):
        lone = -np.expm1(-profile.gaps.shape[1] * (distance / scale) ** shape) < LEAST_P
    refused = (p_value < LEAST_P) | (lone & ~bound)
    highest, _ = _maximum(profile, curve, curve.likelihood, 0.0)
    lower, upper = _interval(profile, curve, np.maximum(highest.likelihood, end_likelihood), level)
    fallback = bound | refused
    endpoint = np.where(fallback, 0.0, distance)
    lower, upper = np.where(refused, 0.0, np.minimum(lower, endpoint)), np.where(refused, np.inf, np.maximum(upper, endpoint))
    return EndpointFit(endpoint, shape, scale, p_value, lower, upper, fallback)


def _curve(profile: Profile) -> Point:
    """Every entry (P, G), at the distances of the grid."""
    rows = len(profile.gaps)
    place, points = np.full(rows, 1.0 + 0.5 * np.log(profile.gaps.shape[1])), []
    for k, distance in enumerate(_GRID):
        points.append(profile.at(np.full(rows, distance), place, _ALONG if k else _START))
        place = points[-1].place
    return Point(*(np.stack([getattr(point, each.name) for point in points], 1) for each in fields(Point)))


def _maximum(profile: Profile, curve: Point, values: Floats, penalty: float) -> tuple[Point, Floats]:
    """The highest point of the curve, less penalty times the squared mean distance, and where it is: (P,) each.

    `values` are the heights on the grid. The maximum is beside the best of them, on the side to which the curve rises.
    """
    mean = profile.gaps.mean(1)
    k = values.argmax(1)

    def rises(distance: Floats, point: Point) -> Flags:
        rising: Flags = point.slope > 2 * penalty * (distance + mean) * distance
        return rising

    low, high = _GRID[np.maximum(k - 1, 0)], _GRID[np.minimum(k + 1, len(_GRID) - 1)]
    return _boundary(profile, low, high, _of(curve.place, k), rises)


def _interval(profile: Profile, curve: Point, highest: Floats, level: float) -> tuple[Floats, Floats]:
    """The distances that a likelihood-ratio test does not exclude, from the first to the last: (P,) each, 0 and inf where it has no end."""
    count = profile.gaps.shape[1]

    def held(_: Floats, point: Point) -> Flags:
        kept: Flags = 2 * (highest - point.likelihood) <= critical(point.shape, count, level)
        return kept

    rows, last = len(highest), len(_GRID) - 1
    top = np.broadcast_to(highest[:, None], curve.likelihood.shape)
    inside = 2 * (top - curve.likelihood) <= critical(curve.shape, count, level)
    end_likelihood, _ = profile.at_sample_end()
    at_end = 2 * (highest - end_likelihood) <= critical(np.ones(rows), count, level)
    none = ~inside.any(1)
    first = np.where(none, 0, inside.argmax(1))
    final = np.where(none, 0, last - inside[:, ::-1].argmax(1))
    _, lower = _boundary(profile, _GRID[first], _GRID[np.maximum(first - 1, 0)], _of(curve.place, first), held)
    _, upper = _boundary(profile, _GRID[final], _GRID[np.minimum(final + 1, last)], _of(curve.place, final), held)
    return np.where(at_end | (first == 0), 0.0, lower), np.where(final == last, np.inf, upper)


def _of(values: Floats, k: NDArray[np.intp]) -> Floats:
    """Column k of each row."""
    return np.take_along_axis(values, k[:, None], 1)[:, 0]


def _boundary(profile: Profile, true: Floats, false: Floats, place: Floats,
              holds: Callable[[Floats, Point], Flags]) -> tuple[Point, Floats]:
    """Halve in log(distance) between where a condition holds and where it does not: the latter end, and the point there."""
    for _ in range(_HALVINGS):
        middle = np.sqrt(true * false)
        point = profile.at(middle, place, 2)
        place, yes = point.place, holds(middle, point)
        true, false = np.where(yes, middle, true), np.where(yes, false, middle)
    return profile.at(false, place, _ALONG), false


def _p_values(standard: Floats, shape: Floats) -> Floats:
    """Kolmogorov-Smirnov p-values of ascending (distance / scale) (P, n) against Weibull distributions of these shapes."""
    from scipy.stats import kstwo

    count = standard.shape[1]
    below = -np.expm1(-(standard ** shape[:, None]))
    steps = np.arange(count + 1) / count
    most = np.maximum((steps[1:] - below).max(1), (below - steps[:-1]).max(1))
    p_value: Floats = np.asarray(kstwo.sf(most, count), dtype=np.float64)
    return p_value
