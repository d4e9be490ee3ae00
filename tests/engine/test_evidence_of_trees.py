"""Evidence of a tree of halves: leaves that cover, and what of a search is kept."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from test_combinations import unit_box
from test_evidence import net_and_boxes

from absint.domains.deeppoly import DeepPoly
from absint.engine.attempts import attempt
from absint.engine.context import Context
from absint.engine.evidence import Leaf, NeuronBounds, SplitStep, covers
from absint.engine.growth import Growth
from absint.engine.recorder import Recorder
from absint.problem.spec import Spec
from absint.testing.kit import FLOAT64

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


BELOW, ABOVE = SplitStep("z", 0, 0.5, -1), SplitStep("z", 0, 0.5, 1)


@pytest.mark.parametrize(("paths", "whole"), [
    ([()], True),
    ([(BELOW,), (ABOVE,)], True),
    ([(BELOW,)], False),
    ([], False),
    ([(), (BELOW,), (ABOVE,)], False),
    ([(BELOW,), (BELOW,)], False),
    ([(BELOW,), (SplitStep("z", 0, 0.25, 1),)], False),
    ([(BELOW,), (SplitStep("z", 1, 0.5, 1),)], False),
    ([(BELOW, BELOW), (BELOW, ABOVE), (ABOVE,)], True),
    ([(BELOW, BELOW), (ABOVE,)], False),
    ([(SplitStep("m", 0, 0, 0, 3),), (SplitStep("m", 0, 0, 0, 4),)], True),
])
def test_paths_cover_where_each_inner_node_has_all_its_children(paths, whole):
    assert covers(paths) is whole


def trunk():
    region = unit_box(1)
    recorder = Recorder.of(region)
    recorder.begin("bab")
    return region, recorder


def test_a_tree_is_recorded_once_all_of_its_leaves_are_closed():
    region, recorder = trunk()
    growth, spec = Growth(2), Spec.rows(torch.ones(1, 2, 1), torch.zeros(1, 2))
    below, above = growth.cut(0, "x", 0, 0.25)
    growth.close(below, Leaf(2.0, "rows"))
    assert growth.leaves(0) is None
    first, second = growth.cut(above, "z", 3, 0.0)
    growth.close(first, Leaf(1.0, "program", program=recorder.program(None), multipliers=np.ones(1)))
    growth.close(second, Leaf(inf, "void"))
    recorder.tree(0, 0, growth.leaves(0))
    recorder.commit()
    found = recorder.evidence(0, region, spec)
    assert [leaf.bound for leaf in found.of(0)] == [2.0, 1.0, inf]
    assert covers([leaf.path for leaf in found.of(0)])
    assert found.of(0)[1].path == (SplitStep("x", 0, 0.25, 1), SplitStep("z", 3, 0.0, -1))
    assert {leaf.stage for leaf in found.leaves} == {"bab"}
    assert not found.of(1)
    assert found.margin == -inf


def test_a_leaf_inherits_bounds_of_neurons_from_above():
    above, here = (NeuronBounds("z", np.array([k]), np.array([1]), np.array([0.5])) for k in range(2))
    growth = Growth(1)
    growth.holds(0, (above,))
    below, other = growth.cut(0, "x", 0, 0.25)
    growth.holds(below, (here,))
    growth.close(below, Leaf(2.0, "rows"))
    growth.close(other, Leaf(1.0, "rows"))
    assert [leaf.neurons for leaf in growth.leaves(0)] == [(above, here), (above,)]


def test_a_node_divided_again_forgets_what_was_below():
    growth = Growth(1)
    below, _ = growth.cut(0, "x", 0, 0.25)
    growth.close(below, Leaf(2.0, "rows"))
    children = growth.cut(0, "x", 1, 0.5)
    assert growth.leaves(0) is None
    for child in children:
        growth.close(child, Leaf(1.0, "rows"))
    assert [leaf.path for leaf in growth.leaves(0)] == [(SplitStep("x", 1, 0.5, -1),), (SplitStep("x", 1, 0.5, 1),)]


def test_leaves_that_do_not_cover_are_no_proof():
    region, recorder = trunk()
    recorder.tree(0, 0, [Leaf(1.0, "rows", (BELOW,))])
    recorder.commit()
    found = recorder.evidence(0, region, Spec.rows(torch.ones(1, 1, 1), torch.zeros(1, 1)))
    assert not found.leaves
    assert found.notes == ("the leaves recorded of disjunct 0 do not cover its region",)


def test_a_worse_tree_does_not_replace_a_row():
    graph, region, spec = net_and_boxes(count=1)
    recorder = Recorder.of(region)
    recorder.begin("deeppoly")
    attempt(DeepPoly(), Context(graph, region, FLOAT64, recorder=recorder), spec)
    recorder.tree(0, 0, [Leaf(-100.0, "program")])
    recorder.tree(0, 1, [Leaf(100.0, "program")])
    recorder.commit()
    assert [leaf.by for leaf in recorder.evidence(0, region, spec).leaves] == ["rows", "program", "rows"]
