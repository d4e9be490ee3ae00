"""The frontier against a plain list of nodes: what is open, what is proved, and what no accident may prove."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
import torch

from absint.errors import InternalError
from absint.search.frontier import Frontier, Nodes

KINDS, TREES = 2, 5


class Plain:
    """The same in lists and dictionaries: a node is (tree, bound, name), oldest first. Mutable."""

    def __init__(self):
        self.left = {(kind, tree): -inf for kind in range(KINDS) for tree in range(TREES)}
        self.held = set()
        self.open = {kind: [] for kind in range(KINDS)}
        self.out = {kind: [] for kind in range(KINDS)}

    def lower(self, kind, tree):
        return min([self.left[kind, tree], *(bound for t, bound, _ in self.open[kind] + self.out[kind] if t == tree)])

    def count(self, kind, tree):
        return sum(t == tree for t, _, _ in self.open[kind] + self.out[kind])

    def take(self, kind, chosen):
        self.out[kind] = chosen
        self.open[kind] = [node for node in self.open[kind] if node not in chosen]

    def newest(self, kind, trees, count):
        """About as many of each tree: all newest ones first, then all second newest ones."""
        ranked, seen = [], {}
        for place, node in enumerate(reversed(self.open[kind])):
            if node[0] in trees:
                seen[node[0]] = seen.get(node[0], -1) + 1
                ranked.append((seen[node[0]], place, node))
        if len(ranked) <= count:
            return [node for _, _, node in ranked]
        return [node for _, _, node in sorted(ranked, key=lambda one: one[0])[:count]]

    def least(self, kind, tree, count):
        mine = [node for node in reversed(self.open[kind]) if node[0] == tree]
        return sorted(mine, key=lambda node: node[1])[:count]


def proper(bound):
    return -inf if bound != bound else bound


def nodes(parts, width=3):
    """From (tree, bound, name); the path is the name, so often, in a column of this width."""
    path = torch.tensor([[name] * width for _, _, name in parts], dtype=torch.int32).reshape(len(parts), width)
    bound = torch.tensor([bound for _, bound, _ in parts], dtype=torch.float64)
    box = torch.tensor([[float(name)] for _, _, name in parts]).reshape(len(parts), 1, 1)
    return Nodes(torch.tensor([tree for tree, _, _ in parts], dtype=torch.int64), bound, {"path": path, "box": box})


def listed(found):
    if found is None:
        return []
    names = found.columns["path"][:, 0].tolist()
    assert names == found.columns["box"].flatten().tolist()
    return list(zip(found.tree.tolist(), found.bound.tolist(), names, strict=True))


def leaves(parts):
    return (torch.tensor([tree for tree, _ in parts]), torch.tensor([bound for _, bound in parts], dtype=torch.float64)) if parts else None


def same(frontier, plain):
    lower, counts = frontier.lower, frontier.counts
    for kind in range(KINDS):
        for tree in range(TREES):
            assert float(lower[kind, tree]) == plain.lower(kind, tree)
            assert int(counts[kind, tree]) == plain.count(kind, tree)
            assert bool(frontier.held[kind, tree]) == ((kind, tree) in plain.held)


class Walk:
    """Random operations on both."""

    def __init__(self, seed):
        self.rng, self.names = np.random.default_rng(seed), iter(range(1_000_000))
        self.frontier, self.plain = Frontier(KINDS, TREES), Plain()

    def bound(self):
        return float(self.rng.choice([-inf, nan, inf, *np.round(self.rng.normal(size=9), 1)]))

    def made(self, trees):
        return [(int(tree), self.bound(), next(self.names)) for tree in trees]

    def enter(self, kind, parts):
        self.plain.open[kind] += [(tree, proper(bound), name) for tree, bound, name in parts]
        return nodes(parts, int(self.rng.integers(1, 9)))

    def plant(self, kind):
        fresh = [tree for tree in range(TREES) if not self.plain.count(kind, tree) and self.rng.random() < 0.5]
        if fresh:
            parts = self.made(fresh)
            for tree in fresh:
                self.plain.left[kind, tree] = inf
                self.plain.held.discard((kind, tree))
            self.frontier.plant(kind, self.enter(kind, parts))

    def take(self, kind):
        count = int(self.rng.integers(1, 8))
        if self.rng.random() < 0.5:
            mask = torch.from_numpy(self.rng.random(TREES) < 0.6)
            found, wanted = self.frontier.newest(kind, mask, count), self.plain.newest(kind, mask.nonzero().flatten().tolist(), count)
        else:
            tree = int(self.rng.integers(TREES))
            found, wanted = self.frontier.least(kind, tree, count), self.plain.least(kind, tree, count)
        assert listed(found) == wanted
        self.plain.take(kind, wanted)
        same(self.frontier, self.plain)
        if wanted:
            self.end(kind, wanted)

    def end(self, kind, taken):
        if self.rng.random() < 0.2:
            self.frontier.restore(kind)
            self.plain.open[kind] += taken
            self.plain.out[kind] = []
            return
        opened, closed, held = [], [], []
        for tree, _, _ in taken:
            opened += self.made([tree] * int(self.rng.integers(0, 4)))
            closed += [(tree, self.bound()) for _ in range(int(self.rng.integers(0, 3)))]
            held += [(tree, self.bound())] * int(self.rng.random() < 0.1)
        self.frontier.settle(kind, self.enter(kind, opened) if opened else None, leaves(closed), leaves(held))
        self.plain.out[kind] = []
        for tree, bound in closed + held:
            self.plain.left[kind, tree] = min(self.plain.left[kind, tree], proper(bound))
        self.plain.held |= {(kind, tree) for tree, _ in held}

    def drop(self):
        mask = self.rng.random(TREES) < 0.2
        self.frontier.drop(torch.from_numpy(mask))
        for kind in range(KINDS):
            self.plain.open[kind] = [node for node in self.plain.open[kind] if not mask[node[0]]]
            for tree in mask.nonzero()[0].tolist():
                self.plain.left[kind, tree] = -inf


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_of_operations_is_what_lists_say(seed):
    """Wider and narrower columns, bounds that are none, trees that come and go; arrays grow and shrink under it."""
    walk = Walk(seed)
    for _ in range(150):
        kind, what = int(walk.rng.integers(KINDS)), walk.rng.random()
        walk.plant(kind) if what < 0.25 else walk.take(kind) if what < 0.95 else walk.drop()
        same(walk.frontier, walk.plain)


def planted(*parts, memory=inf):
    frontier = Frontier(KINDS, TREES, memory)
    frontier.plant(0, nodes(parts))
    return frontier


def test_what_was_never_planted_proves_nothing():
    frontier = planted((1, 2.0, 0))
    assert frontier.lower.tolist() == [[-inf, 2.0, -inf, -inf, -inf], [-inf] * TREES]
    assert frontier.counts.sum() == 1


def test_a_tree_whose_leaves_are_all_closed_proves_the_least_of_them():
    frontier = planted((0, -inf, 0))
    frontier.least(0, 0)
    frontier.settle(0, None, leaves([(0, 3.0), (0, 2.0)]), None)
    assert (float(frontier.lower[0, 0]), int(frontier.counts[0, 0])) == (2.0, 0)


@pytest.mark.parametrize("bound", [nan, -inf])
@pytest.mark.parametrize("kind", ["open", "closed", "held"])
def test_a_bound_that_is_none_proves_nothing(kind, bound):
    frontier = planted((0, -1.0, 0))
    frontier.least(0, 0)
    frontier.settle(0, nodes([(0, bound, 1)]) if kind == "open" else None, leaves([(0, bound), (0, 5.0)]) if kind == "closed" else None,
                    leaves([(0, bound)]) if kind == "held" else None)
    assert float(frontier.lower[0, 0]) == -inf


def test_a_root_of_nan_proves_nothing():
    assert float(planted((0, nan, 0)).lower[0, 0]) == -inf


def test_nodes_count_until_somebody_says_what_became_of_them():
    """Taken out, they bound their tree as before; the next ones come only when these are settled or restored."""
    frontier = planted((0, -3.0, 0), (1, 4.0, 1))
    before = frontier.lower.clone(), frontier.counts.clone(), frontier.bytes
    assert listed(frontier.newest(0, torch.ones(TREES, dtype=torch.bool), 9)) == [(1, 4.0, 1), (0, -3.0, 0)]
    assert (frontier.lower.equal(before[0]), frontier.counts.equal(before[1]), frontier.bytes) == (True, True, before[2])
    with pytest.raises(InternalError, match="not settled"):
        frontier.least(0, 0)
    assert frontier.lower.equal(before[0])
    frontier.restore(0)
    assert (frontier.lower.equal(before[0]), frontier.counts.equal(before[1]), frontier.bytes) == (True, True, before[2])


def test_an_exception_between_taking_and_settling_raises_no_bound():
    """Also where nobody restores anything: what was taken is still open."""
    frontier = planted((0, -3.0, 0))

    def work():
        frontier.least(0, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (float(frontier.lower[0, 0]), int(frontier.counts[0, 0])) == (-3.0, 1)
    frontier.restore(0)
    frontier.restore(0)     # once is enough
    assert listed(frontier.least(0, 0)) == [(0, -3.0, 0)]


def test_a_child_that_is_worse_than_its_parent_is_what_counts():
    """Whoever proves more than its parts do not is not asked: the least leaf is."""
    frontier = planted((0, 1.0, 0))
    frontier.least(0, 0)
    frontier.settle(0, nodes([(0, 0.5, 1), (0, 9.0, 2)]), leaves([(0, 7.0)]), None)
    assert float(frontier.lower[0, 0]) == 0.5


def test_what_is_dropped_proves_nothing():
    frontier = planted((0, 1.0, 0), (1, 2.0, 1))
    frontier.drop(torch.arange(TREES) == 0)
    assert frontier.lower[0].tolist() == [-inf, 2.0, -inf, -inf, -inf]
    assert frontier.counts[0].tolist() == [0, 1, 0, 0, 0]
    assert frontier.least(0, 0) is None


def test_a_kind_knows_nothing_of_another():
    frontier = planted((0, 1.0, 0))
    frontier.plant(1, nodes([(0, -8.0, 1)]))
    frontier.least(1, 0)
    frontier.settle(1, None, leaves([(0, inf)]), None)
    assert frontier.lower[:, 0].tolist() == [1.0, inf]


def test_memory_is_what_open_nodes_take():
    parts = [(0, 1.0, k) for k in range(10)]
    one = nodes(parts[:1]).bytes
    frontier = Frontier(KINDS, TREES, 10 * one)
    frontier.plant(0, nodes(parts[:9]))
    assert (frontier.bytes, frontier.full) == (9 * one, False)
    frontier.plant(1, nodes(parts[9:]))
    assert (frontier.bytes, frontier.full) == (10 * one, True)
    frontier.drop(torch.ones(TREES, dtype=torch.bool))
    assert (frontier.bytes, frontier.full) == (0, False)


def test_each_tree_has_about_as_many_of_a_batch():
    """A tree of a thousand nodes leaves room for one of three."""
    frontier = Frontier(1, 2)
    frontier.plant(0, nodes([(0, 0.0, k) for k in range(1000)] + [(1, 0.0, 1000 + k) for k in range(3)]))
    taken = frontier.newest(0, torch.ones(2, dtype=torch.bool), 8)
    assert sorted(taken.tree.tolist()) == [0] * 5 + [1] * 3
