"""Queries whose answer sits on a tie or a jump: sat by an exact point, unsat by bounds, never wrong."""

from __future__ import annotations

import numpy as np
import onnx_models as models
import pytest
import ties
import torch
from onnx import TensorProto

from absint.analyses.query.answering import QueryAnswer, verify_query
from absint.analyses.verify.settings import ProofSettings
from absint.attacks import Search, falsify
from absint.attacks import pgd as pgd_module
from absint.attacks.pgd import Pgd
from absint.errors import AbsintError, UnsupportedError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.step import Compare, Floor, Round, Truncate
from absint.problem.query import read_query
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

node = models.node
F, WHOLE = np.float32, np.int64


def network(tmp_path, nodes, constants=None, size=1):
    return models.imported(tmp_path, nodes, [1, size], constants or {}, opset=18)


def asked(tmp_path, graph, low, high, *asserts):
    """The answer about a box that is [low, high] in every input."""
    size, outputs = graph.input.size, graph.output.size
    return ties.answer(graph, ties.query(tmp_path / "q.vnnlib", [low] * size, [high] * size, outputs, asserts))


NETS = {
    "negated relu": ([node("Relu", "x", "h"), node("Neg", "h", "y")], {}),
    "equal": ([node("Mul", "x two", "h"), node("Equal", "h c", "e"), node("Cast", "e", "y", to=1)],
              {"two": np.array([2], F), "c": np.array([0.5], F)}),
    "where": ([node("Greater", "x c", "g"), node("Where", "g x d", "y")], {"c": np.array([0.5], F), "d": np.array([-1], F)}),
    "of two": ([node("Abs", "x", "a"), node("LessOrEqual", "a x", "g"), node("Where", "g a x", "y")], {}),
    "truncated": ([node("Cast", "x", "i", to=7), node("Add", "i i", "j"), node("Cast", "j", "y", to=1)], {}),
    "truth": ([node("Cast", "x", "b", to=9), node("Not", "b", "n"), node("Cast", "n", "y", to=1)], {}),
    "is": ([node("Equal", "c x", "e"), node("Cast", "e", "y", to=1)], {"c": np.array([0.25], F)}),
    "logic": ([node("Less", "x c", "a"), node("Equal", "x c", "b"), node("Or", "a b", "o"), node("Xor", "a o", "e"),
               node("And", "o e", "f"), node("Cast", "f", "y", to=1)], {"c": np.array([0.25], F)}),
    "constants": ([node("Concat", "x c", "y", axis=1)], {"c": np.array([[10]], F)}),
    "mean": ([node("Concat", "x c", "h", axis=1), node("ReduceMean", "h a", "y", keepdims=1)],
             {"c": np.array([[2, 5]], F), "a": np.array([1], WHOLE)}),
    "power": ([node("Pow", "e x", "y")], {"e": np.array([2], F)}),
}


@pytest.mark.parametrize(("net", "low", "high", "asserts", "expected"), [
    ("negated relu", -1, 1, ["(>= Y_0 0)"], "sat"), ("negated relu", 0.5, 1, ["(>= Y_0 0)"], "unsat"),
    ("negated relu", 0, 1, ["(>= Y_0 0)"], "sat"),
    ("equal", -1, 1, ["(>= Y_0 1)"], "sat"), ("equal", 0.5, 1, ["(>= Y_0 0.5)"], "unsat"), ("equal", 0, 1, ["(<= Y_0 0)"], "sat"),
    ("is", 0.25, 0.25, ["(<= Y_0 0.5)"], "unsat"), ("is", -1, 1, ["(>= Y_0 1)"], "sat"),
    ("where", 0, 1, ["(>= Y_0 1)"], "sat"), ("where", 0, 1, ["(<= Y_0 -1)"], "sat"), ("where", 0, 0.5, ["(>= Y_0 -0.5)"], "unsat"),
    ("where", 0.625, 1, ["(<= Y_0 0.5)"], "unsat"),
    ("of two", -1, 2, ["(>= Y_0 2)"], "sat"), ("of two", 0.5, 2, ["(>= Y_0 2.25)"], "unsat"),
    ("truncated", -2.5, 2.5, ["(<= Y_0 4)", "(>= Y_0 4)"], "sat"), ("truncated", -2.5, 2.5, ["(>= Y_0 4.5)"], "unsat"),
    ("truncated", -0.75, 0.75, ["(>= Y_0 0.25)"], "unsat"), ("truncated", -3, -2, ["(<= Y_0 -6)"], "sat"),
    ("truth", -1, 1, ["(>= Y_0 1)"], "sat"), ("truth", 0.5, 1, ["(>= Y_0 0.5)"], "unsat"), ("truth", 0, 0, ["(<= Y_0 0.5)"], "unsat"),
    ("logic", 0, 1, ["(>= Y_0 1)"], "sat"), ("logic", 0.5, 1, ["(>= Y_0 0.5)"], "unsat"),
    ("constants", 0, 1, ["(>= Y_1 10)"], "sat"), ("constants", 0, 1, ["(>= Y_1 10.5)"], "unsat"),
    ("mean", 2, 2, ["(>= Y_0 3)", "(<= Y_0 3)"], "sat"), ("mean", 2, 2, ["(>= Y_0 3.25)"], "unsat"),
    ("power", 0, 2, ["(>= Y_0 3.5)"], "sat"), ("power", 0, 2, ["(>= Y_0 4.5)"], "unsat"),
])
def test_answers_on_ties_and_jumps(net, low, high, asserts, expected, tmp_path):
    assert asked(tmp_path, network(tmp_path, *NETS[net]), low, high, *asserts) is QueryAnswer(expected)


def test_a_point_that_meets_several_jumps_at_once(tmp_path):
    nodes = [node("MatMul", "x w", "h"), node("Equal", "h c", "e"), node("Cast", "e", "y", to=1)]
    graph = network(tmp_path, nodes, {"w": np.array([[1, 1], [0, 1]], F), "c": np.array([[1, 0.25]], F)}, size=2)
    assert asked(tmp_path, graph, -1, 2, "(>= Y_0 1)", "(>= Y_1 1)") is QueryAnswer.SAT
    assert asked(tmp_path, graph, -1, 0.5, "(>= Y_0 1)", "(>= Y_1 1)") is QueryAnswer.UNSAT


@pytest.mark.parametrize("seed", range(3))
def test_exact_minima_are_reached_and_never_passed(seed, tmp_path):
    """The minimum m of small nets: <= m is sat although nothing but the tie satisfies it; no answer is wrong."""
    found = ties.about_the_least(np.random.default_rng(seed), tmp_path / "q.vnnlib")
    assert not ties.wrong(found)
    assert found[0] == (QueryAnswer.SAT, True)


def test_a_tie_at_a_decimal_that_no_float_is(tmp_path):
    """The only input is -1/10, which float64 does not hold; -3 relu(x) is 0 there."""
    build = GraphBuilder("x", (1,))
    build.add(Gemm(torch.tensor([[-3.0]]).double()), (build.add(Relu(), ("x",)),), "y")
    asked_ = ties.query(tmp_path / "q", ["-0.1"], ["-0.1"], 1, ["(>= Y_0 0)"])
    found = verify_query(build.graph("y"), asked_, ProofSettings("box", total_timeout=60.0))
    assert found.answer is QueryAnswer.SAT
    assert found.witness.inputs == ("-0.1",)


def test_corners_are_where_functions_bend():
    x = torch.tensor([[-1.6, 0.2, 0.6, 2.4]], dtype=torch.float64)
    at = torch.tensor([0.5, -0.5, 7.0, 0.0], dtype=torch.float64)
    assert Floor().corner_near(x).tolist() == [[-2, 0, 1, 2]]
    assert Round().corner_near(x).tolist() == [[-1.5, 0.5, 0.5, 2.5]]
    assert Truncate(-9, 9).corner_near(x).tolist() == [[-2, 1, 1, 2]]
    assert Compare(at, 0.0, 1.0, 0.0).corner_near(x).tolist() == [at.tolist()]
    assert Relu().corner_near(x).tolist() == [[0, 0, 0, 0]]


def spike(width):
    """1 where x is within `width` of 1/4, in the middle of nowhere."""
    build = GraphBuilder("x", (1,))
    rise = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    high = build.add(Floor(), (build.add(Gemm(rise, torch.tensor([0.75 + width, 1.25 + width]).double()), ("x",)),))
    return build.graph(build.add(Gemm(torch.ones(1, 2, dtype=torch.float64)), (high,)))


def test_a_search_finds_a_spike_by_its_jumps(monkeypatch):
    region = BoxRegion(torch.tensor([[-0.25]]).double(), torch.tensor([[0.7]]).double())
    spec = Spec.rows(torch.tensor([[[-1.0]]]).double(), torch.tensor([[2.0]]).double())
    assert falsify(spike(0.0), region, spec, Pgd(), Search(torch.device("cpu"))).witnesses[0].point == (0.25,)
    monkeypatch.setattr(pgd_module, "corners", lambda work: None)
    assert not falsify(spike(0.0), region, spec, Pgd(), Search(torch.device("cpu"))).witnesses


# ---- integers, and inputs without bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("op_type", ["Div", "Mod", "ReduceMean", "Pow"])
def test_operators_that_mean_another_thing_on_integers_are_refused(op_type, tmp_path):
    """7 / 2 is 3 there."""
    constant = {} if op_type == "ReduceMean" else {"k": np.array([2], WHOLE)}
    nodes = [node("Cast", "x", "i", to=7), node(op_type, "i k" if constant else "i", "j"), node("Cast", "j", "y", to=1)]
    with pytest.raises(UnsupportedError) as caught:
        network(tmp_path, nodes, constant, size=2)
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert op_type == "Mod" or "computes with integers" in str(caught.value)


def test_constants_that_a_condition_selects_are_integers_too(tmp_path):
    nodes = [node("Greater", "x c", "g"), node("Where", "g a b", "i"), node("Div", "i k", "j"), node("Cast", "j", "y", to=1)]
    constants = {"c": np.array([0], F), "a": np.array([7], WHOLE), "b": np.array([9], WHOLE), "k": np.array([2], WHOLE)}
    with pytest.raises(UnsupportedError, match="computes with integers"):
        network(tmp_path, nodes, constants)


def test_integers_that_wrap_around_are_never_taken_for_numbers(tmp_path):
    """Outside of its type nothing is claimed of a sum or a product, whatever the import check says."""
    nodes = [node("Cast", "x", "i", to=TensorProto.INT32), node("Mul", "i k", "j"), node("Mul", "j k", "m"), node("Cast", "m", "y", to=1)]
    graph = network(tmp_path, nodes, {"k": np.array([40000], np.int32)})
    bare = graph.upto(graph.output.name)
    assert asked(tmp_path, bare, 1.25, 1.5, "(<= Y_0 0)") is QueryAnswer.UNSAT    # 1.6e9
    assert asked(tmp_path, bare, 2.25, 2.5, "(<= Y_0 0)") is QueryAnswer.UNKNOWN  # 3.2e9, or -1094967296
    assert asked(tmp_path, bare, 2.25, 2.5, "(>= Y_0 0)") is QueryAnswer.UNKNOWN
    assert asked(tmp_path, graph, 2.25, 2.5, "(<= Y_0 0)") is QueryAnswer.UNKNOWN


def test_a_cast_beyond_its_type_claims_nothing(tmp_path):
    graph = network(tmp_path, [node("Cast", "x", "i", to=TensorProto.UINT8), node("Cast", "i", "y", to=1)])
    bare = graph.upto(graph.output.name)
    assert asked(tmp_path, graph, 250, 255, "(>= Y_0 255.5)") is QueryAnswer.UNSAT
    assert asked(tmp_path, bare, 250, 300, "(>= Y_0 300.5)") is QueryAnswer.UNKNOWN
    assert asked(tmp_path, bare, 300, 301, "(>= Y_0 300)") is QueryAnswer.UNKNOWN


TWO = """(vnnlib-version <2.0>)
(declare-network N (declare-input X {0} [1, 2]) (declare-output Y {0} [1, 1]))
(assert (<= X[0,0] 1.0)) (assert (>= X[0,0] 0.0)) (assert {1})
"""


@pytest.mark.parametrize(("condition", "expected"), [("(>= Y[0,0] 0.5)", "sat"), ("(<= Y[0,0] 0.0)", "sat")])
def test_float32_inputs_have_the_bounds_of_their_type(condition, expected, tmp_path):
    graph = network(tmp_path, [node("Relu", "x", "h"), node("ReduceMax", "h a", "y", keepdims=1)], {"a": np.array([1], WHOLE)}, size=2)
    (tmp_path / "q.vnnlib").write_text(TWO.format("float32", condition))
    assert ties.answer(graph, read_query(tmp_path / "q.vnnlib"), "box") is QueryAnswer(expected)


def test_real_inputs_without_bounds_are_refused(tmp_path):
    (tmp_path / "q.vnnlib").write_text(TWO.format("real", "(>= Y[0,0] 0.5)"))
    with pytest.raises(AbsintError) as caught:
        read_query(tmp_path / "q.vnnlib")
    assert caught.value.code == "E-VNNLIB-UNBOUNDED"


def test_a_bound_beyond_the_type_leaves_an_empty_set(tmp_path):
    (tmp_path / "q.vnnlib").write_text(TWO.format("float32", f"(>= X[0,1] 1{'0' * 39}.0)"))
    query = read_query(tmp_path / "q.vnnlib")
    assert not bool(query.region.attainable.any())
