"""Intervals of proportions, for whatever is counted once or looked at again and again, and curves of detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lgamma, log, log1p, pi, sqrt


@dataclass(frozen=True)
class Roc:
    """Detection by a threshold: share of the usual inputs rejected against share of the others rejected, over all thresholds."""

    false_alarms: tuple[float, ...]
    detected: tuple[float, ...]
    auc: float


def roc(usual: Sequence[float], others: Sequence[float]) -> Roc:
    """Reject below the threshold, for every threshold. The area is that of the trapezoids: ties count half.

    usual, others: a number for each input, infinite ones too, none NaN, none empty. Non-decreasing from (0, 0) to (1, 1).
    """
    import numpy as np

    ends = np.unique([*usual, *others])
    below = [np.searchsorted(np.sort(np.asarray(side)), ends, side="left") / len(side) for side in (usual, others)]
    alarms, found = (np.append(side, 1.0) for side in below)
    area = float(((alarms[1:] - alarms[:-1]) * (found[1:] + found[:-1]) / 2).sum())
    return Roc(tuple(alarms.tolist()), tuple(found.tolist()), area)


def clopper_pearson(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a binomial proportion.

    Its upper end also bounds the rate of a threshold that was chosen as the order statistic with `hits` values below it:
    without ties that rate is Beta(hits + 1, count - hits) distributed, whatever the radii's distribution.
    Source: Clopper and Pearson, Biometrika 26 (1934); David and Nagaraja, Order Statistics, 3rd ed., section 7.2.
    """
    rest = (1 - level) / 2
    return binomial_lower(hits, count, rest), binomial_upper(hits, count, rest)


def binomial_lower(hits: int, count: int, rest: float) -> float:
    """A proportion is below this with probability `rest` at most, whatever it is; 0 where nothing was counted.

    The lower Clopper-Pearson end, rounded down: the tail there is at most `rest` by a margin above what its computation errs by. It
    grows with `hits`: of a count that is too small, it is a lower end still.
    """
    from scipy.special import betainc, betaincinv

    if hits == 0 or rest < _LEAST:
        return 0.0
    a, b = hits, count - hits + 1
    # Measured against sums in 50 digits: the tail errs by (1 + sqrt(count)) 2^-50 at most, its inverse by thousands of times that.
    limit = rest * (1 - (1 + sqrt(count)) * 2.0**-46)
    end = float(betaincinv(a, b, limit))
    end = end if 0 <= end <= 1 else hits / count
    step = end * 2.0**-50
    while end > 0 and not betainc(a, b, end) <= limit:
        end, step = max(0.0, end - step), 2 * step
    return end


def binomial_upper(hits: int, count: int, rest: float) -> float:
    """The mirror image: a proportion is above this with probability `rest` at most; 1 where nothing was counted."""
    from absint.numeric.outward import next_above

    return 1.0 if hits == count else min(1.0, next_above(1 - binomial_lower(count - hits, count, rest)))


def confidence_sequence(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """An interval of a binomial proportion that may be looked at after every trial, and stopped on: with probability `level` all of
    them hold, for every count at once.

    The proportions p at which the mixture of likelihood ratios M = B(hits + 1/2, misses + 1/2) / B(1/2, 1/2) / (p^hits (1 - p)^misses)
    is below 1 / (1 - level). Under the true p it is a martingale that starts at 1 (Beta(1/2, 1/2) mixes the alternatives), and by
    Ville's inequality it ever reaches 1 / (1 - level) with probability 1 - level at most. log M is convex in p, so that these p are an
    interval; both ends grow with `hits`, so that a count that is too small has a lower end still, and one too large an upper one.
    Source: Ville, Etude critique de la notion de collectif (1939); Darling and Robbins, PNAS 58 (1967); Robbins, Annals of Mathematical
    Statistics 41 (1970), section 3; Lai, Annals of Statistics 4 (1976).
    """
    return confidence_ends(hits, count, 1 - level)


def confidence_ends(hits: int, count: int, rest: float) -> tuple[float, float]:
    """The same by what may be missed, which need not be a number that 1 less it is told apart from 1."""
    misses = count - hits
    if count == 0 or rest < _LEAST:
        return 0.0, 1.0
    gammas = [lgamma(hits + 0.5), lgamma(misses + 0.5), -lgamma(count + 1.0)]
    mixed, limit = sum(gammas) - log(pi), -log(rest)
    # What all of this errs by is in proportion to its largest terms.
    unsure = _TOLERANCE + _UNIT * sum(map(abs, gammas))

    def excluded(p: float) -> bool:
        terms = (hits * log(p) if hits else 0.0), (misses * log1p(-p) if misses else 0.0)
        return mixed - sum(terms) >= limit + unsure - _UNIT * sum(terms)

    share = hits / count
    return (0.0 if hits == 0 else _edge(excluded, 0.0, share)), (1.0 if misses == 0 else _edge(excluded, 1.0, share))


def divided(rest: Fraction, ways: int) -> Fraction:
    """What each of so many intervals may miss so that all of them hold but with probability `rest` (Boole's inequality)."""
    return rest / ways


_TOLERANCE = 1e-9       # of a logarithm that is compared, where no term is large
_UNIT = 2.0**-49        # of terms of it: several units in the last place
_HALVINGS = 60
_LEAST = 1e-250         # where so little may be missed, nothing is said: powers would leave the normal numbers


def _edge(excluded: Callable[[float], bool], outer: float, inner: float) -> float:
    """Where `excluded` ends between a place that is and one that is not: the last one that is."""
    for _ in range(_HALVINGS):
        middle = (outer + inner) / 2
        if middle in (outer, inner):
            break
        if excluded(middle):
            outer = middle
        else:
            inner = middle
    return outer
