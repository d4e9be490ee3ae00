"""Where another thing is analysed than the file seems to show, every answer says so; and a network of one output is no classifier."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import absint
from absint.analyses.validate.validator import RadiusValidator
from absint.cli.main import main
from absint.errors import UnsupportedError

pytestmark = pytest.mark.usefixtures("warm")


def saved(path, nodes, batch, **stored):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])],
                              [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
                              [numpy_helper.from_array(v, n) for n, v in stored.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def classifier(path, batch="N", classes=3, *, choose=False):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"])]
    nodes += [helper.make_node("ArgMax", ["s"], ["y"], name="pick", axis=1)] if choose else []
    return saved(path, nodes, batch, w=np.arange(2 * classes, dtype=np.float32).reshape(2, classes) - 2)


NETS = {"argmax": ({"choose": True}, "ArgMax 'pick'", (2,)), "batch": ({"batch": 3}, "3x3 outputs are read as 9 classes", (3, 2))}


@pytest.fixture(params=NETS)
def given(request, tmp_path):
    """(network, data, what must be said)"""
    options, words, shape = NETS[request.param]
    data = tmp_path / "d.npz"
    np.savez(data, inputs=np.full((2, *shape), 0.5), labels=np.array([2, 2]))
    return classifier(tmp_path / "n.onnx", **options), data, words


def answers(capsys, *words):
    main([str(word) for word in words])
    return capsys.readouterr()


@pytest.mark.parametrize("command", ["verify", "radius", "bounds"])
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_every_format_of_every_command_says_it(given, capsys, command, form):
    net, data, said = given
    more = ["--eps", "0.01"] if command != "radius" else ["--upper", "0.01", "--tolerance", "0.01"]
    found = answers(capsys, command, net, "--data", data, "--format", form, "--quiet", *more)
    assert f"warning[E-MODEL-{'ARGMAX' if 'ArgMax' in said else 'BATCH'}]" in found.err
    if form == "text":
        assert said in found.out
    elif form == "json":
        document = json.loads(found.out)
        header = document["header"]["model"]
        assert any(said in note for note in header["notes"])
        assert any(said in note for note in header["caveats"])
    else:
        rows = [json.loads(line) for line in found.out.splitlines()] if form == "jsonl" else list(csv.DictReader(io.StringIO(found.out)))
        assert rows
        assert all(said in str(row["notes"]) for row in rows)


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_validation_says_it(given, capsys, tmp_path, form):
    net, data, said = given
    np.savez(data, inputs=np.random.default_rng(0).uniform(0.2, 0.8, (40, *np.load(data)["inputs"].shape[1:])))
    search = ["--upper", "0.01", "--tolerance", "0.005", "--domain", "box", "--rate", "0.9"]
    made = answers(capsys, "validate", "calibrate", net, "--data", data, "--calibration", tmp_path / "c.json", "--format", form, *search)
    assert said in made.out
    found = answers(capsys, "validate", "run", net, "--data", data, "--index", "0:2", "--calibration", tmp_path / "c.json",
                    "--format", form, "--quiet")
    assert said in found.out
    assert "warning[E-MODEL-" in found.err


def query(path, inputs, outputs):
    names = "".join(f"(declare-const X_{k} Real)(assert (>= X_{k} 0.4))(assert (<= X_{k} 0.6))" for k in range(inputs))
    path.write_text(names + "".join(f"(declare-const Y_{k} Real)" for k in range(outputs)) + "(assert (>= Y_0 100))")
    return path


def test_queries_say_it(given, capsys, tmp_path):
    net, _, said = given
    asked = query(tmp_path / "q.vnnlib", *((2, 1) if "ArgMax" in said else (6, 9)))
    found = answers(capsys, "verify", asked, "--network", net, "--quiet")
    assert found.out.startswith("unsat")
    assert said in found.err
    document = json.loads(answers(capsys, "verify", asked, "--network", net, "--format", "json").out)
    assert any(said in note for note in document["model"]["notes"])
    assert any(said in note["note"] for note in document["notes"])


def test_lists_of_queries_say_it(given, capsys, tmp_path):
    said = given[2]
    query(tmp_path / "q.vnnlib", *((2, 1) if "ArgMax" in said else (6, 9)))
    (tmp_path / "list.csv").write_text("n.onnx,q.vnnlib,60\n")
    found = answers(capsys, "verify", "--instances", tmp_path / "list.csv")
    (row,) = csv.DictReader(io.StringIO(found.out))
    assert row["verdict"] == "unsat"
    assert said in row["notes"]
    assert said in found.err


def test_results_in_python_say_it(given):
    net, data, said = given
    graph = absint.load(net)
    results = absint.verify(graph, np.load(data)["inputs"], [2, 2], "0.01")
    assert all(any(said in note for note in result.notes) for result in results)
    assert any(said in note for note in graph.source.notes)


@pytest.mark.parametrize("batch", ["N", 1])
def test_nothing_is_said_of_a_plain_network(tmp_path, capsys, batch):
    net = classifier(tmp_path / "n.onnx", batch)
    np.savez(tmp_path / "d.npz", inputs=np.full((1, 2), 0.5), labels=np.array([2]))
    found = answers(capsys, "verify", net, "--data", tmp_path / "d.npz", "--format", "csv", "--quiet")
    assert "warning[" not in found.err
    assert next(csv.DictReader(io.StringIO(found.out)))["detail"] == ""


# ---- one output ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["auto", "box", "zonotope", "deeppoly", "exact"])
def test_one_output_is_refused_in_python(tmp_path, domain):
    graph = absint.load(classifier(tmp_path / "n.onnx", classes=1))
    point = np.full((1, 2), 0.5)
    for ask in (lambda: absint.verify(graph, point, [0], "0.01", domain=domain), lambda: absint.radius(graph, point, domain=domain),
                lambda: RadiusValidator(graph, domain)):
        with pytest.raises(UnsupportedError) as caught:
            ask()
        assert caught.value.code == "E-CLASSES"
        assert "VNN-LIB query" in caught.value.hint


@pytest.mark.parametrize("words", [["verify", "NET"], ["verify", "NET", "--patch", "1x1"], ["radius", "NET"],
                                   ["validate", "calibrate", "NET"]])
def test_one_output_is_refused_on_the_command_line(tmp_path, capsys, words):
    net = classifier(tmp_path / "n.onnx", classes=1)
    assert main([str(net) if word == "NET" else word for word in words]) == UnsupportedError.exit_code
    found = capsys.readouterr().err
    assert "E-CLASSES" in found
    assert "VNN-LIB query" in found


def test_one_output_has_bounds(tmp_path):
    graph = absint.load(classifier(tmp_path / "n.onnx", classes=1))
    (found,) = absint.bounds(graph, np.full((1, 2), 0.5), "0.1").values()
    assert found.lower.shape == (1, 1)
