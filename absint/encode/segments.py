"""Continuous piecewise-linear functions in a model: one column per segment, filled from left to right.

With knots p_1 < ... < p_c inside (l, u), z = p_1 - s + a_1 + ... + a_c with 0 <= s <= p_1 - l and 0 <= a_k <= p_{k+1} - p_k
(p_{c+1} = u), and f(z) = f(p_1) - m_0 s + m_1 a_1 + ... + m_c a_c. Exact where s a_1 = 0 and a_{k+1} > 0 only where a_k is
full. The rows a_1 / (p_2 - p_1) + s / (p_1 - l) <= 1 and a_{k+1} / w_{k+1} <= a_k / w_k are the convex hull; for ReLU they are the
triangle relaxation in the form with the fewest nonzeros: a - s = z. docs/solvers.md, section "Encodings", has the proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.encode.expressions import add_up, down, up
from absint.model.families.elementwise import Elementwise
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, gamma

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Kinks:
    """Entries of one node that have the same knots inside their bounds.

    entry: (k,) flat indices.  knots: the c of them.  slope: (c + 1, k), exact numbers.  width: (c + 1, k), of the segments, rounded up
    (the first is that of s).  inner: (c + 1, k) the same rounded down.  low, high: (k,) with
    f(z) - (-m_0 s + m_1 a_1 + ...)  between them at every z of [l, u].
    """

    entry: np.ndarray
    knots: tuple[float, ...]
    slope: np.ndarray
    width: np.ndarray
    inner: np.ndarray
    low: np.ndarray
    high: np.ndarray


def kinks(op: Elementwise, interval: Interval, mask: Tensor, num: Numerics) -> Iterator[Kinks]:
    """The entries of `mask` (1, *shape) whose bounds are finite and where f is continuous and affine between knots, grouped.

    Entries that are left out need another relaxation. Relies on `jumps`, `undecided` and `planes` of the operator alone.
    """
    if not op.piecewise_linear or op.jumps:
        return
    low, high = interval.lower, interval.upper
    places = sorted({k.x for k in op.knots})
    fine = mask & low.isfinite() & high.isfinite()
    for first in range(len(places)):
        for last in range(first, len(places)):
            inside = fine & (low < places[first]) & (high > places[last])
            if first:
                inside = inside & (low >= places[first - 1])
            if last + 1 < len(places):
                inside = inside & (high <= places[last + 1])
            if bool(inside.any()):
                yield from _group(op, interval, inside, tuple(places[first : last + 1]), num)


def _group(op: Elementwise, interval: Interval, inside: Tensor, knots: tuple[float, ...], num: Numerics) -> Iterator[Kinks]:
    cuts = [interval.lower, *(torch.full_like(interval.lower, p) for p in knots), interval.upper]
    slopes, ends = [], []
    for left, right in pairwise(cuts):
        # Entries outside the group get a proper interval, too; nothing is read of them.
        part = Interval(torch.minimum(left, right), torch.maximum(left, right))
        lines = op.planes((part,), num)
        affine = ~op.undecided((part,))[0] & (lines.lower[0] == lines.upper[0])
        inside = inside & affine & lines.lower_offset.isfinite() & lines.upper_offset.isfinite()
        slopes.append(lines.lower[0])
        ends.append((lines.lower_offset, lines.upper_offset))
    entry = inside.flatten().nonzero()[:, 0]
    if not len(entry):
        return

    def flat(x: Tensor) -> np.ndarray:
        return np.array(x.expand_as(interval.lower).flatten()[entry].double().numpy())

    slope = np.stack([flat(s) for s in slopes])
    offset = [(flat(a), flat(b)) for a, b in ends]
    points = [flat(c) for c in cuts]
    width = np.stack([add_up(b, -a) for a, b in pairwise(points)])
    inner = np.stack([-add_up(a, -b) for a, b in pairwise(points)])
    yield Kinks(entry.numpy(), knots, slope, width, inner, *_constants(slope, offset, points))


def _constants(slope: np.ndarray, offset: list[tuple[np.ndarray, np.ndarray]], points: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of f less the columns' part, over all segments: on segment k, f(z) = m_k z + t_k with t_k between `offset[k]`."""
    low, high = np.full(len(points[0]), inf), np.full(len(points[0]), -inf)
    filled, size = np.zeros(len(low)), np.zeros(len(low))
    for k, (m, (below, above)) in enumerate(zip(slope, offset, strict=True)):
        start = points[max(k, 1)]
        if k > 1:
            part = slope[k - 1] * (points[k] - points[k - 1])
            filled, size = filled + part, size + np.abs(part)
        reach = size + np.abs(m * start) + np.maximum(np.abs(below), np.abs(above))
        error = np.where(reach > 0, gamma(8 + 3 * len(slope), torch.float64) * reach * (1 + 1e-9) + 16 * len(slope) * _TINY, 0.0)
        # Two equal numbers of opposite sign leave no error: f(0) = 0 stays exact.
        low = np.minimum(low, down(below + m * start - filled, error))
        high = np.maximum(high, up(above + m * start - filled, error))
    return low, high
