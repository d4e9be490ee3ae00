"""Maxima as sums of ReLUs of differences: the same function, in rationals, whatever the groups; and everything else as it was."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from case_splits import exact
from solver_contract import build

from absint.model.families.maximum import Maximum
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.passes import expand_maxima as module
from absint.model.passes.expand_maxima import expand_maxima

SHAPES = ((1,), (2,), (3,), (5,), (2, 4), (1, 7), (2, 2, 3))


def check_equal(shape):
    """At points with many ties."""
    rng = np.random.default_rng(sum(shape))
    size = int(np.prod(shape))
    graph = build((size,), Relu(), Reshape(shape), Maximum())
    wider = expand_maxima(graph, [node.name for node in graph.nodes])
    assert any(isinstance(node.op, Maximum) for node in wider.nodes) == (shape[-1] == 1)
    for _ in range(12):
        x = [Fraction(int(v), 3) for v in rng.integers(-3, 4, size)]
        one, two = exact(graph, x), exact(wider, x)
        assert all(two[node.name] == one[node.name] for node in graph.nodes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_same_function_at_every_node(shape):
    check_equal(shape)


def test_only_what_is_chosen_changes_and_names_stay():
    graph = build((6,), Reshape((3, 2)), Maximum(), Reshape((1, 3)), Maximum())
    first, second = (node for node in graph.nodes if isinstance(node.op, Maximum))
    wider = expand_maxima(graph, [second.name])
    assert wider[first.name] is first
    assert wider.output.name == second.name
    assert wider[second.name].shape == second.shape
    assert wider[second.name].tensors == second.tensors
    assert expand_maxima(graph, []).nodes == graph.nodes


def test_a_name_that_is_taken_is_not_taken_again():
    graph = build((2,), Maximum())
    once = expand_maxima(graph, [graph.output.name])
    assert len(once.by_name) == len(once.nodes)


FAULTS = {
    "the first operand twice": lambda entries, rows, columns: [(row, column, abs(value)) for row, column, value in entries],
    "the odd one out is lost": lambda entries, rows, columns: [one for one in entries if columns == 1 or one[1] < columns - 1],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(fault, monkeypatch):
    real = module._matrix
    monkeypatch.setattr(module, "_matrix", lambda entries, rows, columns: real(FAULTS[fault](entries, rows, columns), rows, columns))
    with pytest.raises(AssertionError):
        check_equal((2, 2, 3))


def test_gradients_and_values_are_those_of_the_maximum():
    graph = build((6,), Reshape((2, 3)), Maximum())
    wider = expand_maxima(graph, [graph.output.name])
    x = torch.tensor(np.random.default_rng(4).normal(size=(5, 6)), requires_grad=True)
    one, two = (torch.autograd.grad(net(x).sum(), x)[0] for net in (graph, wider))
    assert two.tolist() == one.tolist()
    assert wider(x).flatten().tolist() == pytest.approx(graph(x).flatten().tolist(), abs=1e-12)
