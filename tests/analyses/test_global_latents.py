"""Latents by a counter: a draw does not depend on which others are drawn beside it, or before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from absint.analyses.global_robustness.latents import NORMAL, UNIFORM, drawn, shares

NORMALS = (0.9513021111488342, 0.30533352494239807, 1.1040699481964111)
UNIFORMS = (-0.9008132219314575, -0.8034741878509521, 0.7498977780342102)


@pytest.mark.parametrize("kind", [NORMAL, UNIFORM])
@pytest.mark.parametrize("size", [1, 4, 10, 13])
def test_a_draw_is_the_same_alone_and_among_others(kind: str, size: int) -> None:
    whole = drawn(kind, 5, 3, 0, 40, size)
    assert whole.shape == (40, size)
    assert whole.dtype == np.float32
    for first, count in ((0, 1), (7, 1), (11, 29), (39, 1)):
        np.testing.assert_array_equal(drawn(kind, 5, 3, first, count, size), whole[first : first + count])


def test_seeds_and_classes_have_draws_of_their_own() -> None:
    found = [drawn(NORMAL, seed, label, 0, 3, 5).tobytes() for seed in (0, 1) for label in (0, 1, 12)]
    assert len(set(found)) == len(found)
    assert len(np.unique(drawn(NORMAL, 0, 3, 0, 5000, 10))) > 49_000


def test_the_numbers_of_a_seed_stay_what_they_are() -> None:
    """A journal of today goes on tomorrow."""
    np.testing.assert_array_equal(drawn(NORMAL, 0, 8, 0, 1, 3), np.array([NORMALS], dtype=np.float32))
    np.testing.assert_array_equal(drawn(UNIFORM, 0, 8, 2, 1, 3), np.array([UNIFORMS], dtype=np.float32))


def test_every_word_is_a_number_inside_and_both_ends_are_alike() -> None:
    """Rounding to 1 would make an infinite latent; 53 bits and a half would, and would round half of all numbers to even ones."""
    words = np.array([0, 1 << 12, 1 << 63, (1 << 64) - (1 << 13), (1 << 64) - 1], dtype=np.uint64)
    found = shares(words)
    assert 0 < found[0] < found[1] < found[2] < found[3] < found[4] < 1
    np.testing.assert_array_equal(found, (1 - shares(~words)))
    assert np.all(found * 2.0**53 % 2 == 1), "the middle of a part of 2^-52, exactly"
    assert np.isfinite(ndtri(found)).all()
    assert np.abs(ndtri(found)).max() < 8.3


def test_normal_and_uniform() -> None:
    normal, uniform = (drawn(kind, 1, 0, 0, 20_000, 8).astype(np.float64).ravel() for kind in (NORMAL, UNIFORM))
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01
    assert abs((normal > 1.6448536).mean() - 0.05) < 0.003
    assert np.abs(uniform).max() <= 1
    assert abs(uniform.mean()) < 0.01
    assert abs(uniform.var() - 1 / 3) < 0.005
    assert np.abs(np.corrcoef(drawn(NORMAL, 1, 0, 0, 20_000, 8).T) - np.eye(8)).max() < 0.03
