"""Critical values of the likelihood ratio of an endpoint: what chi square's would be if samples were large and shapes above 2.

Below shape 2 the largest value tells the endpoint faster than the usual theory allows (Smith 1985), in small samples the ratio's
quantiles are larger, and where the shape is large so is the endpoint's distance, which ends the curve on one side: quantiles are
smaller. The ratio's distribution depends on nothing but shape, number of values and level, so that it was simulated once.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = (0.8, 0.9, 0.95, 0.99)
COUNTS = (10, 20, 50, 100, 200, 500)
SHAPES = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 40.0)

# The output of `python benchmarks/endpoint_coverage.py critical`: 5,000 samples an entry, multiples of chi square's quantiles.
MULTIPLES = np.array([
    [    # 0.8
        [1.455, 1.632, 1.769, 1.919, 1.823, 1.572, 1.340, 1.129, 0.970, 0.872],
        [1.541, 1.701, 1.755, 1.677, 1.378, 1.272, 1.170, 1.020, 0.840, 0.685],
        [1.568, 1.721, 1.651, 1.336, 1.146, 1.126, 1.053, 1.091, 0.876, 0.621],
        [1.686, 1.761, 1.474, 1.303, 1.101, 1.007, 1.092, 1.001, 0.984, 0.674],
        [1.702, 1.696, 1.350, 1.193, 1.009, 1.006, 1.068, 1.064, 1.018, 0.778],
        [1.746, 1.587, 1.325, 1.075, 1.006, 1.000, 0.986, 1.051, 0.990, 0.946],
    ],
    [    # 0.9
        [1.258, 1.387, 1.458, 1.632, 1.659, 1.541, 1.381, 1.213, 1.202, 1.123],
        [1.315, 1.423, 1.569, 1.543, 1.454, 1.256, 1.153, 1.050, 0.895, 0.839],
        [1.365, 1.558, 1.526, 1.318, 1.147, 1.130, 1.096, 1.059, 0.857, 0.701],
        [1.468, 1.658, 1.366, 1.218, 1.107, 1.001, 1.028, 0.995, 0.969, 0.698],
        [1.466, 1.569, 1.307, 1.171, 1.028, 1.021, 1.087, 1.039, 0.986, 0.747],
        [1.509, 1.452, 1.290, 1.102, 0.974, 0.995, 0.984, 1.027, 1.008, 0.865],
    ],
    [    # 0.95
        [1.127, 1.228, 1.314, 1.419, 1.506, 1.428, 1.421, 1.338, 1.291, 1.243],
        [1.214, 1.293, 1.438, 1.477, 1.433, 1.274, 1.140, 1.100, 0.990, 0.941],
        [1.242, 1.411, 1.460, 1.304, 1.158, 1.134, 1.069, 1.051, 0.861, 0.796],
        [1.342, 1.554, 1.322, 1.217, 1.093, 1.020, 0.986, 0.991, 0.928, 0.715],
        [1.359, 1.503, 1.250, 1.204, 1.047, 0.996, 1.053, 1.069, 0.967, 0.778],
        [1.383, 1.396, 1.281, 1.092, 0.982, 1.002, 0.978, 0.965, 1.007, 0.824],
    ],
    [    # 0.99
        [0.922, 1.003, 1.093, 1.170, 1.294, 1.303, 1.267, 1.257, 1.326, 1.237],
        [1.072, 1.123, 1.231, 1.316, 1.354, 1.354, 1.165, 1.105, 1.040, 1.045],
        [1.118, 1.231, 1.370, 1.299, 1.165, 1.100, 1.089, 1.015, 0.899, 0.905],
        [1.210, 1.372, 1.389, 1.197, 1.068, 0.995, 0.976, 1.006, 0.932, 0.805],
        [1.198, 1.382, 1.238, 1.175, 1.089, 1.031, 1.036, 1.021, 0.904, 0.816],
        [1.200, 1.300, 1.219, 1.106, 1.026, 1.013, 0.936, 1.049, 1.023, 0.784],
    ],
])


def critical(shape: Floats, count: int, level: float) -> Floats:
    """The `level` quantile of the likelihood ratio of the true endpoint, for samples of `count` values and these shapes (any shape).

    Linear between the table's entries in level and in the logarithms of count and shape; what is beyond the table has its nearest entry's.
    """
    at_level = _between(np.array(LEVELS), level, MULTIPLES)
    at_count = _between(np.log(COUNTS), np.log(count), at_level)
    multiple: Floats = np.interp(np.log(shape), np.log(SHAPES), at_count)
    return multiple * NormalDist().inv_cdf((1 + level) / 2) ** 2


def _between(places: Floats, place: float, values: Floats) -> Floats:
    """The mean of the two entries of `values`' first axis beside `place`, weighted by how near they are."""
    k = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
    share = float(np.clip((place - places[k - 1]) / (places[k] - places[k - 1]), 0, 1))
    mean: Floats = (1 - share) * values[k - 1] + share * values[k]
    return mean
