"""Leaves of trees of cuts: followed from path and hints alone they prove what was said, they cover, and wrong hints prove no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from leaf_bounds import LeafBounds
from test_evidence_of_verdicts import check, proved
from tree_runs import Grown, grown, made

from absint.engine.evidence import CutHints, Ratios, covers
from absint.numeric.backend import DeadlineError
from absint.search.branchers import cut_evidence
from absint.search.branchers.by_cuts import Roots

# Of these the trees have leaves below the root, over all kinds of operators, with hints that add something.
SEEDS = (1, 2, 8, 11, 19, 36, 43)


@pytest.fixture(scope="module")
def runs() -> list[Grown]:
    return [grown(seed) for seed in SEEDS]


def leaves(runs):
    """(run, instance, leaf, weight and bias of its rows, what recomputes it)."""
    for run in runs:
        for instance in range(2):
            evidence, bounds = run.evidence(instance), LeafBounds(run.root.ctx, instance)
            for leaf in evidence.leaves:
                rows = np.flatnonzero(evidence.disjunct == leaf.disjunct)
                yield run, instance, leaf, (evidence.weight[rows], evidence.bias[rows]), bounds


def close(bound):
    return 1e-6 * max(1.0, abs(bound))


def is_followed(leaf, rows, bounds):
    found = bounds.bound(leaf, *rows)
    return found > 0 and found >= leaf.bound - close(found)


# ---- what is recorded proves what is said ----------------------------------------------------------------------------


def test_each_leaf_is_recomputed_from_its_path_and_hints(runs):
    divided = summed = added = 0
    for _, _, leaf, rows, bounds in leaves(runs):
        assert is_followed(leaf, rows, bounds)
        divided += bool(leaf.path)
        summed += bool(leaf.path) and leaf.by == "combination"
        added += any((one.added != 0).any() for one in (leaf.hints or {}).values())
    assert divided >= 10
    assert summed >= 2
    assert added >= 5


def test_leaves_cover_and_prove_what_is_told(runs):
    found = 0
    for run in runs:
        for instance in range(2):
            evidence = run.evidence(instance)
            for disjunct in range(3):
                mine = evidence.of(disjunct)
                refuted = float(run.search.refuted[instance, disjunct])
                assert bool(mine) == (refuted > 0)
                if mine:
                    assert covers([leaf.path for leaf in mine])
                    assert min(leaf.bound for leaf in mine) == refuted
                    found += len(mine) > 1
    assert found >= 5


@pytest.mark.parametrize(("base", "rows"), [("deeppoly", 1), ("alpha", 2)])
def test_trees_of_cuts_are_followed_in_rationals(base, rows):
    """From the network and the statement alone: bounds of inner entries are derived, too."""
    found = list(proved(f"bab:base={base}", range(4), rows=rows))
    divided = [evidence for _, evidence in found if len(evidence.leaves) > 1]
    assert len(divided) >= 2
    for graph, evidence in found:
        check(evidence, graph)


# ---- hints are no proofs ---------------------------------------------------------------------------------------------


def wrong(rng, leaf):
    """The leaf with other numbers."""
    slopes = {name: Ratios(one.entry, rng.uniform(-0.5, 1.5, one.ratio.shape)) for name, one in (leaf.slopes or {}).items()}
    hints = {name: CutHints(one.entry, rng.uniform(-1, 2, one.slope.shape), one.added + rng.normal(size=one.added.shape))
             for name, one in (leaf.hints or {}).items()}
    return replace(leaf, slopes=slopes, hints=hints, shares=rng.uniform(0.1, 1, leaf.shares.shape))


def test_wrong_hints_prove_no_more_than_is_true(runs):
    rng, looked = np.random.default_rng(0), 0
    for run, instance, leaf, rows, bounds in leaves(runs):
        for one in (leaf, wrong(rng, leaf), wrong(rng, leaf)):
            bound = bounds.bound(one, *rows)
            for values, greatest in run.seen[instance]:
                if run.holds(leaf.path, values, instance):
                    looked += bool(leaf.path)
                    assert bound <= greatest[leaf.disjunct] + 1e-9
    assert looked > 100


@pytest.mark.parametrize("fault", ["side", "sign", "shares"])
def test_what_was_not_proved_is_not_followed(runs, fault):
    refused = 0
    for _, _, leaf, rows, bounds in leaves(runs):
        if fault == "shares":
            bad = replace(leaf, shares=leaf.shares[::-1])
        elif fault == "side":
            bad = replace(leaf, path=tuple(replace(step, side=-step.side) for step in leaf.path))
        else:
            bad = replace(leaf, hints={name: CutHints(one.entry, one.slope, -one.added) for name, one in (leaf.hints or {}).items()})
        refused += not is_followed(bad, rows, bounds)
    assert refused >= 2


# ---- whatever stops the work -----------------------------------------------------------------------------------------


def test_work_that_is_done_again_is_told_once(monkeypatch):
    """A deadline in the proof of some children, after others were closed: the batch is as good as new."""
    plain = {k: [leaf.path for leaf in grown(11).evidence(k).leaves] for k in range(2)}
    run, calls, closed = made(11), [], []
    real, tell = Roots.proved, cut_evidence.CutEvidence.closed

    def proved_(self, *given):
        calls.append(1)
        return real(self, *given)

    def told(self, *given):
        tell(self, *given)
        closed.append(1)
        if len(closed) % 2:
            raise DeadlineError

    monkeypatch.setattr(Roots, "proved", proved_)
    monkeypatch.setattr(cut_evidence.CutEvidence, "closed", told)
    with torch.no_grad():
        while bool(run.search.open.any()):
            run.search.step(run.search.shared.ctx.budget)
    assert len(closed) >= 4
    assert {k: [leaf.path for leaf in run.evidence(k).leaves] for k in range(2)} == plain
    assert run.evidence(0).notes == run.evidence(1).notes == ()


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_where_nobody_asked(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError("leaves are kept")

    monkeypatch.setattr(cut_evidence.CutEvidence, "__init__", refuse)
    run = grown(11, recorded=False)
    assert all(kind.evidence is None and kind.leaves(0) is None for kind in run.search.kinds)
    assert bool((run.search.refuted > 0).any())


def test_bounds_are_the_same_with_and_without(runs):
    for seed, run in list(zip(SEEDS, runs, strict=True))[:2]:
        assert torch.equal(grown(seed, recorded=False).search.refuted, run.search.refuted)


def test_leaves_beyond_the_memory_are_left_out_and_said(runs):
    """Not one leaf of a tree is kept then, nor what was kept of it before; what it proves is the same."""
    run = grown(1, memory=3000.0)
    assert torch.equal(run.search.refuted, runs[0].search.refuted)
    notes = [note for k in range(2) for note in run.evidence(k).notes]
    assert notes
    assert all("beyond 3000 bytes of slopes are left out" in note for note in notes)
    assert sum(len(run.evidence(k).leaves) for k in range(2)) < sum(len(runs[0].evidence(k).leaves) for k in range(2))
    for k in range(2):
        for disjunct in range(3):
            assert not run.evidence(k).of(disjunct) or covers([leaf.path for leaf in run.evidence(k).of(disjunct)])


def test_what_a_search_gives_up_makes_room():
    run = made(1, share=0.02)
    held = [kind.evidence for kind in run.search.kinds]
    with torch.no_grad():
        while bool(run.search.open.any()) and not any(one._kept for one in held):
            run.search.step(run.search.shared.ctx.budget)
    assert any(one._kept and one._bytes for one in held)
    before = run.recorder._store.bytes
    run.search.keep(torch.zeros(2, dtype=torch.bool))
    assert all(not one._kept and not one._bytes for one in held)
    assert run.recorder._store.bytes < before
