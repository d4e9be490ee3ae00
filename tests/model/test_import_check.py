"""The import check: what rounding explains is accepted, nothing else; every node is asked for all that it can do."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import build, node, stored

from absint.analyses.inspect.examination import examine
from absint.analyses.inspect.summary import values_of
from absint.errors import UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import node_check
from absint.model.families.maximum import Maximum
from absint.model.forward_error import FACTOR, Followed, accepted, follow
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.step import Round, Sign


@pytest.fixture(autouse=True)
def _nothing_remembered():
    node_check.forget()
    yield
    node_check.forget()


@pytest.fixture
def draw():
    random = np.random.default_rng(11)
    return lambda *shape: random.standard_normal(shape).astype(np.float32)


def read(folder, *args, fold=True, check=True, **keywords):
    return OnnxFrontEnd().read(stored(folder, build(*args, **keywords)), fold=fold, check=check)


def exchanged(graph, kind, change):
    """The graph with the first node of that kind changed."""
    first = next(n for n in graph.nodes if isinstance(n.op, kind))
    return Graph(tuple(replace(n, op=change(n.op)) if n is first else n for n in graph.nodes), graph.source)


# ---- the tolerance ------------------------------------------------------------------------------------------------------


def cancelling(draw, inputs=6, outputs=3):
    """Differences of nearly equal terms: the result is about as large as the rounding of what it is made of."""
    w = draw(inputs, outputs) * 1e3
    v = w + draw(inputs, outputs) * np.float32(1e-3)
    nodes = [node("Gemm", "x w b", "p"), node("Gemm", "x v b", "q"), node("Sub", "p q", "y")]
    return nodes, {"w": w, "v": v, "b": np.full(outputs, 1e5, np.float32)}


def test_a_network_that_cancels_is_accepted(tmp_path, draw):
    nodes, constants = cancelling(draw)
    graph = read(tmp_path, nodes, [1, 6], constants)
    x = np.random.default_rng(1).random((20, 6)).astype(np.float32)
    ours = graph(torch.as_tensor(x).double()).numpy()
    from absint.model.reference import runtime

    theirs = runtime(graph.source).run(x)
    assert np.abs(ours - theirs).max() > 1e-2 * np.abs(ours).max()  # more than any share of the output would allow
    check_import(graph, -1.0, 2.0)


def test_in_a_network_that_cancels_a_wrong_term_is_seen(tmp_path, draw):
    nodes, constants = cancelling(draw)
    graph = read(tmp_path, nodes, [1, 6], constants)
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(exchanged(graph, Gemm, lambda op: replace(op, weight=op.weight * 1.01)))


@pytest.mark.parametrize("depth", [1, 12])
@pytest.mark.parametrize("folded", [True, False])
def test_a_slope_wrong_by_one_per_cent_is_refused_however_deep(tmp_path, draw, depth, folded):
    nodes, constants, last = [], {}, "x"
    for k in range(depth):
        constants |= {f"w{k}": draw(32, 32) / np.float32(5), f"b{k}": draw(32)}
        nodes += [node("Gemm", f"{last} w{k} b{k}", f"h{k}"), node("LeakyRelu", f"h{k}", f"r{k}" if k < depth - 1 else "y", alpha=0.3)]
        last = f"r{k}"
    graph = read(tmp_path, nodes, [1, 32], constants, fold=folded)
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(exchanged(graph, LeakyRelu, lambda op: replace(op, alpha=op.alpha * 1.01)))
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(exchanged(graph, Gemm, lambda op: replace(op, weight=op.weight * 1.01)))


def test_a_graph_that_shares_no_tensor_but_its_ends_is_compared_there(tmp_path, draw):
    w = draw(8, 4)
    graph = read(tmp_path, [node("Gemm", "x w b", "h"), node("Relu", "h", "y")], [1, 8], {"w": w, "b": draw(4)})
    names = {"h": "elsewhere", "x": "x", "y": "y"}
    moved = (replace(n, name=names[n.name], inputs=tuple(names[i] for i in n.inputs), tensors=()) for n in graph.nodes)
    hidden = Graph(tuple(moved), graph.source)
    check_import(hidden)
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(exchanged(hidden, Gemm, lambda op: replace(op, weight=op.weight * 1.01)))


def test_a_region_is_checked_with_the_same_tolerance(tmp_path, draw):
    graph = read(tmp_path, [node("LeakyRelu", "x", "y", alpha=0.3)], [1, 4])

    class Region:
        lower, upper = torch.full((2, 4), -700.0), torch.full((2, 4), -600.0)

    assert check_import(graph, region=Region()) < 1e-6
    wrong = exchanged(graph, LeakyRelu, lambda op: replace(op, alpha=op.alpha * 1.0001))
    check_import(wrong)  # nothing of it shows in [0, 1]
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(wrong, region=Region())


# ---- the bound ----------------------------------------------------------------------------------------------------------


def single(*values, error=None):
    value = torch.tensor([values], dtype=torch.float64)
    return Followed(value, None if error is None else torch.full_like(value, error), torch.float32)


def test_at_a_jump_both_neighbours_are_within_the_bound_and_away_from_it_none():
    for op, at in ((Round(), 0.5), (Sign(), 0.0)):
        beside = follow(op, [single(at - 1e-8, at + 1e-8, at + 0.2, error=1e-7)])
        assert float(beside.error[0, 0]) >= 1
        assert float(beside.error[0, 1]) >= 1
        assert float(beside.error[0, 2]) == 0
        exact = follow(op, [single(at - 1e-8, at + 1e-8)])
        assert float(exact.error.max()) == 0


def test_a_bound_holds_a_float32_execution_and_is_no_share_of_the_result():
    random = torch.Generator().manual_seed(3)
    weight = torch.randn(40, 300, generator=random, dtype=torch.float64).float().double()
    x = torch.randn(50, 300, generator=random).double()
    op = Gemm(weight, torch.randn(40, generator=random).double())
    here = follow(op, [Followed(x, None, torch.float32)])
    execution = op.forward(x.float()).double()
    assert bool(((execution - here.value).abs() <= here.error).all())
    allowed, deviation, fine = accepted(here, execution, torch.float32)
    assert fine
    assert float(deviation.max()) > 0
    assert float(allowed.max()) < FACTOR * 1e-3 * float(here.value.abs().max())
    # Units alone: 1 % of one product is far beyond what one product rounds.
    unit = torch.zeros(1, 300, dtype=torch.float64)
    unit[0, 7] = 1.0
    alone = follow(Gemm(weight), [Followed(unit, None, torch.float32)])
    assert not accepted(alone, alone.value * 1.01, torch.float32)[2]


def test_errors_pass_through_kinks_scales_and_maxima():
    assert float(follow(Relu(), [single(-1.0, error=0.5)]).error.max()) == 0
    assert float(follow(Relu(), [single(-0.25, error=0.5)]).error.max()) == pytest.approx(0.25)
    tripled = follow(Affine(scale=torch.tensor(-3.0, dtype=torch.float64)), [single(1.0, error=0.5)])
    assert float(tripled.error.max()) == pytest.approx(1.5, rel=1e-3)
    assert float(follow(Maximum(), [single(1.0, 2.0, error=0.75)]).error.max()) == 0.75


def test_what_an_execution_cannot_hold_is_unknown_and_never_a_number_elsewhere():
    huge = follow(Affine(scale=torch.tensor(1e38, dtype=torch.float64)), [single(1e3, 1.0)])
    allowed, _, fine = accepted(huge, torch.tensor([[torch.inf, 1e38]], dtype=torch.float64), torch.float32)
    assert fine
    assert allowed[0, 0] == torch.inf
    assert not accepted(single(1.0), torch.tensor([[torch.nan]], dtype=torch.float64), torch.float32)[2]
    assert not accepted(single(1.0), torch.tensor([[torch.inf]], dtype=torch.float64), torch.float32)[2]


# ---- single nodes -------------------------------------------------------------------------------------------------------

PLAIN = ("Relu HardSigmoid HardSwish Sigmoid Tanh Elu Selu Softplus Softsign Erf Exp Log Sqrt Reciprocal Abs Sign Floor Ceil Round "
         "Sin Cos Atan Sinh Cosh Softmax")
FUNCTIONS = [
    *(node(name, "x", "y") for name in PLAIN.split()), node("LeakyRelu", "x", "y", alpha=-0.2), node("Celu", "x", "y", alpha=2.0),
    node("ThresholdedRelu", "x", "y", alpha=3.0), node("PRelu", "x c", "y"), node("Clip", "x lo hi", "y"), node("Max", "x c", "y"),
    node("Min", "x c", "y"), node("Pow", "x two", "y"),
]
NUMBERS = {"c": [0.5, -0.25, 2.0], "lo": -3, "hi": 40, "two": 2}
OPERANDS = {name: np.array(value, np.float32) for name, value in NUMBERS.items()}


@pytest.mark.parametrize("one", FUNCTIONS, ids=lambda n: n.op_type)
def test_every_piece_is_visited(tmp_path, one):
    graph = read(tmp_path, [one], [1, 3], {k: v for k, v in OPERANDS.items() if k in one.input}, opset=14, check=False)
    found = graph.source.node_check
    assert (found.nodes, found.total) == (1, 1)
    assert found.visited == found.pieces >= 1


def asked(monkeypatch):
    """The labels of the nodes that were really run."""
    seen = []
    real = node_check._visit
    monkeypatch.setattr(node_check, "_visit", lambda node, types: (seen.append(node.proto.op_type), real(node, types))[1])
    return seen


def test_what_agreed_is_not_asked_again_and_whatever_differs_is(tmp_path, draw, monkeypatch):
    seen = asked(monkeypatch)

    def net(weight, alpha=0.25, shift=1.0, rows=4):
        nodes = [node("Gemm", "x w", "h"), node("LeakyRelu", "h", "r", alpha=alpha), node("Add", "r c", "y")]
        return read(tmp_path, nodes, [1, 20], {"w": weight, "c": np.full(rows, shift, np.float32)}, check=False)

    weight = draw(20, 4)
    net(weight)
    assert seen == ["Gemm", "LeakyRelu", "Add"]
    net(weight[::-1].copy())  # other values of a weight, of the same signs and size
    assert seen == ["Gemm", "LeakyRelu", "Add"]
    net(weight, alpha=0.5)
    assert seen[3:] == ["LeakyRelu"]
    net(weight, alpha=0.5, shift=-1.0)  # a small operand counts in full
    assert seen[4:] == ["Add"]
    net(np.abs(weight), alpha=0.5, shift=-1.0)  # a rule may branch on signs
    assert seen[5:] == ["Gemm"]
    net(draw(20, 5), rows=5)
    assert seen[6:] == ["Gemm", "LeakyRelu", "Add"]


def test_the_key_tells_operand_roles_formats_and_versions(tmp_path, monkeypatch):
    seen = asked(monkeypatch)
    pair = [node("Neg", "x", "z"), node("Mul", "x z", "y")]
    read(tmp_path, pair, [1, 3], check=False)
    read(tmp_path, [node("Neg", "x", "z"), node("Mul", "x x", "w"), node("Add", "w z", "y")], [1, 3], check=False)
    assert seen == ["Neg", "Mul", "Mul", "Add"]  # a square is another node
    read(tmp_path, pair, [1, 3], check=False, dtype=TensorProto.DOUBLE)
    read(tmp_path, pair, [1, 3], check=False, opset=17)
    assert seen[4:] == ["Neg", "Mul", "Neg", "Mul"]


def test_a_node_that_differs_is_asked_again_and_all_are_named(tmp_path, monkeypatch):
    from absint.model.op import OPS

    OPS.get("LeakyRelu")
    monkeypatch.setitem(OPS._entries, "LeakyRelu", lambda node: LeakyRelu(0.5))
    nodes = [node("LeakyRelu", "x", "h", alpha=0.3), node("LeakyRelu", "h", "y", alpha=0.2)]
    for _ in range(2):
        with pytest.raises(UnsupportedError, match="at 2 nodes") as caught:
            read(tmp_path, nodes, [1, 3], check=False)
        assert len(caught.value.details) == 2
        assert "node 0 'h' LeakyRelu" in caught.value.details[0]


def test_folded_nodes_need_no_comparison(tmp_path):
    nodes = [node("Add", "a a", "b"), node("Add", "x b", "y")]
    found = read(tmp_path, nodes, [1, 2], {"a": np.ones(2, np.float32)}).source.node_check
    assert (found.nodes, found.total) == (1, 1)


def test_inspect_says_what_was_visited(tmp_path, draw):
    nodes = [node("Gemm", "x w", "h"), node("HardSwish", "h", "y")]
    path = stored(tmp_path, build(nodes, [1, 3], {"w": draw(3, 4)}, opset=14))
    found = examine(path)
    document = json.loads(json.dumps(values_of(found)))["import_check"]
    assert (document["points"], document["nodes"], document["total"], document["visited"], document["pieces"]) == (34, 2, 2, 4, 4)


def test_inspect_prints_what_was_visited(tmp_path, draw, cli):
    path = stored(tmp_path, build([node("Gemm", "x w", "h"), node("Relu", "h", "y")], [1, 3], {"w": draw(3, 4)}))
    assert "on 34 points of the whole network, 2 of 2 nodes, every piece:" in cli("inspect", path).out


def test_a_loop_of_many_equal_nodes_asks_once(tmp_path, monkeypatch):
    seen = asked(monkeypatch)
    nodes = [helper.make_node("Tanh", [f"h{k}" if k else "x"], [f"h{k + 1}" if k < 29 else "y"]) for k in range(30)]
    assert read(tmp_path, nodes, [1, 3]).source.node_check.total == 30
    assert seen == ["Tanh"]
