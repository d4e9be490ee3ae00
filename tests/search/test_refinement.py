"""Refinement under limits: models that are no models, boxes and nodes under a budget."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from math import inf

import agreement_nets
import numpy as np
import pytest
import torch
from agreement import ask
from solver_contract import build, context, gemm
from test_refinement_faults import DOMAINS, NEEDS_BRANCHING, SEEDS, false_words

import absint
from absint import samples
from absint.analyses.verify import Problem, ProofSettings, verify
from absint.domains.deeppoly import DeepPoly
from absint.encode.network import encode
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import AbsintError, InputError
from absint.model.families.maximum import Maximum
from absint.model.ops.exponential import Exp
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.branchers.boxes import Splitting
from absint.search.branchers.by_phases import ByPhases
from absint.search.branchers.phases import Effort, Phases, PhaseTree
from absint.search.branching import Branching, Tactic
from absint.search.frontier import Frontier
from absint.search.names import domain_of, strategy_of
from absint.solvers import Session
from absint.verdict import Reason, Verdict

NET = str(samples.network_path("mnist_relu_3x50"))
# At eps 0.05 in batches of one: decided without a solver, after some hundred LPs, and in hours.
EASY, MIDDLE, HARD = 1, 3, 2


# ---- models that are no models --------------------------------------------------------------------------------------


def dense(weight, bias=None):
    made = torch.tensor(weight, dtype=torch.float64)
    return Gemm(made, torch.zeros(len(made), dtype=torch.float64) if bias is None else torch.tensor(bias, dtype=torch.float64))


def problem(graph, weight, bias, disjunct=None, ends=((-1.0, 1.0),), **more):
    """One box for each (low, high) of `ends`, the same in every input; rows over the outputs."""
    low, high = (torch.tensor([e[side] for e in ends], dtype=torch.float64)[:, None].expand(-1, graph.input.size) for side in range(2))
    rows = torch.tensor(weight, dtype=torch.float64).reshape(1, -1, graph.output.size).expand(len(ends), -1, -1)
    each = torch.tensor(bias, dtype=torch.float64).expand(len(ends), -1)
    spec = Spec.rows(rows, each, None if disjunct is None else torch.tensor(disjunct))
    return Problem(graph, BoxRegion(low.clone(), high.clone()), spec.take, tuple(range(len(ends))), **more)


def decided(asked, domain, **options):
    return verify(asked, ProofSettings(domain_of(domain), dtype="float64", attack=None, **options))


def rectifier():
    return build((2,), dense([[1, 2], [3, -1]]), Relu(), dense([[1, -1]]))


@pytest.mark.parametrize("domain", DOMAINS)
def test_contradictory_bounds_leave_one_instance_undecided(domain):
    """Bounds that cross decide nothing of their instance, and nothing of the other one."""
    graph = rectifier()
    name = graph.nodes[1].name
    wide = torch.full((2, 2), 9.0, dtype=torch.float64)
    low, high = -wide, wide.clone()
    low[0, 0], high[0, 0] = 5.0, 4.0
    asked = problem(graph, [1.0], [1.6], ends=((-1.0, 1.0), (-0.1, 0.1)), known={name: Interval(low, high)})
    void, other = decided(asked, domain)
    assert (void.verdict, void.reason) == (Verdict.UNKNOWN, Reason.VACUOUS)
    assert other.verdict is Verdict.VERIFIED


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_infeasible_relaxation_is_no_verdict(domain):
    """Bounds that no input meets, although they do not cross: a coded error, or nothing proved by them."""
    graph = rectifier()
    known = {graph.nodes[1].name: Interval(*(torch.tensor([v], dtype=torch.float64) for v in ([2.9, 3.9], [3.0, 4.0])))}
    try:
        (result,) = decided(problem(graph, [1.0], [0.5], known=known), domain)
        ended = result.verdict.value
    except AbsintError as error:
        ended = error.code
    assert ended in ("unknown", "falsified", "E-CONTRADICTION")


@pytest.mark.parametrize("domain", DOMAINS)
def test_regions_of_no_width(domain):
    """Points, and boxes with one input of no width: decided like others, by witnesses and proofs."""
    asked = problem(rectifier(), [1.0], [0.75], ends=((0.5, 0.5), (-0.5, -0.5), (0.25, 0.25)))
    values = [float(asked.graph(x[None]) + 0.75) for x in asked.region.lower]
    found = [r.verdict for r in decided(asked, domain)]
    assert found == [Verdict.VERIFIED if value > 0 else Verdict.FALSIFIED for value in values]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_linear_network_has_a_model_without_rows(domain):
    asked = problem(build((2,), dense([[1, 2], [3, -1]])), [1.0, 0.0], [0.5], ends=((-1.0, 1.0), (0.0, 1.0)))
    assert [r.verdict for r in decided(asked, domain)] == [Verdict.FALSIFIED, Verdict.VERIFIED]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_property_without_disjuncts_has_nothing_to_ask(domain):
    (result,) = decided(problem(rectifier(), [], []), domain)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.VACUOUS)


HUGE = [[1e200, 1e200], [1e200, -1e200]]
CROSS = [[1.0, -1], [-1, 1]]
ONE, TWO = ([1.0], [1.0], None), ([1.0, 0, 0, 1], [1.0, 1.0], [0, 0])
TALL = [[1000.0, 0], [1, 1], [1, 0], [-1, 0]]
OVERFLOWS = {
    "products of weights": ((dense(HUGE), dense(HUGE), Relu(), dense([[1.0, -1.0]])), *ONE),
    "columns": ((dense(HUGE), Relu(), dense(HUGE), Relu(), dense(CROSS)), *TWO),
    "conjunctions": ((dense([[1000.0, 0], [1, 1]]), Exp(), dense(CROSS), Relu(), dense([[1.0, 1], [1, -1]])), *TWO),
    "gaps of maxima": ((dense(TALL), Exp(), Reshape((2, 2)), Maximum(), dense([[1.0, -1]])), [1.0], [-1.0], None),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("kind", OVERFLOWS)
def test_an_overflow_in_a_model_is_no_bad_input(kind, domain):
    """Numbers beyond float64 in one instance's model: unknown, or a proved witness; nobody's input is at fault."""
    layers, weight, bias, disjunct = OVERFLOWS[kind]
    try:
        (result,) = decided(problem(build((2,), *layers), weight, bias, disjunct), domain, timeout=1.0)
    except InputError as error:
        pytest.fail(f"{error.code}: {error.what}")
    assert result.verdict in (Verdict.UNKNOWN, Verdict.FALSIFIED)


@pytest.mark.parametrize("seconds", [1e-9, 0.02])
def test_no_time_at_all_is_a_timeout(seconds):
    for seed in (NEEDS_BRANCHING, 47, 18):
        case = agreement_nets.case(seed)
        for domain in DOMAINS:
            results = ask(case, domain, timeout=seconds)
            assert false_words(case, results) == []
            assert all(r.verdict is not Verdict.UNKNOWN or r.reason in (Reason.TIMEOUT, Reason.IMPRECISE, Reason.SOLVER) for r in results)


def test_a_clock_that_has_run_out_between_two_programs(monkeypatch, clock):
    """Some disjuncts were asked, the others were not: nothing is missing in the bookkeeping."""
    case = agreement_nets.case(18)
    real, calls = ByPhases.expand, []

    def expand(self, nodes, budget):
        calls.append(int(nodes.tree[0]))
        if len(calls) % 3 == 2:
            clock.sleep(1e3)
            budget.check()
        return real(self, nodes, budget)

    monkeypatch.setattr(ByPhases, "expand", expand)
    for domain in DOMAINS:
        before = len(calls)
        results = ask(case, domain, timeout=100.0)
        assert false_words(case, results) == []
        assert len(calls) > before
    assert Reason.TIMEOUT in {r.reason for r in results}


def test_bounds_of_one_instance_do_not_reach_another():
    """Alone, with others, and in another order: same verdicts, same margins."""
    for seed in SEEDS:
        case = agreement_nets.case(seed)
        for domain in ("refine", "exact:nodes=200,boxes=64"):
            alone = [ask(case, domain, k)[0] for k in range(2)]
            for order in ((0, 1), (1, 1, 0)):
                for got, k in zip(ask(case, domain, *order), order, strict=True):
                    assert got.verdict is alone[k].verdict
                    assert (got.margin is None) == (alone[k].margin is None)
                    assert got.margin is None or got.margin == pytest.approx(alone[k].margin, rel=1e-6, abs=1e-9)


def test_models_are_of_the_whole_context():
    """Refinement of a batch answers the same bounds as of its second instance alone."""
    case = agreement_nets.case(27)
    one = case.region.take(torch.tensor([1]))
    refine = strategy_of("refine").stages()[-1]
    whole = refine.attempt(Context(case.graph, case.region, Numerics()), case.spec)
    alone = refine.attempt(Context(case.graph, one, Numerics()), case.spec.take(torch.tensor([1])))
    for name, interval in alone.ctx.known.items():
        for side in ("lower", "upper"):
            assert torch.allclose(getattr(whole.ctx.known[name], side)[1], getattr(interval, side)[0], rtol=1e-9, atol=1e-12)


# ---- halved boxes ---------------------------------------------------------------------------------------------------


def folded():
    """A network whose relaxations are loose at first: two hidden layers, one output."""
    rng = np.random.default_rng(5)
    return build((2,), gemm(rng, 6, 2), Relu(), gemm(rng, 6, 6), Relu(), gemm(rng, 1, 6))


def valley():
    """|x - 0.3| + |y + 0.2|: the least value is inside, beside every first cut."""
    return build((2,), dense([[1, 0], [-1, 0], [0, 1], [0, -1]], [-0.3, 0.3, 0.2, -0.2]), Relu(), dense([[1, 1, 1, 1]]))


def ledge():
    """-max(y - 0.6, 0) - x / 10 and a constant: cut along x alone, whose halves see nothing of the turn that decides."""
    return build((2,), dense([[0, 1], [1, 0]], [-0.6, 5]), Relu(), dense([[-1, -0.1]], [1.0]))


def least_seen(graph, count=61):
    axis = torch.linspace(-1, 1, count, dtype=torch.float64)
    return float(graph(torch.cartesian_prod(axis, axis)).min())


@dataclass(frozen=True)
class Covered:
    """What halving came to. lower: proved.  boxes: halved.  open: nodes left.  limit: what the search says ended it."""

    lower: float
    boxes: int
    open: int
    violated: bool
    late: bool
    limit: str | None

    @property
    def complete(self):
        return not self.open


def covered(graph, how, *, gap=0.0, budget=None, blind=True):
    """Halves alone of [-1, 1]^2 on the property that the output is above its least value seen, plus the gap.

    blind: no point that the search comes by ends it.
    """
    region = BoxRegion(torch.full((1, 2), -1.0, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    spec = Spec.rows(torch.ones(1, 1, 1), torch.tensor([[-least_seen(graph) - gap]], dtype=torch.float64))
    ctx = boxes(Context(graph, region, Numerics(), budget or Budget()))
    with torch.no_grad():
        search = Branching(ctx, spec, torch.full((1, 1), -inf, dtype=torch.float64), Tactic(("highs",), nodes=0, splitting=how))
        if blind:
            search.kinds[1].look = lambda *told: None
        limits, lower = [], -inf
        while search.open.any() and not ctx.budget.late:
            found = search.step(ctx.budget)
            limits += found.limits
            assert float(found.lower) >= lower
            lower = float(found.lower)
    late = bool(search.open.any())
    return Covered(lower, int(search.boxes), int(search.frontier.counts.sum()), bool(search.candidates.violated), late,
                   limits[0][1] if limits else None)


def test_boxes_prove_what_holds_and_nothing_else():
    for graph in (folded(), valley()):
        proved = covered(graph, Splitting(DeepPoly(), 2, 4000), gap=-0.05)
        assert proved.complete
        assert 0 < proved.lower <= 0.05 + 1e-9
        false = covered(graph, Splitting(DeepPoly(), 2, 4000), gap=0.05)
        assert not false.complete
        assert false.lower <= -0.05 + 1e-9


@dataclass(frozen=True)
class Word(DeepPoly):
    """Bounds of hidden neurons that are a solver's word, and wrong, on boxes of area above 0.2."""

    def bounds(self, element, rows, ctx, sense):
        found = super().bounds(element, rows, ctx, sense)
        if rows.index is None:
            return found
        mine = (ctx.region.hull.upper - ctx.region.hull.lower).prod(1)[rows.instance] > 0.2
        lowered = found.upper - 0.6 * (found.upper - found.lower)
        return Interval(found.lower, torch.where(mine, lowered, found.upper), mine)


def test_a_word_is_not_inherited_as_a_proof():
    """What a solver says of a box's neurons proves nothing of the box, nor of its halves, where nobody asks it again."""
    found = covered(ledge(), Splitting(Word(), 2, 500), gap=0.05)
    assert found.lower <= -0.05 + 1e-9
    assert not found.complete


def test_boxes_end_at_their_limits():
    """The count, memory and a point that violates the property each end it; what is left open stays in the bound."""
    graph = folded()
    few = covered(graph, Splitting(DeepPoly(), 2, 60), gap=0.05)
    assert (few.late, few.limit) == (False, "ended by a limit of the method: 60 boxes")
    assert few.boxes <= 60 + 2 * 60
    poor = covered(graph, Splitting(DeepPoly(), 2), gap=0.05, budget=Budget(memory=20_000))
    assert (poor.late, poor.limit) == (False, "ended by a limit of the method: memory for open nodes")
    assert all(found.lower <= -0.05 + 1e-9 for found in (few, poor))
    stopped = covered(graph, Splitting(DeepPoly(), 2), gap=0.05, blind=False)
    assert stopped.violated
    assert stopped.lower <= -0.05 + 1e-9


@pytest.mark.parametrize("seconds", [0.5, 0.57, 0.64, 0.71])
def test_boxes_end_with_the_clock(seconds, clock):
    """Between two batches, or inside the bounds of one; the boxes that were being bounded stay open."""
    clock.tick, end = 0.01, clock.now + seconds
    found = covered(folded(), Splitting(DeepPoly(), 2), gap=0.05, budget=Budget(deadline=end))
    assert found.late
    assert found.boxes > 0
    assert found.open > 0
    assert clock.now < end + 20 * clock.tick     # inside a batch every node looks at the clock once
    assert found.lower <= -0.05 + 1e-9


# ---- time and memory ------------------------------------------------------------------------------------------------


def asked(index, eps, domain, **options):
    """Results of bundled images, one thing at a time."""
    data = samples.for_shape((784,))
    chosen = list(index)
    return absint.verify(NET, data.inputs[chosen].reshape(len(chosen), *shape()), data.labels[chosen], eps, domain=domain, dtype="float64",
                         attack=None, **options)


def shape():
    return absint.load(NET).input.shape


@pytest.mark.parametrize("limit", [{"timeout": 1.0}, {"total_timeout": 2.0}])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_hard_instance_takes_its_own_time_alone(limit, batch, clock, monkeypatch):
    """Unknown (timeout) at the limit; the others of the batch, before and after it, are decided. A program takes 0.01 s here."""
    real, begin, clock.tick = Session.solve, clock.now, 1e-4

    def solve(self, limits=None):
        clock.sleep(0.01)
        return real(self, limits)

    monkeypatch.setattr(Session, "solve", solve)
    found = asked((EASY, HARD, MIDDLE), "0.05", "exact:solver=highs", batch=batch, **limit)
    assert clock.now - begin < limit.get("total_timeout", 3.0) + 0.1
    assert [r.verdict for r in found][:2] == [Verdict.VERIFIED, Verdict.UNKNOWN]
    assert found[1].reason is Reason.TIMEOUT
    assert found[2].verdict is Verdict.VERIFIED or (batch == 1 and "total_timeout" in limit and found[2].reason is Reason.TIMEOUT)


def test_more_effort_on_neurons_loses_nothing():
    """Neurons leave time for the property, and for the other instances: what one LP each proves is proved with branching, too."""
    (plain,) = asked((0,), "0.04", "refine:solver=highs")
    assert plain.verdict is Verdict.VERIFIED
    assert plain.stage.startswith("refine")
    (more,) = asked((0,), "0.04", "refine:solver=highs,timeout_milp=0.1", timeout=8.0)
    assert more.verdict is Verdict.VERIFIED


def test_an_open_node_is_small():
    """Nodes wait by the thousand: each holds a few numbers, whatever the depth and the size of the network."""
    rng = np.random.default_rng(2)
    graph = build((6,), gemm(rng, 20, 6), Relu(), gemm(rng, 20, 20), Relu(), gemm(rng, 1, 20))
    encoding = encode(context(graph, 1), 0)
    functional = encoding.functional(np.array([1.0]))
    grown = {}
    with Phases(encoding.model, encoding.choices, ("highs",)) as tree:
        for nodes in (200, 1200):
            tracemalloc.start()
            tree.minimum(functional.cost, functional.offset, inf, Effort(nodes))
            grown[nodes] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert (grown[1200] - grown[200]) / 1000 < 1500
        one, frontier = PhaseTree(tree, functional.cost, functional.offset, inf, None), Frontier(1, 1)  # arrays are not traced
        frontier.plant(0, one.root(0))
        while one.solved < 200:
            found = one.expand(frontier.least(0, 0), Effort())
            frontier.settle(0, found.open, found.closed, found.held)
    assert 0 < frontier.bytes / frontier.counts.sum() < 500


def test_a_search_over_every_phase_ends_when_it_is_settled():
    """Empty nodes are not branched on, and what cannot change the least bound is not looked at."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph = build((4,), gemm(rng, 8, 4), Relu(), gemm(rng, 8, 8), Relu(), gemm(rng, 1, 8))
        encoding = encode(context(graph, seed + 1), 0)
        functional = encoding.functional(np.array([1.0]))
        with Phases(encoding.model, encoding.choices, ("highs",)) as tree:
            found = tree.minimum(functional.cost, functional.offset, inf, Effort(5000))
        assert found.nodes < 100
        assert not found.late
