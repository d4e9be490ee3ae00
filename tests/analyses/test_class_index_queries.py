"""Queries about a network that ends in ArgMax or ArgMin: answered for the class index, against the exact truth in rationals."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, pairwise
from random import Random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.analyses.query.answering import QueryAnswer
from absint.analyses.query.class_index import about_scores
from absint.errors import AbsintError, InputError, UnsupportedError
from absint.model.reference import runtime
from absint.model.source import ClassIndex
from absint.problem.query import read_query

OPERATORS = ("<=", "<", ">=", ">", "=")


def ending(path, weight, bias, kind="ArgMax", *, batch="N", more=(), **attributes):
    """x (1 input) -> weight x + bias -> ArgMax; weight, bias: one number per class."""
    stored = {"w": np.array([weight], dtype=np.float32), "b": np.array(bias, dtype=np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["s"]), helper.make_node(kind, ["s"], ["y"], name="pick", **attributes), *more]
    output = more[-1].output[0] if more else "y"
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1])],
                              [helper.make_empty_tensor_value_info(output)], [numpy_helper.from_array(v, n) for n, v in stored.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def question(path, asked, low, high, outputs=1):
    names = "".join(f"(declare-const Y_{k} Real)" for k in range(outputs))
    path.write_text(f"(declare-const X_0 Real){names}(assert (>= X_0 {float(low)!r}))(assert (<= X_0 {float(high)!r}))(assert {asked})")
    return path


def reached(weight, bias, low, high, *, least=False, last=False):
    """(classes that win alone on an open set, classes reached at all) over [low, high], exactly."""
    lines = [(Fraction(a) * (-1 if least else 1), Fraction(b) * (-1 if least else 1)) for a, b in zip(weight, bias, strict=True)]
    cuts = {Fraction(low), Fraction(high)}
    for (a, b), (c, d) in combinations(lines, 2):
        if a != c and low <= (d - b) / (a - c) <= high:
            cuts.add((d - b) / (a - c))

    def best(x):
        scores = [a * x + b for a, b in lines]
        return [k for k, value in enumerate(scores) if value == max(scores)]

    ordered = sorted(cuts)
    between = [best((a + b) / 2) for a, b in pairwise(ordered)]
    chosen = {found[-1 if last else 0] for found in (*between, *map(best, ordered))}
    return {found[0] for found in between if len(found) == 1}, chosen


def holds(operator, left, right):
    return {"<=": left <= right, "<": left < right, ">=": left >= right, ">": left > right, "=": left == right}[operator]


def cases(count):
    """Random nets of few levels, so that ties are common, with random conditions on the class index."""
    random = Random(20)
    for k in range(count):
        classes = random.choice((1, 2, 3, 3, 4))
        weight, bias = ([random.randint(-2, 2) / 2 for _ in range(classes)] for _ in range(2))
        low = random.randint(-4, 2) / 2
        factor, bound = random.choice((1, 1, -1, 2, -3)), random.choice((-1, 0, 0.5, 1, 1.5, 2, 3, 3.5))
        yield k, weight, bias, low, low + random.choice((0.5, 1, 2)), random.choice(OPERATORS), factor, bound


@pytest.mark.parametrize(("k", "weight", "bias", "low", "high", "operator", "factor", "bound"), list(cases(40)))
def test_answers_are_the_exact_truth_about_the_class_index(tmp_path, k, weight, bias, low, high, operator, factor, bound):
    kind, last, keep = ("ArgMax", "ArgMin")[k % 2], k // 2 % 2, k // 4 % 2
    net = ending(tmp_path / "n.onnx", weight, bias, kind, axis=(1, -1)[k // 8 % 2], select_last_index=last, keepdims=keep)
    asked = question(tmp_path / "q.vnnlib", f"({operator} (* {factor} Y_0) {bound})", low, high)
    found = absint.verify_query(net, asked, domain="deeppoly", attack="pgd")
    wide, at_all = reached(weight, bias, low, high, least=kind == "ArgMin", last=bool(last))
    surely, maybe = (any(holds(operator, factor * y, bound) for y in classes) for classes in (wide, at_all))
    if found.answer is QueryAnswer.SAT:
        assert maybe
        x, (y,) = Fraction(found.witness.inputs[0]), found.witness.outputs
        assert low <= x <= high
        assert holds(operator, factor * y, bound)
        assert int(runtime(absint.load(net).source.whole).run(np.array([[float(x)]])).item()) == y
    elif found.answer is QueryAnswer.UNSAT:
        assert not maybe
    else:
        assert found.answer is QueryAnswer.UNKNOWN
        assert (maybe or len(at_all) > 2)
        assert not (surely and len(at_all) == 1)


def test_most_of_these_questions_are_decided(tmp_path):
    """Unknown is allowed where the answer hangs on a tie; it must not be the answer to everything."""
    decided = 0
    for _, weight, bias, low, high, operator, factor, bound in list(cases(12)):
        net = ending(tmp_path / "n.onnx", weight, bias, axis=1)
        asked = question(tmp_path / "q.vnnlib", f"({operator} (* {factor} Y_0) {bound})", low, high)
        found = absint.verify_query(net, asked, domain="deeppoly")
        decided += found.answer in (QueryAnswer.SAT, QueryAnswer.UNSAT)
    assert decided >= 9


@pytest.mark.parametrize(("asked", "answer"), [("(<= Y_0 0.5)", "sat"), ("(>= Y_0 0.5)", "unsat"), ("(= Y_0 0)", "sat"),
                                               ("(or (< Y_0 0) (> Y_0 0))", "unsat"), ("(and (>= Y_0 0) (<= Y_0 0.25))", "sat")])
def test_one_class_is_always_index_0(tmp_path, asked, answer):
    net = ending(tmp_path / "n.onnx", [1.0], [0.0], axis=1)
    assert absint.verify_query(net, question(tmp_path / "q.vnnlib", asked, 2, 3)).answer.value == answer


@pytest.mark.parametrize(("last", "answers"), [(0, ("sat", "unsat")), (1, ("unsat", "sat"))])
def test_a_tie_everywhere_goes_to_the_first_or_to_the_last(tmp_path, last, answers):
    """Both scores are the same function: strict rows are refuted at equality, the others are met."""
    net = ending(tmp_path / "n.onnx", [1.0, 1.0], [0.0, 0.0], axis=1, select_last_index=last)
    for index, answer in enumerate(answers):
        asked = question(tmp_path / "q.vnnlib", f"(= Y_0 {index})", -1, 1)
        assert absint.verify_query(net, asked, domain="deeppoly", attack=None).answer.value in (answer, "unknown")


def exactly(query, scores, chooses):
    """Whether scores lie in the unsafe set of the rewritten query, for proofs and for witnesses."""
    given = np.array(scores, dtype=np.float64)
    out = []
    for inward in (False, True):
        hit = False
        for group in query.groups():
            hit |= query.spec(group.rows, inward=inward).violated_exactly(0, given)
        out.append(hit)
    return out


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("asked", ["(<= Y_0 1.5)", "(>= Y_0 0.5)", "(< Y_0 2)", "(<= (* -2 Y_0) -2)", "(or (= Y_0 0) (= Y_0 3))",
                                   "(and (>= Y_0 1) (<= Y_0 2))", "(>= Y_0 -1)", "(> Y_0 3)", "(or (< Y_0 1) (> Y_0 1))"])
def test_conditions_on_scores_say_what_the_index_is(tmp_path, asked, last):
    """All 81 orders of four scores of three levels, ties among them: exactly the index that ONNX defines."""
    graph = absint.load(ending(tmp_path / "n.onnx", [1, 2, 3, 4], [0, 0, 0, 0], axis=1))
    query = about_scores(read_query(question(tmp_path / "q.vnnlib", asked, 0, 1)), graph, ClassIndex("ArgMax", last, (1,), None)).query
    plain = read_query(tmp_path / "q.vnnlib")
    for levels in np.ndindex(3, 3, 3, 3):
        best = [k for k in range(4) if levels[k] == max(levels)]
        truth = exactly(plain, [best[-1 if last else 0]], None)[0]
        assert exactly(query, levels, last) == [truth, truth]


def test_a_bound_beside_a_whole_number_is_larger_for_proofs_and_smaller_for_witnesses(tmp_path):
    """Y < 1 + 1e-30 holds of index 1, which float64 numbers around the bound cannot tell from Y < 1."""
    graph = absint.load(ending(tmp_path / "n.onnx", [0, 0, 0], [0, 0, 0], axis=1))
    asked = read_query(question(tmp_path / "q.vnnlib", "(< Y_0 1.000000000000000000000000000001)", 0, 1))
    found = about_scores(asked, graph, graph.source.chooses)
    assert found.inside.tolist() == [[True, False, False]]
    for scores, (proof, witness) in (((3, 2, 1), (True, True)), ((1, 3, 2), (True, False)), ((1, 2, 3), (False, False))):
        assert exactly(found.query, scores, None) == [proof, witness]


def lying(tmp_path):
    """A graph whose reference model with ArgMax has other scores."""
    net = ending(tmp_path / "n.onnx", [1, -1], [0, 0], axis=1)
    graph = absint.load(net)
    other = ending(tmp_path / "m.onnx", [-1, 1], [0, 0], axis=1).read_bytes()
    return replace(graph, source=replace(graph.source, chooses=replace(graph.source.chooses, model=other)))


def test_an_index_that_is_not_that_of_the_scores_is_refused(tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        absint.verify_query(lying(tmp_path), question(tmp_path / "q.vnnlib", "(= Y_0 0)", 0.5, 1))
    assert caught.value.code == "E-IMPORT-MISMATCH"
    assert "ArgMax 'pick'" in caught.value.render()


def test_replay_is_of_the_network_with_its_argmax(tmp_path, monkeypatch):
    """Proved of the scores and replayed there: not enough where the network itself returns another index."""
    monkeypatch.setattr("absint.analyses.query.answering.check_index", lambda source, region: None)
    found = absint.verify_query(lying(tmp_path), question(tmp_path / "q.vnnlib", "(= Y_0 0)", 0.5, 1), domain="box")
    assert found.answer is QueryAnswer.UNKNOWN
    assert found.witness is None


@pytest.mark.parametrize("outputs", [2, 3])
def test_a_query_about_more_than_the_index_is_refused(tmp_path, outputs):
    net = ending(tmp_path / "n.onnx", [1, 2, 3], [0, 0, 0], axis=1)
    with pytest.raises(InputError) as caught:
        absint.verify_query(net, question(tmp_path / "q.vnnlib", "(>= Y_0 1)", 0, 1, outputs))
    assert caught.value.code == "E-VNNLIB-COUNT"
    assert "ArgMax 'pick'" in caught.value.render()


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
def test_an_index_that_is_used_is_refused_by_name(tmp_path, kind):
    more = [helper.make_node("Cast", ["y"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["c", "c"], ["z"])]
    with pytest.raises(AbsintError) as caught:
        absint.load(ending(tmp_path / "n.onnx", [1, 2], [0, 0], kind, more=more, axis=1))
    assert caught.value.code == "E-OP-UNSUPPORTED"
    assert "'pick'" in caught.value.render()
    assert kind in caught.value.render()


def test_several_positions_are_refused_by_name(tmp_path):
    net = ending(tmp_path / "n.onnx", [1, 2], [0, 0], axis=1, batch=3)
    with pytest.raises(AbsintError) as caught:
        absint.load(net)
    assert "ArgMax 'pick'" in caught.value.render()


def test_argmin_leaves_negated_scores(tmp_path):
    graph = absint.load(ending(tmp_path / "n.onnx", [1, -2, 3], [0, 1, 0], "ArgMin", axis=1))
    import torch

    assert graph(torch.ones(1, 1, dtype=torch.float64)).tolist() == [[-1.0, 1.0, -3.0]]
    assert absint.verify(graph, np.ones((1, 1)), [1], "0.01", clip=None)[0].verdict.value == "verified"


def test_only_the_last_network_of_a_chain_may_choose(tmp_path):
    from absint.model.graph import chain

    first = absint.load(ending(tmp_path / "n.onnx", [1.0], [0.0], axis=1))
    with pytest.raises(UnsupportedError, match="ArgMax 'pick'"):
        chain(first, first)


def test_the_index_is_what_is_written(tmp_path, capsys):
    from absint.cli.main import main

    net = ending(tmp_path / "n.onnx", [1, 2, 3], [0, 0, 0], axis=1, keepdims=0)
    asked = question(tmp_path / "q.vnnlib", "(= Y_0 2)", 1, 2)
    words = ["verify", str(asked), "--network", str(net), "--serialise-assignments", str(tmp_path / "a"), "--witness", str(tmp_path / "w")]
    assert main(words) == 0
    (tensor,) = [onnx.load_tensor(tmp_path / "a" / "Y.pb")]
    assert tensor.data_type == TensorProto.INT64
    assert numpy_helper.to_array(tensor).tolist() == [2]
    facts = json.loads((tmp_path / "w" / "witness_00000.json").read_text())
    assert facts["output_shape"] == [1]
    assert "(Y_0 2.0)" in (tmp_path / "w" / "witness_00000.txt").read_text()
