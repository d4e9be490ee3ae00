"""Boxes clipped by affine lower bounds of a disjunct's rows: where a row is proved positive, no input lies in the unsafe set.

The unsafe set is where all rows are <= 0. What one row proves positive may be cut off, entry by entry, for as long as what is left is
a box. Every piece cut off is bounded again, with its rounding, at the very float where the cut is made: how that float was
found is no matter of soundness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from absint.numeric.outward import down
from absint.numeric.rounding import gamma, smallest_normal
from absint.problem.regions.region import offset_between
from absint.problem.spec import attained

_SWEEPS = 2
# Cuts are made where a row has risen to this share of its range: what is cut off keeps a bound that others can follow.
_RISE = 2.0**-12
# Cuts of less than this share of a box's width are not worth a leaf.
_WORTH = 2.0**-7


@dataclass(frozen=True, eq=False)
class LowerForms:
    """weight . (x - center) + offset <= each row over its box, in exact real arithmetic; r rows a box, n inputs, all float64.

    weight: (N, r, n).  offset: (N, r), -inf where nothing is known.  center: (N, n).
    """

    weight: Tensor
    offset: Tensor
    center: Tensor


@dataclass(frozen=True, eq=False)
class Clipped:
    """What is left of boxes. low, high: (N, n).  void: (N,) bool, nothing is.

    proved: (N,) the least bound of the pieces that were cut off, of the whole box where it is void; inf where nothing was.
    """

    low: Tensor
    high: Tensor
    void: Tensor
    proved: Tensor


@dataclass(frozen=True, eq=False)
class RowCuts:
    """What one row cut off, one entry after the other. row: which of the `of` rows.  void: (N,) bool, boxes cut off as a whole.

    cut, positive: (N, n) bool, entries that were cut, above `at` or below it.  whole: (N,), piece: (N, n), bounds of what is cut off.
    """

    row: int
    of: int
    void: Tensor
    whole: Tensor
    cut: Tensor
    positive: Tensor
    at: Tensor
    piece: Tensor


def clipped(forms: LowerForms, strict: Tensor, low: Tensor, high: Tensor, told: list[RowCuts] | None = None) -> Clipped:
    """Boxes [low, high] (N, n) float64 less what the forms prove; strict: (r,) rows that refute where they are >= 0.

    told: given what each row cut off, in order.
    Sound: on every piece cut off some row is at least `proved` > 0 (of a strict row: `ATTAINED` stands for 0). NaN and infinities
    cut nothing off.
    """
    boxes = Clipped(low, high, torch.zeros_like(low[:, 0], dtype=torch.bool), torch.full_like(low[:, 0], inf))
    for _ in range(_SWEEPS):
        for k in range(forms.weight.shape[1]):
            boxes, cuts = _by_row(boxes, forms, k, strict[k])
            if told is not None:
                told.append(cuts)
    return boxes


def _by_row(boxes: Clipped, forms: LowerForms, k: int, strict: Tensor) -> tuple[Clipped, RowCuts]:
    """Every entry cut by one row, each from the box as it was: all pieces are bounded over that same box."""
    weight, offset, center = forms.weight[:, k], forms.offset[:, k], forms.center
    low, high, n = boxes.low, boxes.high, weight.shape[1]
    below, above = offset_between(low, center)[0], offset_between(high, center)[1]
    positive = weight > 0
    least = weight * torch.where(positive, below, above)
    total = offset + least.sum(1)
    # As `box_below`: twice what n products, their sum and the four steps of `piece` below need.
    size = (weight.abs() * torch.maximum(below.abs(), above.abs())).sum(1) + offset.abs()
    error = gamma(2 * n + 32, torch.float64) * size + 4 * (n + 2) * smallest_normal(torch.float64)
    whole = attained(down(total - error), strict)
    rise = _RISE * (weight.abs() * (high - low)).sum(1) + 2 * error
    rest = total[:, None] - least
    at = center + (rise[:, None] - rest) / weight
    at = torch.minimum(torch.maximum(at, low), high)
    beyond = torch.where(positive, *offset_between(at, center))
    piece = attained(down(rest + weight * beyond - error[:, None]), strict)
    gain = torch.where(positive, high - at, at - low)
    cut = (piece > 0) & (weight != 0) & (gain > _WORTH * (high - low)) & ~boxes.void[:, None]
    void = (whole > 0) & ~boxes.void
    proved = torch.where(void, whole, torch.where(cut, piece, inf).amin(1))
    cut = cut & ~void[:, None]
    left = replace(boxes, low=torch.where(cut & ~positive, at, low), high=torch.where(cut & positive, at, high),
                   void=boxes.void | void, proved=torch.minimum(boxes.proved, proved))
    return left, RowCuts(k, forms.weight.shape[1], void, whole, cut, positive, at, piece)
