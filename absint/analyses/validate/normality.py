"""Whether radii are distributed normally."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import nan

import numpy as np

FEWEST = 8          # values that the test is defined for
MEANINGFUL = 20     # values from which its p-value means something


def normality(values: Sequence[float]) -> float:
    """The p-value of D'Agostino and Pearson's K2 test; NaN for fewer than 8 values, equal ones, or none finite.

    Source: D'Agostino and Pearson, Biometrika 60 (1973), as scipy.stats.normaltest computes it.
    """
    from scipy.stats import normaltest

    given = np.asarray(values, dtype=np.float64)
    if len(given) < FEWEST or not np.isfinite(given).all() or given.min() == given.max():
        return nan
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")      # nearly equal values: the p-value may be NaN, which decides nothing here
        return float(normaltest(given).pvalue)
