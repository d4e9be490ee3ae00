"""What recorders keep of a batch, and which of it proves most of one instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.engine.evidence import Leaf, NeuronBounds, Ratios, SlopeTable
from absint.problem.spec import ATTAINED


@dataclass(frozen=True, eq=False)
class Chosen:
    """Free slopes of rows at one node, flat: a row has the entries from `begin` and the values from `at` on, `count` of each.

    entry, value: int32, float32.  begin, at, count: (R,) int64. Rows of an instance share its entries.
    """

    entry: np.ndarray
    value: np.ndarray
    begin: np.ndarray
    at: np.ndarray
    count: np.ndarray

    @staticmethod
    def of_rows(mask: Tensor, values: Tensor, instance: Tensor) -> Chosen:
        """mask: (batch, size) bool, entries that have a choice.  values: (R, size).  instance: (R,)."""
        entry, begin, count = _entries(mask, instance)
        return Chosen(entry, _single(values[mask[instance]]), begin, count.cumsum() - count, count)

    @staticmethod
    def of_instances(mask: Tensor, values: Tensor, instance: Tensor) -> Chosen:
        """The same where all rows of an instance have its values (batch, size)."""
        entry, begin, count = _entries(mask, instance)
        return Chosen(entry, _single(values[mask]), begin, begin, count)

    def one(self, row: int) -> Ratios:
        """Of one row, (n,); views."""
        begin, at, count = int(self.begin[row]), int(self.at[row]), int(self.count[row])
        return Ratios(self.entry[begin : begin + count], self.value[at : at + count])

    def ratios(self, rows: np.ndarray) -> Ratios:
        """Of rows of one instance, (k, n)."""
        begin, count = int(self.begin[rows[0]]), int(self.count[rows[0]])
        return Ratios(self.entry[begin : begin + count], self.value[self.at[rows][:, None] + np.arange(count)])


def _entries(mask: Tensor, instance: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chosen entries of all instances in a row; where those of each row start, and how many they are."""
    entry = mask.nonzero()[:, 1].to("cpu", torch.int32).numpy()
    count, slots = mask.sum(1).cpu().numpy(), instance.cpu().numpy()
    return entry, (count.cumsum() - count)[slots], count[slots]


def _single(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().to("cpu", torch.float32).numpy()
    return found


def doubles(values: Tensor) -> np.ndarray:
    """As float64."""
    found: np.ndarray = values.detach().to("cpu", torch.float64).numpy()
    return found


class RowSlopes(Mapping[str, Ratios]):
    """The slopes of one row of a batch, looked up when they are asked for: a search closes leaves by the ten thousand."""

    __slots__ = ("_chosen", "_row")

    def __init__(self, chosen: Mapping[str, Chosen], row: int) -> None:
        self._chosen, self._row = chosen, row

    def __getitem__(self, node: str) -> Ratios:
        return self._chosen[node].one(self._row)

    def __iter__(self) -> Iterator[str]:
        return iter(self._chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def __repr__(self) -> str:
        return f"<slopes at {', '.join(self)}>"


@dataclass(frozen=True, eq=False)
class RecordedRows:
    """RecordedRows of rows of many instances. number: a row of the property, a disjunct, or an entry of `node`."""

    by: str
    stage: str
    position: np.ndarray
    number: np.ndarray
    bound: np.ndarray
    slopes: Mapping[str, Chosen] | None = None
    share: np.ndarray | None = None
    node: str = ""
    side: int = 0

    def of(self, position: int) -> np.ndarray:
        """Its rows of one instance."""
        ascending, order = self._order
        first, last = np.searchsorted(ascending, (position, position + 1))
        found: np.ndarray = np.arange(first, last) if order is None else order[first:last]
        return found

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The positions in ascending order, and where they are."""
        if bool((np.diff(self.position) >= 0).all()):
            return self.position, None
        order = np.argsort(self.position, kind="stable")
        return self.position[order], order

    def leaf(self, row: int, bound: float, rows: np.ndarray) -> Leaf:
        """One of its rows, or sums of rows, as a leaf. rows: numbers of the disjunct's rows."""
        share = (rows == self.number[row]).astype(np.float64) if self.share is None else self.share[row, : len(rows)]
        slopes = None if self.slopes is None else RowSlopes(self.slopes, row)
        return Leaf(bound, self.by, (), share, slopes, stage=self.stage)

    def refuting(self, strict: np.ndarray) -> np.ndarray:
        """(R,) bounds that refute where they are > 0: one of 0 of a strict row counts. strict: of the property's rows."""
        bound = np.where(np.isnan(self.bound), -inf, self.bound)
        return bound if self.share is not None else np.where(strict[self.number] & (bound >= 0), np.maximum(bound, ATTAINED), bound)

    def table(self, rows: np.ndarray) -> SlopeTable | None:
        """The slopes of some rows of one instance."""
        return None if self.slopes is None else {name: chosen.ratios(rows) for name, chosen in self.slopes.items()}


@dataclass(frozen=True, eq=False)
class Whole:
    """What is proved of one disjunct, or of all of them (None), by leaves that cover the region."""

    position: int
    disjunct: int | None
    leaves: tuple[Leaf, ...]


Item = RecordedRows | Whole | tuple[int, NeuronBounds]


@dataclass(frozen=True, eq=False)
class _Row:
    """One of the bounds of an item."""

    item: RecordedRows
    row: int


class BestOfInstance:
    """The best of what is recorded of one instance. Mutable."""

    def __init__(self, position: int, disjunct: np.ndarray, strict: np.ndarray) -> None:
        self.position, self.disjunct, self.strict = position, disjunct, strict
        count = int(disjunct.max()) + 1 if len(disjunct) else 0
        self.bound = np.full(count, -inf)
        self.found: list[tuple[Leaf, ...] | _Row] = [()] * count
        self.inner: list[NeuronBounds] = []

    def look(self, item: Item) -> None:
        """Keep what is better than before; of equals the one with slopes, which the engine records first."""
        if isinstance(item, tuple):
            if item[0] == self.position:
                self.inner.append(item[1])
        elif isinstance(item, Whole):
            if item.position == self.position:
                for d in range(len(self.bound)) if item.disjunct is None else (item.disjunct,):
                    self._offer(d, min(leaf.bound for leaf in item.leaves), item.leaves)
        elif len(rows := item.of(self.position)):
            if item.node:
                self._neurons(item, rows)
                return
            number = item.number[rows]
            places = number if item.share is not None else self.disjunct[number]
            for row, d, bound in zip(rows.tolist(), places.tolist(), item.refuting(self.strict)[rows].tolist(), strict=True):
                self._offer(d, bound, _Row(item, row))

    def _offer(self, disjunct: int, bound: float, what: tuple[Leaf, ...] | _Row) -> None:
        if bound > self.bound[disjunct]:
            self.bound[disjunct], self.found[disjunct] = bound, what

    def _neurons(self, item: RecordedRows, rows: np.ndarray) -> None:
        rows = rows[item.bound[rows] > -inf]
        if len(rows):
            side = np.full(len(rows), item.side, dtype=np.int8)
            self.inner.append(NeuronBounds(item.node, item.number[rows], side, item.side * item.bound[rows], item.table(rows),
                                           stage=item.stage))

    def leaves(self) -> list[Leaf]:
        """Of every disjunct that something is proved of."""
        out: list[Leaf] = []
        for d, what in enumerate(self.found):
            if isinstance(what, _Row):
                leaf = what.item.leaf(what.row, float(self.bound[d]), np.flatnonzero(self.disjunct == d))
                out.append(replace(leaf, disjunct=d))
            else:
                out += [replace(leaf, disjunct=d) for leaf in what]
        return out

    def neurons(self) -> list[NeuronBounds]:
        """For every entry and side the best one."""
        groups: dict[str, list[NeuronBounds]] = {}
        for one in self.inner:
            groups.setdefault(one.node, []).append(one)
        return [part for ones in groups.values() for part in _better(ones)]


def _better(groups: list[NeuronBounds]) -> list[NeuronBounds]:
    """Of one node's bounds, those that no other one is better than."""
    key = np.concatenate([one.entry * 2 + (one.side > 0) for one in groups])
    value = np.concatenate([one.side * one.bound for one in groups])
    order = np.lexsort((value, key))
    last = np.ones(len(order), dtype=bool)
    last[:-1] = key[order][1:] != key[order][:-1]
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[last]] = True
    parts = np.split(chosen, np.cumsum([len(one) for one in groups])[:-1])
    return [one.take(np.flatnonzero(part)) for one, part in zip(groups, parts, strict=True) if part.any()]


def best_rows(items: list[Item], strict: np.ndarray, slots: list[int]) -> list[Leaf]:
    """For some instances of a batch of one disjunct, the best of its rows and sums. strict: of its rows."""
    offered = [item for item in items if isinstance(item, RecordedRows) and not item.node and len(item.position)]
    size = max(int(item.position.max()) for item in offered) + 1
    best, which, place = np.full(size, -inf), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for number, item in enumerate(offered):
        bound = item.refuting(strict)
        order = np.lexsort((bound, item.position))
        last = order[np.append(np.diff(item.position[order]) != 0, True)]
        here, value = item.position[last], bound[last]
        better = value > best[here]
        best[here[better]], which[here[better]], place[here[better]] = value[better], number, last[better]
    rows = np.arange(len(strict))
    return [offered[which[slot]].leaf(int(place[slot]), float(best[slot]), rows) for slot in slots]
