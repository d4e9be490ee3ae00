"""Where a limit or an interrupt ends trees of cuts, the reported bounds are proofs, and as good as what was found."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from case_splits import gemm
from costly import images
from solver_contract import build
from tree_runs import RACE, grown, made

from absint.analyses.verify import ProofSettings, verify
from absint.engine.frozen import proof
from absint.model.ops.relu import Relu
from absint.numeric.backend import Budget, DeadlineError
from absint.search import trees as module
from absint.search.branchers import by_cuts
from absint.search.branchers.by_cuts import ByCuts, Roots, beginnings
from absint.verdict import Reason, Verdict

STEEP = "bab:base=deeppoly,score=intercept"


def deep(seed=0, width=12):
    """A network whose trees are not closed soon."""
    rng = np.random.default_rng(seed)
    return build((3,), gemm(rng, width, 3), Relu(), gemm(rng, width, width), Relu(), gemm(rng, width, width), Relu(), gemm(rng, 2, width))


def under_way(steps, share=0.0, count=3, **more):
    """A search after some steps, none of which ended it."""
    run = made(0, graph=deep(), share=share, count=count, how=replace(RACE, nodes=inf), **more)
    with torch.no_grad():
        for _ in range(steps):
            run.search.step(Budget())
    assert bool(run.search.open.any())
    return run


def inside(run, node, depth):
    """The greatest rows of an open node's disjunct at the points that lie in the beginning of its path."""
    search = run.search
    tree = int(node.tree[0])
    instance, disjunct = int(search.trees.instance[tree]), int(search.trees.disjunct[tree])
    codes = [code for code in node.columns["path"][0].tolist()[:depth] if code >= 0]
    return [greatest[disjunct] for values, greatest in run.seen[instance] if all(run.root.holds(code, values, instance) for code in codes)]


# ---- what is proved of open nodes ------------------------------------------------------------------------------------


def test_bounds_of_open_nodes_are_bounds_wherever_they_come_from(monkeypatch):
    """Also of those that share the proof of a beginning of their paths. Properties that do not hold: bounds come close to values."""
    real, cuts, seen = Roots.proved, [], {most: [0, 0] for most in (1, 7, 10_000)}

    def proved(self, found, splits, hints, **more):
        cuts.extend(splits.cut.sum(1).tolist())
        return real(self, found, splits, hints, **more)

    monkeypatch.setattr(Roots, "proved", proved)
    for seed in (6, 28):
        run = made(seed, share=-0.4, count=40, how=replace(RACE, nodes=inf))
        with torch.no_grad():
            for _ in range(20):
                if bool(run.search.open.any()):
                    run.search.step(Budget())
        for most, (number, kind) in product(seen, enumerate(run.search.kinds)):
            nodes = run.search.frontier.waiting(number)
            if nodes is None or not len(nodes):
                continue
            places = torch.arange(len(nodes))
            told = torch.full((len(nodes),), -inf, dtype=torch.float64)
            cuts.clear()
            for some, bound in kind.reached(nodes, places, most, Budget()):
                assert bool((told[some] == -inf).all())
                told[some] = bound
            assert bool((told > -inf).all())
            assert bool((told <= 0).all())
            seen[most][1] += int((told > nodes.bound).sum())
            depth, _ = beginnings(nodes.tree, nodes.columns["path"], most)
            assert max(cuts) <= depth
            for k in range(len(nodes)):
                values = inside(run, nodes.take(places[k : k + 1]), depth)
                seen[most][0] += len(values)
                assert all(float(told[k]) <= greatest + 1e-12 for greatest in values)
    assert all(looked > 50 and better > 10 for looked, better in seen.values())


def test_beginnings_are_the_longest_that_are_few_enough():
    generator = torch.Generator().manual_seed(0)
    tree = torch.randint(0, 3, (200,), generator=generator)
    path = torch.randint(0, 3, (200, 8), generator=generator, dtype=torch.int32) * (2**31 - 1)
    path[torch.arange(8) >= torch.randint(1, 9, (200, 1), generator=generator)] = -1
    path[path > 0] = 2**31 - 1
    for most in (1, 3, 10, 40, 10_000):
        depth, group = beginnings(tree, path, most)
        keys = [(t, *p[:depth]) for t, p in zip(tree.tolist(), path.tolist(), strict=True)]
        assert len(set(keys)) == len(set(group.tolist())) == len(set(zip(keys, group.tolist(), strict=True)))
        assert len(set(keys)) <= max(most, 3)
        deeper = {(t, *p[: depth + 1]) for t, p in zip(tree.tolist(), path.tolist(), strict=True)}
        assert depth == 8 or len(deeper) > most
    assert beginnings(tree, path, 10_000)[0] == 8


# ---- limits ----------------------------------------------------------------------------------------------------------


def found_of(search):
    """(batch,) what the search found of each instance, no proof."""
    open_ = ~(search.refuted[search.trees.instance, search.trees.disjunct] > 0)
    best = torch.full((len(search.live),), inf, dtype=torch.float64)
    return best.scatter_reduce_(0, search.trees.instance[open_], search._found.amax(0)[open_], "amin")


def as_good(proved, found):
    """Within a hundredth of it."""
    return found - 0.01 * (1 + abs(found)) <= proved < inf


def test_a_limit_of_nodes_leaves_what_was_found():
    (plain,) = verify(images(1, "0.06"), ProofSettings("deeppoly", attack=None))
    told = []
    margins = [verify(images(1, "0.06"), ProofSettings(f"{STEEP},nodes={n}", attack=None, on_stage=told.append))[0] for n in (100, 400)]
    assert [(r.verdict, r.reason) for r in margins] == [(Verdict.UNKNOWN, Reason.LIMIT)] * 2
    assert plain.margin < margins[0].margin <= margins[1].margin < 0
    found = float(next(text for text in reversed(told) if "~" in text).rpartition("~")[2])
    assert as_good(margins[1].margin, found)


def test_memory_leaves_what_was_found():
    run = under_way(12)
    before, found = run.search.refuted.amin(1), found_of(run.search)
    assert bool((found > before + 1).all())
    run.search.frontier.memory = 0.0
    with torch.no_grad():
        said = run.search.step(Budget())
    assert run.search.frontier.bytes == 0
    assert {text for _, text in said.limits} == {"ended by a limit of the method: memory for open nodes"}
    for k in range(2):
        assert as_good(float(run.search.refuted.amin(1)[k]), float(found[k]))


def test_time_that_is_about_to_end_leaves_what_was_found(clock):
    run = under_way(12)
    found = found_of(run.search)
    clock.sleep(100.0)
    with torch.no_grad():
        run.search.step(Budget(deadline=clock.now + 50.0))
        assert not any(as_good(float(run.search.refuted.amin(1)[k]), float(found[k])) for k in range(2))
        run.search.step(Budget(deadline=clock.now + 1.0))
    for k in range(2):
        assert as_good(float(run.search.refuted.amin(1)[k]), float(found[k]))
    assert bool(run.search.open.any())      # what time is left is used


def test_what_time_ends_keeps_what_it_has(monkeypatch):
    """The deadline in the middle of the last proofs."""
    run, batches = under_way(12), []
    monkeypatch.setattr(ByCuts, "batch", lambda self, budget: 4)
    real = ByCuts.reached

    def reached(self, *given):
        for part in real(self, *given):
            yield part
            batches.append(len(part[0]))
            if len(batches) == 2:
                raise DeadlineError

    monkeypatch.setattr(ByCuts, "reached", reached)
    raised = run.search.frontier.lower.clone()
    with torch.no_grad():
        run.search._reach(torch.tensor([True, True]), Budget())
    assert len(batches) == 2
    assert bool((run.search.frontier.lower >= raised).all())


def test_answers_under_a_limit_of_nodes_are_the_same_whatever_is_beside_them():
    alone = verify(images(1, "0.06"), ProofSettings(f"{STEEP},nodes=100", attack=None, batch=1))
    beside = verify(images(3, "0.06"), ProofSettings(f"{STEEP},nodes=100", attack=None, batch=3))
    assert alone[0].verdict is beside[0].verdict
    assert alone[0].margin == pytest.approx(beside[0].margin, rel=1e-4)


def test_where_nothing_more_can_be_done_what_was_found_is_proved():
    """All entries are cut, over bounds of the root that do not suffice."""
    for seed in range(12):
        run = grown(seed, share=0.0)
        held = run.search.frontier.held
        if bool(held.any()):
            assert bool((run.search.frontier.left[held] > -inf).all())
            return
    pytest.fail("no search ended so")


# ---- interrupts ------------------------------------------------------------------------------------------------------


PHASES = {
    "while a batch climbs": (by_cuts, "climb"), "while candidates are looked at": (ByCuts, "_ahead"),
    "while children are made": (ByCuts, "_children"), "in a rounded proof": (proof.Prover, "bounds"),
    "in the last proofs": (ByCuts, "reached"), "as bounds are told": (module.TreeSearch, "_tell"),
}


INTERRUPTED = {"share": 0.02, "how": replace(RACE, nodes=60), "count": 2}


@pytest.fixture(scope="module")
def uninterrupted():
    return grown(0, graph=deep(), **INTERRUPTED).search.refuted > 0


@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupt_in_any_phase_loses_nothing(phase, uninterrupted, monkeypatch):
    """What was proved stays, what was open is open, and the search could go on to the same end."""
    run, (owner, name) = made(0, graph=deep(), **INTERRUPTED), PHASES[phase]
    real, calls = getattr(owner, name), []

    def stopping(*given, **more):
        calls.append(1)
        if len(calls) == 3 or phase == "in the last proofs":
            monkeypatch.setattr(owner, name, real)
            raise KeyboardInterrupt
        return real(*given, **more)

    monkeypatch.setattr(owner, name, stopping)
    interrupted, best = False, run.search.refuted.clone()
    with torch.no_grad():
        while bool(run.search.open.any()):
            count = int(run.search.frontier.counts.sum())
            try:
                run.search.step(Budget())
            except KeyboardInterrupt:
                interrupted = True
                assert bool((run.search.refuted >= best).all())
                assert count == 0 or int(run.search.frontier.counts.sum()) > 0 or bool((run.search.refuted > 0).any())
            best = run.search.refuted.clone()
    assert interrupted
    assert torch.equal(run.search.refuted > 0, uninterrupted)
