"""Not rounded to nearest everywhere: a quotient by a number (CUDA) and the square root (CPU). What operators state allows for it."""

from __future__ import annotations

import mpmath
import pytest
import torch
from mpmath import mp, mpf

from absint.model.ops.exponential import ExponentialUnit
from absint.numeric.kernel_functions import FUNCTIONS

U = 2.0**-53
BETAS = (3.0, 7.0, 0.3, 1.7, 11.0, 49.0)


def ulps(found, exact):
    """Errors over u |computed|."""
    with mp.workdps(60):
        return [float(abs(mpf(f) - e) / (U * abs(mpf(f)))) for f, e in zip(found.tolist(), exact, strict=True)]


def spread(low, high, count=400):
    return torch.linspace(low, high, count, dtype=torch.float64)


@pytest.mark.parametrize("beta", BETAS)
def test_an_exponential_unit_may_be_divided_as_cuda_divides(beta):
    """By a product with the rounded reciprocal, the slopes far below 0 and the values are within what is stated."""
    op, x = ExponentialUnit(1.0, beta), spread(-700 * beta, -0.01 * beta)
    share = x * (1 / torch.tensor(beta, dtype=torch.float64))
    with mp.workdps(60):
        slopes = [mpmath.exp(mpf(v) / mpf(beta)) / mpf(beta) for v in x.tolist()]
        values = [mpmath.expm1(mpf(v) / mpf(beta)) for v in x.tolist()]
    assert max(ulps(op.steep * torch.exp(share), slopes)) <= op.derivative_error.ulps
    assert max(ulps(torch.expm1(share), values)) <= op.error.ulps


def test_such_slopes_err_by_more_than_one_rounding_of_the_quotient():
    """What 745 roundings of one u each would allow is not enough."""
    worst = 0.0
    for beta in BETAS:
        x = spread(-707 * beta, -600 * beta)
        share = x * (1 / torch.tensor(beta, dtype=torch.float64))
        with mp.workdps(60):
            exact = [mpmath.exp(mpf(v) / mpf(beta)) for v in x.tolist()]
        worst = max(worst, *ulps(torch.exp(share), exact))
    assert 780 < worst <= 1520


@pytest.mark.parametrize("low", [1e-6, 0.3, 0.999, 40.0])
def test_a_batch_normalisations_scale_errs_by_four_roundings_at_most(low):
    """weight / sqrt(variance + epsilon) as it is computed, against real numbers."""
    variance, weight, epsilon = spread(low, 1.001 * low, 2000), spread(0.5, 2.0, 2000), 1e-5
    found = weight / (variance + epsilon).sqrt()
    with mp.workdps(60):
        exact = [mpf(w) / mpmath.sqrt(mpf(v) + mpf(epsilon)) for w, v in zip(weight.tolist(), variance.tolist(), strict=True)]
    assert max(ulps(found, exact)) <= 4


def test_a_root_errs_by_what_the_check_of_kernels_allows():
    x = spread(0.25, 4.0, 3000)
    with mp.workdps(60):
        exact = [mpmath.sqrt(mpf(v)) for v in x.tolist()]
    assert max(ulps(x.sqrt(), exact)) <= FUNCTIONS["square root"].ulps
