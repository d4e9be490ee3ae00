"""Trees of case splits: what they prove is true by exact arithmetic, whoever is beside, whatever limits or interrupts them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from box_search import walked
from case_splits import RELAX, exact, wild
from exact_cells import truth
from solver_contract import build
from ties import network as tied
from ties import whole

from absint.analyses.verify import Problem, ProofSettings, verify
from absint.domains.deeppoly import DeepPoly
from absint.model.families.maximum import Maximum
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.step import Ceil, Compare, Floor, Round, Sign, Truncate
from absint.model.ops.sum import Sum
from absint.numeric.backend import Budget, DeadlineError
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import ATTAINED, Spec
from absint.search.branchers import by_cuts
from absint.search.branchers.by_cuts import Cutting
from absint.search.names import domain_of
from absint.search.trees import Growing, TreeSearch
from absint.search.unfolding import unfolded
from absint.verdict import Verdict

BOTH = (Cutting("intercept", 2), Cutting("product", 2))
DISJUNCT = torch.tensor([0, 1, 1, 2, 2, 2])
GAPS = (0.0, 2.0**-10, -(2.0**-10), 0.25, 0.0, -0.125)
SINGLE, DOUBLE = Numerics(torch.float32), Numerics(torch.float64)


def begun(graph, region, spec, kinds=BOTH, nodes=80, numerics=DOUBLE, budget=None):
    """Trees of every disjunct, whatever is known of it."""
    with torch.no_grad():
        ctx, _ = walked(graph, region, spec, DeepPoly(), numerics)
        ctx = unfolded(replace(ctx, budget=budget or Budget()), spec, DeepPoly())
        return TreeSearch(ctx, spec, torch.full((len(region.lower), spec.disjuncts), -inf), RELAX, Growing(kinds, nodes))


def finished(search, budget=None):
    """(batch, disjuncts) what is proved in the end, and the limits named."""
    limits = []
    with torch.no_grad():
        for _ in range(5000):
            if not search.open.any():
                return search.refuted, limits
            limits += search.step(budget or Budget()).limits
    raise AssertionError("a search without end")


def stairs(rng, inputs):
    """Maxima of three and of two operands, a staircase above or below them, numbers on a grid."""
    step = (Floor, Ceil, Round, lambda: Truncate(-128.0, 127.0))[rng.integers(4)]()
    first, second = ((step, Relu()) if rng.random() < 0.5 else (Relu(), step))
    return build((inputs,), Gemm(whole(rng, 3, inputs), whole(rng, 3) / 2), first, Reshape((1, 3)), Maximum(),
                 Gemm(whole(rng, 2, 1), whole(rng, 2)), second, Gemm(whole(rng, 2, 2), whole(rng, 2)))


def asked(seed, batch=3, simple=True):
    """(graph, region, spec, truths): disjuncts of one, two and three rows, some strict, each `GAPS` from the exact truth."""
    rng = np.random.default_rng(seed)
    inputs = int(rng.integers(2, 4))
    if simple:
        graph = stairs(rng, inputs) if seed % 4 == 1 else tied(rng, inputs)
        weight = whole(rng, batch, len(DISJUNCT), 2)
    else:
        act = (Relu(), LeakyRelu(0.3), Abs(), Clip(-0.4, 0.7))[rng.integers(4)]
        shapes = ((4, inputs), (3, 4), (2, 3))
        layers = [Gemm(torch.tensor(rng.normal(size=shape)), torch.tensor(rng.normal(size=shape[0]) * 0.3)) for shape in shapes]
        graph = build((inputs,), layers[0], act, layers[1], Relu(), layers[2])
        weight = torch.tensor(rng.normal(size=(batch, len(DISJUNCT), 2)))
    low = whole(rng, batch, inputs) - 0.5
    region = BoxRegion(low, low + torch.tensor(rng.integers(1, 4, (batch, inputs)) / 2))
    strict = torch.tensor(rng.random(len(DISJUNCT)) < 0.4)
    bias = torch.zeros(batch, len(DISJUNCT), dtype=torch.float64)
    ends = [[[Fraction(v) for v in end] for end in (region.lower[k].tolist(), region.upper[k].tolist())] for k in range(batch)]
    plain = Spec.rows(weight, bias, DISJUNCT, strict)
    for k in range(batch):
        for d, least in enumerate(truth(graph, *ends[k], plain, k).disjuncts):
            bias[k, d == DISJUNCT] = float(-least) + GAPS[rng.integers(len(GAPS))]
    spec = Spec.rows(weight, bias, DISJUNCT, strict)
    return graph, region, spec, [truth(graph, *ends[k], spec, k) for k in range(batch)]


def check_truth(seed, numerics=DOUBLE, kinds=BOTH, simple=True):
    """Nothing unsafe is refuted, no bound is above the truth; (how many held and were proved, how many held)."""
    graph, region, spec, truths = asked(seed, simple=simple)
    search = begun(graph, region, spec, kinds, numerics=numerics)
    refuted, _ = finished(search)
    proved = held = 0
    for k, exactly in enumerate(truths):
        for d in range(spec.disjuncts):
            bound, strict = float(refuted[k, d]), bool(spec.strict[spec.disjunct == d].any())
            assert not (bound > 0 and exactly.unsafe[d])
            assert bound <= exactly.disjuncts[d] or (strict and not exactly.unsafe[d] and bound < 1e-30)
            held += exactly.disjuncts[d] > 0.001
            proved += exactly.disjuncts[d] > 0.001 and bound > 0
    return proved, held


def check_all(seeds):
    for seed in seeds:
        check_truth(seed, simple=bool(seed % 2))


def check_many(seeds, numerics=DOUBLE, kinds=BOTH):
    found = [check_truth(seed, numerics, kinds, simple=bool(seed % 3)) for seed in seeds]
    # Of staircases the pieces are closed: at a corner on a grid a piece ends in a value that the function has on the other side alone.
    counted = [pair for seed, pair in zip(seeds, found, strict=True) if seed % 3 == 0 or seed % 4 != 1]
    proved, held = (sum(column) for column in zip(*counted, strict=True))
    assert held >= len(counted)
    # Nodes are few: what hangs on more stays open.
    assert proved > 0.8 * held


@pytest.mark.parametrize("numerics", [SINGLE, DOUBLE], ids=["float32", "float64"])
def test_the_truth_in_rationals(numerics):
    check_many(range(5), numerics)


@pytest.mark.slow
@pytest.mark.parametrize("numerics", [SINGLE, DOUBLE], ids=["float32", "float64"])
def test_the_truth_in_rationals_over_many_networks(numerics):
    check_many(range(1000, 1340), numerics)


def check_hints(seed):
    """Whatever the search hands to the proof, and whatever it says of it: nothing that is not so is proved."""
    rng = np.random.default_rng(seed)
    real = by_cuts.climb

    def lying(net, rows, splits, hints, pace):
        found = real(net, rows, splits, hints, pace)
        mask = torch.tensor(rng.random(len(found.bound)) < 0.7)
        own = found.hints
        share = torch.tensor(rng.choice((0.0, 1.0, 0.5, -1.0, 2.0, 1e30, np.nan), own.share.shape), dtype=own.share.dtype)
        other = replace(own, ratio=wild(rng, own.ratio.shape, own.ratio), hint=wild(rng, own.hint.shape, own.hint), share=share)
        return replace(found, hints=other.where(mask, own), bound=torch.full_like(found.bound, 1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_cuts, "climb", lying)
        check_truth(seed)


def check_all_hints(seeds):
    for seed in seeds:
        check_hints(seed)


def test_whatever_hints_and_estimates_say_nothing_wrong_is_proved():
    check_all_hints(range(58, 64))


def test_the_share_of_what_is_no_row_counts_for_nothing():
    """relu(x) - 1/2 is -1/2 at the least, and stays so where another disjunct has a second row."""
    one = torch.ones(1, 1, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 3, 1), torch.full((1, 3), -0.5), torch.tensor([0, 1, 1]))
    search = begun(build((1,), Relu()), BoxRegion(-one, one), spec)
    nodes = search.frontier.newest(0, torch.tensor([True, False]), 1)
    splits, hints = search.kinds[0]._splits(nodes), search.kinds[0]._hints(nodes)
    for other in (0.0, 1.0, 1e30):
        hints = replace(hints, share=torch.tensor([[1.0, other]]))
        assert float(search.shared.proved(search.shared.conjunctions(nodes.tree), splits, hints)) <= -0.5


def test_a_single_row_needs_no_share():
    """A strict row bounded by 0 is refuted; so no share may make a bound 0 of one that is not."""
    one = torch.ones(1, 1, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 1, 1), torch.full((1, 1), -0.5), strict=torch.tensor([True]))
    search = begun(build((1,), Relu()), BoxRegion(-one, one), spec)
    nodes = search.frontier.newest(0, torch.tensor([True]), 1)
    splits, hints = search.kinds[0]._splits(nodes), search.kinds[0]._hints(nodes)
    for share in (0.0, -1.0, float("nan")):
        proved = search.shared.proved(search.shared.conjunctions(nodes.tree), splits, replace(hints, share=torch.full((1, 1), share)))
        assert float(proved) <= -0.5


def test_a_tie_refutes_strict_rows_alone():
    """relu(x) is 0 at the least: y < 0 holds nowhere, y <= 0 does."""
    one = torch.ones(1, 1, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 2, 1), torch.zeros(1, 2), torch.tensor([0, 1]), torch.tensor([True, False]))
    search = begun(build((1,), Relu()), BoxRegion(-one, one), spec, numerics=replace(DOUBLE, rounding=False))
    nodes = search.frontier.newest(0, torch.tensor([True, True]), 2)
    splits, hints = search.kinds[0]._splits(nodes), search.kinds[0]._hints(nodes)
    hints = replace(hints, ratio=torch.zeros(2, 1))
    proved = search.shared.proved(search.shared.conjunctions(nodes.tree), splits, hints)
    assert dict(zip(nodes.tree.tolist(), proved.tolist(), strict=True)) == {0: ATTAINED, 1: 0.0}


def test_a_negative_share_proves_nothing():
    """y1 <= 0 and y2 - 2 <= 0 hold at 0; that (y1 - (y2 - 2)) / 2 is positive there says nothing of it."""
    one = torch.ones(1, 1, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 2, 1), torch.tensor([[0.0, -2.0]]), torch.tensor([0, 0]))
    search = begun(build((1,), Relu()), BoxRegion(-one, one), spec)
    nodes = search.frontier.newest(0, torch.tensor([True]), 1)
    splits, hints = search.kinds[0]._splits(nodes), search.kinds[0]._hints(nodes)
    hints = replace(hints, share=torch.tensor([[1.0, -0.5]]))
    assert not float(search.shared.proved(search.shared.conjunctions(nodes.tree), splits, hints)) > 0


# ---- jumps: no cells, but points ------------------------------------------------------------------------------------


def stepped(seed, batch=4):
    """Networks of signs and comparisons over two inputs on a grid: (graph, region, spec, the exact least of each row seen)."""
    rng = np.random.default_rng(seed)
    step = (Sign(), Compare(torch.tensor(0.5, dtype=torch.float64), 0.0, 0.0, 1.0))[seed % 2]
    graph = build((2,), Gemm(whole(rng, 4, 2), whole(rng, 4)), step, Gemm(whole(rng, 3, 4), whole(rng, 3)),
                  (Sign(), Relu(), step)[seed % 3], Gemm(whole(rng, 2, 3), whole(rng, 2)))
    low = whole(rng, batch, 2) - 0.5
    region = BoxRegion(low, low + 1)
    weight = whole(rng, batch, 2, 2)
    grid = [Fraction(k, 4) for k in range(5)] + [Fraction(1, 2) + Fraction(1, 10**9)]
    least = []
    for k, (a, b) in enumerate(low.tolist()):
        outputs = [exact(graph, [Fraction(a) + p, Fraction(b) + q])[graph.output.name] for p in grid for q in grid]
        least.append([min(sum(Fraction(w) * v for w, v in zip(row, y, strict=True)) for y in outputs) for row in weight[k].tolist()])
    bias = torch.tensor([[float(-v) + GAPS[rng.integers(len(GAPS))] for v in row] for row in least], dtype=torch.float64)
    found = [[v + Fraction(b) for v, b in zip(*pair, strict=True)] for pair in zip(least, bias.tolist(), strict=True)]
    return graph, region, Spec.rows(weight, bias), found


def check_steps(seed):
    graph, region, spec, least = stepped(seed)
    refuted, _ = finished(begun(graph, region, spec))
    for k, row in enumerate(least):
        for d, value in enumerate(row):
            assert Fraction(float(refuted[k, d])) <= value if refuted[k, d] > -inf else True
    return int((refuted > 0).sum()), sum(v > 0 for row in least for v in row)


def test_no_point_of_a_network_of_steps_lies_below_what_is_proved():
    found = [check_steps(seed) for seed in range(4)]
    proved, positive = (sum(column) for column in zip(*found, strict=True))
    assert 0 < proved <= positive


def test_comparisons_at_places_of_their_own():
    """1{y > 7/10} + 2 relu(7/20 - x) <= 1/10 for x = y = 1/2, though not if y > 1/4 were enough."""
    at = torch.tensor([0.25, 0.7], dtype=torch.float64)
    first = Gemm(torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    graph = build((1,), first, Compare(at, 0.0, 0.0, 1.0), Gemm(torch.tensor([[0.0, 1]]).double(), torch.zeros(1).double()),
                  (Gemm(-torch.ones(1, 1).double(), torch.full((1,), 0.35).double()), (0,)), Relu(), (Sum(), (3, 5)))
    one = torch.ones(1, 1, dtype=torch.float64)
    spec = Spec.rows(torch.ones(1, 1, 1), torch.full((1, 1), -0.05))
    refuted, _ = finished(begun(graph, BoxRegion(0 * one, one), spec))
    assert float(refuted) <= -0.05


# ---- who is beside --------------------------------------------------------------------------------------------------


def taken(case, index):
    graph, region, spec, _ = case
    return graph, region.take(torch.tensor(index)), spec.take(torch.tensor(index))


@pytest.mark.parametrize("seed", [71, 73])
def test_in_any_batch_and_order_each_has_what_it_has_alone(seed):
    case = asked(seed, batch=4, simple=False)
    alone = [finished(begun(*taken(case, [k]), nodes=60))[0][0].tolist() for k in range(4)]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 0], [1, 1, 3]):
        together = finished(begun(*taken(case, order), nodes=60))[0].tolist()
        for found, k in zip(together, order, strict=True):
            assert [v > 0 for v in found] == [v > 0 for v in alone[k]]


def test_through_the_analysis_verdicts_are_true_and_equal_in_any_batch():
    graph, region, spec, truths = asked(81, batch=4, simple=False)
    found = {}
    for batch in (1, 4):
        problem = Problem(graph, region, spec.take, tuple(range(4)))
        found[batch] = [one.verdict for one in verify(problem, ProofSettings(domain_of("bab:nodes=60"), batch=batch, attack=None))]
    assert found[1] == found[4]
    for verdict, exactly in zip(found[1], truths, strict=True):
        assert verdict is not Verdict.VERIFIED or exactly.holds
        assert verdict is not Verdict.FALSIFIED or not exactly.holds


# ---- limits and interrupts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [0, 1, 2, 40])
def test_node_limits_end_it_with_true_bounds(nodes):
    graph, region, spec, truths = asked(91, simple=False)
    search = begun(graph, region, spec, nodes=nodes)
    refuted, limits = finished(search)
    assert int(search._spent.max()) <= max(nodes, 0) + 2 * 64
    for k, exactly in enumerate(truths):
        assert not any(bool(refuted[k, d] > 0) and unsafe for d, unsafe in enumerate(exactly.unsafe))
    assert nodes > 2 or all(f"{nodes} nodes" in text for _, text in limits)


@pytest.mark.parametrize("memory", [0, 1, 600])
def test_without_memory_it_ends_and_says_so(memory):
    graph, region, spec, truths = asked(91, simple=False)
    search = begun(graph, region, spec, budget=Budget(memory=memory), nodes=inf)
    refuted, limits = finished(search, Budget(memory=memory))
    for k, exactly in enumerate(truths):
        assert not any(bool(refuted[k, d] > 0) and unsafe for d, unsafe in enumerate(exactly.unsafe))
    assert limits
    assert all("memory for open nodes" in text for _, text in limits)


def test_a_deadline_at_once_leaves_everything_open():
    graph, region, spec, _ = asked(91, simple=False)
    search = begun(graph, region, spec)
    before = search.frontier.counts.clone()
    with torch.no_grad():
        found = search.step(Budget(deadline=0.0))
    assert search.frontier.counts.equal(before)
    assert not bool((found.lower > 0).any())
    assert bool(search.open.all())


@pytest.mark.parametrize("error", [DeadlineError(), KeyboardInterrupt(), MemoryError("planted"), RuntimeError("planted")])
@pytest.mark.parametrize("place", ["climb", "bounded"])
def test_what_interrupts_the_work_loses_no_node(error, place, monkeypatch):
    """Nodes are open as before, no bound moves, and whoever goes on ends where others do."""
    graph, region, spec, _ = asked(93, batch=1, simple=False)
    wanted, _ = finished(begun(graph, region, spec, nodes=120))
    search, calls, real = begun(graph, region, spec, nodes=120), [0], getattr(by_cuts, place)

    def failing(*given):
        calls[0] += 1
        if calls[0] in (1, 4, 5):
            raise error
        return real(*given)

    monkeypatch.setattr(by_cuts, place, failing)
    with torch.no_grad():
        while search.open.any():
            counts, lower, failed = search.frontier.counts.clone(), search.frontier.lower.clone(), calls[0]
            try:
                search.step(Budget())
            except type(error):
                pass
            if any(failed < k <= calls[0] for k in (1, 4, 5)):
                assert search.frontier.counts.equal(counts)
                assert search.frontier.lower.equal(lower)
    assert calls[0] > 5
    assert [v > 0 for v in search.refuted[0].tolist()] == [v > 0 for v in wanted[0].tolist()]


# ---- ties and shares ------------------------------------------------------------------------------------------------


def test_shares_are_charged_what_mixing_rows_loses():
    """Three huge rows whose sum is next to nothing: rounded, it is above 0 where the truth is below."""
    rng = np.random.default_rng(3)
    one = torch.ones(1, 1, dtype=torch.float64)
    graph = build((1,), Gemm(torch.tensor([[1.0], [-1.0]]).double(), torch.zeros(2).double()), Relu())
    seen = 0
    for _ in range(40):
        share = torch.tensor(rng.uniform(0.1, 1, (1, 3)), dtype=torch.float32)
        big = rng.normal(size=2) * 1e6
        share_, last = share.double()[0].tolist(), []
        for w in big:
            last.append(float(-(Fraction(share_[0]) * Fraction(w) + Fraction(share_[1]) * Fraction(w) * 3) / Fraction(share_[2])))
        weight = torch.tensor([[[*big], [*(3 * big)], last]])
        exact_sum = [sum(Fraction(m) * Fraction(v) for m, v in zip(share_, column, strict=True)) for column in weight[0].T.tolist()]
        low = min(Fraction(0), *exact_sum)
        bias = torch.zeros(1, 3, dtype=torch.float64)
        search = begun(graph, BoxRegion(-one, one), Spec.rows(weight, bias, torch.zeros(3, dtype=torch.int64)))
        nodes = search.frontier.newest(0, torch.tensor([True]), 1)
        kind = search.kinds[0]
        for side in (0, 1):
            # On this side the one entry is x or -x, the other nothing: the sum's least value is at an end or 0.
            path = torch.tensor([[side, 64 + 1 - side]], dtype=torch.int32)
            splits = search.shared.cuts.splits(torch.zeros(1, dtype=torch.int64), path)
            hints = replace(kind._hints(nodes), share=share, hint=torch.zeros(1, 2), ratio=torch.zeros(1, 2))
            found = float(search.shared.proved(search.shared.conjunctions(nodes.tree), splits, hints))
            least = min(Fraction(0), exact_sum[1 - side])
            assert Fraction(found) <= least / min(Fraction(1), sum(map(Fraction, share_)))
            seen += found > float(low) - 1e-6
    assert seen > 40
