"""What a run of either analysis works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from absint.analyses.global_robustness.latents import drawn
from absint.analyses.global_robustness.pairs import JudgedPair, JudgedSet
from absint.numeric.statistics import divided


@dataclass(frozen=True, eq=False)
class GlobalTask:
    """groups: classifiers, each with a set of generators.  kind, seed: of the draws.  draws: of each class, at most.

    miss: what the intervals of one group's classes may miss together, 1 - level, exact.  shares: how many groups and radii that is
    divided by, so that all intervals of the run hold at once; 1 where each group and radius stands for itself.
    sequential: whether intervals hold at every count at once.  width: where a class is narrow enough, or None.
    """

    groups: tuple[JudgedSet, ...]
    kind: str
    seed: int
    draws: int
    miss: Fraction
    shares: int
    sequential: bool
    width: Fraction | None
    device: torch.device
    memory: int
    batch: int | None

    @property
    def pairs(self) -> tuple[JudgedPair, ...]:
        """Of all groups, by their places."""
        return tuple(pair for group in self.groups for pair in group.pairs)

    def rest(self, group: JudgedSet) -> Fraction:
        """What the interval of one class of a group may miss."""
        return divided(self.miss, len(group.pairs) * self.shares)

    def rest_of(self, pair: JudgedPair) -> Fraction:
        """The same."""
        return self.rest(self.groups[pair.group])

    def latents(self, pair: JudgedPair, first: int, count: int) -> Tensor:
        """(count, *shape) float64: draws of a pair's class."""
        found = drawn(self.kind, self.seed, pair.label, first, count, pair.size)
        return torch.from_numpy(found).double().reshape(count, *pair.graph.input.shape)

    def chosen(self, pair: JudgedPair, draws: list[int]) -> Tensor:
        """(n, *shape): single draws."""
        return torch.cat([self.latents(pair, draw, 1) for draw in draws])

    def named(self) -> Iterator[tuple[JudgedSet, JudgedPair]]:
        """Pairs with their groups."""
        for group in self.groups:
            for pair in group.pairs:
                yield group, pair
