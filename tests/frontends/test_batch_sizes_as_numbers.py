"""Files that compute with the size of an open batch: what is analysed is batch size 1, and the reader is told."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import build, node, weights

from absint.frontends.onnx_reader import OnnxFrontEnd

SIZE = [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Cast", "n", "b", to=1)]
ONE_AXIS = [node("Shape", "x", "s"), node("Slice", "s first second", "n")]
NUMBERS = {"zero": np.array(0), "one": np.array(1), "first": np.array([0]), "second": np.array([1]), "half": np.float32(0.5),
           "w": weights(4, 4), "four": np.array([4]), "minus": np.array([-1]), "hundred": np.float32(100), "whole": np.array(4),
           "three": np.array(3), "two": np.zeros(2, np.float32)}

# name -> (nodes to 'y', the node that computes with the size)
TOLD = {
    "divided by": ([*SIZE, node("Div", "x b", "y")], "Div 'y'"),
    "times": ([*SIZE, node("Mul", "b x", "y")], "Mul 'y'"),
    "computed further": ([*SIZE, node("Mul", "b half", "h"), node("Add", "x h", "y")], "Add 'y'"),
    "counted": ([node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Range", "zero n one", "r"), node("Cast", "r", "c", to=1),
                 node("Unsqueeze", "c second", "u"), node("Add", "x u", "y")], "Add 'y'"),
    "where no sample sees it": ([*SIZE, node("Mul", "b hundred", "h"), node("Sub", "x h", "d"), node("Relu", "d", "y")], "Sub 'd'"),
    "a quarter of it": ([*SIZE[:2], node("Div", "n whole", "q"), node("Cast", "q", "b", to=1), node("Add", "x b", "y")], "Add 'y'"),
    "three at least": ([*SIZE[:2], node("Max", "n three", "q"), node("Cast", "q", "b", to=1), node("Mul", "x b", "y")], "Mul 'y'"),
    "how many numbers": ([node("Size", "x", "n"), node("Cast", "n", "b", to=1), node("Div", "x b", "y")], "Div 'y'"),
}
NOT_TOLD = {
    "a shape": [*ONE_AXIS, node("Concat", "n minus", "t", axis=0), node("Reshape", "x t", "y")],
    "zeros of its shape": [*ONE_AXIS, node("Concat", "n four", "t", axis=0), node("ConstantOfShape", "t", "z"), node("Add", "x z", "y")],
    "the other axis": [node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Cast", "n", "b", to=1), node("Div", "x b", "y")],
    "a row repeated": [*ONE_AXIS, node("Concat", "n four", "t", axis=0), node("Expand", "w0 t", "e"), node("Add", "x e", "y")],
}


def read(nodes, size="n"):
    used = {i for n in nodes for i in n.input}
    constants = {k: v for k, v in {**NUMBERS, "w0": NUMBERS["w"][:1]}.items() if k in used}
    return OnnxFrontEnd().read("net.onnx", content=build(nodes, [size, 4], constants).SerializeToString())


@pytest.mark.parametrize("name", TOLD)
def test_a_value_made_of_the_batch_size_is_told(name):
    nodes, computing = TOLD[name]
    assert read(nodes).source.notes == (f"the batch size is open in the file, and {computing} computes with the number of instances: "
                                        "all is said of batch size 1",)


@pytest.mark.parametrize("name", TOLD)
def test_a_fixed_size_is_a_number_like_any_other(name):
    assert read(TOLD[name][0], 1).source.notes == ()


@pytest.mark.parametrize("name", NOT_TOLD)
def test_shapes_made_of_the_batch_size_are_no_values(name):
    assert read(NOT_TOLD[name]).source.notes == ()


def test_results_that_differ_by_the_size_are_told_whatever_computes_them():
    """A slice that ends at the number of instances takes other columns of a larger batch."""
    nodes = [*ONE_AXIS, node("Slice", "x first n second", "c"), node("ReduceSum", "c second", "d"), node("Mul", "x d", "y")]
    assert ["computes with the number of instances" in note for note in read(nodes).source.notes] == [True]


def test_a_size_that_the_runtime_does_not_take_hides_no_other_one():
    """Two zeros are no 3 - 3 numbers: batches of three do not run, those of two tell."""
    nodes = [*SIZE, node("Sub", "three n", "q"), node("Unsqueeze", "q first", "u"), node("Reshape", "two u", "r"), node("Mul", "x b", "y")]
    nodes[-2:-1] = [node("Expand", "pair u", "r"), node("ReduceSum", "r first", "t"), node("Add", "x t", "a")]
    nodes[-1] = node("Mul", "a b", "y")
    constants = {**{k: NUMBERS[k] for k in ("zero", "three", "first")}, "pair": np.zeros(2, np.float32)}
    graph = OnnxFrontEnd().read("net.onnx", content=build(nodes, ["n", 4], constants).SerializeToString())
    assert ["Mul 'y' computes with the number of instances" in note for note in graph.source.notes] == [True]


def test_a_result_of_another_shape_for_each_size_is_told():
    nodes = [*ONE_AXIS, node("Slice", "x first n second", "y")]
    assert ["computes with the number of instances" in note for note in read(nodes).source.notes] == [True]
