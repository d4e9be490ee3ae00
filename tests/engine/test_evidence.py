"""Evidence of one walk: followed in Fractions it proves what was said; not asked for, nobody is told anything; never of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
import torch
from exact_evidence import Follower, row_bound
from test_combinations import identity, unit_box
from test_slopes import boxes, network, robust

from absint.domains.alpha import Alpha
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.engine.evidence import Evidence, NeuronBounds, Ratios
from absint.engine.product import Product
from absint.engine.recorder import Recorder
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Tanh
from absint.numeric.interval import Interval
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64, MIXED

SLACK = Fraction(1, 10**6)      # ratios are kept in float32

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


def recorded(graph, region, spec, domains, num=FLOAT64, **context):
    """The evidence of every instance, after a stage for each domain, and the margins (batch,)."""
    recorder = Recorder.of(region)
    ctx = Context(graph, region, num, recorder=recorder, **context)
    best = torch.full((region.batch, spec.disjuncts), -inf, dtype=torch.float64)
    for domain in domains:
        recorder.begin(type(domain).__name__.lower())
        found = attempt(domain, ctx, spec, proved=best)
        recorder.commit()
        best = torch.fmax(best, spec.refutation(found.interval.lower).double())
        best = best if found.refuted is None else torch.fmax(best, found.refuted.double())
        ctx = replace(ctx, known=found.ctx.known)
    return [recorder.evidence(k, region, spec) for k in range(region.batch)], best


def net_and_boxes(residual=True, radius=0.3, count=4):
    graph = network(Relu(), residual=residual)
    region = boxes(count, 3, radius)
    return graph, region, robust(graph, region)


# ---- what is recorded proves what is said ---------------------------------------------------------------------------


@pytest.mark.parametrize("num", [FLOAT64, MIXED], ids=["float64", "mixed"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("domains", [(DeepPoly(),), (Alpha(goal=inf),), (DeepPoly(), Alpha(inner=0), Alpha())],
                         ids=["deeppoly", "alpha", "both"])
def test_rows_are_followed_in_rationals(domains, residual, num):
    graph, region, spec = net_and_boxes(residual)
    evidence, best = recorded(graph, region, spec, domains, num)
    positive = 0
    for k, one in enumerate(evidence):
        assert one.margin == float(best[k].min())
        follower = Follower(graph, one)
        for leaf in one.leaves:
            assert leaf.bound == float(best[k, leaf.disjunct])
            exact = row_bound(follower, leaf)
            assert exact >= Fraction(leaf.bound) - SLACK
            positive += leaf.bound > 0
            assert leaf.bound <= 0 or exact > 0
    assert positive >= 6


def test_bounds_of_neurons_are_followed_in_rationals():
    graph, region, spec = net_and_boxes(radius=0.6)
    evidence, _ = recorded(graph, region, spec, (Alpha(goal=inf),))
    sides = set()
    for one in evidence:
        follower = Follower(graph, one)
        for group in one.neurons:
            for k, side, bound in zip(group.entry.tolist(), group.side.tolist(), group.bound.tolist(), strict=True):
                low, high = follower.bounds[group.node][k]
                assert (low >= Fraction(bound) - SLACK) if side > 0 else (high <= Fraction(bound) + SLACK)
                sides.add(side)
    assert sides == {-1, 1}


def test_without_the_bounds_of_neurons_less_is_proved():
    """They are needed: the rows' slopes over plain intermediate bounds prove less than is said."""
    graph, region, spec = net_and_boxes(radius=0.6)
    evidence, _ = recorded(graph, region, spec, (Alpha(goal=inf),))
    short = [row_bound(Follower(graph, replace(one, neurons=())), leaf) - Fraction(leaf.bound) for one in evidence for leaf in one.leaves]
    assert min(short) < -SLACK * 1000


def test_a_combination_is_followed_in_rationals():
    """y + .25 <= 0 and -3 y + .25 <= 0 for y of a net: refuted by a sum of rows alone."""
    graph, region, _ = net_and_boxes(count=2)
    middle = graph(region.center)[:, :1].double()
    weight = torch.zeros(2, 2, graph.output.size, dtype=torch.float64)
    weight[:, 0, 0], weight[:, 1, 0] = 1.0, -3.0
    spec = Spec.rows(weight, torch.cat([0.25 - middle, 0.25 + 3 * middle], 1), torch.tensor([0, 0]))
    evidence, best = recorded(graph, region, spec, (DeepPoly(), Alpha()))
    for k, one in enumerate(evidence):
        (leaf,) = one.leaves
        assert leaf.by == "combination"
        assert leaf.bound == one.margin == float(best[k, 0]) > 0
        assert (leaf.shares > 0).all()
        assert row_bound(Follower(graph, one), leaf) >= Fraction(leaf.bound) - SLACK
        for row in range(2):
            alone = replace(leaf, shares=np.eye(2)[row], slopes=None)
            assert row_bound(Follower(graph, one), alone) < 0


def test_domains_without_slopes_say_their_name():
    graph, region, spec = net_and_boxes(radius=0.01)
    evidence, best = recorded(graph, region, spec, (Box(),))
    for one, bound in zip(evidence, best.amin(1).tolist(), strict=True):
        assert one.margin == bound
        assert {(leaf.by, leaf.stage, leaf.slopes) for leaf in one.leaves} <= {("rows", "box", None), ("known box", "box", None)}
        assert one.stages == ("box",)


def test_of_a_product_the_better_member_is_recorded():
    graph, region, spec = net_and_boxes()
    evidence, best = recorded(graph, region, spec, (Product(Box(), DeepPoly()),))
    assert [one.margin for one in evidence] == best.amin(1).tolist()
    assert all(leaf.slopes is not None for one in evidence for leaf in one.leaves)


def test_an_attained_bound_of_a_strict_row_refutes():
    """0 y + 0 < 0 nowhere: the bound 0 is attained, and counts."""
    spec = Spec.rows(torch.zeros(1, 1, 1), torch.zeros(1, 1), strict=torch.tensor([True]))
    (one,), best = recorded(identity(1), unit_box(1), spec, (DeepPoly(),))
    assert one.margin == float(best) == 2.0**-126


def test_slopes_of_curved_functions_are_kept_where_lines_follow_from_them():
    graph = network(Tanh(), residual=False)
    region = boxes(2, 3, 0.3)
    evidence, best = recorded(graph, region, robust(graph, region), (DeepPoly(), Alpha(goal=inf)))
    for one, bound in zip(evidence, best.amin(1).tolist(), strict=True):
        assert one.margin == bound
        assert one.neurons
        for leaf in one.leaves:
            assert all(((r.ratio >= 0) & (r.ratio <= 1)).all() and len(r.entry) == len(r.ratio) for r in leaf.slopes.values())


# ---- planted: evidence of the wrong sign ----------------------------------------------------------------------------


def flipped(table):
    return {name: Ratios(one.entry, 1 - one.ratio) for name, one in table.items()}


def test_slopes_of_the_other_side_do_not_prove_it():
    graph, region, spec = net_and_boxes()
    evidence, _ = recorded(graph, region, spec, (DeepPoly(), Alpha(goal=inf)))
    wrong = [row_bound(Follower(graph, one), replace(leaf, slopes=flipped(leaf.slopes))) < Fraction(leaf.bound) - SLACK
             for one in evidence for leaf in one.leaves if any(len(r.entry) for r in leaf.slopes.values())]
    assert sum(wrong) > len(wrong) / 2


def test_bounds_of_neurons_of_the_other_side_do_not_prove_it():
    graph, region, spec = net_and_boxes(radius=0.6)
    evidence, _ = recorded(graph, region, spec, (Alpha(goal=inf),))
    for one in evidence:
        turned = replace(one, neurons=tuple(replace(g, side=-g.side, bound=g.bound) for g in one.neurons))
        follower = Follower(graph, turned)
        missed = 0
        for group in one.neurons:
            for k, side, bound in zip(group.entry.tolist(), group.side.tolist(), group.bound.tolist(), strict=True):
                low, high = follower.bounds[group.node][k]
                missed += (low < Fraction(bound) - SLACK) if side > 0 else (high > Fraction(bound) + SLACK)
        assert missed


# ---- who is told, and of what ----------------------------------------------------------------------------------------


def test_nobody_is_told_where_nobody_asked(monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise AssertionError("a recorder was called")

    for name in ("rows", "sums", "neurons", "void", "distrust"):
        monkeypatch.setattr(Recorder, name, refuse)
    graph, region, spec = net_and_boxes()
    attempt(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)
    with pytest.raises(AssertionError, match="a recorder was called"):
        recorded(graph, region, spec, (DeepPoly(),))


def test_bounds_are_the_same_where_it_is_asked_for():
    graph, region, spec = net_and_boxes()
    plain = attempt(Alpha(goal=inf), Context(graph, region, FLOAT64), spec)
    recorder = Recorder.of(region)
    recorder.begin("alpha")
    told = attempt(Alpha(goal=inf), Context(graph, region, FLOAT64, recorder=recorder), spec)
    assert torch.equal(plain.interval.lower, told.interval.lower)


def test_what_holds_on_a_part_is_not_recorded():
    graph, region, _ = net_and_boxes()
    recorder = Recorder.of(region)
    ctx = Context(graph, region, FLOAT64, recorder=recorder)
    half = Interval(region.hull.lower, region.center)
    assert ctx.recording is recorder
    assert replace(ctx, assumed={graph.input.name: half}).recording is None
    assert replace(ctx, region=boxes(4, 3, 0.1)).recording is None
    assert ctx.take(torch.tensor([1, 2])).recorder is None
    part = region.take(torch.tensor([1, 3]))
    assert replace(ctx.take(torch.tensor([1, 3])), region=part, recorder=recorder.over(part, torch.tensor([1, 3]))).recording is not None


def test_some_of_the_instances_are_recorded_under_their_own_names():
    graph, region, spec = net_and_boxes()
    whole, _ = recorded(graph, region, spec, (DeepPoly(),))
    recorder, index = Recorder.of(region), torch.tensor([3, 1])
    part, some = region.take(index), spec.take(index)
    recorder.begin("deeppoly")
    attempt(DeepPoly(), Context(graph, part, FLOAT64, recorder=recorder.over(part, index)), some)
    recorder.commit()
    assert [recorder.evidence(k, region, spec).margin for k in range(4)] == pytest.approx(
        [-inf, whole[1].margin, -inf, whole[3].margin], rel=1e-12)     # products of fewer rows may be summed in another order


def test_an_unfinished_stage_is_forgotten():
    graph, region, spec = net_and_boxes()
    recorder = Recorder.of(region)
    recorder.begin("deeppoly")
    attempt(DeepPoly(), Context(graph, region, FLOAT64, recorder=recorder), spec)
    recorder.begin("alpha")
    recorder.commit()
    assert not recorder.evidence(0, region, spec).leaves


def test_what_rests_on_a_solvers_word_is_not_recorded():
    graph, region, spec = net_and_boxes()
    recorder = Recorder.of(region)
    recorder.begin("deeppoly")
    known = {graph.input.name: replace(region.hull, solver=torch.tensor([False, True, False, False]))}
    attempt(Alpha(goal=inf), Context(graph, region, FLOAT64, known=known, recorder=recorder), spec)
    recorder.commit()
    found = [recorder.evidence(k, region, spec) for k in range(4)]
    assert [bool(one.leaves) for one in found] == [True, False, True, True]
    assert not found[1].neurons


def test_slopes_of_neurons_beyond_the_memory_are_left_out_and_that_is_said():
    graph, region, spec = net_and_boxes(radius=0.6)
    recorder = Recorder.of(region, memory=0)
    recorder.begin("alpha")
    for _ in range(2):
        attempt(Alpha(goal=inf), Context(graph, region, FLOAT64, recorder=recorder), spec)
    recorder.commit()
    found = recorder.evidence(0, region, spec)
    assert found.leaves
    assert any("left out" in note for note in found.notes)


def test_a_void_region_is_said_to_be_void():
    region = unit_box(1)
    known = {"x": Interval(torch.ones(1, 1, dtype=torch.float64), -torch.ones(1, 1, dtype=torch.float64))}
    spec = Spec.rows(torch.ones(1, 1, 1), torch.zeros(1, 1))
    recorder = Recorder.of(region)
    recorder.begin("box")
    recorder.void(Context(identity(1), region, FLOAT64, known=known).empty)
    recorder.commit()
    found = recorder.evidence(0, region, spec)
    assert [(leaf.by, leaf.bound) for leaf in found.leaves] == [("void", inf)]


# ---- as data and as text --------------------------------------------------------------------------------------------


def test_evidence_is_plain_data():
    graph, region, spec = net_and_boxes(radius=0.6)
    (one, *_), _ = recorded(graph, region, spec, (Alpha(goal=inf),))
    kinds = set()

    def look(value):
        if hasattr(type(value), "__dataclass_fields__"):
            for name in type(value).__dataclass_fields__:
                look(getattr(value, name))
        elif isinstance(value, (tuple, Mapping)):
            for inner in value.values() if isinstance(value, Mapping) else value:
                look(inner)
        else:
            kinds.add(type(value))

    look(one)
    assert kinds <= {np.ndarray, str, int, float, bool, type(None)}
    assert one.bytes == sum(a.nbytes for a in one.arrays)
    assert f"{len(one.leaves)} leaves of 3 disjuncts" in repr(one)
    assert len(repr(one)) < 200


def test_the_text_names_the_region_the_rows_and_what_proves_them():
    graph, region, spec = net_and_boxes(radius=0.6)
    (one, *_), _ = recorded(graph, region, spec, (DeepPoly(), Alpha(goal=inf)))
    text = one.text()
    assert text.splitlines()[0] == "region: BoxRegion of 3 inputs; semantics: real; stages: deeppoly, alpha"
    for d in range(3):
        assert f"disjunct {d}: unsafe where " in text
    assert "slopes at " in text
    assert "bounds of " in text


def test_a_witness_is_shown():
    point = np.array([0.25, 1.0])
    one = Evidence(np.zeros(2), np.ones(2), np.array([[1.0, -1.0]]), np.zeros(1), np.array([0]), np.array([False]), witness=point,
                   replay=np.array([0.0, 2.0]))
    assert repr(one) == "<evidence: a witness, 2 inputs>"
    assert "witness: x = (0.25, 1)" in one.text()
    assert "unsafe where y[0] - y[1] <= 0" in one.text()


def test_ratios_and_bounds_of_neurons_are_taken_by_row():
    ratios = Ratios(np.array([2, 5], dtype=np.int32), np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32))
    one = NeuronBounds("z", np.array([7, 9]), np.array([1, -1], dtype=np.int8), np.array([0.5, 1.5]), {"r": ratios})
    part = one.take(np.array([1]))
    assert (part.entry.tolist(), part.side.tolist(), part.bound.tolist()) == ([9], [-1], [1.5])
    assert part.slopes["r"].dense(6, 0.5)[0].tolist() == pytest.approx([0.5, 0.5, 0.3, 0.5, 0.5, 0.4])
