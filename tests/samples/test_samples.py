"""The bundled samples are what provenance.json says, and are read like any user's files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from absint import samples
from absint.errors import UsageError

FOLDER = Path(samples.__file__).parent
PROVENANCE = json.loads((FOLDER / "provenance.json").read_text(encoding="utf-8"))


def logits(name, inputs):
    session = onnxruntime.InferenceSession(str(samples.network_path(name)), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": inputs.astype(np.float32)})[0]


def test_names_and_paths():
    assert samples.names() == ["digits_classifier", "mnist_conv_small", "mnist_relu_3x50"]
    assert samples.data_names() == ["fashion_mnist", "mnist"]
    assert samples.default_network() == samples.network_path("mnist_relu_3x50.onnx")


@pytest.mark.parametrize("call", [samples.network_path, samples.data])
def test_unknown_names_advise(call):
    with pytest.raises(UsageError) as caught:
        call("mnist_relu" if call is samples.network_path else "mnits")
    assert caught.value.code == "E-SAMPLE-UNKNOWN"
    assert "mnist" in caught.value.hint


def test_files_are_those_of_the_provenance_and_small():
    stated = {name: entry["sha256"] for kind in ("networks", "data") for name, entry in PROVENANCE[kind].items()}
    files = sorted(path for path in FOLDER.iterdir() if path.suffix in {".onnx", ".npz"})
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == stated
    assert sum(path.stat().st_size for path in files) < 2_600_000


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_data_is_the_first_hundred_images(name):
    data = samples.data(name)
    assert data.inputs.shape == (100, 28, 28)
    assert data.name == name
    assert data.sha256 == PROVENANCE["data"][f"{name}.npz"]["sha256"]
    assert "uint8 values divided by 255" in data.notes
    data.check_range(0.0, 1.0)
    data.check_labels(10)
    first = {"mnist": [7, 2, 1, 0, 4, 1, 4, 9], "fashion_mnist": [9, 2, 1, 1, 6, 1, 4, 6]}
    assert data.labels[:8].tolist() == first[name]


def test_the_front_end_reads_the_bundled_file_alike():
    from absint.frontends.data import DataFrontEnd

    read, bundled = DataFrontEnd().read(FOLDER / "mnist.npz"), samples.data("mnist")
    assert np.array_equal(read.inputs, bundled.inputs)
    assert np.array_equal(read.labels, bundled.labels)
    assert read.sha256 == bundled.sha256


@pytest.mark.parametrize("shape", [(1, 28, 28), (784,), (28, 28)])
def test_for_shape(shape):
    assert samples.for_shape(shape).inputs.shape == (100, *shape)


@pytest.mark.parametrize("shape", [(3, 32, 32), (5,), (), (783,)])
def test_for_shape_has_nothing_else(shape):
    assert samples.for_shape(shape) is None


@pytest.mark.parametrize("name", ["mnist_relu_3x50", "mnist_conv_small"])
def test_networks_are_plain_onnx_and_classify(name):
    model = onnx.load(samples.network_path(name))
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[:2] == ["Sub", "Div"]
    assert set(kinds) <= {"Sub", "Div", "Flatten", "Gemm", "Conv", "Relu"}
    assert model.opset_import[0].version == 17
    batch, *rest = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    assert [axis.dim_value for axis in rest] == [1, 28, 28]
    assert f"seed {PROVENANCE['networks'][f'{name}.onnx']['seed']}" in model.doc_string
    data = samples.for_shape((1, 28, 28))
    results = logits(name, data.inputs)
    assert (results.argmax(axis=1) == data.labels).mean() >= 0.96
    assert np.allclose(logits(name, data.inputs[:1]), results[:1], atol=1e-4)


def test_stated_figures_meet_their_purpose():
    relu, conv = (PROVENANCE["networks"][f"{name}.onnx"] for name in ("mnist_relu_3x50", "mnist_conv_small"))
    assert relu["clean_test_accuracy"] >= 0.96
    assert conv["interval_verified_accuracy"]["0.05"] >= 0.9
