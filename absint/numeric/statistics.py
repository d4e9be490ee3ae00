"""Intervals of proportions, for whatever is counted."""

from __future__ import annotations


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
