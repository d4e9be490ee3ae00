"""Branching in neuron space: single entries cut where their function bends, over the bounds of the root, many nodes a step.

A node is the list of its cuts and the hints of its bound, never a copy of bounds. Candidates are scored by what their relaxation costs the
bound, the best few looked ahead at, and both children climb from the parent's hints, at which neither of them is worse than it. A
leaf closes by a rounded bound under its own cuts alone. Sources: Wang et al., Beta-CROWN, NeurIPS 2021; De Palma et al., Improved branch
and bound for neural network verification via Lagrangian decomposition, 2021 (scores); Bunel et al., JMLR 21 (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import torch
from torch import Tensor

from absint.engine.backward.charges import Relax
from absint.engine.backward.combinations import Conjunctions, attained_sum, of_disjuncts
from absint.engine.context import Context
from absint.engine.evidence import Leaf
from absint.engine.frozen.climb import Climbed, ClimbPace, NodeRows, bounded, climb
from absint.engine.frozen.cuts import Cuts
from absint.engine.frozen.net import CaseSplits, FrozenNet, Hints, WalkedBack
from absint.engine.frozen.proof import Prover
from absint.engine.rows import Rows as FlatRows
from absint.numeric.backend import Budget
from absint.problem.spec import Spec
from absint.search.branchers.brancher import Brancher, Grown, Trees
from absint.search.branchers.cut_evidence import CutEvidence
from absint.search.frontier import Nodes

# What a column `pick` says of a node that nothing was done about yet.
_FRESH = -2
# Nodes that are divided at once: what keeps one core's cache busy; elsewhere the device.
_NODES, _DEVICE_NODES = 32, 2048
# Minimisers of open nodes that are looked at in each step.
_SHOWN = 4
# Of the better child's gain, how much a candidate is worth beside the worse child's.
_BETTER = 0.1

SCORES = ("intercept", "slack", "product")


@dataclass(frozen=True)
class Cutting:
    """How trees are grown. score: see `SCORES`.  ahead: candidates that are looked ahead at.  root, node: pace of the climbs."""

    score: str = "intercept"
    ahead: int = 4
    root: ClimbPace = field(default_factory=lambda: ClimbPace(steps=20, slopes=0.5, multipliers=0.0))
    node: ClimbPace = field(default_factory=ClimbPace)


class Roots:
    """What the trees of one batch share, whatever their score: the frozen network, its provers, the rows of their disjuncts."""

    def __init__(self, ctx: Context, spec: Spec, trees: Trees, relax: Relax,
                 look: Callable[[Tensor, Tensor, Tensor], None] | None = None) -> None:
        self.ctx, self.spec, self.trees = ctx, spec, trees
        self.net = FrozenNet(ctx, relax)
        self.look = look     # at points (P, *input) of instances (P,), met on the way of disjuncts (P,)
        self.cuts = Cuts(self.net)
        self.provers = [Prover(self.net, relax, dtype) for dtype in dict.fromkeys((ctx.numerics.dtype, torch.float64))]
        order = spec.disjunct.argsort(stable=True)
        count = torch.bincount(spec.disjunct, minlength=spec.disjuncts)
        slot = torch.arange(int(count.max()) if len(count) else 1, device=order.device)
        first = (count.cumsum(0) - count)[:, None]
        self._inside = slot < count[:, None]
        self._member = order[(first + slot).clamp(max=max(0, len(order) - 1))]

    @property
    def most(self) -> int:
        """NodeRows of a disjunct at most."""
        return self._member.shape[1]

    def conjunctions(self, tree: Tensor) -> Conjunctions:
        """The rows (N, k) of trees (N,), zero where a disjunct has fewer."""
        device = self.spec.weight.device
        instance, disjunct = self.trees.instance[tree].to(device), self.trees.disjunct[tree].to(device)
        member, inside = self._member[disjunct], self._inside[disjunct]
        weight = torch.where(inside[..., None], self.spec.weight[instance[:, None], member], 0.0)
        bias = torch.where(inside, self.spec.bias[instance[:, None], member], 0.0)
        return Conjunctions(instance, weight, bias, inside, inside & self.spec.strict[member])

    def rows(self, found: Conjunctions) -> NodeRows:
        """The same, in the search's format, with their values at the reference."""
        reference = self.ctx.reference[self.net.graph.output.name].flatten(1)[found.instance]
        base = torch.einsum("nko,no->nk", found.weight, reference.double()) + found.bias
        weight, base, bias = (v.to(self.net.dtype) for v in (found.weight, base, found.bias))
        return NodeRows(weight, base, bias, found.inside)

    @staticmethod
    def shares(found: Conjunctions, hints: Hints) -> Tensor:
        """(N, k) float64, those of the sums that are proved.

        A single row is taken as it is; of several, nothing follows from a negative weight, nor from one of what is no row.
        """
        if found.bias.shape[1] == 1:
            return torch.ones_like(found.bias)
        return torch.where(found.inside, hints.share.double().clamp(min=0), 0.0)

    def proved(self, found: Conjunctions, splits: CaseSplits, hints: Hints, *, wider: bool = True) -> Tensor:
        """(N,) sound bounds of the disjuncts' greatest rows within nodes; a wider format, where allowed, if one does not suffice."""
        share = self.shares(found, hints)
        weight, bias = found.mix(share)
        shape = self.net.graph.output.shape
        rows = FlatRows(self.net.graph.output.name, found.instance, weight.reshape(-1, *shape), None, bias)
        out = torch.full((len(bias),), -inf, dtype=torch.float64, device=bias.device)
        left = torch.arange(len(bias), device=bias.device)
        for prover in self.provers if wider else self.provers[:1]:
            walked = prover.bounds(rows.take(left), splits.take(left), hints.take(left)).double()
            out[left] = torch.fmax(out[left], self._of_rows(found.at(left), share[left], walked))
            left = left[~(out[left] > 0)]
            if not len(left):
                break
        return out

    def _of_rows(self, found: Conjunctions, share: Tensor, walked: Tensor) -> Tensor:
        if share.shape[1] == 1:      # no number was rounded
            return attained_sum(walked, walked, found.strict)
        return of_disjuncts(found, share, walked, self.ctx.known[self.net.graph.output.name].filled)


class ByCuts(Brancher):
    """Trees of cuts, by one score."""

    def __init__(self, roots: Roots, how: Cutting) -> None:
        self.shared, self.how, self.trees = roots, how, roots.trees
        self.net, self.cuts = roots.net, roots.cuts
        self.done = torch.zeros(len(self.trees), dtype=torch.float64)     # share of each tree that is closed: 2^-depth a leaf
        recorder = roots.ctx.recording
        self.evidence = None if recorder is None or not roots.net.entries else CutEvidence(recorder, self.cuts, roots.spec)

    def able(self) -> Tensor:
        """Where the instance is not void, and has an entry that can be cut."""
        fine = self.cuts.able.cpu() & ~self.shared.ctx.empty.cpu()
        return fine[self.trees.instance]

    def roots(self, trees: Tensor, refuted: Tensor) -> Nodes:
        """Nodes of which nothing is known but the bounds of before."""
        device, count = self.net.device, len(trees)
        _, hints = self.net.root(self.trees.instance[trees].to(device), self.shared.most)
        inside = self.shared.conjunctions(trees).inside
        share = inside.to(self.net.dtype)
        columns = {
            "path": torch.full((count, 1), -1, dtype=torch.int32, device=device),
            "hint": torch.zeros((count, 1), dtype=torch.float32, device=device),
            "ratio": hints.ratio.half(),
            "share": share / share.sum(1, keepdim=True),
            "pick": torch.full((count, self.how.ahead), _FRESH, dtype=torch.int32, device=device),
            "estimate": refuted.to(device, self.net.dtype),
        }
        return Nodes(trees, refuted.double(), columns)

    def batch(self, budget: Budget) -> int:
        """How many nodes to take at once."""
        most = _NODES if self.net.device.type == "cpu" else _DEVICE_NODES
        return max(1, min(most, budget.rows(self.net.bytes_per_node) // 2))

    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """Roots are bounded; other nodes are cut at the best of their candidates, and both children bounded."""
        budget.check()
        if self.evidence is not None:
            self.evidence.begin()
        with torch.no_grad():
            fresh = (nodes.columns["pick"][:, 0] == _FRESH).cpu()
            parts = []
            if bool(fresh.any()):
                parts.append(self._bounded(nodes.take(fresh), self.how.root))
            if bool((~fresh).any()):
                children = self._children(nodes.take(~fresh))
                budget.check()
                parts.append(self._bounded(children, self.how.node))
        if self.evidence is not None:
            self.evidence.commit()
        return Grown.joined(parts)

    def leaves(self, tree: int) -> Sequence[Leaf] | None:
        """Each with its hints; None where there was no room for them, or where nobody asked."""
        return None if self.evidence is None else self.evidence.leaves(tree, int(self.trees.disjunct[tree]))

    def forget(self, trees: Tensor) -> None:
        """The leaves of these."""
        if self.evidence is not None:
            for tree in trees.nonzero().flatten().tolist():
                self.evidence.forget(tree)

    def reached(self, nodes: Nodes, places: Tensor, most: int, budget: Budget) -> Iterator[tuple[Tensor, Tensor]]:
        """What is proved of open nodes at `places` (k,), by at most about `most` rounded proofs: places and bounds, batch by batch.

        What there are more of shares the bound of a common beginning of paths, made with the hints of one of them. Never above 0: they
        stay open, nothing is said of why they would not be.
        """
        depth, group = beginnings(nodes.tree[places], nodes.columns["path"][places.to(self.net.device)].cpu(), most)
        first = torch.full((int(group.max()) + 1,), len(places), dtype=torch.int64)
        first.scatter_reduce_(0, group, torch.arange(len(places)), "amin")
        order = group.argsort(stable=True)
        ends = torch.bincount(group).cumsum(0)
        for part in torch.arange(len(first)).split(self.batch(budget)):
            budget.check()
            some = nodes.take(places[first[part]])
            cut = {name: some.columns[name][:, :depth] for name in ("path", "hint")}
            some = replace(some, columns={**some.columns, **cut})
            with torch.no_grad():
                found = self.shared.conjunctions(some.tree)
                bound = self.shared.proved(found, self._splits(some), self._hints(some), wider=False).cpu().clamp(max=0)
            mine = order[ends[part[0]] - (group == part[0]).sum() : ends[part[-1]]]
            yield places[mine], bound[group[mine] - part[0]]

    # ---- nodes and their state ---------------------------------------------------------------------------------

    def _splits(self, nodes: Nodes) -> CaseSplits:
        instance = self.trees.instance[nodes.tree].to(self.net.device)
        return self.cuts.splits(instance, nodes.columns["path"])

    def _hints(self, nodes: Nodes) -> Hints:
        columns = nodes.columns
        # What was kept in half precision is put back between its ends: a line that does not turn has its very slope.
        ratio = columns["ratio"].to(self.net.dtype)
        flat, steep = self.net.turning
        if len(flat) > 1:
            instance = self.trees.instance[nodes.tree].to(self.net.device)
            flat, steep = flat[instance], steep[instance]
        return Hints(torch.maximum(torch.minimum(ratio, steep), flat), self.cuts.dense(columns["path"], columns["hint"]), columns["share"])

    def _bounded(self, nodes: Nodes, pace: ClimbPace) -> Grown:
        """What becomes of nodes whose cuts and hints are given."""
        found = self.shared.conjunctions(nodes.tree)
        splits = self._splits(nodes)
        climbed = climb(self.net, self.shared.rows(found), splits, self._hints(nodes), pace)
        estimate = torch.fmax(climbed.bound, nodes.columns["estimate"])
        bound, device = nodes.bound.clone(), self.net.device
        near = climbed.bound > 0
        self._prove(bound, near.nonzero().flatten(), found, splits, climbed.hints)
        left = (~(bound > 0)).nonzero().flatten()
        pick = self._picked(climbed, splits, left.to(device))
        # Where nothing more can be done, what was found is all that there will be: it is proved, too.
        stuck = pick[:, 0] < 0
        self._prove(bound, left.to(device)[stuck & ~near[left.to(device)]], found, splits, climbed.hints)
        closed = bound > 0
        self._close(nodes, closed, found, splits, climbed.hints, bound)
        going = ~closed[left]
        left, pick, stuck = left[going], pick[going.to(device)], stuck.cpu()[going]
        there = left.to(device)
        self._show(nodes, left, estimate[there], climbed)
        columns = {**nodes.take(left).columns, "pick": pick, "estimate": estimate[there],
                   "ratio": climbed.hints.ratio[there].half(), "share": climbed.hints.share[there],
                   "hint": self.cuts.sparse(nodes.columns["path"][there], climbed.hints.hint[there])}
        open_ = Nodes(nodes.tree[left], bound[left], columns)
        held, opened = open_.take(stuck), open_.take(~stuck)
        # Those nearest to being closed last: the newest are taken first.
        opened = opened.take(opened.columns["estimate"].cpu().argsort(stable=True))
        return Grown(opened if len(opened) else None, (nodes.tree[closed], bound[closed]), (held.tree, held.bound))

    def _show(self, nodes: Nodes, left: Tensor, estimate: Tensor, climbed: Climbed) -> None:
        """The minimisers of the open nodes `left` (k,) that are nearest to a violation."""
        if self.shared.look is not None and len(left):
            least = estimate.cpu().argsort(stable=True)[:_SHOWN]
            tree = nodes.tree[left[least]]
            self.shared.look(self.trees.instance[tree], climbed.carried.point[left[least].to(self.net.device)], self.trees.disjunct[tree])

    def _prove(self, bound: Tensor, chosen: Tensor, found: Conjunctions, splits: CaseSplits, hints: Hints) -> None:
        """Raise bounds (N,) of nodes `chosen` (k,) to what is proved with their hints."""
        if len(chosen):
            proved = self.shared.proved(found.at(chosen), splits.take(chosen), hints.take(chosen)).cpu()
            bound[chosen.cpu()] = torch.fmax(bound[chosen.cpu()], proved)

    def _close(self, nodes: Nodes, closed: Tensor, found: Conjunctions, splits: CaseSplits, hints: Hints, bound: Tensor) -> None:
        """Nodes in the mask are leaves of their trees from now on."""
        self._count(nodes, closed)
        if self.evidence is not None and bool(closed.any()):
            done = closed.nonzero().flatten().to(self.net.device)
            mine = hints.take(done)
            share = Roots.shares(found.at(done), mine)
            self.evidence.closed(nodes.tree[closed], nodes.columns["path"][done], splits.take(done), mine, share, bound[closed])

    def _count(self, nodes: Nodes, closed: Tensor) -> None:
        depth = (nodes.columns["path"] >= 0).sum(1).cpu()
        self.done.index_add_(0, nodes.tree[closed], 0.5 ** depth[closed].double())

    def _picked(self, climbed: Climbed, splits: CaseSplits, left: Tensor) -> Tensor:
        """(N, ahead) int32: the cuts of the highest scores, -1 where there are no more."""
        walked, carried = climbed.walked, climbed.carried
        adjoint = walked.adjoint[left]
        gap = self.net.gap if len(self.net.gap) == 1 else self.net.gap[splits.instance[left]]
        intercept = adjoint.abs() * gap
        slack = (adjoint * (carried.true[left] - carried.value[left])).clamp(min=0)
        score = {"intercept": intercept, "slack": slack, "product": (intercept * slack).sqrt()}[self.how.score]
        # Where a score says nothing of any entry, another one does.
        silent = ~(score > 0).any(1, keepdim=True)
        score = torch.where(silent, intercept + 1e-30, score)
        return self.cuts.best(score, carried.operand[left], splits.take(left), self.how.ahead)

    def _children(self, nodes: Nodes) -> Nodes:
        """Both sides of the best candidate of each node: the lower ones, then the upper ones."""
        splits, hints = self._splits(nodes), self._hints(nodes)
        rows = self.shared.rows(self.shared.conjunctions(nodes.tree))
        walked = bounded(self.net, rows, splits, hints)
        pick, count = nodes.columns["pick"].long(), len(nodes)
        chosen = pick[:, 0]
        if self.how.ahead > 1:
            chosen = pick.gather(1, self._ahead(rows, splits, hints, pick, walked, nodes)[:, None])[:, 0]
        path = torch.cat([nodes.columns["path"]] * 2)
        code = torch.cat([2 * chosen, 2 * chosen + 1])
        entry = self.cuts.entry(chosen)
        value = torch.cat([self._start(walked, splits, hints, torch.arange(count, device=entry.device), chosen, side) for side in (0, 1)])
        hint = torch.cat([nodes.columns["hint"]] * 2)
        twice = nodes.take(torch.arange(count).repeat(2))
        columns = {**twice.columns, "path": torch.cat([path, code[:, None].to(path)], 1),
                   "hint": torch.cat([hint, value[:, None].to(hint)], 1)}
        return replace(twice, columns=columns)

    def _start(self, walked: WalkedBack, splits: CaseSplits, hints: Hints, parent: Tensor, number: Tensor, side: int) -> Tensor:
        """(M,) first hints of new cuts of nodes (M,): where A meets a lower line B stays, so that no child starts worse there.

        Elsewhere none: the child has its own line, and what the upper one cost is gained at once, where it would be a step away.
        """
        entry = self.cuts.entry(number)
        adjoint = walked.adjoint[parent, entry]
        before = adjoint * walked.slope[parent, entry] + hints.hint[parent, entry]
        stays = before - adjoint * self.cuts.slope(splits, parent, number, side)
        return torch.where(adjoint > 0, stays, 0.0)

    def _ahead(self, rows: NodeRows, splits: CaseSplits, hints: Hints, pick: Tensor, walked: WalkedBack, nodes: Nodes) -> Tensor:
        """(N,): which candidate raises the bounds of its children most."""
        count, ahead = pick.shape
        parent = torch.arange(count, device=pick.device).repeat_interleave(ahead)
        code = pick.clamp(min=0).flatten()
        entry = self.cuts.entry(code)
        found = []
        for side in (0, 1):
            child, its = splits.take(parent), hints.take(parent)
            child = self.cuts.cut(child, 2 * code + side)
            value = self._start(walked, splits, hints, parent, code, side)
            hint = its.hint.scatter(1, entry[:, None], value[:, None])
            found.append(bounded(self.net, rows.take(parent), child, replace(its, hint=hint)).bound)
        before = nodes.columns["estimate"][parent]
        gains = [(bound.clamp(max=0) - before).clamp(min=0) for bound in (torch.minimum(*found), torch.maximum(*found))]
        worth = torch.where(pick.flatten() >= 0, gains[0] + _BETTER * gains[1], -1.0)
        return worth.nan_to_num(0.0).reshape(count, ahead).argmax(1)


def beginnings(tree: Tensor, path: Tensor, most: int) -> tuple[int, Tensor]:
    """The greatest depth at which paths (N, depth) of trees (N,) have at most `most` beginnings, and the beginning (N,) of each.

    At least those of no cut at all, one a tree.
    """
    group = torch.unique(tree, return_inverse=True)[1]
    for depth, code in enumerate(path.long().unbind(1)):
        # A code fits 32 bits, and so do the groups: no two keys are one.
        found, finer = torch.unique((group << 32) + code + 1, return_inverse=True)
        if len(found) > most:
            return depth, group
        group = finer
    return path.shape[1], group
