"""Branch and bound over a batch: each instance has what it has alone, at any time, and whatever interrupts the work."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
from box_search import walked
from solver_contract import build, gemm

from absint.analyses.verify import Problem, ProofSettings, verify
from absint.domains.deeppoly import DeepPoly
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.numeric.backend import Budget, DeadlineError
from absint.numeric.interval import Interval
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search import branching
from absint.search.branchers.boxes import Splitting
from absint.search.branching import Branching, Tactic
from absint.search.candidates import Candidates
from absint.search.names import domain_of
from absint.search.search import run_out
from absint.verdict import Verdict

LPS = Tactic(("highs",), nodes=400)
HALVES = Tactic(("highs",), nodes=0, splitting=Splitting(DeepPoly(), 2, 4000))
FEW = replace(HALVES, splitting=Splitting(DeepPoly(), 2, 300))
BOTH = Tactic(("highs",), nodes=40, splitting=Splitting(DeepPoly(), 2, 15))
EASY, HARD, FALSE = 0.6, 0.02, -0.05
GAPS = (HARD, EASY, FALSE, HARD, 0.2)


def network(seed=3, act=Relu):
    rng = np.random.default_rng(seed)
    return build((2,), gemm(rng, 8, 2), act(), gemm(rng, 8, 8), act(), gemm(rng, 1, 8))


def asked(graph, gaps=GAPS):
    """One box for each gap, each elsewhere: the output is above its least value seen there, less the gap."""
    rng = np.random.default_rng(11)
    center = torch.tensor(rng.uniform(-0.5, 0.5, size=(len(gaps), 1, 2)))
    axis = torch.linspace(-1, 1, 81, dtype=torch.float64)
    points = center + torch.cartesian_prod(axis, axis)
    least = torch.stack([graph(some).min() for some in points])
    region = BoxRegion(center[:, 0] - 1, center[:, 0] + 1)
    return region, Spec.rows(torch.ones(len(gaps), 1, 1), torch.tensor(gaps)[:, None].double() - least[:, None])


def begun(tactic, gaps=GAPS, instances=None, graph=None, budget=None, known=None):
    """A search over some instances, blind to points that violate the property; its property, and its context."""
    graph = network() if graph is None else graph
    region, spec = asked(graph, gaps)
    index = torch.tensor(range(len(gaps)) if instances is None else instances)
    with torch.no_grad():
        ctx, refuted = walked(graph, region.take(index), spec.take(index), DeepPoly())
        ctx = replace(ctx, budget=budget or Budget(), known=ctx.known if known is None else {**ctx.known, **known})
        search = Branching(ctx, spec.take(index), refuted, tactic)
    search.candidates.look = lambda *told: None
    for kind in search.kinds[1:]:
        kind.look = search.candidates.look
    return search


def finished(search, budget=None):
    """(batch,) what is proved in the end, and the limits named."""
    limits = []
    with torch.no_grad():
        for _ in range(10_000):
            if not search.open.any():
                break
            limits += search.step(budget or Budget()).limits
    search.close()
    return search.refuted[:, 0].tolist(), limits


# ---- who is beside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tactic", [replace(LPS, nodes=9), LPS, replace(BOTH, nodes=0), BOTH, replace(HALVES, nodes=9)])
def test_in_a_batch_each_has_what_it_has_alone(tactic):
    together, _ = finished(begun(tactic))
    alone = [finished(begun(tactic, instances=[k]))[0][0] for k in range(len(GAPS))]
    assert together == pytest.approx(alone, rel=1e-9, abs=1e-12)
    assert together[FALSE_AT] <= FALSE + 1e-9
    assert together[1] > 0


FALSE_AT = GAPS.index(FALSE)


@pytest.mark.parametrize("tactic", [LPS, HALVES])
def test_an_easy_one_is_told_while_a_hard_one_goes_on(tactic, monkeypatch):
    """What the first ones need is not waited for."""
    monkeypatch.setattr(branching, "_TURN", 0.0)
    search = begun(tactic, gaps=(FALSE, FALSE, 0.2))
    with torch.no_grad():
        while search.open[2]:
            search.step(Budget())
    assert float(search.refuted[2, 0]) > 0
    assert search.open.tolist() == [True, True, False]
    search.close()


@pytest.mark.parametrize("tactic", [LPS, HALVES, BOTH])
def test_at_any_time_the_bounds_hold_and_only_rise(tactic):
    search, before = begun(tactic), torch.full((len(GAPS), 1), -inf, dtype=torch.float64)
    with torch.no_grad():
        while search.open.any():
            found = search.step(Budget())
            assert (found.lower >= before).all()
            assert (found.lower[:, 0] <= torch.tensor(GAPS) + 1e-6).all()     # a point of each box has this value
            assert search.frontier.counts[:, (found.lower[:, 0] > 0)[search.trees.instance]].sum() == 0
            before = found.lower
    search.close()
    assert (before[:, 0] > 0).tolist() == [gap > 0 for gap in GAPS] or tactic is BOTH


def test_who_has_left_is_not_worked_on_and_proves_nothing_more():
    search = begun(HALVES)
    with torch.no_grad():
        search.step(Budget())
        before = search.refuted.clone()
        live = torch.tensor([True, True, True, False, True])
        search.keep(live)
        assert not search.open[3]
        while search.open.any():
            search.step(Budget())
    assert search.refuted[3].equal(before[3])
    kept = search.refuted[:, 0].tolist()
    alone = finished(begun(HALVES, instances=[0]))[0][0]
    assert kept[0] == pytest.approx(alone, rel=1e-9)


# ---- what ends it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tactic", "memory"), [(LPS, 400), (HALVES, 1200)])
def test_memory_for_open_nodes_ends_it_with_its_reason(tactic, memory):
    """Bounds are of what was searched, the open nodes included, which are given up. It is looked at between turns, which are short here."""
    search = begun(tactic, gaps=(FALSE,), budget=Budget(memory=memory))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branching, "_TURN", 0.0)
        (lower,), limits = finished(search, Budget(memory=memory))
    assert limits == [(0, "ended by a limit of the method: memory for open nodes")]
    assert -inf < lower <= FALSE + 1e-9
    assert search.frontier.counts.sum() == 0


def test_memory_ends_the_instance_that_takes_it_and_no_other():
    search = begun(HALVES, gaps=(FALSE, EASY, HARD), budget=Budget(memory=12000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.kinds[1], "batch", lambda budget: 2)
        lower, limits = finished(search, Budget(memory=12000))
    assert limits == [(0, "ended by a limit of the method: memory for open nodes")]
    assert lower[0] <= FALSE + 1e-9
    assert min(lower[1:]) > 0


class Failing:
    """Raises at one call of a kind's `expand`, after the work or before it."""

    def __init__(self, kind, error, at, after):
        self.real, self.error, self.at, self.after, self.calls = kind.expand, error, at, after, 0
        kind.expand = self

    def __call__(self, nodes, budget):
        self.calls += 1
        if self.calls != self.at:
            return self.real(nodes, budget)
        if self.after:
            self.real(nodes, budget)
        raise self.error


@pytest.mark.parametrize("tactic", [LPS, FEW])
@pytest.mark.parametrize("error", [DeadlineError("planted"), KeyboardInterrupt(), MemoryError("planted"), RuntimeError("planted")])
@pytest.mark.parametrize("at", [1, 4])
def test_what_interrupts_the_work_loses_nothing(tactic, error, at):
    """No bound moves by it, no node is gone, and whoever goes on ends where others do."""
    search = begun(tactic, gaps=(0.2, FALSE))
    failing = Failing(search.kinds[1 if tactic is FEW else 0], error, at, after=tactic is FEW)
    with torch.no_grad():
        while failing.calls < at:
            counts, lower = search.frontier.counts.clone(), search.frontier.lower.clone()
            try:
                search.step(Budget())
            except type(error):
                pass
            if tactic is FEW and failing.calls == at:
                assert search.frontier.counts.equal(counts)
                assert search.frontier.lower.equal(lower)
        assert (search.refuted[:, 0] <= torch.tensor([0.2, FALSE]) + 1e-6).all()
    found, _ = finished(search)
    wanted, _ = finished(begun(tactic, gaps=(0.2, FALSE)))
    if tactic is FEW and not isinstance(error, MemoryError):     # after which batches are smaller
        assert found == pytest.approx(wanted, rel=1e-6)
    assert [value > 0 for value in found] == [True, False]


def test_a_batch_of_boxes_too_large_is_tried_in_smaller_ones():
    search = begun(FEW, gaps=(0.2, EASY))
    real, sizes = search.kinds[1].expand, []

    def expand(nodes, budget):
        sizes.append(len(nodes))
        if len(nodes) > 4:
            raise MemoryError("planted")
        return real(nodes, budget)

    search.kinds[1].expand = expand
    found, _ = finished(search)
    assert [value > 0 for value in found] == [True, True]
    assert max(sizes) > 4 >= sizes[-1]


# ---- what no kind can divide, and what is no proof ----------------------------------------------------------------------


def test_who_has_too_many_undecided_entries_proves_nothing_by_programs():
    """Nothing is planted for it, while the one beside it is searched."""
    graph = network()
    region, spec = asked(graph, (EASY, FALSE, HARD))
    region = BoxRegion(region.lower.clone(), region.upper.clone())
    region.lower[0], region.upper[0] = region.upper[0] - 0.2, region.upper[0] - 0.1
    with torch.no_grad():
        ctx, refuted = walked(graph, region, spec, DeepPoly())
        refuted = torch.full_like(refuted, -inf)
        search = Branching(ctx, spec, refuted, replace(LPS, undecided=6))
        found = run_out(lambda *given: search, ctx, spec, refuted)
    assert found.lower[0, 0] > 0
    assert found.lower[1:, 0].tolist() == [-inf, -inf]


def test_who_has_too_many_inputs_is_proved_nothing_by_halves():
    """Nothing is planted for it, of that kind."""
    found, _ = finished(begun(Tactic(("highs",), nodes=3, splitting=Splitting(DeepPoly(), 1, 100)), gaps=(FALSE, HARD)))
    assert found[0] <= FALSE + 1e-9
    assert found[1] <= HARD + 1e-6


def narrow(graph, gaps, share, solver):
    """Bounds of the first layer's values that leave most of them out."""
    region, spec = asked(graph, gaps)
    ctx, _ = walked(graph, region, spec, DeepPoly())
    name = graph.nodes[1].name
    low, high = ctx.known[name].lower, ctx.known[name].upper
    return {name: Interval(high - share * (high - low), high.clone(), solver)}


@pytest.mark.parametrize("flags", [(True, True), (True, False)])
def test_programs_over_a_solvers_word_prove_nothing(flags):
    """What they say is a claim, of those instances alone."""
    graph = network()
    gaps = (FALSE, HARD)
    wide = narrow(graph, gaps, 1.0, torch.tensor(flags))
    tight = narrow(graph, gaps, 0.6, torch.tensor(flags))
    (name,) = wide
    mask = torch.tensor(flags)[:, None]
    known = {name: Interval(torch.where(mask, tight[name].lower, wide[name].lower), wide[name].upper, torch.tensor(flags))}
    search = begun(LPS, gaps=gaps, known=known)
    found, _ = finished(search)
    assert found[0] <= FALSE + 1e-9
    assert (found[1] > 0) == (not flags[1])
    assert (search.claimed[:, 0] > search.refuted[:, 0]).tolist()[0]


def test_a_model_without_any_point_is_told_and_not_taken():
    """Where nothing is assumed every input is a point of it: something is wrong, and not with the input."""
    layer = Gemm(torch.tensor([[1.0, 2], [3, -1]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    graph = build((2,), layer, Relu(), Gemm(torch.tensor([[1.0, -1]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))
    hidden = Interval(*(torch.tensor([v], dtype=torch.float64) for v in ([2.9, 3.9], [3.0, 4.0])))
    ends = torch.ones(1, 2, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 1, 1), torch.full((1, 1), 0.5, dtype=torch.float64))
    with torch.no_grad():
        ctx, _ = walked(graph, BoxRegion(-ends, ends), spec, DeepPoly())
        output = Interval(*(torch.tensor([[v]], dtype=torch.float64) for v in (-9.0, 9.0)))
        ctx = replace(ctx, known={**ctx.known, graph.nodes[1].name: hidden, graph.nodes[2].name: hidden, graph.output.name: output})
        found = run_out(lambda *given: Branching(*given, LPS), ctx, spec, torch.full((1, 1), -inf, dtype=torch.float64))
    assert found.lower.tolist() == [[-inf]]
    assert "E-SOLVER-CONTRADICTION" in str(found.notes)


# ---- from the front door ------------------------------------------------------------------------------------------------


def verdicts(graph, domain, gaps, **options):
    region, spec = asked(graph, gaps)
    problem = Problem(graph, region, spec.take, tuple(range(len(gaps))))
    return verify(problem, ProofSettings(domain_of(domain), dtype="float64", attack=None, **options))


@pytest.mark.parametrize("domain", ["exact:undecided=1", "auto:undecided=1"])
def test_many_undecided_entries_hold_back_no_halves(domain):
    (found,) = verdicts(network(), domain, (HARD,))
    assert found.verdict is Verdict.VERIFIED
    if domain.startswith("exact"):
        (found,) = verdicts(network(), domain + ",inputs=0", (HARD,))
        assert found.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("act", [Sigmoid, Tanh])
def test_a_curved_network_is_halved(act):
    graph = network(5, act)
    (found, wrong) = verdicts(graph, "exact:boxes=3000", (0.01, FALSE))
    assert found.verdict is Verdict.VERIFIED
    assert wrong.verdict is not Verdict.VERIFIED
    (plain,) = verdicts(graph, "exact:inputs=0", (0.01,))
    assert plain.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("domain", ["exact:nodes=60,inputs=0", "exact:nodes=60,boxes=15"])
def test_what_a_step_proves_reaches_its_own_instance(domain):
    """Those before it leave at different times; whoever violates the property stays to its limit."""
    gaps = (0.1, FALSE, HARD, FALSE, 0.2, 0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Candidates, "look", lambda *told: None)
        together = verdicts(network(), domain, gaps)
    for k, found in enumerate(together):
        assert found.verdict is not Verdict.VERIFIED or gaps[k] > 0
        assert found.margin <= gaps[k] + 1e-6
    assert {found.verdict for found in together} >= {Verdict.VERIFIED}
