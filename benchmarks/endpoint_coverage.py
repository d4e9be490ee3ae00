"""How often the interval of `absint.analyses.clever.weibull` holds the endpoint, on samples of reversed Weibull distributions.

    python benchmarks/endpoint_coverage.py               coverage, width and estimates, as benchmarks/results/clever.md shows them
    python benchmarks/endpoint_coverage.py search        the fit beside the published search from seven starts: half a minute
    python benchmarks/endpoint_coverage.py critical      the table of absint/analyses/clever/critical.py: a minute and a half

Seeds are fixed, and those of the table are not those of the coverage.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2, kstest, weibull_min

from absint.analyses.clever.critical import COUNTS, LEVELS, SHAPES
from absint.analyses.clever.weibull import fit_endpoints, likelihood_ratio

ENDPOINT, SCALE = 10.0, 2.0


def samples(shape: float, count: int, rows: int, seed: int) -> np.ndarray:
    """(rows, count) values of ENDPOINT - SCALE * Weibull(shape)."""
    return ENDPOINT - SCALE * np.random.default_rng([seed, count, round(100 * shape)]).weibull(shape, (rows, count))


def print_critical(rows: int) -> None:
    """Quantiles of the likelihood ratio of the true endpoint, as multiples of chi square's: an array (levels, counts, shapes)."""
    found = np.empty((len(LEVELS), len(COUNTS), len(SHAPES)))
    for j, count in enumerate(COUNTS):
        for k, shape in enumerate(SHAPES):
            drawn = np.array_split(samples(shape, count, rows, seed=1), max(1, rows * count >> 15))
            ratio = np.concatenate([likelihood_ratio(part, np.full(len(part), ENDPOINT))[0] for part in drawn])
            found[:, j, k] = np.quantile(ratio, LEVELS) / chi2.ppf(LEVELS, 1)
    for level, table in zip(LEVELS, found, strict=True):
        print(f"    [    # {level}")
        for row in table:
            print(f"        [{', '.join(f'{value:.3f}' for value in row)}],")
        print("    ],")


def print_coverage(shapes: list[float], counts: list[int], rows: int) -> None:
    """One row of a table for every shape and count."""
    print("| shape | batches | coverage | endpoint above | endpoint below | median width | no upper end | fallbacks "
          "| median estimate | median maximum | ms a fit |")
    print("|" + "---|" * 11)
    for shape in shapes:
        for count in counts:
            drawn = samples(shape, count, rows, seed=2)
            begin = time.process_time()
            fit = fit_endpoints(drawn)
            spent = 1e3 * (time.process_time() - begin) / rows
            above, below = (fit.upper < ENDPOINT).mean(), (fit.lower > ENDPOINT).mean()
            print(f"| {shape:g} | {count} | {1 - above - below:.1%} | {above:.1%} | {below:.1%} | {np.median(fit.upper - fit.lower):.3g} "
                  f"| {np.isinf(fit.upper).mean():.1%} | {fit.fallback.mean():.1%} | {np.median(fit.endpoint):.3f} "
                  f"| {np.median(drawn.max(1)):.3f} | {spent:.2f} |", flush=True)


def searched(row: np.ndarray) -> float:
    """The published recipe: Nelder and Mead's search from seven shapes, scale penalised, the fit of the largest p-value; the largest value
    where that fit's endpoint lies below it."""
    gaps = (row.max() - row) / np.ptp(row)

    def loss(theta: np.ndarray) -> float:
        shape, location, scale = theta
        if shape <= 0 or scale <= 0:
            return 1e10
        outside = gaps <= location
        return (100 * np.log(np.finfo(float).max) * outside.sum() - weibull_min.logpdf(gaps[~outside], *theta).sum() + 0.01 * scale**2)

    found = [minimize(loss, (start, -0.1, 0.5), method="Nelder-Mead", options={"maxiter": 2000}).x
             for start in (0.1, 1, 5, 10, 20, 50, 100)]
    fits = [(kstest(gaps, "weibull_min", tuple(theta)).pvalue, theta[1]) for theta in found if theta[0] > 0 and theta[2] > 0]
    return row.max() + max(0.0, -max(fits)[1]) * np.ptp(row)


def print_search(shapes: list[float], rows: int) -> None:
    """Both fits of the same samples of 100 values, differences in ranges of the sample; and one with an outlier."""
    print("| sample | median, fit | median, search | mean error, fit | mean error, search | median difference / range | most |")
    print("|" + "---|" * 7)
    cases = {f"shape {shape:g}": samples(shape, 100, rows, seed=3) for shape in shapes}
    for outlier in (14, 16, 30, 1000):
        cases[f"shape 3 and one value {outlier}"] = np.insert(samples(3.0, 99, 3, seed=3), 5, outlier, axis=1)
    for name, drawn in cases.items():
        fit, search = fit_endpoints(drawn).endpoint, np.array([searched(row) for row in drawn])
        apart = abs(fit - search) / np.ptp(drawn, axis=1)
        print(f"| {name} | {np.median(fit):.3f} | {np.median(search):.3f} | {abs(fit - ENDPOINT).mean():.3f} "
              f"| {abs(search - ENDPOINT).mean():.3f} | {np.median(apart):.1g} | {apart.max():.1g} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("coverage", "search", "critical"), default="coverage")
    parser.add_argument("--rows", type=int, help="samples of each shape and count (coverage: 4000, search: 25, critical: 5000)")
    parser.add_argument("--shapes", type=float, nargs="+", default=[1.2, 1.5, 3.0, 8.0, 30.0])
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 100, 200])
    given = parser.parse_args()
    if given.what == "critical":
        print_critical(given.rows or 5000)
    elif given.what == "search":
        print_search([0.7, *given.shapes], given.rows or 25)
    else:
        print_coverage(given.shapes, given.counts, given.rows or 4000)


if __name__ == "__main__":
    main()
