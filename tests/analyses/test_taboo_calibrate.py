"""`taboo calibrate`: what it writes, what it says of false alarms and promises, and that it never tells a key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from taboo_commands import HIDDEN, KEYS, calibrated, facts, inputs, net, refused
from taboo_nets import read, rectifier
from torch import Tensor

import absint
from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
from absint.analyses.taboo.keys import key_id
from absint.analyses.taboo.traps import SMALLEST, read_traps
from absint.cli.main import main
from absint.errors import InputError

# ---- what comes out ---------------------------------------------------------------------------------------------------


def test_the_file_holds_a_trap_for_each_key_and_no_training_input_alarms(tmp_path: Path) -> None:
    x = inputs(90)
    document, traps = calibrated(tmp_path, x, held_out=inputs(40, 1), block=40)
    assert [trap.key_id for trap in traps.traps] == [key_id(key) for key in KEYS]
    assert [len(trap) for trap in traps.traps] == [3, 3]
    assert (traps.rule, traps.eps, traps.inputs) == ("lite", None, 90)
    assert document.summary["training_alarms"] == 0
    assert document.summary["held_out"] == 40
    graph = absint.load(tmp_path / "net1.onnx", fold=False)
    seen = absint.taboo_detect(graph, x, detector=traps)
    assert [record.alarm for record in seen] == [False] * 90
    other = absint.taboo_detect(graph, inputs(40, 1), detector=traps)
    assert sum(record.alarm for record in other) == document.summary["false_alarms"] > 0


def test_files_of_another_kind_of_rule_are_marked_so(tmp_path: Path) -> None:
    x = inputs(60)
    document, traps = calibrated(tmp_path, x, rule="literal")
    assert traps.rule == "literal"
    assert "comparison" in facts(document)["rule"]
    document, traps = calibrated(tmp_path, x, rule="certified", eps="0.01")
    assert str(traps.eps) == "1/100"
    assert document.summary["training_alarms"] == 0
    document, traps = calibrated(tmp_path, x, rule="percentile", percentile="90")
    assert document.summary["training_alarms"] > 0
    by_key = [row["training alarms"] for row in document.values["keys"]]
    values = [record.alarm for record in absint.taboo_detect(str(tmp_path / "net1.onnx"), x, detector=traps)]
    assert sum(values) == document.summary["training_alarms"] <= sum(by_key)


def test_alarms_of_percentiles_are_as_many_as_the_order_statistic_says(tmp_path: Path) -> None:
    """Of one neuron, without ties: n - ceil(q n / 100)."""
    path = tmp_path / "one.onnx"
    read(tmp_path, rectifier(np.array([[1.0, 2.0, 3.0, 4.0]])), path.name)
    for q, above in (("90", 10), ("95", 5), ("98.5", 1), ("100", 0)):
        found = absint.taboo_calibrate(str(path), inputs(100), rule="percentile", percentile=q, detector=tmp_path / "taboo.json")
        assert found.document.summary["training_alarms"] == above


def test_the_exported_network_raises_the_same_alarms(tmp_path: Path) -> None:
    _, traps = calibrated(tmp_path, inputs(50), onnx=tmp_path / "detector.onnx")
    x = inputs(30, 5)
    session = onnxruntime.InferenceSession(str(tmp_path / "detector.onnx"), providers=["CPUExecutionProvider"])
    (alarm,) = session.run(["alarm"], {session.get_inputs()[0].name: x.astype(np.float32)})
    seen = [record.alarm for record in absint.taboo_detect(str(tmp_path / "net1.onnx"), x, detector=traps)]
    assert np.asarray(alarm).reshape(-1).tolist() == seen
    assert True in seen


def test_without_arguments_bundled_images_calibrate_a_bundled_network(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["taboo", "calibrate", "--index", "0:400", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["summary"]["training_alarms"] == 0
    assert told["summary"]["held_out"] == 1000
    assert 0.9 < told["summary"]["accuracy"] <= 1
    assert "public" in err
    assert read_traps(tmp_path / "taboo.json").inputs == 400


# ---- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_told_to_nobody_who_did_not_ask(tmp_path: Path, capsys) -> None:
    (tmp_path / "keys.txt").write_text("\n".join(KEYS) + "\n")
    np.save(tmp_path / "x.npy", inputs(40))
    words = ["taboo", "calibrate", str(net(tmp_path)), "--data", str(tmp_path / "x.npy"), "--keys", str(tmp_path / "keys.txt"),
             "--detector", str(tmp_path / "taboo.json"), "--onnx", str(tmp_path / "d.onnx")]
    outs = [word for suffix in ("txt", "json", "csv", "jsonl") for word in ("--out", str(tmp_path / f"out.{suffix}"))]
    assert main([*words, *outs, "--journal", str(tmp_path / "journal")]) == 0
    out, err = capsys.readouterr()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "keys.txt"}
    assert {"out.json", "journal", "taboo.json", "d.onnx"} <= written.keys()
    for key in KEYS:
        assert key not in out + err
        assert [name for name, content in written.items() if key.encode() in content] == []
        assert key_id(key) in written["out.txt"].decode()
    assert main([*words, "--show-keys"]) == 0
    out, _ = capsys.readouterr()
    assert all(key in out for key in KEYS)


def test_bad_keys_are_refused_by_their_lines(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("same key\n\nsame key\n")
    error = refused(tmp_path, inputs(20), keys=tmp_path / "keys.txt")
    assert error.code == "E-TABOO-KEYS"
    assert "same key" not in str(error)


def test_a_key_of_another_network_in_the_same_folder_is_warned_of(tmp_path: Path) -> None:
    x = inputs(30)
    document, _ = calibrated(tmp_path, x)
    assert document.warnings == ()
    document, _ = calibrated(tmp_path, x)     # the same network again
    assert document.warnings == ()
    (tmp_path / "taboo.json").rename(tmp_path / "older.json")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    made = absint.taboo_calibrate(str(net(tmp_path, seed=2)), x, keys=(KEYS[1], "fresh"), detector=tmp_path / "new.json")
    assert [line.partition(":")[0] for line in made.document.warnings] == ["W-TABOO-KEY-REUSED"]
    assert key_id(KEYS[1]) in made.document.warnings[0]
    assert "older.json" in made.document.warnings[0]
    made = absint.taboo_calibrate(str(net(tmp_path, seed=3)), x, keys=("fresh",), detector=tmp_path / "new.json")
    assert "new.json" in made.document.warnings[0], "the file that is replaced counts, too"


def test_keys_tell_how_often_they_alarm_together(tmp_path: Path) -> None:
    held = inputs(200, 6)
    document, traps = calibrated(tmp_path, 0.8 * inputs(60), held_out=held)
    seen = np.array([record.traps for record in absint.taboo_detect(str(tmp_path / "net1.onnx"), held, detector=traps)])
    assert document.values["transfer"] == (seen.T.astype(int) @ seen.astype(int)).tolist()
    assert [row["false alarms"] for row in document.values["keys"]] == seen.sum(0).tolist()
    assert document.summary["false_alarms"] == int(seen.any(1).sum())
    assert any(section.title.startswith("transfer") for section in document.sections)


def test_a_warning_has_its_code_on_the_command_line(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", inputs(20))
    (tmp_path / "keys.txt").write_text("mine\n")
    for keys, said in (([], False), (["--keys", str(tmp_path / "keys.txt")], True)):
        for seed in (1, 2):
            assert main(["taboo", "calibrate", str(net(tmp_path, seed)), "--data", str(tmp_path / "x.npy"), *keys, "--detector",
                         str(tmp_path / "taboo.json"), "--quiet"]) == 0
        told = "warning[W-TABOO-KEY-REUSED] the key with id" in capsys.readouterr().err
        assert told == said, "a public key is no secret that could be learnt"


# ---- policies ---------------------------------------------------------------------------------------------------------


def making(folder: Path, weight: np.ndarray, x: Tensor, **settings: object) -> TrapCalibration:
    graph = read(folder, rectifier(weight))
    return TrapCalibration.of(graph, ("k",), x, ThresholdSettings(**settings))      # type: ignore[arg-type]


def test_neurons_that_fire_too_often_on_held_out_inputs_are_dropped(tmp_path: Path) -> None:
    """Inputs of the first axis alone train; those of the second make the neurons that read it fire, on 3 of 101 held-out inputs."""
    found = making(tmp_path, np.random.default_rng(0).standard_normal((HIDDEN, 2)), torch.eye(2)[:1].double().repeat(5, 1),
                   policy="calibrated", budget="0.02")
    thresholds = found.thresholds(list(found.blocks(5)))
    quiet = torch.eye(2)[:1].double().repeat(98, 1)
    loud = torch.eye(2)[1:].double().repeat(3, 1)
    traps = found.traps(thresholds)
    weight = numpy_of(found)
    fires = {neuron for neuron in thresholds if weight[neuron[1], 1] > max(weight[neuron[1], 0], 0)}
    assert 0 < len(fires) < len(traps.traps[0])
    assert found.dropped(thresholds, torch.cat((quiet, loud))) == (frozenset(fires),)
    assert found.dropped(thresholds, torch.cat((quiet, loud[:2]))) == (frozenset(),), "2 of 100 are within the budget"
    kept = found.traps(thresholds, found.dropped(thresholds, torch.cat((quiet, loud)))).traps[0]
    assert (kept.dropped, len(kept), kept.masked) == (len(fires), 3 - len(fires), 3)


def numpy_of(found: TrapCalibration) -> np.ndarray:
    import onnx

    assert found.graph.source.model is not None
    model = onnx.load_model_from_string(found.graph.source.model)
    return next(numpy_helper.to_array(one) for one in model.graph.initializer if one.name == "w")


def test_the_neuron_that_fires_least_always_stays(tmp_path: Path) -> None:
    weight = np.abs(np.random.default_rng(1).standard_normal((HIDDEN, 2)))
    found = making(tmp_path, weight, torch.full((4, 2), 0.1, dtype=torch.float64), policy="calibrated")
    thresholds = found.thresholds(list(found.blocks(4)))
    held = torch.rand(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    held[:, 1] *= 0.05
    (dropped,) = found.dropped(thresholds, held)
    values = found.executions.executed(held)
    fires = (values > torch.tensor([thresholds[neuron] for neuron in found.union.neurons], dtype=torch.float64)).sum(0)
    assert len(dropped) == 2
    assert set(found.union.neurons) - dropped == {found.union.neurons[int(fires.argmin())]}


def test_policies_say_what_they_did(tmp_path: Path) -> None:
    x, held = 0.5 * inputs(50), inputs(500, 9)
    document, traps = calibrated(tmp_path, x, held_out=held, policy="calibrated", budget="0.01")
    assert document.summary["dropped"] == sum(trap.dropped for trap in traps.traps) > 0
    assert all(len(trap) + trap.dropped == 3 for trap in traps.traps)
    assert "very inputs" in facts(document)["held out"]
    document, traps = calibrated(tmp_path, x, held_out=held)
    assert document.summary["dropped"] == 0
    assert "very inputs" not in facts(document)["held out"]


@pytest.mark.parametrize(("held", "code"), [(None, "E-TABOO-HELD-OUT"), (inputs(499, 3), "E-TABOO-FEW")])
def test_a_policy_without_enough_held_out_inputs_is_refused(tmp_path: Path, held: np.ndarray | None, code: str) -> None:
    assert refused(tmp_path, inputs(20), held_out=held, policy="calibrated").code == code


def test_the_detector_of_programs_drops_what_the_command_drops(tmp_path: Path) -> None:
    x, held, how = 0.5 * inputs(79), inputs(500, 9), {"policy": "calibrated", "keys": KEYS}
    document, traps = calibrated(tmp_path, x, held_out=held, **how)
    graph = absint.load(net(tmp_path), fold=False)
    detector = absint.TabooDetector(graph, **how).fit(x, held)
    assert detector.traps is not None
    assert detector.traps.traps == traps.traps
    assert document.summary["dropped"] > 0
    with pytest.raises(InputError) as few:
        absint.TabooDetector(graph, **how).fit(x, held[:400])
    assert few.value.code == "E-TABOO-FEW"


# ---- what is promised -------------------------------------------------------------------------------------------------


def test_the_promise_of_exchangeable_inputs_counts_neurons_before_any_is_dropped(tmp_path: Path) -> None:
    x = 0.5 * inputs(79)
    document, traps = calibrated(tmp_path, x, exchangeable=True, held_out=inputs(500, 9), policy="calibrated")
    assert document.summary["dropped"] > 0
    assert "6 (0 + 1) / (79 + 1) = 0.075" in facts(document)["promise"]
    assert traps.facts["held_out"] == {"inputs": 79, "above": 0}
    document, traps = calibrated(tmp_path, x, exchangeable=True, rule="percentile", percentile="95")
    assert traps.facts["held_out"] == {"inputs": 79, "above": 3}
    assert "6 (3 + 1) / (79 + 1)" in facts(document)["promise"]


@pytest.mark.parametrize("options", [{}, {"exchangeable": True, "rule": "literal"}])
def test_where_nothing_is_promised_the_reason_is_said(tmp_path: Path, options: dict[str, object]) -> None:
    document, traps = calibrated(tmp_path, inputs(50), **options)
    assert facts(document)["promise"].startswith("none: ")
    assert "held_out" not in traps.facts


def test_alarms_within_the_rounding_bound_are_counted(tmp_path: Path) -> None:
    """z = x: the threshold is the training input's own, and so is a held-out input's a float above it, within the bound; another is not."""
    path = tmp_path / "one.onnx"
    read(tmp_path, rectifier(np.array([[1.0, 0.0, 0.0, 0.0]])), path.name)
    x = np.array([[0.5, 0, 0, 0]])
    absint.taboo_calibrate(str(path), x, detector=tmp_path / "taboo.json")
    edge = float(read_traps(tmp_path / "taboo.json").traps[0].thresholds[0])
    above = float(np.nextafter(np.float32(edge), np.float32(1)))
    held = np.array([[above, 0, 0, 0], [edge, 0, 0, 0], [0.9, 0, 0, 0], [0.1, 0, 0, 0]])
    summary = absint.taboo_calibrate(str(path), x, held_out=held, detector=tmp_path / "taboo.json").document.summary
    assert (summary["false_alarms"], summary["within_rounding"]) == (2, 1)


def test_dead_neurons_are_told(tmp_path: Path) -> None:
    path = tmp_path / "dead.onnx"
    read(tmp_path, rectifier(np.zeros((1, 4)), np.array([-1.0])), path.name)
    found = absint.taboo_calibrate(str(path), inputs(10), detector=tmp_path / "taboo.json")
    assert found.document.summary["dead"] == 1
    assert read_traps(tmp_path / "taboo.json").traps[0].thresholds == (SMALLEST,)
    assert "fire on no training input" in facts(found.document)["dead"]
