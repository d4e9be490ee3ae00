"""Alarms of one forward pass: strict, of any trap, also for NaN; and whether another order of summation could answer differently."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.analyses.taboo.observing import Observer
from absint.analyses.taboo.traps import SMALLEST, Trap, Traps, write_traps
from absint.cli.main import main
from absint.errors import InputError, UnsupportedError
from absint.model.content_digest import model_digest
from absint.model.graph import Graph
from absint.model.watched import Watch

F32 = np.float32


def net(folder: Path, weights: list[list[float]] | None = None, kind: str = "Relu") -> Graph:
    """x (n, 2) -> hidden relu (x0, x1, x0 + x1, -x0) -> logits (h0, h1)."""
    first = np.array(weights or [[1, 0], [0, 1], [1, 1], [-1, 0]], dtype=F32)
    second = np.zeros((2, len(first)), dtype=F32)
    second[0, 0] = second[1, 1] = 1
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1), helper.make_node(kind, ["z"], ["h"]),
             helper.make_node("Gemm", ["h", "v"], ["y"], transB=1)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
                              [numpy_helper.from_array(first, "w"), numpy_helper.from_array(second, "v")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return absint.load(folder / "net.onnx", fold=False)


def graph_of_onnx(model: onnx.ModelProto, folder: Path) -> Graph:
    onnx.save(model, folder / "net.onnx")
    return absint.load(folder / "net.onnx", fold=False)


def traps(graph: Graph, *given: tuple[tuple[int, ...], tuple[float, ...]], rule: str = "lite") -> Traps:
    made = tuple(Trap((Watch("h", entries),), tuple(float(F32(one)) for one in thresholds)) for entries, thresholds in given)
    return Traps(made, model_digest(graph), rule, None, 3)


def test_an_alarm_is_a_watched_value_above_its_threshold_and_nothing_else(tmp_path: Path) -> None:
    graph = net(tmp_path)
    found = traps(graph, ((0,), (0.5,)))
    half = F32(0.5)
    x = np.array([[half, 9], [np.nextafter(half, F32(1)), 0], [np.nextafter(half, F32(0)), 0], [0.25, 100], [-3, 0]], dtype=F32)
    records = absint.taboo_detect(graph, x, detector=found, clip=None)
    assert [record.alarm for record in records] == [False, True, False, False, False]
    assert [record.neuron for record in records] == [None, "h[0]", None, None, None]
    assert records[1].over == float(np.nextafter(half, F32(1)) - half)
    assert [record.predicted for record in records] == [1, 0, 0, 1, 0]


def test_several_traps_alarm_each_for_itself(tmp_path: Path) -> None:
    graph = net(tmp_path)
    found = traps(graph, ((0,), (0.5,)), ((0, 2), (0.25, 1.0)))
    records = absint.taboo_detect(graph, np.array([[0.3, 0], [0.75, 0], [0.1, 0.95], [0, 0]], dtype=F32), detector=found)
    assert [record.traps for record in records] == [(False, True), (True, True), (False, True), (False, False)]
    assert [record.alarm for record in records] == [True, True, True, False]
    assert records.document.summary["alarms"] == 3


def test_what_rounding_could_change_is_not_sure(tmp_path: Path) -> None:
    """The value is on the threshold in the reals; executions may round its two products to either side."""
    graph = net(tmp_path, [[1, 0], [1e4, -1e4]])
    x = np.array([[0.5, 0.5 - 2.0**-12], [1.0, 0.0], [0.0, 0.5]], dtype=F32)
    value = 1e4 * 2.0**-12
    records = absint.taboo_detect(graph, x, detector=traps(graph, ((1,), (value,))))
    assert [record.sure for record in records] == [False, True, True]
    assert [record.alarm for record in records][1:] == [True, False]


def test_nan_is_an_alarm(tmp_path: Path) -> None:
    """h0 = relu(inf - inf): the two products overflow for large inputs, and their difference is none."""
    first, second = np.eye(2, dtype=F32), np.array([[1e30, -1e30], [0, 1]], dtype=F32)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"], transB=1), helper.make_node("Relu", ["z"], ["g"]),
             helper.make_node("Gemm", ["g", "v"], ["u"], transB=1), helper.make_node("Relu", ["u"], ["h"]),
             helper.make_node("Gemm", ["h", "w"], ["y"], transB=1)]
    proto = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
                              [numpy_helper.from_array(first, "w"), numpy_helper.from_array(second, "v")])
    graph = graph_of_onnx(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    x = np.array([[0, 0], [1e10, 1e10]], dtype=F32)
    found = Observer(graph, traps(graph, ((0,), (1.0,)))).seen(torch.from_numpy(x))
    assert found.values[1].isnan().all()
    assert found.alarms.any.tolist() == [False, True]
    assert found.firing() == [None, 0]
    records = absint.taboo_detect(graph, x, detector=traps(graph, ((0,), (1.0,))), clip=None)
    assert records[1].alarm
    assert records[1].broken
    assert not records[1].sure
    assert any("W-TABOO-NAN" in line for line in records.document.warnings)


def test_it_costs_one_forward_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = net(tmp_path)
    observer = Observer(graph, traps(graph, ((0, 3), (0.5, 0.5)), ((2,), (1.0,))))
    ran: list[str] = []
    for kind in {type(node.op) for node in graph.nodes[1:]}:
        right = kind.forward
        monkeypatch.setattr(kind, "forward", lambda op, *xs, right=right: ran.append(type(op).__name__) or right(op, *xs))
    observer.seen(torch.rand(40, 2, generator=torch.Generator().manual_seed(1)))
    assert ran == ["Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_no_answer_depends_on_who_else_is_asked(batch: int, tmp_path: Path) -> None:
    graph = net(tmp_path)
    found = traps(graph, ((0, 2), (0.5, 1.0)))
    x = np.random.default_rng(4).random((60, 2)).astype(F32)
    alone = [record.alarm for record in absint.taboo_detect(graph, x, detector=found, batch=1)]
    assert [record.alarm for record in absint.taboo_detect(graph, x, detector=found, batch=batch)] == alone == (
        (x[:, 0] > 0.5) | (x[:, 0] + x[:, 1] > 1)).tolist()


# ---- the command ------------------------------------------------------------------------------------------------------


def run(folder: Path, *words: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    out = folder / "out.json"
    code = main(["taboo", "detect", str(folder / "net.onnx"), "--data", str(folder / "x.npy"), "--quiet", "--out", str(out), *words])
    return code, json.loads(out.read_text()) if out.exists() and out.stat().st_size else {}


def test_the_command_reads_a_file_and_says_who_alarms(tmp_path: Path) -> None:
    graph = net(tmp_path)
    write_traps(traps(graph, ((0,), (0.5,))), tmp_path / "taboo.json")
    np.save(tmp_path / "x.npy", np.array([[0.75, 0], [0.25, 0]], dtype=F32))
    code, found = run(tmp_path, "--detector", str(tmp_path / "taboo.json"))
    assert code == 1
    assert [row["alarm"] for row in found["detections"]] == [True, False]
    np.save(tmp_path / "x.npy", np.array([[0.25, 0]], dtype=F32))
    assert run(tmp_path, "--detector", str(tmp_path / "taboo.json"))[0] == 0


def test_a_detector_of_this_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = net(tmp_path)
    write_traps(traps(graph, ((0,), (0.5,))), tmp_path / "taboo.json")
    np.save(tmp_path / "x.npy", np.array([[0.75, 0]], dtype=F32))
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path)[1]["header"]["detector"]["name"] == "taboo.json"


def test_another_networks_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = net(tmp_path / "other", [[2, 0], [0, 1]])
    graph = net(tmp_path)
    with pytest.raises(InputError) as caught:
        absint.taboo_detect(graph, np.zeros((1, 2)), detector=traps(other, ((0,), (0.5,))))
    assert caught.value.code == "E-TABOO-MODEL"


def test_a_network_without_relu_is_refused(tmp_path: Path) -> None:
    nothing = Traps((Trap((Watch("h", (0,)),), (SMALLEST,)),), "", "lite")
    with pytest.raises(UnsupportedError) as caught:
        absint.taboo_detect(net(tmp_path, kind="Tanh"), np.zeros((1, 2)), detector=nothing)
    assert caught.value.code == "E-TABOO-NO-RELU"


@pytest.mark.parametrize("words", [["--detector", "nowhere.json"], ["--detector", "net.onnx"], []])
def test_no_detector_is_one_message(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    net(tmp_path)
    np.save(tmp_path / "x.npy", np.array([[0.75, 0]], dtype=F32))
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, *words)[0] == 3
    told = capsys.readouterr().err
    assert told.count("error[E-TABOO-") == 1
    assert "Traceback" not in told


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    graph = net(tmp_path)
    write_traps(traps(graph, ((0,), (0.5,))), tmp_path / "taboo.json")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((9, 2)).astype(F32))
    words = ["--detector", str(tmp_path / "taboo.json"), "--journal", str(tmp_path / "j")]
    whole = run(tmp_path, *words)[1]["detections"]
    lines = (tmp_path / "j").read_text().splitlines()
    (tmp_path / "j").write_text("\n".join(lines[:4]) + "\n")
    again = run(tmp_path, *words, "--resume")[1]["detections"]
    assert [{**row, "time_s": 0} for row in again] == [{**row, "time_s": 0} for row in whole]


def test_a_journal_of_other_thresholds_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = net(tmp_path)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).random((3, 2)).astype(F32))
    for threshold in (0.5, 0.75):
        write_traps(traps(graph, ((0,), (threshold,))), tmp_path / "taboo.json")
        code, _ = run(tmp_path, "--detector", str(tmp_path / "taboo.json"), "--journal", str(tmp_path / "j"), "--resume")
    assert code == 3
    assert "E-JOURNAL" in capsys.readouterr().err
