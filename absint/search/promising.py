"""Points that a search came by and that look promising: of each instance the few nearest to a violation, until they are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Points that wait before they are sorted in: few calls bring many, many calls bring one.
_WAITING = 512


@dataclass(frozen=True, eq=False)
class _Points:
    """instance, focus: (P,) int64.  depth: (P,) float64, all on the CPU.  points: (P, *shape), anywhere."""

    instance: Tensor
    depth: Tensor
    points: Tensor
    focus: Tensor

    def take(self, index: Tensor) -> _Points:
        there = index.to(self.points.device)
        return _Points(self.instance[index], self.depth[index], self.points[there], self.focus[index])

    @staticmethod
    def joined(parts: list[_Points]) -> _Points:
        return _Points(*(torch.cat([getattr(part, name) for part in parts]) for name in ("instance", "depth", "points", "focus")))


class Promising:
    """`kept` points of each instance. What is kept depends on the instance's own points and their order alone. Mutable."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self._parts: list[_Points] = []
        self._waiting = 0

    def add(self, instance: Tensor, depth: Tensor, points: Tensor, focus: Tensor | None = None) -> None:
        """Points (P, *shape) of the instances (P,), the less deep the better. focus: the disjunct each belongs to; None for the nearest."""
        focus = torch.full_like(instance, -1) if focus is None else focus
        found = _Points(instance, depth, points.detach(), focus)
        self._parts.append(found.take(_first(instance, depth, self.kept)))
        self._waiting += len(self._parts[-1].depth)
        if self._waiting > _WAITING:
            self._settle()

    def waiting(self, batch: int) -> Tensor:
        """(batch,) bool: instances that have any."""
        out = torch.zeros(batch, dtype=torch.bool)
        for part in self._parts:
            out[part.instance] = True
        return out

    def taken(self, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the instances in the mask (batch,): which have any (g,), their points (g, kept, *shape), repeated to fill up, and the
        disjuncts (g, kept) they are after. They are gone from here; those of instances outside the mask stay.
        """
        self._settle()
        found = self._parts[0]
        mine = wanted[found.instance]
        self._parts = [found.take((~mine).nonzero().flatten())]
        self._waiting = 0
        found = found.take(mine.nonzero().flatten())
        instance, count = found.instance.unique_consecutive(return_counts=True)
        place = (count.cumsum(0) - count)[:, None] + torch.arange(self.kept) % count[:, None]
        return instance, found.points[place.to(found.points.device)], found.focus[place]

    def _settle(self) -> None:
        every = _Points.joined(self._parts)
        self._parts = [every.take(_first(every.instance, every.depth, self.kept))]
        self._waiting = 0


def _first(instance: Tensor, depth: Tensor, kept: int) -> Tensor:
    """(k,): positions of the `kept` least of each instance, in order of both, each depth once: an equal one is mostly the same point."""
    order = depth.argsort(stable=True)
    order = order[instance[order].argsort(stable=True)]
    mine, deep = instance[order], depth[order]
    again = torch.zeros_like(mine, dtype=torch.bool)
    again[1:] = (mine[1:] == mine[:-1]) & (deep[1:] == deep[:-1])
    order = order[~again & (deep < torch.inf)]
    mine = instance[order]
    _, count = mine.unique_consecutive(return_counts=True)
    begin = (count.cumsum(0) - count).repeat_interleave(count)
    return order[torch.arange(len(order)) - begin < kept]
