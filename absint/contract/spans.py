"""Whole numbers as spans: which items a run was asked for takes a few numbers, not one each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Spans:
    """Ascending, apart from each other: (first, behind the last)."""

    pairs: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(numbers: Iterable[int]) -> Spans:
        """Of single numbers, in any order."""
        return Spans.joined((number, number + 1) for number in sorted(numbers))

    @staticmethod
    def joined(pairs: Iterable[tuple[int, int]]) -> Spans:
        """Spans that may touch and overlap, as one."""
        found: list[tuple[int, int]] = []
        for first, behind in sorted(pairs):
            if behind <= first:
                raise ValueError(f"an empty span: {first}, {behind}")
            if found and first <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], behind))
            else:
                found.append((first, behind))
        return Spans(tuple(found))

    def with_(self, other: Spans) -> Spans:
        """All numbers of both."""
        return Spans.joined((*self.pairs, *other.pairs))

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.pairs, (number, float("inf"))) - 1
        return place >= 0 and number < self.pairs[place][1]

    def __len__(self) -> int:
        return sum(behind - first for first, behind in self.pairs)

    def __iter__(self) -> Iterator[int]:
        for first, behind in self.pairs:
            yield from range(first, behind)

    def __str__(self) -> str:
        return ",".join(str(first) if behind == first + 1 else f"{first}:{behind}" for first, behind in self.pairs)
