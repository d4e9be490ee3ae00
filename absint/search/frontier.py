"""The one frontier: open nodes of many trees, of many instances and of every kind of division, in one place.

A tree proves one disjunct of one instance by one kind of division. Its leaves cover what its root stands for: each is open, or
closed by a bound of its own, or held: nothing can be done about it. What a tree proves is the least of all their bounds, at any
time; nodes that are being worked on count as open, so that whatever stops the work, nothing is proved that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.errors import InternalError

_LEAST_CAPACITY = 64
# What fills rows of a column that were narrower when they came.
_NOTHING = -1


@dataclass(frozen=True, eq=False)
class Nodes:
    """Some nodes of one kind, first axis N. tree: (N,) int64.  bound: (N,) float64, proved of the tree's disjunct where a node's
    assumptions hold.  columns: (N, ...) each, what the brancher keeps of a node.

    `tree` and `bound` are on the CPU, columns where they are worked on. Columns of two axes may differ in width: -1 fills them up.
    """

    tree: Tensor
    bound: Tensor
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.tree)

    def take(self, index: Tensor) -> Nodes:
        """Those at `index`, or in the mask, of the CPU."""
        # Numbers even of a mask, copied once a device: to count a mask's there is to wait for it, and so is every copy.
        index = index.nonzero().flatten() if index.dtype == torch.bool else index
        there = {device: index.to(device) for device in {column.device for column in self.columns.values()}}
        columns = {name: column[there[column.device]] for name, column in self.columns.items()}
        return Nodes(self.tree[index], self.bound[index], columns)

    @staticmethod
    def joined(parts: Sequence[Nodes]) -> Nodes:
        """One after the other; at least one."""
        columns = {name: torch.cat(_of_one_width([part.columns[name] for part in parts])) for name in parts[0].columns}
        return Nodes(torch.cat([p.tree for p in parts]), torch.cat([p.bound for p in parts]), columns)

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(t.numel() * t.element_size() for t in (self.tree, self.bound, *self.columns.values()))


class Frontier:
    """Open nodes in the order of their arrival, and the bounds of all that is no longer open. Mutable.

    kinds, trees: how many; a tree is a pair of both.  memory: bytes for open nodes.
    What is taken out stays counted until `settle` says what became of it, or `restore` that nothing did.
    """

    def __init__(self, kinds: int, trees: int, memory: float = inf) -> None:
        self.memory = memory
        # Of trees that were never planted nothing is proved.
        self.left = torch.full((kinds, trees), -inf, dtype=torch.float64)  # the least bound of leaves that are closed or held
        self.held = torch.zeros((kinds, trees), dtype=torch.bool)          # whether some leaf is held
        self._open: list[_Pool | None] = [None] * kinds
        self._out: list[Nodes | None] = [None] * kinds

    def _nodes(self, kind: int) -> list[Nodes]:
        pool, out = self._open[kind], self._out[kind]
        return [nodes for nodes in (None if pool is None else pool.nodes, out) if nodes is not None and len(nodes)]

    def open(self, kind: int) -> Nodes | None:
        """All open nodes of a kind, oldest first, those under work last; None where there never was one."""
        found = self._nodes(kind)
        return Nodes.joined(found) if found else None

    @property
    def counts(self) -> Tensor:
        """(kinds, trees) open nodes."""
        trees = self.left.shape[1]
        return torch.stack([sum((torch.bincount(n.tree, minlength=trees) for n in self._nodes(k)), torch.zeros(trees, dtype=torch.int64))
                            for k in range(len(self.left))])

    @property
    def lower(self) -> Tensor:
        """(kinds, trees) what each tree proves of its disjunct: the least bound over all of its leaves."""
        least = self.left.clone()
        for kind, row in enumerate(least):
            for nodes in self._nodes(kind):
                row.scatter_reduce_(0, nodes.tree, nodes.bound, "amin")
        return least

    def waiting(self, kind: int) -> Nodes | None:
        """Open nodes of a kind that nobody works on: a view, oldest first; None where there never was one."""
        pool = self._open[kind]
        return None if pool is None else pool.nodes

    def raised(self, kind: int, places: Tensor, bound: Tensor) -> None:
        """More is proved of the nodes at `places` (k,) of `waiting`; NaN is nothing."""
        nodes = self.waiting(kind)
        assert nodes is not None
        nodes.bound[places] = torch.fmax(nodes.bound[places], torch.nan_to_num(bound, nan=-inf, posinf=inf, neginf=-inf))

    def least_column(self, kind: int, name: str) -> Tensor:
        """(trees,) float64: the least of a column (N,) over the open nodes of each tree of a kind; inf where there are none."""
        least = torch.full((self.left.shape[1],), inf, dtype=torch.float64)
        for nodes in self._nodes(kind):
            least.scatter_reduce_(0, nodes.tree, nodes.columns[name].cpu().double(), "amin")
        return least

    @property
    def bytes(self) -> int:
        """Of the open nodes."""
        return sum(nodes.bytes for kind in range(len(self.left)) for nodes in self._nodes(kind))

    @property
    def full(self) -> bool:
        """Whether the open nodes take the memory there is for them."""
        return self.bytes >= self.memory

    def plant(self, kind: int, roots: Nodes) -> None:
        """The roots of trees, one each."""
        self.left[kind, roots.tree] = inf
        self.held[kind, roots.tree] = False
        self._push(kind, roots)

    def newest(self, kind: int, trees: Tensor, count: int) -> Nodes | None:
        """Take out up to `count` nodes of the trees in the mask (trees,), about as many of each, the newest first."""
        pool = self._open[kind]
        if pool is None:
            return None
        places = trees[pool.nodes.tree].nonzero().flatten().flip(0)
        if len(places) > count:
            mine = pool.nodes.tree[places]
            order = mine.argsort(stable=True)
            rank = torch.empty_like(order)
            rank[order] = torch.arange(len(order)) - torch.searchsorted(mine[order], mine[order])
            places = places[rank.argsort(stable=True)[:count]]
        return self._taken(kind, places)

    def least(self, kind: int, tree: int, count: int = 1) -> Nodes | None:
        """Take out up to `count` nodes of one tree, those of the least bounds, newer ones first among equals."""
        pool = self._open[kind]
        if pool is None:
            return None
        places = (pool.nodes.tree == tree).nonzero().flatten().flip(0)
        return self._taken(kind, places[pool.nodes.bound[places].argsort(stable=True)[:count]])

    def settle(self, kind: int, opened: Nodes | None, closed: tuple[Tensor, Tensor] | None, held: tuple[Tensor, Tensor] | None) -> None:
        """What became of the nodes taken out: children, and (tree (k,), bound (k,)) of leaves. Together they cover these nodes."""
        for leaves in (closed, held):
            if leaves is not None:
                self.left[kind].scatter_reduce_(0, leaves[0], torch.nan_to_num(leaves[1], nan=-inf, posinf=inf, neginf=-inf), "amin")
        if held is not None:
            self.held[kind, held[0]] = True
        if opened is not None:
            self._push(kind, opened)
        self._out[kind] = None

    def restore(self, kind: int) -> None:
        """Put back what was taken out."""
        out, self._out[kind] = self._out[kind], None
        if out is not None:
            self._push(kind, out)

    def drop(self, trees: Tensor) -> None:
        """Forget the open nodes of the trees in the mask (trees,), whatever their kind: they prove nothing any more."""
        for kind, pool in enumerate(self._open):
            if pool is not None and bool(trees[pool.nodes.tree].any()):
                pool.keep(~trees[pool.nodes.tree])
            self.left[kind, trees] = -inf

    def _push(self, kind: int, nodes: Nodes) -> None:
        if len(nodes):
            # NaN is no bound.
            nodes = Nodes(nodes.tree, torch.nan_to_num(nodes.bound, nan=-inf, posinf=inf, neginf=-inf), nodes.columns)
            pool = self._open[kind]
            self._open[kind] = pool = _Pool(nodes) if pool is None else pool
            pool.push(nodes)

    def _taken(self, kind: int, places: Tensor) -> Nodes | None:
        pool = self._open[kind]
        if self._out[kind] is not None:
            raise InternalError("E-INTERNAL", "what was taken out of the frontier before is not settled")
        if pool is None or not len(places):
            return None
        self._out[kind] = taken = pool.nodes.take(places)
        left = torch.ones(len(pool.nodes), dtype=torch.bool)
        left[places] = False
        pool.keep(left)
        return taken


class _Pool:
    """Nodes in arrays that grow. Mutable."""

    def __init__(self, like: Nodes) -> None:
        self._count = 0
        self._store = self._room(like, _LEAST_CAPACITY)

    @property
    def nodes(self) -> Nodes:
        """A view of all, oldest first."""
        return _part(self._store, 0, self._count)

    def push(self, nodes: Nodes) -> None:
        """At the end."""
        need = self._count + len(nodes)
        wider = any(here.shape[1:] != new.shape[1:] for here, new in _pairs(self._store, nodes))
        if wider or len(self._store) < need:
            old = self.nodes
            self._store = self._room(Nodes.joined([_part(old, 0, 0), _part(nodes, 0, 0)]), max(len(self._store), need + need // 2))
            _fill(self._store, 0, old)
        _fill(self._store, self._count, nodes)
        self._count = need

    def keep(self, mask: Tensor) -> None:
        """Only those in the mask; what is before the first gap stays where it is."""
        if bool(mask.all()):
            return
        first = int(mask.to(torch.int8).argmin())
        later = self._store.take(mask[first:].nonzero().flatten() + first)
        _fill(self._store, first, later)
        self._count = first + len(later)

    @staticmethod
    def _room(like: Nodes, capacity: int) -> Nodes:
        def room(column: Tensor) -> Tensor:
            return torch.empty((capacity, *column.shape[1:]), dtype=column.dtype, device=column.device)

        return Nodes(room(like.tree), room(like.bound), {name: room(column) for name, column in like.columns.items()})


def _fill(store: Nodes, start: int, nodes: Nodes) -> None:
    """Write nodes into the store's rows from `start` on."""
    for here, new in _pairs(store, nodes):
        rows = here[start : start + len(nodes)]
        if rows.shape == new.shape:
            rows.copy_(new)
        else:
            rows.fill_(_NOTHING)
            rows[:, : new.shape[1]] = new


def _part(nodes: Nodes, start: int, end: int) -> Nodes:
    return Nodes(nodes.tree[start:end], nodes.bound[start:end], {name: c[start:end] for name, c in nodes.columns.items()})


def _pairs(one: Nodes, two: Nodes) -> list[tuple[Tensor, Tensor]]:
    return [(one.tree, two.tree), (one.bound, two.bound), *((one.columns[name], two.columns[name]) for name in one.columns)]


def _of_one_width(columns: list[Tensor]) -> list[Tensor]:
    width = max(c.shape[1] for c in columns) if columns[0].dim() == 2 else 0
    return [c if c.dim() != 2 or c.shape[1] == width else
            torch.nn.functional.pad(c, (0, width - c.shape[1]), value=_NOTHING) for c in columns]
