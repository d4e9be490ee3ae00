"""Networks whose file cannot raise an alarm are refused with a code, and the file with one is refused where it is taken for a network."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from alarm_nets import F32, alarmed, alarms, graph_of, taboo, two_layers, typed
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build, node, stored, weights

from absint.errors import AbsintError, InputError, UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import alarms as alarm_files
from absint.model.frontend import load_model, normalised
from absint.model.watched import Watch


def test_a_graph_without_a_file() -> None:
    graph = graph_of(two_layers())
    bare = replace(graph, source=replace(graph.source, model=None))
    with pytest.raises(UnsupportedError, match="no single ONNX file") as caught:
        alarmed(bare, taboo({0: 0.5}))
    assert caught.value.code == "E-TABOO-ONNX"


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_values_that_are_not_float32(kind: int) -> None:
    number = helper.tensor_dtype_to_np_dtype(kind)
    model = build([node("Relu", "x", "h"), node("MatMul", "h w", "y")], ["n", 6], {"w": weights(6, 2).astype(number)}, dtype=kind)
    with pytest.raises(UnsupportedError, match="not float32") as caught:
        alarmed(model, taboo({0: 0.5}))
    assert caught.value.code == "E-TABOO-ONNX"
    assert "'h': tensor(" in caught.value.details[0]


def test_float32_values_behind_a_float64_input() -> None:
    nodes = [node("Cast", "x", "c", to=TensorProto.FLOAT), node("Relu", "c", "h"), node("MatMul", "h w", "y")]
    model = build(nodes, ["n", 6], {"w": weights(6, 2)}, dtype=TensorProto.DOUBLE)
    found = alarmed(typed(model, ["n", 2]), taboo({0: 0.5}))
    onnx.checker.check_model(onnx.load_model_from_string(found.content), full_check=True)


def test_values_inside_of_a_function() -> None:
    function = helper.make_function("mine", "Layer", ["a"], ["b"], [node("Relu", "a", "inner"), node("Relu", "inner", "b")],
                                    [helper.make_opsetid("", 13)])
    model = build([helper.make_node("Layer", ["x"], ["h"], "call", domain="mine"), node("MatMul", "h w", "y")], ["n", 6],
                  {"w": weights(6, 2)}, domains=("mine",))
    model.functions.append(function)
    with pytest.raises(UnsupportedError, match="main graph") as caught:
        alarmed(model, taboo({0: 0.5}, "call/inner"))
    assert caught.value.code == "E-TABOO-ONNX"
    assert alarms(alarmed(model, taboo({0: 0.5})), [[1, 0, 0, 0, 0, 0]]) == [True]      # what the call gives out


def test_entries_of_a_larger_network() -> None:
    with pytest.raises(InputError, match="does not have the watched neurons") as caught:
        alarmed(two_layers(), taboo({0: 0.5, 6: 0.5}))
    assert (caught.value.code, caught.value.details) == ("E-TABOO-MODEL", ("'h' has 6 entries, none of number 6",))


def test_several_instances_in_an_order_of_its_own() -> None:
    """(n, 2, 3) -> (2, n, 3): such a tensor, flattened behind its first axis, would mix instances."""
    graph = graph_of(two_layers())
    model = build([node("Reshape", "x two", "r"), node("Transpose", "r", "t", perm=[1, 0, 2]), node("Relu", "t", "h"),
                   node("Transpose", "h", "u", perm=[1, 0, 2]), node("Reshape", "u six", "v"), node("MatMul", "v w", "y")], ["n", 6],
                  {"two": np.array([-1, 2, 3]), "six": np.array([-1, 6]), "w": weights(6, 2)})
    source = replace(graph.source, model=model.SerializeToString())
    with pytest.raises((UnsupportedError, InputError)) as caught:
        alarmed(replace(graph, source=source), taboo({1: 0.5}))
    assert caught.value.code in ("E-TABOO-ONNX", "E-TABOO-MODEL")


def test_weights_in_another_file_and_a_compressed_one(tmp_path: Path) -> None:
    model, limits, row = two_layers(), taboo({0: 0.5}), [[1, 0, 0, 0, 0, 0]]
    onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    outside = alarmed(load_model(tmp_path / "net.onnx", fold=False), limits)
    (tmp_path / "net.bin").unlink()
    assert alarms(outside, row) == [True]
    packed = stored(tmp_path, gzip.compress(two_layers().SerializeToString()), "net.onnx.gz")
    assert alarms(alarmed(load_model(packed, fold=False), limits), row) == [True]


def test_old_exporters_zero_for_the_batch_size() -> None:
    model = two_layers()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    assert alarms(alarmed(model, taboo({0: 0.5})), np.eye(6, dtype=F32)[:2]) == [True, False]


def test_normalisation_is_not_in_the_file() -> None:
    graph = graph_of(two_layers())
    before = normalised(graph, 0.5, 0.25)
    assert not any("normalised" in note for note in alarmed(graph, taboo({0: 0.5})).notes)
    found = alarmed(before, taboo({0: 0.5}))
    assert any("normalised already" in note for note in found.notes)
    assert '"input": "normalised"' in onnx.load_model_from_string(found.content).metadata_props[0].value
    assert alarms(found, [[0.4, 0, 0, 0, 0, 0], [0.6, 0, 0, 0, 0, 0]]) == [False, True]


def test_the_file_is_no_network_of_one_output() -> None:
    with pytest.raises(InputError, match="name the network that it was made of") as caught:
        OnnxFrontEnd().read("detector.onnx", content=alarmed(two_layers(), taboo({0: 0.5})).content)
    assert caught.value.code == "E-MODEL-OUTPUTS"
    other = two_layers()
    other.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", 6]))
    with pytest.raises(InputError, match="choose one: --output NAME"):
        OnnxFrontEnd().read("net.onnx", content=other.SerializeToString())


def test_a_watched_value_may_be_the_output() -> None:
    model = build([node("Mul", "x s", "z"), node("Relu", "z", "y")], ["n", 2], {"s": np.ones(2, dtype=F32)})
    assert alarms(alarmed(model, taboo({1: 0.5}, "y")), [[1, 0], [0, 1]]) == [False, True]


# ---- what is written is compared with what it was made of ------------------------------------------------------------------


def refusal(name: str, flawed: object, batch: int | str, owner: object = alarm_files._Writer) -> AbsintError:
    """What an export raises that does not do what it should."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, flawed)
        with pytest.raises(AbsintError) as caught:
            alarmed(two_layers(batch), taboo({0: 5.0}))
    return caught.value


@pytest.mark.parametrize(("batch", "code"), [("n", "E-TABOO-ONNX"), (1, "E-CONTRADICTION")])
def test_the_export_compares_the_values_it_reads(batch: int | str, code: str) -> None:
    original = alarm_files.selection

    def shifted(proto: onnx.ModelProto, watch: Watch, *given: object, **more: object) -> None:
        original(proto, replace(watch, entries=tuple(entry + 1 for entry in watch.entries)), *given, **more)      # type: ignore[arg-type]

    assert refusal("selection", shifted, batch, alarm_files).code == code


def test_the_export_compares_the_first_output() -> None:
    original = alarm_files._Writer.write

    def write(self: alarm_files._Writer) -> object:
        self.proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights(6, 2), "w"))
        return original(self)

    assert "does not answer as the network does" in refusal("write", write, "n").what


def test_the_export_compares_the_alarms() -> None:
    original = alarm_files._Writer._rows
    error = refusal("_rows", lambda self, places: (original(self, places)[0], original(self, places)[1] * 0), "n")
    assert (error.code, "raises other alarms" in error.what) == ("E-CONTRADICTION", True)
