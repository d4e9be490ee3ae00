"""The analysis of queries: every answer on small networks, in double precision so that the smallest sliver shows."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from vnnlib_oracle import declared

import absint
from absint.analyses.query.answering import QueryAnswer, verify_query
from absint.analyses.verify import ProofSettings
from absint.errors import InputError
from absint.problem.query import read_query
from absint.verdict import Reason, Verdict


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """identity: y = x, one entry.  pair: y = (x0, x1).  fold: y = (|x0 + x1|, |x0 - x1|) by relus.  zero: y = relu(-x)."""
    folder = tmp_path_factory.mktemp("nets")
    plus, minus = np.array([[1.0, 1], [-1, -1], [1, -1], [-1, 1]]), np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    made = {"identity": [np.eye(1)], "pair": [np.eye(2)], "fold": [plus, minus], "zero": [-np.eye(1)]}
    return {name: absint.load(saved(folder / f"{name}.onnx", weights, relu=name == "zero")) for name, weights in made.items()}


def saved(path, weights, *, relu):
    nodes, constants, last = [], [], "x"
    for k, weight in enumerate(weights):
        constants.append(numpy_helper.from_array(weight.astype(np.float64), f"w{k}"))
        nodes.append(helper.make_node("Gemm", [last, f"w{k}"], [f"g{k}"], transB=1))
        last = f"g{k}"
        if relu or k + 1 < len(weights):
            nodes.append(helper.make_node("Relu", [last], [f"r{k}"]))
            last = f"r{k}"
    infos = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", size])
             for name, size in (("x", weights[0].shape[1]), (last, weights[-1].shape[0]))]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def ask(nets, tmp_path):
    def asking(net, text, **options):
        graph = nets[net]
        file = tmp_path / "q.vnnlib"
        file.write_text(declared(graph.input.size, graph.output.size) + text)
        return verify_query(graph, read_query(file), ProofSettings(options.pop("domain", "zonotope"), **options))

    return asking


UNIT = "(assert (>= X_0 0))(assert (<= X_0 1))"
SQUARE = UNIT + "(assert (>= X_1 0))(assert (<= X_1 1))"


@pytest.mark.parametrize(("net", "text", "answer"), [
    ("identity", UNIT + "(assert (>= Y_0 1.5))", "unsat"),
    ("identity", UNIT + "(assert (>= Y_0 0.5))", "sat"),
    ("identity", UNIT + "(assert (>= Y_0 1))", "sat"),
    ("identity", UNIT + "(assert (or (>= Y_0 1.5) (<= Y_0 -0.5)))", "unsat"),
    ("identity", UNIT + "(assert (or (>= Y_0 1.5) (<= Y_0 0.5)))", "sat"),
    ("identity", UNIT + "(assert (or (and (<= X_0 0.2) (>= Y_0 0.3)) (and (>= X_0 0.6) (<= Y_0 0.5))))", "unsat"),
    ("identity", UNIT + "(assert (or (and (<= X_0 0.2) (>= Y_0 0.3)) (and (>= X_0 0.6) (<= Y_0 0.7))))", "sat"),
    ("pair", SQUARE + "(assert (<= Y_0 Y_1))(assert (>= Y_0 1.25))", "unsat"),
    ("pair", SQUARE + "(assert (<= Y_0 Y_1))(assert (>= Y_0 0.75))", "sat"),
    ("pair", SQUARE + "(assert (> (+ Y_0 Y_1) 2.1))", "unsat"),
    ("fold", SQUARE + "(assert (>= (+ Y_0 Y_1) 2.5))", "unknown"),
    ("fold", SQUARE + "(assert (>= (+ Y_0 Y_1) 4.5))", "unsat"),
])
def test_answer(net, text, answer, ask):
    found = ask(net, text)
    assert found.answer.value == answer
    assert (found.witness is not None) == (answer == "sat")


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_no_answer_contradicts_a_dense_grid(domain, ask):
    """Random boxes and half planes on |x0 + x1|, |x0 - x1|: where a grid has a violation, unsat would be wrong."""
    choose = random.Random(1)
    seen = set()
    for _ in range(15):
        ends = [sorted(choose.uniform(-1, 1) for _ in range(2)) for _ in range(2)]
        a, b, c = choose.uniform(-1, 1), choose.uniform(-1, 1), choose.uniform(0, 2)
        box = "".join(f"(assert (>= X_{k} {lo!r}))(assert (<= X_{k} {hi!r}))" for k, (lo, hi) in enumerate(ends))
        found = ask("fold", box + f"(assert (>= (+ (* {a:.3f} Y_0) (* {b:.3f} Y_1)) {c:.3f}))", domain=domain)
        grid = np.stack(np.meshgrid(*(np.linspace(lo, hi, 41) for lo, hi in ends)), -1).reshape(-1, 2)
        values = round(a, 3) * abs(grid[:, 0] + grid[:, 1]) + round(b, 3) * abs(grid[:, 0] - grid[:, 1]) - round(c, 3)
        assert not (found.answer is QueryAnswer.UNSAT and values.max() > 1e-9)
        assert not (found.answer is QueryAnswer.SAT and values.max() < -0.2)
        seen.add(found.answer)
    assert QueryAnswer.UNSAT in seen


def test_a_witness_is_a_point_of_the_text(ask):
    found = ask("pair", "(assert (>= X_0 0.1))(assert (<= X_0 0.3))(assert (> X_1 0.25))(assert (< X_1 0.5))(assert (>= Y_0 Y_1))")
    x = [Fraction(value) for value in found.witness.inputs]
    assert Fraction("0.1") <= x[0] <= Fraction("0.3")
    assert Fraction("0.25") < x[1] < Fraction("0.5")
    assert x[0] >= x[1]
    assert found.witness.outputs == tuple(map(float, found.witness.inputs))


@pytest.mark.parametrize(("text", "inside"), [
    ("(assert (>= X_0 0.2))(assert (< X_0 0.3))(assert (>= Y_0 0.2999999999))", lambda x: Fraction("0.2") <= x < Fraction("0.3")),
    ("(assert (> X_0 0.7))(assert (<= X_0 0.8))(assert (<= Y_0 0.7000000001))", lambda x: Fraction("0.7") < x <= Fraction("0.8")),
    ("(assert (>= X_0 0.1))(assert (<= X_0 0.3))(assert (<= Y_0 0.1000000001))", lambda x: Fraction("0.1") <= x <= Fraction("0.3")),
])
def test_the_printed_numbers_lie_in_the_exact_box(text, inside, ask):
    """The float64 number next below 3/10 is written 0.3 for short, which is not below 3/10."""
    found = ask("identity", text)
    assert found.answer is QueryAnswer.SAT
    assert inside(Fraction(found.witness.inputs[0]))
    assert Fraction(found.witness.inputs[0]) == Fraction(found.witness.point[0])


def test_a_box_without_float_numbers_has_rational_witnesses(ask):
    """X_0 is one tenth, which is no float64 number: the proof covers the numbers around it, the answer names itself."""
    found = ask("pair", "(assert (= X_0 0.1))(assert (>= X_1 0))(assert (<= X_1 1))(assert (>= Y_1 Y_0))")
    assert found.answer is QueryAnswer.SAT
    assert found.witness.inputs[0] == "0.1"
    assert abs(Fraction(found.witness.point[0]) - Fraction("0.1")) < Fraction(1, 10**15)


POSITIVE = "(assert (>= X_0 1))(assert (<= X_0 2))"    # where relu(-x) is 0, and its bounds are exact


def test_a_sliver_between_the_decimal_and_its_float_is_no_counterexample(ask):
    """0 is not at most -1e-330, but it is at most the float64 number next to that."""
    found = ask("zero", POSITIVE + "(assert (<= Y_0 -1e-330))")
    assert (found.answer, found.reason) == (QueryAnswer.UNKNOWN, Reason.AMBIGUOUS)
    assert ask("zero", POSITIVE + "(assert (<= Y_0 1e-330))").answer is QueryAnswer.SAT


def test_a_sliver_is_not_proved_away_either(ask):
    """One tenth satisfies Y_0 <= 0.1 exactly: no rounding of the bias may turn that into unsat."""
    for text in ("(assert (<= Y_0 0.1))", "(assert (>= Y_0 0.1))", "(assert (>= (* 3 Y_0) 0.3))"):
        assert ask("identity", "(assert (= X_0 0.1))" + text).answer is not QueryAnswer.UNSAT
        assert ask("identity", "(assert (>= X_0 0))(assert (<= X_0 0.1))" + text).answer is not QueryAnswer.UNSAT


def test_ties_count_where_the_constraint_is_not_strict(ask):
    assert ask("zero", POSITIVE + "(assert (<= Y_0 0))").answer is QueryAnswer.SAT
    assert ask("zero", POSITIVE + "(assert (< Y_0 0))").answer is QueryAnswer.UNSAT
    for other, answer in (("(< Y_0 -1) (< Y_0 0)", QueryAnswer.UNSAT), ("(<= Y_0 0)", QueryAnswer.SAT)):
        text = f"(assert (or (and (<= X_0 1.5) (< Y_0 0)) (and (>= X_0 1.6) {other})))"
        assert ask("zero", POSITIVE + text).answer is answer


@pytest.mark.parametrize("text", [
    "(assert (>= X_0 1))(assert (<= X_0 0))(assert (<= Y_0 -5))",
    UNIT + "(assert (or (<= X_0 -1) (<= Y_0 -5)))",
    UNIT + "(assert (<= 1 0))(assert (<= Y_0 -5))",
])
def test_contradictory_constraints_never_prove_anything(text, ask):
    found = ask("identity", text)
    assert (found.answer, found.reason) == (QueryAnswer.UNKNOWN, Reason.VACUOUS)


def test_a_contradictory_branch_hides_no_counterexample(ask):
    assert ask("identity", UNIT + "(assert (or (<= X_0 -1) (>= Y_0 0.5)))").answer is QueryAnswer.SAT


def test_outputs_that_contradict_each_other_are_refuted_by_the_proof(ask):
    found = ask("identity", UNIT + "(assert (<= Y_0 0.2))(assert (>= Y_0 1.5))")
    assert found.answer is QueryAnswer.UNSAT


def test_without_time_or_rounding_there_is_no_verdict(ask):
    assert ask("identity", UNIT + "(assert (>= Y_0 1.5))", total_timeout=1e-9).answer is QueryAnswer.TIMED_OUT
    assert ask("identity", UNIT + "(assert (>= Y_0 1.5))", rounding=False).answer is QueryAnswer.UNKNOWN


def test_counts_must_fit(ask, nets, tmp_path):
    file = tmp_path / "q.vnnlib"
    file.write_text(declared(1, 1) + UNIT + "(assert (<= Y_0 0))")
    with pytest.raises(InputError, match="E-VNNLIB-COUNT"):
        verify_query(nets["pair"], read_query(file), ProofSettings("box"))


def test_boxes_of_different_structure_are_decided_alike_together_and_alone(ask):
    parts = [f"(and (<= X_0 0.{k}5) (>= X_0 0.{k}) (>= Y_0 {limit}))" for k, limit in ((1, 0.2), (2, 0.22), (3, 0.4), (4, 0.5))]
    parts[2] = "(and (<= X_0 0.35) (>= X_0 0.3) (>= Y_0 0.3) (<= Y_0 0.34) (>= Y_0 0.4))"
    alone = [ask("identity", f"(assert (or {part}))").answer for part in parts]
    assert alone == [QueryAnswer.UNSAT, QueryAnswer.SAT, QueryAnswer.UNSAT, QueryAnswer.UNSAT]
    assert ask("identity", f"(assert (or {' '.join(parts)}))").answer is QueryAnswer.SAT
    together = ask("identity", f"(assert (or {' '.join(parts[:1] + parts[2:])}))", batch=1)
    assert together.answer is QueryAnswer.UNSAT
    assert together.asked == 3 == sum(r.verdict is Verdict.VERIFIED for r in together.results)


def test_quotations_and_the_end_of_a_file_assert_nothing(ask):
    note = '(set-info :source "a note) (assert (>= Y_0 7)) (set-info :x y")'
    assert ask("identity", UNIT + note + "(assert (>= Y_0 0.5))(check-sat)").answer is QueryAnswer.SAT


def test_the_python_interface(nets, tmp_path):
    file = tmp_path / "q.vnnlib"
    file.write_text(declared(1, 1) + UNIT + "(assert (>= Y_0 1.5))")
    assert absint.verify_query(nets["identity"], file, domain="box").answer is QueryAnswer.UNSAT
    assert absint.verify_query(nets["identity"], absint.read_query(file), domain="box").margin == pytest.approx(0.5, abs=1e-4)
