"""`absint inspect`: every node, its treatment, every problem at once; fast on large nets."""

from __future__ import annotations

import csv
import io
import json
from hashlib import sha256

import numpy as np
import onnx
import pytest
import torch
from counting import work
from onnx import TensorProto, helper, numpy_helper

from absint import samples
from absint.analyses.inspect.node_views import treatment
from absint.analyses.inspect.record import Treatment
from absint.model.families.nonlinear import Nonlinear

CONV = samples.network_path("mnist_conv_small")


def store(path, nodes, constants, inputs, outputs):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)], [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def folding_net(tmp_path):
    """A computed constant, a MatMul whose bias Add is folded into it, a Relu, an Identity."""
    nodes = [helper.make_node("Mul", ["two", "two"], ["four"], name="four"),
             helper.make_node("MatMul", ["x", "w"], ["before"], name="dense"),
             helper.make_node("Add", ["before", "four"], ["after"], name="bias"),
             helper.make_node("Relu", ["after"], ["active"], name="relu"), helper.make_node("Identity", ["active"], ["y"], name="copy")]
    constants = {"two": np.float32([2, 2, 2]), "w": np.ones((4, 3), dtype=np.float32)}
    return store(tmp_path / "folding.onnx", nodes, constants, ["n", 4], ["n", 3])


@pytest.fixture
def strange_net(tmp_path):
    """Two operators that no version of ONNX has."""
    nodes = [helper.make_node("Strange", ["x"], ["s"]), helper.make_node("Stranger", ["s"], ["y"])]
    return store(tmp_path / "strange.onnx", nodes, {}, ["n", 2, 2], ["n"])


def test_every_node_is_listed(cli):
    done = cli("inspect", CONV)
    assert done.code == 0
    assert done.err == ""
    for word in ("conv_2", "8x13x13", "sound relaxation", "exact", "1,802 neurons", "agrees with onnxruntime on 34 points",
                 "axis 0 is the batch axis", "absint can analyse this network"):
        assert word in done.out


def test_json_tells_names_passes_and_totals(cli, folding_net):
    document = json.loads(cli("inspect", folding_net, "--json").out)
    assert document["supported"] is True
    assert {row["name"]: row["treatment"] for row in document["file_nodes"]} == {
        "four": "folded", "dense": "exact", "bias": "exact", "relu": "sound relaxation", "copy": "exact"}
    assert document["passes"] == ["drop-identity", "fold-affine"]
    assert set(document["nodes"][-1]["tensors"]) == {"y", "active"}
    assert document["totals"]["neurons"] == 3
    assert document["totals"]["parameters"] == 15
    assert document["input"] == {"tensor": "x", "shape": [4], "full_shape": [1, 4], "batch_axis": 0, "declared_range": None}
    assert document["import_check"]["points"] == 34
    assert len(document["model"]["sha256"]) == 64


def test_all_problems_at_once_and_the_table_all_the_same(cli, strange_net):
    done = cli("inspect", strange_net)
    assert done.code == 4
    assert done.err.count("error[") == 1
    assert "error[E-OP-UNSUPPORTED]" in done.err
    assert "Traceback" not in done.err
    for place in (done.out, done.err):
        assert "Strange " in place
        assert "Stranger" in place
    assert "not supported: 2 nodes" in done.out
    document = json.loads(cli("inspect", strange_net, "--json").out)
    assert document["supported"] is False
    assert len(document["problems"][0]["details"]) == 2
    assert all(row["hint"] for row in document["file_nodes"])


def test_a_mismatch_with_the_runtime_is_a_problem(cli, folding_net, monkeypatch):
    from absint.errors import UnsupportedError

    def differs(*args, **kwargs):
        raise UnsupportedError("E-IMPORT-MISMATCH", "other numbers")

    monkeypatch.setattr("absint.analyses.inspect.node_views.check_import", differs)
    done = cli("inspect", folding_net)
    assert done.code == 4
    assert "not supported: other numbers" in done.out


def test_a_plugin_operator_is_known(cli, strange_net, plugin, monkeypatch):
    from absint.model.op import OPS

    monkeypatch.setattr(OPS, "_entries", dict(OPS._entries))
    file = plugin("inspected", "from absint.model.op import register_import\nfrom absint.model.ops.relu import Relu\n"
                               "@register_import('Strange')\ndef read(node):\n    return Relu()\n")
    assert "not supported: 1 nodes" in cli("inspect", strange_net, "--plugin", file).out


def test_treatments_follow_from_the_family():
    class Loose(Nonlinear):
        def output_shape(self, *shapes):
            return shapes[0]

        def forward(self, *xs):
            return torch.sign(xs[0])

        range = undecided = planes = forward

    assert treatment(Loose()) is Treatment.LOOSE


@pytest.mark.parametrize(("options", "error"), [
    (["--format", "xml"], "E-FORMAT-UNKNOWN"), (["--json", "--format", "csv"], "E-USAGE"), (["--out", CONV], "E-OUT")])
def test_options(cli, options, error):
    cli("inspect", CONV, *options).fails(2, f"{error}]")


def test_nodes_as_rows(cli, folding_net, strange_net):
    rows = list(csv.DictReader(io.StringIO(cli("inspect", folding_net, "--format", "csv").out)))
    assert [row["name"] for row in rows if row["node_of"] == "file"] == ["four", "dense", "bias", "relu", "copy"]
    assert rows[-1]["tensors"] == "active; y"
    assert sum(int(row["neurons"]) for row in rows) == 3
    done = cli("inspect", strange_net, "--format", "jsonl")
    assert done.code == 4
    assert [(row["op"], row["treatment"]) for row in map(json.loads, done.out.splitlines())] == [
        ("Strange", "unsupported"), ("Stranger", "unsupported")]


def test_a_journal_keeps_the_answer(cli, strange_net, tmp_path):
    journal = tmp_path / "j.jsonl"
    first = cli("inspect", strange_net, "--json", "--journal", journal)
    again = cli("inspect", strange_net, "--json", "--journal", journal, "--resume")
    assert (first.code, again.code) == (4, 4)
    assert again.err == first.err
    one, two = (json.loads(done.out) for done in (first, again))
    assert [one[key] for key in ("file_nodes", "problems", "supported")] == [two[key] for key in ("file_nodes", "problems", "supported")]


def test_ten_million_parameters(cli, tmp_path):
    """No more work than for a thousand: nothing in Python looks at a single one."""

    def inspected(side, parameters):
        weights = {f"w{k}": np.full((side, side), 1e-4, dtype=np.float32) for k in range(2)}
        nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"]), helper.make_node("Relu", ["h"], ["a"]),
                 helper.make_node("MatMul", ["a", "w1"], ["y"])]
        path = store(tmp_path / "wide.onnx", nodes, weights, ["n", side], ["n", side])
        done = cli("inspect", path)
        assert done.code == 0, done.err
        assert f"{parameters} parameters" in done.out

    inspected(2, "8")       # whatever is imported at the first use
    assert work(lambda: inspected(2240, "10,035,200")) < 1.5 * work(lambda: inspected(22, "968"))


def test_work_is_linear_in_the_number_of_nodes(cli, tmp_path):
    def inspected(count):
        names = ["x", *(f"t{k}" for k in range(count - 1)), "y"]
        nodes = [helper.make_node("Relu" if k % 2 else "Neg", [names[k]], [names[k + 1]]) for k in range(count)]
        done = cli("inspect", store(tmp_path / "deep.onnx", nodes, {}, ["n", 3], ["n", 3]))
        assert done.code == 0, done.err
        assert f"{count} nodes" in done.out

    inspected(2)            # whatever is imported at the first use
    once, twice = (work(lambda count=count: inspected(count)) for count in (500, 1000))
    assert twice < 2.2 * once


def test_its_header_names_the_network(cli, tmp_path):
    net = samples.network_path("mnist_relu_3x50")
    model = json.loads(cli("inspect", net, "--format", "json").out)["header"]["model"]
    assert (model["path"], model["sha256"]) == (str(net), sha256(net.read_bytes()).hexdigest())
    assert cli("inspect", net, "--out", tmp_path / "i.html").code == 0
    head = (tmp_path / "i.html").read_text().partition("</header>")[0]
    assert head.count(net.name) >= 2      # the title of the window, and the line below that of the page
