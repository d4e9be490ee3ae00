"""Small models, data and plug-ins to run the command line on."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from absint import samples

CONV = str(samples.network_path("mnist_conv_small"))
RELU = str(samples.network_path("mnist_relu_3x50"))


@pytest.fixture
def verify(cli):
    """`absint verify` on the robust sample, quietly."""

    def run(*arguments, net=CONV):
        return cli("verify", net, "--quiet", *arguments)

    return run


@pytest.fixture
def plugin(tmp_path):
    """Write a plug-in file; the name of the file makes its module unique."""

    def write(name, text):
        file = tmp_path / f"{name}.py"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write


@pytest.fixture
def data_file(tmp_path):
    def write(name="data.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return path

    return write


@pytest.fixture(scope="session")
def small_net(tmp_path_factory):
    """3 inputs, 2 outputs: y = (x0, x1)."""
    weight = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    return gemm(tmp_path_factory.mktemp("nets") / "small.onnx", weight)


@pytest.fixture(scope="session")
def unsupported_net(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "strange.onnx"
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["s"]), helper.make_node("Det", ["s"], ["y"])]
    axis = numpy_helper.from_array(np.array(1, dtype=np.int64), "axis")
    return save(path, nodes, [axis], ["n", 2, 2], ["n"])


def gemm(path: Path, weight) -> Path:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    return save(path, nodes, [numpy_helper.from_array(weight, "w")], ["n", weight.shape[1]], ["n", weight.shape[0]])


def save(path: Path, nodes, constants, inputs, outputs) -> Path:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)], constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
