"""Stages for instances of which few input entries vary: each one's own affair, whatever it is verified beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from forward_nets import narrow_then_wide, two_layers
from regional import rand, randn

import absint
from absint.domains.deeppoly import DeepPoly
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.problem.regions.region import BoxRegion
from absint.search.branchers.boxes import Splitting
from absint.search.names import strategy_of
from absint.search.scouts import pays
from absint.search.strategy import Stage
from absint.testing.kit import FLOAT64

SCOUTED = DeepPoly(first="linear")
FEW = ("deeppoly:intermediate=coarse", "deeppoly:intermediate=parallel")


def many_inputs():
    """A hundred entries, a narrow waist, and much behind it."""
    build, last = GraphBuilder("x", (100,)), "x"
    for k, (n, m) in enumerate(((100, 4), (4, 1500), (1500, 1500))):
        last = build.add(Relu(), (build.add(Gemm(randn(m, n, seed=60 + k) / n**0.5), (last,)),))
    return build.graph(build.add(Gemm(randn(3, 1500, seed=70) / 40), (last,)))


def mixed(radius):
    """Five boxes, of which 0, 3, 8, 9 and all entries vary."""
    center, radii = rand(5, 100, seed=71), torch.zeros(5, 100, dtype=torch.float64)
    for instance, count in enumerate((0, 3, 8, 9, 100)):
        radii[instance, :count] = radius
    return BoxRegion(center - radii, center + radii)


def test_few_are_counted_instance_by_instance():
    stage = Stage(SCOUTED, inputs=8)
    region = mixed(0.1)
    assert stage.takes(many_inputs(), region).tolist() == [True, True, True, False, False]
    assert stage.takes(many_inputs(), region.take(torch.tensor([4, 1]))).tolist() == [False, True]
    assert Stage(SCOUTED).takes(many_inputs(), region).tolist() == [True] * 5
    assert stage.takes(two_layers(), BoxRegion(rand(1, 3, seed=1) - 1, rand(1, 3, seed=1))).tolist() == [False]    # hardly any rows


def test_helpers_pay_where_rows_are_many():
    assert pays(SCOUTED, narrow_then_wide(), FLOAT64, 2)
    assert not pays(SCOUTED, two_layers(), FLOAT64, 3)
    assert pays(SCOUTED, many_inputs(), FLOAT64, 8)
    assert not pays(SCOUTED, many_inputs(), FLOAT64, 10_000)    # a hundred
    assert pays(DeepPoly(), two_layers(), FLOAT64, 3)    # nothing to pay


def test_boxes_are_bounded_behind_a_scout_where_it_pays():
    how = Splitting(DeepPoly(), 2, scouted=SCOUTED)
    assert how.bounder(narrow_then_wide(), FLOAT64) == SCOUTED
    assert how.bounder(two_layers(), FLOAT64) == DeepPoly()
    assert replace(how, scouted=None).bounder(narrow_then_wide(), FLOAT64) == DeepPoly()
    assert strategy_of("exact").tactic.splitting.scouted == SCOUTED
    assert strategy_of("exact:base=zonotope").tactic.splitting.scouted is None


@pytest.fixture(scope="module")
def results():
    graph, region = many_inputs(), mixed(2e-3)
    labels = graph(region.center).argmax(1)

    def told(index, domain):
        found = absint.verify(graph, region.take(index), labels[index], domain=domain, attack=None)
        return [(one.verdict, one.stage, one.margin) for one in found]

    every = torch.arange(5)
    few = "auto:undecided=0,inputs=8"
    return {"together": told(every, few), "reversed": told(every.flip(0), few)[::-1],
            "alone": [told(one, few)[0] for one in every.split(1)], "without": told(every, "auto:undecided=0,inputs=0")}


def alike(some, others):
    return all(one[:2] == two[:2] and np.isclose(one[2], two[2], rtol=1e-4, atol=1e-4) for one, two in zip(some, others, strict=True))


def test_no_answer_depends_on_what_is_verified_beside(results):
    assert alike(results["together"], results["reversed"])
    assert alike(results["together"], results["alone"])


def test_those_of_many_inputs_are_answered_as_before(results):
    assert alike(results["together"][3:], results["without"][3:])
    assert not any(name in stage for _, stage, _ in results["together"][3:] for name in FEW)
    assert any(name in stage for _, stage, _ in results["together"][:3] for name in FEW)
