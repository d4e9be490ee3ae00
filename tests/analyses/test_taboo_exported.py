"""The exported detector: written whole or not at all, without keys, and held against proofs wherever it is run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from alarm_nets import F32, two_layers
from bundled import digits
from onnx import helper, numpy_helper
from onnx_models import batch_norm, build, node, weights

import absint
from absint import samples
from absint.analyses.taboo import deployed
from absint.analyses.taboo.deployed import PLAIN, WAYS, Equality
from absint.analyses.taboo.exported import alarm_file, export_detector
from absint.analyses.taboo.keys import key_id
from absint.analyses.taboo.traps import Trap, Traps
from absint.errors import InputError, InternalError, ResourceError, UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.alarms import METADATA, with_alarm
from absint.model.content_digest import model_digest
from absint.model.frontend import normalised
from absint.model.graph import Graph
from absint.model.watched import rectified

KEY = "nobody guesses this one"


def read(model: onnx.ModelProto) -> Graph:
    return OnnxFrontEnd().read("net.onnx", fold=False, content=model.SerializeToString())


def traps_of(graph: Graph, *limits: dict[int, float], layer: int = 0) -> Traps:
    """A trap for each mapping of entries of a post-ReLU tensor to thresholds."""
    tensor = rectified(graph)[layer].tensor
    made = tuple(Trap.of({(tensor, entry): float(F32(value)) for entry, value in one.items()}, key_id=key_id(KEY)) for one in limits)
    return Traps(made, model_digest(graph), "lite", inputs=10)


def samples_in(graph: Graph, count: int = 40) -> torch.Tensor:
    return digits(count)[0].reshape(-1, *graph.input.shape)


def on_values(graph: Graph, x: torch.Tensor, seed: int = 0) -> Traps:
    """Two traps on all layers, whose thresholds are values that one input takes: so near that rounding decides of it."""
    rng, layers = np.random.default_rng(seed), rectified(graph)
    values = graph.evaluate(x.float(), [layer.node for layer in layers])
    made = []
    for _ in range(2):
        limits = {}
        for layer in layers:
            found = values[layer.node].flatten(1).numpy()
            top = found.max(0)
            for entry in rng.choice(np.flatnonzero((top > 0) & ((found == top).sum(0) == 1)), 3, replace=False):
                limits[layer.tensor, int(entry)] = float(top[entry])
        made.append(Trap.of(limits))
    return Traps(tuple(made), model_digest(graph), "lite", inputs=len(x))


# ---- the file ------------------------------------------------------------------------------------------------------------


def test_the_file_holds_no_key(tmp_path: Path) -> None:
    graph = read(two_layers())
    path = tmp_path / "detector.onnx"
    export_detector(graph, traps_of(graph, {0: 0.5}), path)
    content = path.read_bytes()
    assert KEY.encode() not in content
    assert key_id(KEY).encode() not in content
    said = {entry.key: json.loads(entry.value) for entry in onnx.load_model_from_string(content).metadata_props}[METADATA]
    assert (said["rule"], said["training_inputs"], said["neurons"], said["model_sha256"]) == ("lite", 10, [1], graph.source.sha256)


def test_an_old_file_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    graph = read(two_layers())
    traps = traps_of(graph, {0: 0.5})
    path = tmp_path / "detector.onnx"
    path.write_bytes(b"old")
    with pytest.raises(InputError) as caught:
        export_detector(graph, replace(traps, model_sha256="0" * 64), path)
    assert (caught.value.code, path.read_bytes()) == ("E-TABOO-MODEL", b"old")
    with pytest.raises(ResourceError) as unwritten:
        export_detector(graph, traps, tmp_path / "nowhere" / "detector.onnx")
    assert unwritten.value.code == "E-OUT-WRITE"
    export_detector(graph, traps, path)
    assert [one.name for one in tmp_path.iterdir()] == ["detector.onnx"]
    assert onnx.load(path).graph.output[1].name == "alarm"


def test_a_part_of_a_network_has_no_file() -> None:
    graph = read(two_layers()).upto("h")
    with pytest.raises(UnsupportedError) as caught:
        alarm_file(graph, traps_of(graph, {0: 0.5}))
    assert caught.value.code == "E-TABOO-ONNX"


def test_an_export_that_would_be_refused_is_refused_first(tmp_path: Path) -> None:
    model = build([node("Relu", "x", "h"), node("MatMul", "h w", "y")], ["n", 6], {"w": weights(6, 2, dtype=np.float64)},
                  dtype=onnx.TensorProto.DOUBLE)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match="not float32") as caught:
        absint.taboo_calibrate(tmp_path / "net.onnx", np.full((3, 6), 0.5), detector=tmp_path / "taboo.json", onnx=tmp_path / "d.onnx")
    assert caught.value.code == "E-TABOO-ONNX"
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


# ---- equality ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.names())
def test_every_execution_alarms_as_is_proved(name: str) -> None:
    graph = absint.load(samples.network_path(name), fold=False)
    x = samples_in(graph)
    found = deployed.equality(graph, on_values(graph, x), x)
    assert found.inputs == len(x)
    assert 0 < found.undecided < len(x)         # those whose values the thresholds are
    assert [one.name for one in found.executions] == [*(way.name for way in WAYS), "torch, float32"]
    assert found.executions[0].name == PLAIN.name
    assert all(one.outside == one.classes == 0 for one in found.executions)
    assert all(one.differ <= found.undecided for one in found.executions)
    assert [one.outputs for one in found.executions[:2]] == [0, 0]


def small(traps: Traps | None = None) -> tuple[Graph, Traps, torch.Tensor]:
    """h0 is x0 and h1 is 2 x1: inputs on both sides of thresholds, and on one."""
    graph = read(two_layers())
    x = torch.zeros(5, 6, dtype=torch.float64)
    x[1, 0], x[2, 1], x[3, 0], x[4, 1] = 1.0, 1.0, 0.5, 0.2
    return graph, traps or traps_of(graph, {0: 0.5}, {1: 0.5}), x


def test_alarms_are_counted() -> None:
    graph, traps, x = small()
    found = deployed.equality(graph, traps, x)
    assert found == Equality(5, 1, tuple(replace(one, alarms=2, differ=0, outside=0, classes=0) for one in found.executions))
    assert found.executions[0].outputs == 0
    assert found.executions[-1].outputs is None
    assert found.differ == 0


@pytest.mark.parametrize(("place", "step", "kept"), [(3, 1e-7, True), (3, 0.1, True), (4, 0.2, False), (1, -0.7, False)])
def test_a_difference_counts_within_the_bound_and_is_a_contradiction_outside(
    place: int, step: float, kept: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch's values, moved: input 3 stands on its threshold, 4 is proved quiet and 1 alarmed."""
    graph, traps, x = small()
    original = deployed.executed

    def moved(*given: object) -> tuple[torch.Tensor, torch.Tensor]:
        scores, values = original(*given)       # type: ignore[arg-type]
        values[place] += step
        return scores, values

    monkeypatch.setattr(deployed, "executed", moved)
    if kept:
        found = deployed.equality(graph, traps, x)
        assert (found.differ, found.executions[-1].alarms, found.executions[-1].outside) == (1, 3, 0)
        return
    with pytest.raises(InternalError, match="torch, float32") as caught:
        deployed.equality(graph, traps, x)
    assert (caught.value.code, caught.value.details) == ("E-CONTRADICTION", (f"input {place}",))


def test_a_file_with_other_thresholds_is_a_contradiction() -> None:
    graph, traps, x = small()
    for limits in (({0: 0.25}, {1: 0.1}), ({0: 3.0}, {1: 3.0}), ({1: 0.5}, {0: 0.5})):
        other = with_alarm(graph.source, traps_of(graph, *limits).traps, {})
        with pytest.raises(InternalError, match="not those of every float32 execution") as caught:
            deployed.equality(graph, traps, x, other)
        assert caught.value.code == "E-CONTRADICTION"


def test_a_file_of_another_network_is_a_contradiction() -> None:
    graph, traps, x = small()
    model = two_layers()
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights(6, 2), "w"))
    other = with_alarm(read(model).source, traps.traps, {})
    with pytest.raises(InternalError, match="first output is not the network's") as caught:
        deployed.equality(graph, traps, x, other)
    assert caught.value.code == "E-CONTRADICTION"


def test_what_the_optimiser_changes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may compute something else than the network of the file: no contradiction of absint's."""
    graph, traps, x = small()
    original = deployed._of_file

    def changed(source: object, found: object, inputs: object, way: deployed.Way) -> object:
        answers = original(source, found, inputs, way)      # type: ignore[arg-type]
        return replace(answers, alarms=~answers.alarms) if way.optimised else answers

    monkeypatch.setattr(deployed, "_of_file", changed)
    found = deployed.equality(graph, traps, x)
    assert [one.outside for one in found.executions] == [5 if way.optimised else 0 for way in WAYS] + [0]
    assert found.differ == 5


def test_files_of_every_form() -> None:
    """One instance, no batch axis, an ArgMax at the end, a normalisation before it, batch normalisation inside."""
    nodes = [node("Conv", "x k", "c"), node("BatchNormalization", "c s b m v", "d"), node("Relu", "d", "h"), node("Flatten", "h", "f"),
             node("MatMul", "f w", "y")]
    turned = build(nodes, ["n", 1, 4, 4], {"k": weights(4, 1, 2, 2), "w": weights(36, 3), **batch_norm()})
    ending = two_layers()
    ending.graph.node.append(node("ArgMax", "y", "label", axis=1, keepdims=0))
    del ending.graph.output[:]
    ending.graph.output.append(helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["n"]))
    whole = build([node("Relu", "x", "h"), node("MatMul", "h w", "y")], [2, 3], {"w": weights(3, 2)})
    graphs = [read(model) for model in (turned, ending, whole, two_layers(batch=1))]
    graphs.append(normalised(read(two_layers()), 0.5, 0.25))
    for graph in graphs:
        x = torch.from_numpy(np.random.default_rng(7).uniform(0, 1, (20, *graph.input.shape)))
        node_name = rectified(graph)[0].node
        middle = graph.evaluate(x, [node_name])[node_name].flatten(1).median(0).values
        found = deployed.equality(graph, traps_of(graph, {int(middle.argmax()): float(middle.max())}, {1: 0.3, 5: 0.9}), x)
        assert all(one.classes == one.outside == 0 for one in found.executions)
        assert found.executions[0].alarms > 0
