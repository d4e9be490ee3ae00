"""Expansions against rational numbers: products and sums of matrices are exact, or there are none."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from absint.numeric.expansions import Expansion, product, two_sum


def wild(seed, *shape, reach=20, zeros=0.3):
    """Numbers of both signs and many sizes, all of float32, and zeros."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape) * 2.0 ** random.integers(-reach, reach + 1, shape) * (random.random(shape) >= zeros)
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


def rationals(matrix):
    return [[Fraction(v) for v in row] for row in matrix.tolist()]


def dots(x, matrix):
    return [[sum((a * b for a, b in zip(row, line, strict=True)), Fraction(0)) for line in matrix] for row in x]


def exact_product(x, matrix):
    return dots(rationals(x), rationals(matrix))


def total(found):
    """The exact sum of the parts."""
    parts = [rationals(part) for part in found.parts]
    return [[sum(entries, Fraction(0)) for entries in zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]


@pytest.mark.parametrize("reach", [0, 3, 20])
def test_products_are_exact(reach):
    for seed in range(6):
        x, matrix = wild(seed, 4, 9, reach=reach), wild(seed + 100, 5, 9, reach=reach)
        found = Expansion((x,)).times(matrix)
        assert total(found) == exact_product(x, matrix)


def test_products_of_products_are_exact():
    for seed in range(4):
        x, one, two = wild(seed, 3, 7, reach=4), wild(seed + 10, 6, 7, reach=4), wild(seed + 20, 4, 6, reach=4)
        found = Expansion((x,)).times(one).times(two)
        assert total(found) == dots(exact_product(x, one), rationals(two))
        assert len(found.parts) > 1, "float64 alone does not hold it"


def test_what_cancels_is_zero_and_says_so():
    x = torch.tensor([[1.0 + 2.0**-23, 1e8, 1.0]], dtype=torch.float64)
    matrix = torch.tensor([[3.0, 1.0, -3.0], [1e8, -1.0, -1e8 * 2.0**-23]], dtype=torch.float64)
    found = Expansion((x,)).times(matrix)
    assert total(found) == exact_product(x, matrix)
    value, error = found.rounded()
    assert value[0, 1] == 0
    assert error[0, 1] == 0


def test_rounded_values_are_within_their_errors():
    for seed in range(6):
        found = Expansion((wild(seed, 4, 30),)).times(wild(seed + 50, 5, 30))
        value, error = found.rounded()
        for row, there, off in zip(total(found), rationals(value), rationals(error), strict=True):
            assert all(abs(a - b) <= e for a, b, e in zip(row, there, off, strict=True))
        assert bool((error <= 2.0**-53 * value.abs()).all())
        assert bool(error.any())


def test_sums_are_exact():
    for seed in range(6):
        one, two = (Expansion((wild(seed, 3, 4), wild(seed + k, 3, 4) * 2.0**-60)) for k in (40, 60))
        pairs = zip(total(one), total(two), strict=True)
        assert total(one.plus(two)) == [[a + b for a, b in zip(*pair, strict=True)] for pair in pairs]


@pytest.mark.parametrize("value", [1e-320, 1e-120, 1e120, 1e308, float("inf"), float("nan")])
def test_magnitudes_without_room_give_nothing(value):
    matrix = torch.tensor([[1.0, value]], dtype=torch.float64)
    usual = torch.ones(1, 2, dtype=torch.float64)
    assert Expansion((usual,)).times(matrix) is None
    assert Expansion((matrix,)).times(usual) is None
    assert not Expansion((usual, matrix)).middling


def test_numbers_too_far_apart_give_nothing():
    far = torch.tensor([[1.0, 2.0**-200]], dtype=torch.float64)
    assert Expansion((far,)).times(torch.ones(1, 2, dtype=torch.float64)) is None


def test_sums_of_too_many_parts_give_nothing():
    parts = [torch.full((1, 1), 2.0 ** (-60 * k), dtype=torch.float64) for k in range(4)]
    assert Expansion(tuple(parts[:2])).plus(Expansion((parts[2],))) is not None
    assert Expansion(tuple(parts[:2])).plus(Expansion(tuple(parts[2:]))) is None


def test_more_products_than_it_is_worth_give_nothing(monkeypatch):
    from absint.numeric import expansions

    x = torch.ones(4, 4, dtype=torch.float64)
    assert Expansion((x,)).times(x) is not None
    monkeypatch.setattr(expansions, "_PRODUCTS", 63)
    assert Expansion((x,)).times(x) is None


def test_products_of_sparse_matrices_are_the_products():
    dense, thin = wild(3, 40, 40, reach=0, zeros=0.0), wild(4, 40, 40, reach=0, zeros=0.97)
    for left, right in ((dense, thin), (thin, dense), (dense, dense)):
        assert torch.allclose(product(left, right), left @ right.T, rtol=1e-14, atol=1e-14)


def test_a_sum_and_its_error():
    one, two = torch.tensor([1.0, 1e16], dtype=torch.float64), torch.tensor([2.0**-60, -1.0], dtype=torch.float64)
    value, error = two_sum(one, two)
    assert [Fraction(a) + Fraction(b) for a, b in zip(value.tolist(), error.tolist(), strict=True)] == [
        Fraction(a) + Fraction(b) for a, b in zip(one.tolist(), two.tolist(), strict=True)]
