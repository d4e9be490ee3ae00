"""Intervals of proportions, for whatever is counted, and curves of detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    from scipy.stats import beta

    rest = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(rest, hits, count - hits + 1))
    return low, 1.0 if hits == count else float(beta.ppf(1 - rest, hits + 1, count - hits))
