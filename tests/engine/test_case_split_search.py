"""The search over case splits: its bounds are the proof's without roundings, its gradients those of its bounds, children no lower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from case_splits import RELAX, Off, Root, exact, network, padded, paths_of, points, random_hints, region, rows

from absint.engine.frozen.climb import ClimbPace, bounded, climb
from absint.engine.frozen.cuts import Cuts
from absint.engine.frozen.net import FrozenNet
from absint.engine.frozen.proof import Prover
from absint.engine.frozen.tables import MOST_CUTS
from absint.numeric.rounding import Numerics
from absint.problem.spec import Spec
from absint.search.branchers.brancher import Trees
from absint.search.branchers.by_cuts import ByCuts, Cutting, Roots

EXACT = Numerics(torch.float64, rounding=False)
NODES = 12


def begun(seed, numerics=EXACT, tame=True, dtype=torch.float64):
    """A frozen network in float64 with nodes, hints and rows: (root, net, splits, hints, weight, base); None where nothing is cut."""
    rng = np.random.default_rng(seed)
    graph = network(rng)
    root = Root(graph, region(rng, graph, 2), numerics)
    net = FrozenNet(root.ctx, RELAX, dtype)
    if not net.entries:
        return None
    root.__dict__.update(net=net, cuts=Cuts(net))
    known = [[exact(graph, x) for x in points(rng, (root.region.lower[k].tolist(), root.region.upper[k].tolist()), 3)] for k in range(2)]
    instance = torch.arange(NODES) % 2
    paths = [paths_of(rng, root, k, known[k], 3) for k in instance.tolist()]
    splits = root.cuts.splits(instance, padded(paths))
    hints = random_hints(rng, root, instance, torch.ones(NODES, 1, dtype=dtype), tame)
    flat, steep = (end[instance if len(end) > 1 else 0 * instance] for end in net.turning)
    hints = replace(hints, ratio=torch.maximum(torch.minimum(hints.ratio, steep), flat))
    weight = torch.tensor(rng.normal(size=(NODES, graph.output.size)))
    reference = root.ctx.reference[graph.output.name].flatten(1)[instance].double()
    return root, net, splits, hints, weight, (weight * reference).sum(1)


def back(net, weight, base, splits, hints):
    return net.back(weight.reshape(-1, *net.graph.output.shape), base, splits, hints)


def test_the_search_bounds_what_the_proof_bounds_but_for_roundings():
    looked = 0
    for seed in range(200, 216):
        case = begun(seed)
        if case is None:
            continue
        root, net, splits, hints, weight, base = case
        with torch.no_grad():
            quick = back(net, weight, base, splits, hints).bound
            proved = Prover(net, RELAX, torch.float64).bounds(rows(root, splits.instance, weight, torch.zeros(NODES)), splits, hints)
        fine = proved > -1e6
        looked += int(fine.sum())
        # Enclosures of kernels that err are taken at their middle, 2^-6 from their ends.
        erring = any(isinstance(node.op, Off) for node in root.graph.nodes)
        assert quick[fine].tolist() == pytest.approx(proved[fine].tolist(), rel=1e-5, abs=1e-5 if not erring else 1.0)
    assert looked > 100


def smooth_cases(seeds):
    """Of networks whose kinks are where their tables say."""
    for seed in seeds:
        case = begun(seed)
        if case is not None and not any(isinstance(node.op, Off) for node in case[0].graph.nodes):
            yield case


def test_gradients_of_hints_are_those_of_the_bound():
    """By differences on both sides: the operand at the minimiser less the point of the graph where the minimum is."""
    checked = 0
    for _, net, splits, hints, weight, base in smooth_cases(range(300, 318)):
        with torch.no_grad():
            walked = back(net, weight, base, splits, hints)
            carried, step = net.forward(walked, splits), 1e-6
            for entry in range(min(net.entries, 5)):
                there = step * (torch.arange(net.entries) == entry)
                up, down = (back(net, weight, base, splits, replace(hints, hint=hints.hint + one)).bound for one in (there, -there))
                one, two = (up - walked.bound) / step, (walked.bound - down) / step
                smooth = ((one - two).abs() < 1e-4) & splits.cut[:, entry] & (walked.bound > -1e6)
                told = carried.operand[:, entry] - walked.at[:, entry]
                checked += int(smooth.sum())
                assert told[smooth].tolist() == pytest.approx(one[smooth].tolist(), rel=1e-3, abs=1e-4)
    assert checked > 40


def test_gradients_of_slopes_are_those_of_the_bound():
    """Of the lower line of an entry that is not cut, where A meets it from below."""
    checked = 0
    for _, net, splits, given, weight, base in smooth_cases(range(318, 332)):
        flat, steep = (end[splits.instance if len(end) > 1 else 0 * splits.instance] for end in net.turning)
        hints = replace(given, ratio=flat + 0.4 * (steep - flat))
        with torch.no_grad():
            walked = back(net, weight, base, splits, hints)
            carried, step = net.forward(walked, splits), 1e-6
            for entry in range(min(net.entries, 5)):
                there = step * (torch.arange(net.entries) == entry)
                up, down = (back(net, weight, base, splits, replace(hints, ratio=hints.ratio + one)).bound for one in (there, -there))
                one, two = (up - walked.bound) / step, (walked.bound - down) / step
                mine = ~splits.cut[:, entry] & (walked.adjoint[:, entry] > 0) & (flat < steep)[:, entry]
                smooth = ((one - two).abs() < 1e-4) & mine & (walked.bound > -1e6)
                told = (walked.adjoint * (carried.operand - walked.at))[:, entry]
                checked += int(smooth.sum())
                assert told[smooth].tolist() == pytest.approx(one[smooth].tolist(), rel=1e-3, abs=1e-4)
    assert checked > 15


def test_a_bound_is_its_output_times_its_row_and_its_hints_times_their_gradients():
    """It is linear in both where no minimum moves: what is carried forward is the gradient of the row, and of each disjunct's shares."""
    looked = 0
    for _, net, splits, hints, weight, base in smooth_cases(range(300, 318)):
        with torch.no_grad():
            walked = back(net, weight, base, splits, hints)
            carried = net.forward(walked, splits)
        fine = walked.bound > -1e6
        looked += int(fine.sum())
        value = (weight * carried.output).sum(1) + torch.where(splits.cut, hints.hint * (carried.operand - walked.at), 0.0).sum(1)
        assert value[fine].tolist() == pytest.approx(walked.bound[fine].tolist(), rel=1e-6, abs=1e-6)
    assert looked > 100


def rooted(seed, disjunct=(0, 1, 1)):
    """Disjuncts of one row and of two, and nodes: (root, brancher, what trees share, splits, hints); None where nothing is cut."""
    case = begun(seed, Numerics(torch.float64), dtype=torch.float32)
    if case is None:
        return None
    root, _, splits, hints, _, _ = case
    hints = replace(hints, hint=torch.where(splits.cut, hints.hint, 0.0))
    rng = np.random.default_rng(seed)
    spec = Spec.rows(torch.tensor(rng.normal(size=(2, len(disjunct), root.graph.output.size))), torch.zeros(2, len(disjunct)),
                     torch.tensor(disjunct))
    roots = Roots(root.ctx, spec, Trees.of(torch.ones(2, max(disjunct) + 1, dtype=torch.bool)), RELAX)
    return root, ByCuts(roots, Cutting()), roots, splits, hints


def test_a_child_starts_no_lower_than_its_parent_where_a_meets_the_lower_line():
    looked = 0
    for seed in range(400, 412):
        if (case := rooted(seed)) is None:
            continue
        root, cutter, roots, splits, hints = case
        tree = splits.instance * 2
        where = roots.rows(roots.conjunctions(tree))
        share = torch.where(where.inside, 1.0, 0.0)
        hints = replace(hints, share=(share / share.sum(1, keepdim=True)).float())
        with torch.no_grad():
            before = bounded(roots.net, where, splits, hints)
            for number in {code for k in range(2) for code in root.open(k)}:
                entry, place = number // MOST_CUTS, number % MOST_CUTS
                able = roots.cuts.there[splits.instance if len(roots.cuts.there) > 1 else 0 * splits.instance, place, entry]
                able &= (roots.cuts.first[place, entry] > splits.first[:, entry]) & (roots.cuts.last[place, entry] < splits.last[:, entry])
                mine = (able & (before.adjoint[:, entry] > 0) & (before.bound > -1e4)).nonzero().flatten()
                for side in (0, 1) if len(mine) else ():
                    parent, child = splits.take(mine), hints.take(mine)
                    number_ = torch.full((len(mine),), number)
                    value = cutter._start(before, splits, hints, mine, number_, side)
                    child = replace(child, hint=child.hint.index_fill(1, torch.tensor([entry]), 0.0))
                    child.hint[:, entry] = value
                    after = bounded(roots.net, where.take(mine), roots.cuts.cut(parent, 2 * number_ + side), child)
                    looked += len(mine)
                    assert bool((after.bound >= before.bound[mine] - 1e-4 * (1 + before.bound[mine].abs())).all())
    assert looked > 30


def test_a_climb_ends_no_lower_than_it_began_and_shares_stay_shares():
    for seed in range(420, 428):
        if (case := rooted(seed)) is None:
            continue
        _, _, roots, splits, hints = case
        where = roots.rows(roots.conjunctions(splits.instance * 2 + 1))
        share = torch.where(where.inside, 1.0, 0.0)
        hints = replace(hints, share=(share / share.sum(1, keepdim=True)).float())
        with torch.no_grad():
            first = bounded(roots.net, where, splits, hints).bound
            found = climb(roots.net, where, splits, hints, ClimbPace())
            again = bounded(roots.net, where, splits, found.hints).bound
        assert bool((found.bound >= first).all())
        assert found.bound.tolist() == pytest.approx(again.tolist(), rel=1e-4, abs=1e-4)
        assert bool((found.hints.share >= 0).all())
        assert found.hints.share.sum(1).tolist() == pytest.approx([1.0] * len(share))
