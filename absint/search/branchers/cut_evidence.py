"""Trees of cuts as evidence: the path of every leaf that is closed, and the hints of the very bound that closed it.

A leaf is a row of the arrays of its batch until somebody asks for it: a search closes leaves by the ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.engine.evidence import COMBINATION, ROWS, CutHints, Leaf, Ratios, SplitStep
from absint.engine.evidence_records import Chosen, RowSlopes, doubles
from absint.engine.frozen.cuts import Cuts
from absint.engine.frozen.net import CaseSplits, Hints
from absint.engine.frozen.tables import MOST_CUTS
from absint.engine.recorder import Recorder
from absint.problem.spec import Spec

# Of the Python objects that a leaf consists of, about.
_OBJECTS = 1 << 10


class CutEvidence:
    """The leaves of the trees of one batch, by one score. Mutable. recorder: of the batch as a whole."""

    def __init__(self, recorder: Recorder, cuts: Cuts, spec: Spec) -> None:
        self.recorder, self._cuts = recorder, cuts
        self._places = _Places(cuts)
        self._rows = torch.bincount(spec.disjunct.cpu(), minlength=spec.disjuncts).tolist()
        self._new: list[tuple[list[int], _Closed]] = []
        self._kept: dict[int, list[tuple[_Closed, int]]] = {}
        self._bytes: dict[int, int] = {}
        self._crowded: set[int] = set()

    def begin(self) -> None:
        """Nodes are about to be worked on: what was said of some that were not finished is as if it had not been."""
        self._new = []

    def closed(self, tree: Tensor, path: Tensor, splits: CaseSplits, hints: Hints, share: Tensor, bound: Tensor) -> None:
        """Leaves (N,) that a bound closes, with what it was made with. share: (N, k) float64, those of the rows that were summed."""
        slopes = {name: self._places.chosen(name, hints.ratio, splits.instance) for name in self._places.turning}
        added, left = self._cuts.sparse(path, hints.hint), self._cuts.left(splits, path)
        codes, slope, more = (part.cpu().numpy() for part in (path.int(), left.float(), torch.where(path >= 0, added, 0.0)))
        self._new.append((tree.tolist(), _Closed(splits.instance.tolist(), codes, slope, more, doubles(share), bound.tolist(), slopes)))

    def commit(self) -> None:
        """What was said since `begin` holds."""
        for trees, closed in self._new:
            size = closed.bytes // max(1, len(trees)) + _OBJECTS
            for row, tree in enumerate(trees):
                if tree in self._crowded:
                    continue
                if not self.recorder.takes(size):
                    self.forget(tree)
                    self._crowded.add(tree)
                    continue
                self._bytes[tree] = self._bytes.get(tree, 0) + size
                self._kept.setdefault(tree, []).append((closed, row))
        self._new = []

    def forget(self, tree: int) -> None:
        """What is held of one tree."""
        self._kept.pop(tree, None)
        self.recorder.takes(-self._bytes.pop(tree, 0))

    def leaves(self, tree: int, disjunct: int) -> Sequence[Leaf] | None:
        """Of a tree, each with its path; None where there was no room for them. They are the caller's from now on."""
        if tree in self._crowded:
            return None
        self._bytes.pop(tree, 0)
        return [closed.leaf(row, self._rows[disjunct], self._places) for closed, row in self._kept.pop(tree, ())]


class _Places:
    """What entries and codes of cuts stand for."""

    def __init__(self, cuts: Cuts) -> None:
        self.cuts, self.net = cuts, cuts.net
        flat, steep = self.net.turning
        self._mask = self.net.open & (flat < steep)
        self._flat, self._range = flat, torch.where(self._mask, steep - flat, 1.0)
        parts = list(self.net.split.values())
        self.names = [one.name for one in parts]
        self.node = np.repeat(np.arange(len(parts)), [one.count for one in parts])
        self.entry = np.concatenate([one.entries.cpu().numpy() for one in parts]).astype(np.int32) if parts else np.zeros(0, np.int32)
        self.turning = [name for name, part in self.net.slices.items() if bool(self._mask[:, part].any())]
        self.step = cache(self._step)
        self._entries = cache(self._entries_of)

    def _step(self, code: int, instance: int) -> SplitStep:
        place = code // (2 * MOST_CUTS)
        operand, at = self.net.split[self.names[self.node[place]]].operand, float(self.cuts.at[instance, code // 2 % MOST_CUTS, place])
        return SplitStep(operand, int(self.entry[place]), at, 1 if code % 2 else -1)

    def chosen(self, name: str, ratio: Tensor, instance: Tensor) -> Chosen:
        """Ratios of the entries of one node whose lower line may turn, from their slopes (N, U)."""
        part = self.net.slices[name]
        own = instance if len(self._flat) > 1 else torch.zeros_like(instance)
        share = (ratio[:, part] - self._flat[own][:, part]) / self._range[own][:, part]
        found = Chosen.of_rows(self._mask[:, part], share, own)
        return replace(found, entry=self._entries(name))

    def _entries_of(self, name: str) -> Any:
        """Flat entries of the node, instance by instance."""
        part = self.net.slices[name]
        return self.entry[part][self._mask[:, part].nonzero()[:, 1].cpu().numpy()]


@dataclass(frozen=True, eq=False)
class _Closed:
    """Leaves of one batch of nodes. instance: (N,).  path: (N, depth) codes, -1 for none.

    slope, added: (N, depth), of the entries that these cut.  share: (N, k).  slopes: of the entries that no path cuts, too.
    """

    instance: list[int]
    path: np.ndarray
    slope: np.ndarray
    added: np.ndarray
    share: np.ndarray
    bound: list[float]
    slopes: Mapping[str, Chosen]

    @property
    def bytes(self) -> int:
        """Of its arrays."""
        return sum(a.nbytes for a in (self.path, self.slope, self.added, self.share, *(c.value for c in self.slopes.values())))

    def leaf(self, row: int, rows: int, places: _Places) -> Leaf:
        """One of them. rows: of its disjunct."""
        steps = tuple(places.step(code, self.instance[row]) for code in self.path[row].tolist() if code >= 0)
        return Leaf(self.bound[row], ROWS if rows == 1 else COMBINATION, steps, self.share[row, :rows], _Uncut(self, row, places),
                    _PathHints(self, row, places) if steps else None)


class _Uncut(RowSlopes):
    """The slopes of one leaf, but of the entries that its path cuts: these have hints."""

    __slots__ = ("_hints",)

    def __init__(self, closed: _Closed, row: int, places: _Places) -> None:
        super().__init__(closed.slopes, row)
        self._hints = _PathHints(closed, row, places)

    def __getitem__(self, node: str) -> Ratios:
        found = super().__getitem__(node)
        left = ~np.isin(found.entry, self._hints.entries(node))
        return Ratios(found.entry[left], found.ratio[left])


class _PathHints(Mapping[str, CutHints]):
    """The hints of one leaf, node by node, looked up when they are asked for."""

    __slots__ = ("_closed", "_places", "_row")

    def __init__(self, closed: _Closed, row: int, places: _Places) -> None:
        self._closed, self._row, self._places = closed, row, places

    def _cut(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the entries that the path cuts, each once, and where in the path."""
        path = self._closed.path[self._row]
        there = np.flatnonzero(path >= 0)
        place, first = np.unique(path[there] // (2 * MOST_CUTS), return_index=True)
        return place, there[first]

    def entries(self, node: str) -> np.ndarray:
        """Flat entries of a node that the path cuts."""
        place, _ = self._cut()
        found: np.ndarray = self._places.entry[place[self._places.node[place] == self._places.names.index(node)]]
        return found

    def __getitem__(self, node: str) -> CutHints:
        place, at = self._cut()
        mine = self._places.node[place] == self._places.names.index(node) if node in self._places.names else np.zeros(len(place), bool)
        if not mine.any():
            raise KeyError(node)
        row = self._row
        return CutHints(self._places.entry[place[mine]], self._closed.slope[row, at[mine]], self._closed.added[row, at[mine]])

    def __iter__(self) -> Iterator[str]:
        place, _ = self._cut()
        return iter([self._places.names[k] for k in np.unique(self._places.node[place]).tolist()])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<hints at {', '.join(self)}>"
