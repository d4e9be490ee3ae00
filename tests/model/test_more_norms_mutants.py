"""Every fault in normalisations, pooling by powers and expanded nodes is noticed by the claims named for it."""

from __future__ import annotations

import pytest
import test_more_norms as norms
from mutants.norms import MUTANTS
from mutants.planting import assert_killed
from onnx import helper
from onnx_models import build

from absint.frontends.onnx_functions import still_means
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import node_check


def shrink_is_itself():
    nodes = [helper.make_node("Shrink", ["x"], ["y"])]
    OnnxFrontEnd().read("made.onnx", content=build(nodes, [1, 4], {}, opset=18).SerializeToString())


CLAIMS = {
    "root_mean_squares_hold": lambda: norms.closed_form_holds(norms.RootMeanSquare(1e-5), norms.scaled),
    "root_mean_squares_are_attained": norms.root_mean_squares_are_attained,
    "deviations_hold": lambda: norms.closed_form_holds(norms.Deviations(1e-9), norms.deviations),
    "bounds_hold": norms.bounds_hold,
    "shrink_is_itself": shrink_is_itself,
}


def meanings_are_told_apart():
    assert not still_means("ReduceMean", 13, 18)
    assert not still_means("Softmax", 11, 13)


CLAIMS["meanings_are_told_apart"] = meanings_are_told_apart


def run(killer):
    """One claim, and every node asked again."""
    name, *given = killer
    node_check.forget()
    CLAIMS[name](*given)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    yield
    node_check.forget()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert_killed(MUTANTS[name], run, monkeypatch, ("E-IMPORT-MISMATCH", "E-OP-UNSUPPORTED", "E-CONTRADICTION"))
