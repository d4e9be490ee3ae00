"""Safe bounds against exact arithmetic: what a solver's multipliers prove, whoever they come from."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import pytest

from absint.solvers import Model, SafeBounds, Session

MAGNITUDES = (1e-30, 1e-5, 1.0, 1e8, 1e30)
F = Fraction

def exact_bound(model, y):
    """y.b + min over the box of (c - A'y).x in rationals."""
    a = model.matrix.toarray()
    total = F(0)
    for i, v in enumerate(y.tolist()):
        total += F(v) * F(float(model.row_lower[i] if v > 0 else model.row_upper[i])) if v else 0
    for j in range(a.shape[1]):
        d = F(float(model.cost[j])) - sum((F(float(a[i, j])) * F(v) for i, v in enumerate(y.tolist()) if v), F(0))
        total += min(d * F(float(model.lower[j])), d * F(float(model.upper[j])))
    return total


def random_model(rng, scale):
    """Rows of mixed size, with cancellation: the reduced costs of some columns vanish up to rounding."""
    a = rng.normal(size=(6, 7)) * rng.choice([1, 1, scale], size=(6, 7))
    low, high = rng.normal(size=6) - 1, rng.normal(size=6) + 1
    low[rng.random(6) < 0.3] = -inf
    high[rng.random(6) < 0.3] = inf
    center = rng.normal(size=7) * rng.choice([1, scale], size=7)
    y = rng.normal(size=6)
    cost = np.where(rng.random(7) < 0.5, a.T @ y, rng.normal(size=7))
    return Model.of(a, (low, high), (center - rng.random(7), center + rng.random(7)), cost), y


@pytest.mark.parametrize("scale", MAGNITUDES)
def test_a_safe_bound_is_below_its_exact_value(scale):
    """For any multipliers, in rationals; and close to it, measured by the size of the terms."""
    rng = np.random.default_rng(7)
    for _ in range(60):
        model, y = random_model(rng, scale)
        safe = SafeBounds(model)
        used = safe.usable(y)
        found, exact = safe.bound(y, model.cost, model.lower, model.upper), exact_bound(model, used)
        assert F(found) <= exact
        sides = np.where(used > 0, model.row_lower, model.row_upper)
        size = np.abs(used) @ np.abs(np.where(used == 0, 0.0, sides))
        size += (np.abs(model.cost) + abs(model.matrix).T @ np.abs(used)) @ np.maximum(np.abs(model.lower), np.abs(model.upper))
        assert float(exact - F(found)) <= 1e-13 * size


def test_the_rounding_of_a_plain_evaluation_is_seen():
    """Without its slack the formula would exceed the exact value in some of these cases: the test above has teeth."""
    rng = np.random.default_rng(7)
    above = 0
    for _ in range(60):
        model, y = random_model(rng, 1e8)
        used = SafeBounds(model).usable(y)
        d = model.cost - model.matrix.T @ used
        side = np.where(used > 0, model.row_lower, model.row_upper)
        plain = float((used * np.where(used == 0, 0, side)).sum() + np.minimum(d * model.lower, d * model.upper).sum())
        above += F(plain) > exact_bound(model, used)
    assert above > 5


def test_infinite_sides_and_columns():
    model = Model.of([[1.0, 1.0]], (np.array([1.0]), np.array([inf])), (np.array([0.0, -inf]), np.array([2.0, inf])), np.array([1.0, 0.0]))
    safe = SafeBounds(model)
    assert safe.bound(np.array([0.0]), model.cost, model.lower, model.upper) == pytest.approx(0.0, abs=1e-300)
    assert safe.bound(np.array([0.5]), model.cost, model.lower, model.upper) == -inf
    assert (safe.usable(np.array([-3.0])) == 0).all()
    assert safe.bound(None, -model.cost, model.lower, np.array([inf, inf])) == -inf


def test_overflow_proves_nothing():
    model = Model.of([[1e200]], (np.array([1e200]), np.array([inf])), (np.array([-1e200]), np.array([1e200])), np.array([1e200]))
    for y in (1e200, -1e200, inf, np.nan, 0.0):
        found = SafeBounds(model).bound(np.array([y]), model.cost, model.lower, model.upper)
        assert found == -inf or F(found) <= F(1e200) * -F(1e200)
    assert not SafeBounds(model).empty(np.array([1e300]), model.lower, model.upper)


@pytest.mark.parametrize("y", [np.array([1.0, 0.0]), np.array([0.0, -1.0]), np.zeros(2), None, np.array([np.nan, 1.0]), np.ones(3)])
def test_a_feasible_model_is_never_proved_empty(y):
    model = Model.of([[1.0, 1.0], [1.0, 1.0]], (np.array([1.0, -inf]), np.array([inf, 1.0])), (np.zeros(2), np.ones(2)), np.ones(2))
    assert not SafeBounds(model).empty(y, model.lower, model.upper)


def test_tiny_coefficients_go_with_a_wider_row():
    """x + 5e-10 z = 1 with z in [-1e6, 1e6]: dropped alone, x would be 1; z moves it by 5e-4."""
    model = Model.of([[1.0, 5e-10]], (np.ones(1), np.ones(1)), (np.array([0.0, -1e6]), np.array([2.0, 1e6])), np.array([1.0, 0.0]))
    seen = model.without_tiny()
    assert seen.matrix.nnz == 1
    assert F(float(seen.row_lower[0])) <= 1 - F(5e-10) * 10**6
    assert F(float(seen.row_upper[0])) >= 1 + F(5e-10) * 10**6
    with Session(model) as session:
        assert session.solve().bound <= 1 - 5e-4
