"""Hints of a batch of case splits, ascending: slopes of lower lines, multipliers of splits, shares of a disjunct's rows.

Sources: Kingma and Ba, ICLR 2015, for the steps; Wang et al., NeurIPS 2021 (Beta-CROWN); Arora et al., Theory of Computing 8 (2012),
for the shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from absint.engine.frozen.net import Carried, CaseSplits, FrozenNet, Hints, WalkedBack

_FIRST, _SECOND = 0.5, 0.9      # of the moments: few steps
_TINY = 1e-12


@dataclass(frozen=True)
class ClimbPace:
    """steps: after the first bound.  slopes: rate of those, in [0, 1].  multipliers: of hints, times the row's mean |A|.  decay: a step.

    shares: exponent of the first step of a disjunct's shares.
    """

    steps: int = 4
    slopes: float = 0.3
    multipliers: float = 1.0
    decay: float = 0.9
    shares: float = 2.0


@dataclass(frozen=True, eq=False)
class NodeRows:
    """The rows of the nodes' disjuncts at the output. weight: (N, k, outputs), base: (N, k) values at the reference.

    bias: (N, k).  inside: (N, k) bool, those that are rows.
    """

    weight: Tensor
    base: Tensor
    bias: Tensor
    inside: Tensor

    def take(self, index: Tensor) -> NodeRows:
        """Some of them."""
        return NodeRows(self.weight[index], self.base[index], self.bias[index], self.inside[index])

    def mixed(self, share: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """(N, *shape) and (N,)."""
        if share.shape[1] == 1:
            return self.weight[:, 0].reshape(-1, *shape), self.base[:, 0]
        return (share[..., None] * self.weight).sum(1).reshape(-1, *shape), (share * self.base).sum(1)


@dataclass(frozen=True, eq=False)
class Climbed:
    """The best bounds (N,) found and their hints; the last walks, from which splits are scored."""

    bound: Tensor
    hints: Hints
    walked: WalkedBack
    carried: Carried


def bounded(net: FrozenNet, rows: NodeRows, splits: CaseSplits, hints: Hints) -> WalkedBack:
    """One walk back."""
    return net.back(*rows.mixed(hints.share, net.graph.output.shape), splits, hints)


def climb(net: FrozenNet, rows: NodeRows, splits: CaseSplits, hints: Hints, pace: ClimbPace) -> Climbed:
    """`pace.steps` steps from the given hints; the first bound is that of the hints themselves."""
    ascent = _Ascent(net, splits, pace)
    best = hints
    walked = bounded(net, rows, splits, hints)
    highest = walked.bound
    for step in range(pace.steps):
        carried = net.forward(walked, splits)
        hints = ascent(step, hints, walked, carried, rows)
        walked = bounded(net, rows, splits, hints)
        better = walked.bound > highest
        highest, best = torch.where(better, walked.bound, highest), hints.where(better, best)
    return Climbed(highest, best, walked, net.forward(walked, splits))


class _Ascent:
    """Steps of one climb. Mutable."""

    def __init__(self, net: FrozenNet, splits: CaseSplits, pace: ClimbPace) -> None:
        self.net, self.splits, self.pace = net, splits, pace
        self.flat, self.steep = net.turning
        if len(self.flat) > 1:
            self.flat, self.steep = self.flat[splits.instance], self.steep[splits.instance]
        self._moments: list[tuple[Tensor, Tensor]] | None = None
        self._scale: Tensor | None = None

    def __call__(self, step: int, hints: Hints, walked: WalkedBack, carried: Carried, rows: NodeRows) -> Hints:
        pace, splits, cut = self.pace, self.splits, self.splits.cut
        first, last = self.net.limits
        # Without a hint every point that is left is as low: only beyond them there is something to gain.
        nearest = torch.maximum(torch.minimum(carried.operand, walked.end), walked.begin)
        away = carried.operand - torch.where(cut & (hints.hint == 0), nearest, walked.at)
        # The slope of a line counts where A meets it from below; a hint of its own is a slope of no line.
        turns = torch.where(~cut & (walked.adjoint > 0), walked.adjoint * away, 0.0)
        pulls = torch.where(cut, away, 0.0)
        if self._scale is None:
            size = walked.adjoint.abs()
            self._scale = size.sum(1, keepdim=True) / (size > 0).sum(1, keepdim=True).clamp(min=1)
        one, two = self._directions(step, (turns, pulls))
        rate = pace.decay**step
        ratio = torch.maximum(torch.minimum(hints.ratio + pace.slopes * rate * (self.steep - self.flat) * one, self.steep), self.flat)
        hint = hints.hint + pace.multipliers * rate * self._scale * two
        # A hint pushes away from a cut: the other sign would push from an end of the root, and was measured to mislead.
        below, above = splits.last < last, splits.first > first
        hint = torch.where(cut & (above | (hint > 0)) & (below | (hint < 0)), hint, 0.0)
        return Hints(ratio, hint, self._shared(hints.share, carried, rows, rate))

    def _directions(self, step: int, gradients: tuple[Tensor, ...]) -> list[Tensor]:
        old = self._moments or [(torch.zeros_like(g), torch.zeros_like(g)) for g in gradients]
        new = [(_FIRST * m + (1 - _FIRST) * g, _SECOND * v + (1 - _SECOND) * g * g) for (m, v), g in zip(old, gradients, strict=True)]
        self._moments = new
        factor = (1 - _SECOND ** (step + 1)) ** 0.5 / (1 - _FIRST ** (step + 1))
        return [factor * m / (v.sqrt() + _TINY) for m, v in new]

    def _shared(self, share: Tensor, carried: Carried, rows: NodeRows, rate: float) -> Tensor:
        """Grown where a row is above the mean, shrunk where it is below."""
        if share.shape[1] == 1:
            return share
        each = torch.einsum("nko,no->nk", rows.weight, carried.output) + rows.bias
        above = torch.where(share > 0, each - (share * each).sum(1, keepdim=True), 0.0)
        size = above.abs().amax(1, keepdim=True)
        grown = share * (self.pace.shares * rate * above / torch.where(size > 0, size, 1.0)).exp()
        grown = grown / grown.sum(1, keepdim=True)
        return torch.where(grown.isfinite().all(1, keepdim=True), grown, share)
