"""Arithmetic of enclosed constants against rationals, and against float32 executions of the same arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from absint.numeric import enclosed
from absint.numeric.enclosed import Enclosed, NotEnclosedError

SINGLE = 2.0**-24


def drawn(seed, *shape, spread=3):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * 10.0 ** random.integers(-spread, spread + 1, shape)).astype(np.float32)


def exactly(values):
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(values)


def square_root(x):
    """sqrt(x) to 60 digits."""
    scale = 10**60
    return Fraction(isqrt(x.numerator * scale * scale // x.denominator), scale)


def holds(found, truth, executed, slack=Fraction(0)):
    """The error bounds of every entry, in rationals."""
    given = exactly(found.high) + exactly(found.low)
    true = np.broadcast_to(truth, given.shape)
    assert all(abs(g - t) <= Fraction(float(e)) + slack for g, t, e in zip(given.flat, true.flat, found.error.flat, strict=True))
    run = exactly(np.broadcast_to(executed, given.shape))
    assert all(abs(r - t) <= Fraction(float(e)) for r, t, e in zip(run.flat, true.flat, found.execution.flat, strict=True))


# Every case is (enclosed, rationals, what float32 computes), from two operands that were themselves rounded.
def _rounded(seed, *shape):
    a, b = drawn(seed, *shape), drawn(seed + 1, *shape)
    return enclosed.divide(Enclosed.exactly(a), Enclosed.exactly(b)), exactly(a) / exactly(b), a / b


def sums():
    (x, p, f), (y, q, g) = _rounded(1, 200), _rounded(3, 200)
    return enclosed.add(x, y), p + q, f + g


def sums_that_cancel():
    x, p, f = _rounded(1, 200)
    y, q, g = enclosed.multiply(x, Enclosed.exactly(np.float32(3))), p * 3, f * np.float32(3)
    third = enclosed.divide(y, Enclosed.exactly(np.float32(3)))
    return enclosed.add(third, enclosed.negative(x)), p * 0 + q / 3 - p, g / np.float32(3) - f


def products():
    (x, p, f), (y, q, g) = _rounded(1, 200), _rounded(3, 200)
    return enclosed.multiply(x, y), p * q, f * g


def quotients():
    (x, p, f), (y, q, g) = _rounded(1, 200), _rounded(3, 200)
    return enclosed.divide(x, y), p / q, f / g


def totals():
    x, p, f = _rounded(1, 8, 40)
    return enclosed.total(x, (1,), keep=True), p.sum(1, keepdims=True), f.sum(1, keepdims=True)


def matrices():
    (x, p, f), (y, q, g) = _rounded(1, 4, 30), _rounded(3, 30, 5)
    return enclosed.matmul(x, y), p @ q, f @ g


def norms():
    x, p, f = _rounded(1, 8, 40)
    found = enclosed.root(enclosed.total(enclosed.multiply(x, x), (1,), keep=False))
    return found, np.vectorize(square_root, otypes=[object])((p * p).sum(1)), np.sqrt((f * f).sum(1))


CASES = {case.__name__: case for case in (sums, sums_that_cancel, products, quotients, totals, matrices, norms)}


@pytest.mark.parametrize("name", CASES)
def test_bounds_hold_in_rationals(name):
    found, truth, executed = CASES[name]()
    holds(found, truth, executed, Fraction(1, 10**55) if name == "norms" else Fraction(0))


def loose(values, share, execution=0.0):
    """Numbers known up to a share of themselves, and executions that err by another."""
    size = np.abs(values.astype(np.float64))
    return replace(Enclosed.exactly(values), error=size * share, execution=size * execution)


PASSED_ON = {
    "sum": ("add", lambda a, b: a + b), "product": ("multiply", lambda a, b: a * b),
    "quotient": ("divide", lambda a, b: a / b), "matrix": ("matmul", lambda a, b: a @ b),
}


@pytest.mark.parametrize("name", PASSED_ON)
@pytest.mark.parametrize("sides", [(1, 1), (1, -1), (0, 1), (0, -1), (1, 0)])
def test_errors_of_operands_are_passed_on(name, sides):
    share = 2.0**-10
    a, b = drawn(11, 9, 9, spread=0), drawn(12, 9, 9, spread=0)
    ends = [exactly(v) * (1 + Fraction(side) * Fraction(share)) for v, side in zip((a, b), sides, strict=True)]
    called, truth = PASSED_ON[name]
    errors, step = [share if side else 0.0 for side in sides], getattr(enclosed, called)
    found = step(loose(a, errors[0]), loose(b, errors[1]))
    run = step(loose(a, 0.0, errors[0]), loose(b, 0.0, errors[1]))
    here, there = truth(*ends), truth(exactly(a), exactly(b))
    assert all(abs(t - Fraction(g)) <= Fraction(e) for t, g, e in zip(here.flat, found.high.flat, found.error.flat, strict=True))
    assert all(abs(t - g) <= Fraction(e) for t, g, e in zip(here.flat, there.flat, run.execution.flat, strict=True))


@pytest.mark.parametrize("name", ["sums", "products", "quotients", "totals", "matrices", "norms"])
def test_bounds_are_narrow(name):
    found, _, _ = CASES[name]()
    assert (found.error <= 2.0**-80 * np.abs(found.high).max()).all()
    assert (found.execution <= 300 * SINGLE * np.maximum(np.abs(found.high), found.size.max())).all()


def test_weights_of_a_norm_err_by_one_rounding():
    v = drawn(5, 6, 30, spread=0)
    length = enclosed.root(enclosed.total(enclosed.multiply(Enclosed.exactly(v), Enclosed.exactly(v)), (1,), keep=True))
    weight = enclosed.divide(Enclosed.exactly(v), length)
    assert (weight.rounded_error <= 2.0**-53 * np.abs(weight.high) * (1 + 1e-9)).all()


def test_nothing_is_charged_where_nothing_rounds():
    whole = Enclosed.exactly(np.arange(-6, 6, dtype=np.float32).reshape(3, 4))
    for found in (enclosed.add(whole, whole), enclosed.multiply(whole, whole), enclosed.absolute(whole),
                  enclosed.total(whole, (0, 1), keep=False),
                  enclosed.divide(whole, Enclosed.exactly(np.float32(0.25))), enclosed.root(enclosed.multiply(whole, whole))):
        assert found.exact
    zeros = Enclosed.exactly(np.zeros((1, 3), np.float32))
    assert enclosed.matmul(zeros, Enclosed.exactly(drawn(1, 3, 4))).exact
    assert enclosed.add(zeros, Enclosed.exactly(drawn(2, 1, 3))).exact


def test_what_single_precision_cannot_hold_is_known_exactly_and_charged():
    found = enclosed.multiply(Enclosed.exactly(np.float32(0.1)), Enclosed.exactly(np.float32(0.1)))
    assert found.error == 0
    assert found.low == 0
    assert 0 < found.execution <= 1.1 * SINGLE * found.high


@pytest.mark.parametrize("run", [
    lambda: enclosed.divide(Enclosed.exactly(np.float32(1)), Enclosed.exactly(np.float32(0))),
    lambda: enclosed.root(Enclosed.exactly(np.float32(-1))),
    lambda: enclosed.multiply(Enclosed.exactly(np.float32(1e30)), Enclosed.exactly(np.float32(1e30))),
    lambda: enclosed.matmul(Enclosed.exactly(np.zeros((5000, 1, 1))), Enclosed.exactly(np.zeros((5000, 1, 1)))),
])
def test_refused(run):
    with np.errstate(all="ignore"), pytest.raises(NotEnclosedError):
        run()


def test_an_execution_that_may_divide_by_zero_is_unbounded():
    third = enclosed.divide(Enclosed.exactly(np.float32(1)), Enclosed.exactly(np.float32(3)))
    small = enclosed.add(third, Enclosed.exactly(np.float32(-1 / 3)))
    with np.errstate(all="ignore"):
        assert enclosed.divide(Enclosed.exactly(np.float32(1)), small).execution == np.inf
        assert enclosed.root(small if small.high > 0 else enclosed.negative(small)).execution == np.inf
