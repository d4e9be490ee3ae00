"""Draws of latents by a counter: draw k of a class follows from the seed, the class and k, whoever computes it beside which others."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

NORMAL, UNIFORM = "normal", "uniform"
DISTRIBUTIONS = {NORMAL: "independent N(0, 1) each", UNIFORM: "independent, uniform in [-1, 1] each"}
_TOGETHER = 4       # 64-bit words that one step of the counter gives


def drawn(kind: str, seed: int, label: int, first: int, count: int, size: int) -> npt.NDArray[np.float32]:
    """(count, size): draws first, first + 1, ... of a class; float32 numbers, which are taken exactly.

    Philox4x64-10 with a key of seed and class, at a counter of k. Each word makes one entry: the middle of one of 2^52 equal parts of
    [0, 1], which float64 holds, for a normal one the quantile there (none beyond 8.3), then rounded to float32. The distribution that
    all claims are about is that of these numbers, if Philox is as good as random.
    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """
    steps = -(-size // _TOGETHER)
    words = np.random.Philox(key=_key(seed, label), counter=first * steps).random_raw(count * steps * _TOGETHER)
    share = shares(words.reshape(count, steps * _TOGETHER)[:, :size])
    if kind == UNIFORM:
        return (2.0 * share - 1.0).astype(np.float32)
    from scipy.special import ndtri

    return np.asarray(ndtri(share), dtype=np.float32)


def shares(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Of 64-bit words: strictly between 0 and 1, and as far from the one as from the other."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _key(seed: int, label: int) -> int:
    return int.from_bytes(hashlib.sha256(f"absint latents {seed} {label}".encode()).digest()[:16], "big")
