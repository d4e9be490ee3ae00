"""A network that ends in a softmax: it is seen, its scores have a name, and the network that ends with them has a reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import build, imported, node, stored, weights

import absint
from absint.attacks import prove_witness
from absint.errors import UnsupportedError, UsageError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import scores as scores_module
from absint.model.graph import Graph
from absint.model.import_check import check_import
from absint.model.reference import runtime
from absint.model.scores import before_softmax, ending_with
from absint.problem.spec import Spec
from absint.region import LinfBall, parse_eps

DENSE = [node("Gemm", "x w b", "h", transB=1), node("Relu", "h", "r"), node("MatMul", "r v", "m"), node("Add", "m c", "logits")]
CONSTANTS = {"w": weights(6, 3), "b": weights(6), "v": weights(6, 4), "c": weights(4)}


def net(folder: Path, *ending: onnx.NodeProto, output: str = "y", fold: bool = True, **more: np.ndarray) -> Graph:
    return imported(folder, [*DENSE, *ending], [1, 3], {**CONSTANTS, **more}, outputs=(output,), fold=fold)


SHARES = node("Softmax", "logits", "p", axis=1)
ENDINGS = {
    "softmax": [node("Softmax", "logits", "y", axis=1)],
    "identity behind it": [node("Softmax", "logits", "p", axis=-1), node("Identity", "p", "y")],
    "reshape behind it": [SHARES, node("Reshape", "p two", "y")],
    "transposed behind it": [SHARES, node("Reshape", "p two", "q"), node("Transpose", "q", "y", perm=[0, 2, 1])],
    "some of it": [SHARES, node("Gather", "p some", "y", axis=1)],
    "another axis": [node("Reshape", "logits two", "scores"), node("Softmax", "scores", "y", axis=1)],
    "dropout before it": [node("Dropout", "logits", "d"), node("Softmax", "d", "y", axis=1)],
}
MORE = {"two": np.array([1, 2, 2]), "some": np.array([2, 0, 1])}


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_softmax_is_seen_and_its_scores_have_a_name(tmp_path: Path, ending: str, fold: bool) -> None:
    graph = net(tmp_path, *ENDINGS[ending], fold=fold, **MORE)
    name = before_softmax(graph)
    assert name == ("scores" if ending == "another axis" else "logits")
    cut = ending_with(graph, name)
    assert before_softmax(cut) is None
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = graph.evaluate(x, [graph.find(name).name])[graph.find(name).name]
    assert cut(x).equal(expected)
    assert np.allclose(runtime(cut.source).run(runtime(cut.source).round(x.numpy())), expected.numpy(), atol=1e-5)
    assert check_import(cut) < 1e-5
    assert any(f"'{name}'" in note for note in cut.source.notes)
    assert cut.source.sha256 == graph.source.sha256


@pytest.mark.parametrize("ending", [
    [node("Identity", "logits", "y")], [node("LogSoftmax", "logits", "y", axis=1)], [node("Sigmoid", "logits", "y")],
    [SHARES, node("MatMul", "p square", "y")], [SHARES, node("Log", "p", "y")],
    [SHARES, node("Add", "p logits", "y")], [SHARES, node("Add", "p c", "y")],
], ids=["none", "logarithms", "sigmoid", "mixed", "log", "added", "shifted"])
def test_other_ends_are_none(tmp_path: Path, ending: list[onnx.NodeProto]) -> None:
    assert before_softmax(net(tmp_path, *ending, square=weights(4, 4))) is None


def test_logarithms_of_probabilities_differ_as_the_scores_do(tmp_path: Path) -> None:
    """Why they are left alone: margins and their gradients are the same."""
    graph = net(tmp_path, node("LogSoftmax", "logits", "y", axis=1))
    x = torch.rand(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain, logs = ending_with(graph, "logits")(x), graph(x)
    assert torch.allclose(plain - plain[:, :1], logs - logs[:, :1])


def test_a_softmax_before_argmax_is_seen(tmp_path: Path) -> None:
    graph = net(tmp_path, node("Softmax", "logits", "p", axis=1), node("ArgMax", "p", "y", axis=1))
    assert before_softmax(graph) == "logits"
    assert graph.source.chooses is not None
    assert any("ARGMAX" in caveat for caveat in graph.source.caveats)
    cut = ending_with(graph, "logits")
    assert cut.source.chooses is None
    assert cut.source.caveats == ()
    assert not any("ArgMax" in note for note in cut.source.notes)
    assert check_import(cut) < 1e-5


def test_a_torch_module_that_ends_in_softmax() -> None:
    pytest.importorskip("onnxscript", reason="extra torch-export")
    first = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4)).eval()
    graph = absint.load(torch.nn.Sequential(first, torch.nn.Softmax(1)).eval(), example_input=torch.zeros(1, 3))
    name = before_softmax(graph)
    assert name is not None
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ending_with(graph, name)(x), first(x), atol=1e-6)
    assert check_import(ending_with(graph, name)) < 1e-5


# ---- another end ---------------------------------------------------------------------------------------------------------


def test_any_tensor_may_be_the_end(tmp_path: Path) -> None:
    graph = net(tmp_path, node("Softmax", "logits", "y", axis=1))
    for name in ("h", "r", "logits"):
        cut = ending_with(graph, name)
        assert cut.output.name == name
        assert check_import(cut) < 1e-5
        proto = onnx.load_model_from_string(cut.source.model or b"")
        assert [o.name for o in proto.graph.output] == [name]
        assert all(n.op_type != "Softmax" for n in proto.graph.node)
    assert ending_with(graph, "y") is graph
    assert ending_with(ending_with(graph, "logits"), "r").output.name == "r"


def test_without_a_reference_there_is_none(tmp_path: Path) -> None:
    graph = net(tmp_path, node("Softmax", "logits", "y", axis=1))
    bare = replace(graph, source=replace(graph.source, model=None))
    assert ending_with(bare, "logits").source.model is None
    assert ending_with(graph, "x").source.model is None


def test_tensors_that_are_not_there(tmp_path: Path) -> None:
    graph = net(tmp_path, node("Softmax", "logits", "y", axis=1))
    with pytest.raises(UsageError) as caught:
        ending_with(graph, "nothing")
    assert caught.value.code == "E-TENSOR"
    assert "logits" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        ending_with(graph, "m")                     # the bias behind it was folded into the product
    assert caught.value.code == "E-TENSOR"
    assert "folded" in caught.value.what
    assert ending_with(net(tmp_path, node("Softmax", "logits", "y", axis=1), fold=False), "m").output.name == "m"


def test_scores_inside_a_function_are_analysed_without_a_reference(tmp_path: Path) -> None:
    body = [node("Gemm", "x w", "inner", transB=1), node("Softmax", "inner", "y", axis=1)]
    function = helper.make_function("own", "Head", ["x", "w"], ["y"], body, [helper.make_opsetid("", 13)])
    model = build([helper.make_node("Head", ["x", "w"], ["y"], domain="own")], [1, 3], {"w": weights(4, 3)}, domains=("own",))
    model.functions.append(function)
    graph = OnnxFrontEnd().read(stored(tmp_path, model))
    name = before_softmax(graph)
    assert name is not None
    cut = ending_with(graph, name)
    assert cut.source.model is None
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(cut(x), x @ torch.from_numpy(weights(4, 3)).double().T)


def test_nodes_out_of_order_are_all_kept(tmp_path: Path) -> None:
    nodes = [DENSE[3], DENSE[2], DENSE[0], DENSE[1], node("Softmax", "logits", "y", axis=1)]
    model = build(nodes, [1, 3], CONSTANTS)
    found = scores_module._model_ending_with(model.SerializeToString(), ("none", "logits"))
    assert found is not None
    assert {n.op_type for n in onnx.load_model_from_string(found).graph.node} == {"Gemm", "Relu", "MatMul", "Add"}


def test_a_wrong_cut_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = net(tmp_path, node("Tanh", "logits", "z"), node("Softmax", "z", "y", axis=1))
    real = scores_module._model_ending_with
    monkeypatch.setattr(scores_module, "_model_ending_with", lambda model, names: real(model, ("z",)))
    with pytest.raises(UnsupportedError) as caught:
        ending_with(graph, "logits")
    assert caught.value.code == "E-IMPORT-MISMATCH"


def test_witnesses_of_the_scores_are_replayed(tmp_path: Path) -> None:
    """Proved in the graph, and seen in onnxruntime's own scores."""
    cut = ending_with(net(tmp_path, node("Softmax", "logits", "y", axis=1)), "logits")
    point = np.array([0.3, 0.6, 0.1])
    values = cut(torch.from_numpy(point)[None])[0]
    wrong = int(values.argmin())
    region = LinfBall(torch.from_numpy(point)[None], parse_eps("0.01"))
    witness = prove_witness(cut, region, Spec.robust(torch.tensor([wrong]), 4), 0, point)
    assert witness is not None
    assert np.allclose(witness.output, values.numpy(), atol=1e-5)
    assert min(witness.output) < 0 or max(witness.output) > 1       # no probabilities
