"""Cuts of entries by number: which there are, what of an entry's points they leave, and which are worth making."""

from __future__ import annotations

from functools import cached_property
from math import inf

import torch
from torch import Tensor

from absint.engine.frozen.net import CaseSplits, FrozenNet, chords
from absint.engine.frozen.tables import MOST_CUTS


class Cuts:
    """Of one frozen network. A cut's number is its entry's times `MOST_CUTS`, plus its place; a path's code is twice that, plus its side.

    Side 0: operands up to the cut.
    """

    def __init__(self, net: FrozenNet) -> None:
        self.net = net
        most = max((one.places.shape[1] for one in net.split.values()), default=1)
        shape = (most, net.entries)
        self.at = torch.full((net.ctx.batch, *shape), inf, dtype=torch.float64, device=net.device)
        self.first = torch.zeros(shape, dtype=torch.int8, device=net.device)
        self.last = torch.zeros(shape, dtype=torch.int8, device=net.device)
        self.there = torch.zeros(self.at.shape, dtype=torch.bool, device=net.device)      # places within the known box of an instance
        for name, one in net.split.items():
            part, here = net.slices[name], slice(one.places.shape[1])
            self.at[:, here, part] = one.places
            self.there[:, here, part] = (one.lower[:, None] < one.places) & (one.places < one.upper[:, None]) & one.open[:, None]
            for k, (first, last) in enumerate(zip(one.points.first, one.points.last, strict=True)):
                self.first[k, part], self.last[k, part] = first, last

    @property
    def able(self) -> Tensor:
        """(I,) bool: instances with an entry to be cut."""
        return self.there.flatten(1).any(1)

    def entry(self, number: Tensor) -> Tensor:
        """Of cuts."""
        return number // MOST_CUTS

    def cut(self, splits: CaseSplits, code: Tensor) -> CaseSplits:
        """Each node with one more cut, (N,) codes."""
        row = torch.arange(len(code), device=code.device)
        entry, place, upper = code // (2 * MOST_CUTS), code // 2 % MOST_CUTS, code % 2 == 1
        first, last, cut = splits.first.clone(), splits.last.clone(), splits.cut.clone()
        first[row, entry] = torch.where(upper, torch.maximum(first[row, entry], self.first[place, entry]), first[row, entry])
        last[row, entry] = torch.where(upper, last[row, entry], torch.minimum(last[row, entry], self.last[place, entry]))
        cut[row, entry] = True
        return CaseSplits(splits.instance, first, last, cut)

    def slope(self, splits: CaseSplits, parent: Tensor, number: Tensor, side: int) -> Tensor:
        """(M,): of the chord that is left of the entry of cut `number` (M,) at one side, for children of nodes `parent` (M,)."""
        entry, place = number // MOST_CUTS, number % MOST_CUTS
        first, last = splits.first[parent, entry], splits.last[parent, entry]
        if side:
            first = torch.maximum(first, self.first[place, entry])
        else:
            last = torch.minimum(last, self.last[place, entry])
        return self._chord(splits.instance[parent], entry, first, last)

    def left(self, splits: CaseSplits, path: Tensor) -> Tensor:
        """(N, depth): slopes of the chords that are left of the entries of paths (N, depth) of codes; 0 where there is no code."""
        entry = (path.long() // (2 * MOST_CUTS)).clamp(min=0)
        instance = splits.instance[:, None].expand_as(entry)
        ends = (end.gather(1, entry).flatten() for end in (splits.first, splits.last))
        return torch.where(path >= 0, self._chord(instance.flatten(), entry.flatten(), *ends).reshape(entry.shape), 0.0)

    def _chord(self, instance: Tensor, entry: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """(M,) slopes between two points of entries."""
        at, value = self._points
        own = instance if len(at) > 1 else torch.zeros_like(entry)
        at, value = at[own, :, entry][:, :, None], value[own, :, entry][:, :, None]
        return chords(at, value, first[:, None], last[:, None])[2][:, 0]

    @cached_property
    def _points(self) -> tuple[Tensor, Tensor]:
        """(I, C, U) each: places and values of all entries' points, the last ones repeated where an entry has fewer."""
        most = max(one.points.count for one in self.net.split.values())
        index = [torch.arange(most).clamp(max=one.points.count - 1).to(self.net.device) for one in self.net.split.values()]
        at = torch.cat([one.points.at[:, k] for one, k in zip(self.net.split.values(), index, strict=True)], 2)
        value = torch.cat([one.points.middle[:, k] for one, k in zip(self.net.split.values(), index, strict=True)], 2)
        return at.to(self.net.dtype), value.to(self.net.dtype)

    def splits(self, instance: Tensor, path: Tensor) -> CaseSplits:
        """Nodes from their paths (N, depth) of codes, -1 for none."""
        first, last = (end.repeat(len(path), 1) for end in self.net.limits)
        splits = CaseSplits(instance, first, last, torch.zeros_like(first, dtype=torch.bool))
        for step in path.long().unbind(1):
            real = (step >= 0).nonzero().flatten()
            if len(real) == len(step):
                splits = self.cut(splits, step)
            elif len(real):
                some = self.cut(splits.take(real), step[real])
                first, last, cut = splits.first.clone(), splits.last.clone(), splits.cut.clone()
                first[real], last[real], cut[real] = some.first, some.last, some.cut
                splits = CaseSplits(instance, first, last, cut)
        return splits

    def dense(self, path: Tensor, value: Tensor) -> Tensor:
        """(N, U): each cut's value (N, depth) at its entry, zero elsewhere; of an entry that is cut more than once, the last one's."""
        if not path.shape[1]:
            return value.new_zeros(len(path), self.net.entries, dtype=self.net.dtype)
        entry = torch.where(path >= 0, path.long() // (2 * MOST_CUTS), self.net.entries)
        # Which one writes last is known of places alone: a scatter of values leaves it open on a device.
        last = torch.full((len(path), self.net.entries + 1), -1, dtype=torch.int64, device=value.device)
        step = torch.arange(path.shape[1], device=value.device).expand_as(entry)
        last = last.scatter_reduce_(1, entry, step, "amax")[:, : self.net.entries]
        return torch.where(last >= 0, value.gather(1, last.clamp(min=0)), 0.0).to(self.net.dtype)

    def sparse(self, path: Tensor, value: Tensor) -> Tensor:
        """(N, depth) from (N, U)."""
        return value.gather(1, (path.long() // (2 * MOST_CUTS)).clamp(min=0)).float()

    def best(self, score: Tensor, operand: Tensor, splits: CaseSplits, count: int) -> Tensor:
        """(N, count) int32: the cuts of the highest scores (N, U) > 0, each entry's nearest to its operand (N, U); -1 for no more."""
        there = self.there if len(self.there) == 1 else self.there[splits.instance]
        # A cut is one where points are left on either side of it.
        left = there & (self.first[None] > splits.first[:, None]) & (self.last[None] < splits.last[:, None])
        if left.shape[1] == 1:
            place = torch.zeros_like(score, dtype=torch.int64)
        else:
            reference = self._references if len(self._references) == 1 else self._references[splits.instance]
            at = self.at if len(self.at) == 1 else self.at[splits.instance]
            far = (at - (operand + reference)[:, None]).abs()
            place = torch.where(left, far, inf).argmin(1)
        score = torch.where(left.any(1) & (score > 0), score, -inf)
        count_ = min(count, score.shape[1])
        values, entry = score.topk(count_, 1)
        number = torch.where(values > -inf, entry * MOST_CUTS + place.gather(1, entry), -1).to(torch.int32)
        return torch.nn.functional.pad(number, (0, count - count_), value=-1)

    @property
    def _references(self) -> Tensor:
        """(I, U): of the operands."""
        reference = self.net.ctx.reference
        return torch.cat([reference[one.operand].flatten(1)[:, one.entries] for one in self.net.split.values()], 1).to(self.net.dtype)
