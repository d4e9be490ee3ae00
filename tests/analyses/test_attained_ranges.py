"""Ranges that are attained: a strict row is refuted by a bound of 0, others by more; sums of rows likewise."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.analyses.query.answering import QueryAnswer, verify_query
from absint.analyses.verify import ProofSettings
from absint.engine.context import Context
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Clip
from absint.model.ops.relu import Relu
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.query import read_query
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import ATTAINED, Spec
from absint.search.names import strategy_of

DOMAINS_ = ["box", "zonotope", "deeppoly", "exact", "auto"]
HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1.0))(assert (>= X_0 -1.0))"


def saved(tail, path):
    """x -> Gemm -> Relu -> Gemm -> tail, one input and one output."""
    rng = np.random.default_rng(4)
    values = {"w1": rng.normal(size=(6, 1)), "b1": rng.normal(size=6), "w2": rng.normal(size=(1, 6)), "b2": rng.normal(size=1),
              "low": np.array(-1.0), "high": np.array(1.0)}
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["a"]),
             helper.make_node("Gemm", ["a", "w2", "b2"], ["z"], transB=1)]
    last = "z"
    for k, (op, *more) in enumerate(tail):
        nodes.append(helper.make_node(op, [last, *more], [f"t{k}"]))
        last = f"t{k}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return absint.load(path)


TAILS = {"Relu": [("Relu",)], "Neg": [("Relu",), ("Neg",)], "Clip": [("Clip", "low", "high")]}
NOWHERE = [("Relu", "(< Y_0 0.0)"), ("Neg", "(> Y_0 0.0)"), ("Clip", "(< Y_0 -1.0)"), ("Clip", "(> Y_0 1.0)")]


@pytest.mark.parametrize("domain", DOMAINS_)
@pytest.mark.parametrize(("tail", "asked"), NOWHERE)
def test_beyond_an_attained_end_is_unsat(tail, asked, domain, tmp_path):
    graph = saved(TAILS[tail], tmp_path / "net.onnx")
    (tmp_path / "q.vnnlib").write_text(f"{HEAD}(assert {asked})")
    found = verify_query(graph, read_query(tmp_path / "q.vnnlib"), ProofSettings(domain=domain, attack=None, timeout=20, total_timeout=20))
    assert found.answer is QueryAnswer.UNSAT
    assert found.margin == 0.0


def run(domain, graph, spec, low, high, num=None):
    ctx = Context(graph, BoxRegion(low, high), num or Numerics())
    with numeric_mode(), torch.no_grad():
        found = strategy_of(domain).stages()[-1].attempt(ctx, spec)
        best = spec.refutation(found.interval.lower)
        return best if found.refuted is None else torch.fmax(best, found.refuted.to(best))


def clip_net(low=-1.0, high=1.0, factor=1.0):
    build = GraphBuilder("x", (2,))
    last = build.add(Gemm(torch.tensor([[1.0, 0.3], [-0.7, 2.0]], dtype=torch.float64)), ("x",))
    last = build.add(Clip(low, high), (last,))
    return build.graph(build.add(Affine(scale=torch.tensor(factor, dtype=torch.float64)), (last,)))


BOX = torch.full((1, 2), -3.0, dtype=torch.float64), torch.full((1, 2), 3.0, dtype=torch.float64)


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly", "alpha"])
@pytest.mark.parametrize(("num", "factor"), [
    *((Numerics(), factor) for factor in (1.0, -1.0, -2.0, 0.25)), (Numerics(torch.float32), 1.0), (Numerics(torch.float32), -2.0),
    (Numerics(torch.float32).single(), -1.0), (Numerics(torch.float32).single(), 0.25),
])
def test_ties_count_where_rows_are_strict_and_nowhere_else(domain, num, factor):
    graph, end = clip_net(factor=factor), abs(factor)
    for weight, bias in (([1.0, 0.0], end), ([-1.0, 0.0], end), ([0.0, 2.0], 2 * end), ([1.0, -1.0], 2 * end)):
        rows = torch.tensor([[weight]], dtype=torch.float64), torch.tensor([[bias]], dtype=torch.float64)
        for strict in (False, True):
            spec = Spec.rows(*rows, strict=torch.tensor([strict]))
            # weight . y + bias is 0 somewhere: `<= 0` is attained, `< 0` is not.
            assert bool(run(domain, graph, spec, *BOX, num) > 0) is strict
        nearer = Spec.rows(rows[0], rows[1] - 1e-9, strict=torch.tensor([True]))
        assert not bool(run(domain, graph, nearer, *BOX, num) > 0)


def test_refutation_and_margin_agree_on_ties():
    spec = Spec.rows(torch.zeros(1, 4, 1), torch.zeros(1, 4), torch.tensor([0, 0, 1, 2]), torch.tensor([False, True, False, True]))
    nothing = [3.0, float("nan"), 1e-300, -float("inf")]
    lower = torch.tensor([[0.0, 0.0, 0.0, -0.0], [-1.0, -1e-300, 2.0, 5.0], nothing], dtype=torch.float64)
    assert (spec.refutation(lower) > 0).tolist() == [[True, False, True], [False, True, True], [True, True, False]]
    assert spec.refutation(lower)[0, 0] == ATTAINED
    assert spec.refutation(lower)[1, 2] == 5.0
    assert float(spec.refutation(lower.float())[0, 2]) == ATTAINED


def test_a_sum_of_rows_that_is_never_negative_refutes_where_a_strict_row_counts():
    graph = clip_net()
    weight = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    for bias, strict, refuted in (
        ([0.0, 0.0], [True, False], True),    # y < 0 and y >= 0
        ([0.0, 0.0], [False, False], False),  # y = 0
        ([0.5, -0.5], [False, True], True),   # y <= -1/2 and y > -1/2
        ([-0.25, 0.0], [True, True], False),  # 0 < y < 1/4
        ([0.25, 0.0], [False, False], True),  # y <= -1/4 and y >= 0
    ):
        spec = Spec.rows(weight, torch.tensor([bias], dtype=torch.float64), torch.tensor([0, 0]), torch.tensor(strict))
        assert bool(run("alpha", graph, spec, *BOX) > 0) is refuted, (bias, strict)


@pytest.mark.parametrize("seed", range(3))
def test_no_tie_is_decided_wrongly_on_small_nets_of_dyadic_numbers(seed):
    """Relu(W x) times +-2^k over integer boxes: the extremes of single outputs are known exactly, and asked for exactly."""
    rng = random.Random(seed)
    for _ in range(12):
        weight = [[rng.choice((-2, -1, -0.5, 0, 1, 3)) for _ in range(2)] for _ in range(2)]
        factor = rng.choice((-4.0, -1.0, 0.5, 1.0, 2.0))
        low = [rng.randint(-3, 2) for _ in range(2)]
        high = [v + rng.randint(0, 3) for v in low]
        build = GraphBuilder("x", (2,))
        last = build.add(Relu(), (build.add(Gemm(torch.tensor(weight, dtype=torch.float64)), ("x",)),))
        graph = build.graph(build.add(Affine(scale=torch.tensor(factor, dtype=torch.float64)), (last,)))
        values = [[Fraction(factor) * max(0, sum(Fraction(w) * v for w, v in zip(row, x, strict=True))) for row in weight]
                  for x in product(*zip(low, high, strict=True))]
        box = tuple(torch.tensor([end], dtype=torch.float64) for end in (low, high))
        for output, sign, strict in product(range(2), (1.0, -1.0), (False, True)):
            least = min(Fraction(sign) * v[output] for v in values)  # of a convex or concave function: below the truth where concave
            row = torch.zeros(1, 1, 2, dtype=torch.float64)
            row[0, 0, output] = sign
            spec = Spec.rows(row, torch.tensor([[float(-least)]], dtype=torch.float64), strict=torch.tensor([strict]))
            for domain in ("box", "zonotope", "deeppoly"):
                proved = bool(run(domain, graph, spec, *box) > 0)
                # least is attained at a vertex, so a non-strict row cannot be refuted.
                assert not (proved and not strict), (weight, factor, low, high, output, sign)


def test_bounds_of_several_rows_at_an_attained_corner():
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Relu(), ("x",)))
    weight = torch.tensor([[[1.0, 2.0], [3.0, 0.1]]], dtype=torch.float64)
    spec = Spec.rows(weight, torch.zeros(1, 2, dtype=torch.float64), strict=torch.tensor([True, True]))
    for domain in ("box", "zonotope", "deeppoly"):
        assert bool((run(domain, graph, spec, *BOX) == ATTAINED).all()), domain
