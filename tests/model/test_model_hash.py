"""One hash of a model is that of every byte it is read from, and whoever keeps or prints a hash has that one."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from absint.analyses.query.analysis import QueryAnalysis
from absint.analyses.query.options import QueryOptions
from absint.analyses.query.record import AnswerRecord
from absint.cli.main import main
from absint.contract.analysis import Failure
from absint.frontends import onnx_external, vnnlib
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.content_digest import model_digest
from absint.model.digest import digest
from absint.model.frontend import FRONTENDS, load_model, model_hash
from absint.model.source import Source
from absint.problem.data_frontend import read_data
from absint.problem.query import read_query
from absint.runs.resolve import resolve
from absint.verdict import Assurance

QUERY = "".join(f"(declare-const X_{k} Real)(assert (>= X_{k} 0.0))(assert (<= X_{k} 1.0))\n" for k in range(3))
QUERY += "(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (>= Y_0 9.0))\n"


def write(folder: Path, *, external=True, value=1.0) -> Path:
    """y = (x0, x1) times `value`; its weights in w.bin, or in the file itself."""
    weight = value * np.eye(2, 3, dtype=np.float32)
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "net.onnx"
    for file in (path, folder / "w.bin"):
        file.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=external, location="w.bin", size_threshold=0)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_in_one_file_has_the_hash_of_the_file(tmp_path):
    path = write(tmp_path, external=False)
    assert model_hash(path) == sha256(path) == load_model(path).source.sha256
    zipped = tmp_path / "net.onnx.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert model_hash(zipped) == sha256(zipped) == load_model(zipped).source.sha256


def test_weights_in_another_file_belong_to_the_hash(tmp_path):
    path = write(tmp_path, value=1.0)
    file, one = path.read_bytes(), load_model(path).source.sha256
    assert one == model_hash(path) != sha256(path)
    assert model_hash(write(tmp_path, value=2.0)) == load_model(path).source.sha256 != one
    assert path.read_bytes() == file
    assert model_hash(write(tmp_path, value=1.0)) == one


def test_parts_are_told_apart():
    assert digest(b"ab") == hashlib.sha256(b"ab").hexdigest()
    found = {digest(b"ab"), digest(b"a", b"b"), digest(b"b", b"a"), digest(b"", b"ab"), digest(b"ab", b""), digest(b"a", b"b", b"")}
    assert len(found) == 6


def test_what_is_hashed_is_what_is_analysed(tmp_path, monkeypatch):
    """Both files change as soon as they have been read."""
    path = write(tmp_path, value=1.0)
    wanted, read, whole = model_hash(path), onnx_external._read, Path.read_bytes

    def then_changed(place, *more):
        content = read(place, *more)
        place.write_bytes(bytes(24))
        return content

    def then_gone(file):
        content = whole(file)
        if file == path:
            path.write_bytes(b"other")
        return content

    monkeypatch.setattr(onnx_external, "_read", then_changed)
    monkeypatch.setattr(Path, "read_bytes", then_gone)
    graph = load_model(path)
    assert graph.source.sha256 == wanted
    assert graph(torch.ones(1, 3, dtype=torch.float64)).tolist() == [[1.0, 1.0]]


def test_a_zipped_query_is_hashed_and_read_from_the_same_bytes(tmp_path, monkeypatch):
    path = tmp_path / "q.vnnlib.gz"
    path.write_bytes(gzip.compress(QUERY.encode()))
    wanted, unzipped = sha256(path), vnnlib._unzipped

    def changed(raw, where):
        path.write_bytes(gzip.compress((QUERY + "(declare-const Y_2 Real)\n").encode()))
        return unzipped(raw, where)

    monkeypatch.setattr(vnnlib, "_unzipped", changed)
    query = read_query(path)
    assert query.sha256 == wanted
    assert query.output_names == ("Y_0", "Y_1")


# ---- who keeps a hash ------------------------------------------------------------------------------------------------------


def run(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, images=np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.5]]), labels=np.array([0, 1]))
    return path


@pytest.mark.parametrize("command", ["verify", "radius", "bounds"])
def test_reports_and_journals_have_the_hash_of_all_files(tmp_path, capsys, data, command):
    path = write(tmp_path)
    journal = tmp_path / "j.jsonl"
    words = [command, path, "--data", data, "--domain", "box", "--format", "json"]
    words += ["--eps", "0.01"] if command != "radius" else []
    words += ["--journal", journal] if command != "bounds" else []
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert json.loads(out)["header"]["model"]["sha256"] == model_hash(path)
    if command != "bounds":
        assert json.loads(journal.read_text().splitlines()[0])["binding"]["model_sha256"] == model_hash(path)
        write(tmp_path, value=2.0)
        code, out, err = run(capsys, *words, "--resume")
        assert (code, "model_sha256" in err) == (3, True)


def test_inspect_and_calibrations_have_it_too(tmp_path, capsys):
    path = write(tmp_path)
    document = json.loads(run(capsys, "inspect", path, "--json")[1])
    assert document["model"]["sha256"] == model_hash(path)
    before = model_digest(load_model(path))
    assert model_digest(load_model(write(tmp_path, value=2.0))) != before


def test_a_network_that_is_not_supported_has_it_too(tmp_path, capsys):
    write(tmp_path)
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Unheard", ""
    del model.graph.node[0].attribute[:]
    onnx.save(model, tmp_path / "net.onnx")
    code, out, _ = run(capsys, "inspect", tmp_path / "net.onnx", "--json")
    assert code == 4
    assert json.loads(out)["model"]["sha256"] == model_hash(tmp_path / "net.onnx")


@pytest.fixture
def listed(tmp_path, capsys, monkeypatch):
    """Run a list of one query about net.onnx with a journal; nothing is done but to answer unsat."""
    asked = []

    def decide(self, items, run):
        asked.extend(item.payload for item in items)
        yield from (AnswerRecord(one.index, one.payload.onnx, one.payload.vnnlib, "unsat", assurance=Assurance.SOUND) for one in items)

    monkeypatch.setattr(QueryAnalysis, "decide", decide)
    (tmp_path / "q.vnnlib").write_text(QUERY)
    (tmp_path / "list.csv").write_text("net.onnx,q.vnnlib,60\n")

    def go(*more):
        asked.clear()
        found = run(capsys, "verify", "--instances", tmp_path / "list.csv", "--journal", tmp_path / "j.jsonl", "--quiet", "--executor",
                    "local", *more)
        return *found, list(asked)

    return go


def test_a_list_goes_on_where_nothing_changed(tmp_path, listed):
    path = write(tmp_path)
    code, _, err, asked = listed()
    assert code == 0, err
    assert [one.sha256 for one in asked] == [(model_hash(path), sha256(tmp_path / "q.vnnlib"))]
    code, out, _, asked = listed("--resume")
    assert (code, asked) == (0, [])
    assert out.splitlines()[-1].startswith("net.onnx,q.vnnlib,unsat")


@pytest.mark.parametrize("change", ["weights", "model", "query", "list"])
def test_a_list_does_not_go_on_with_other_files(tmp_path, listed, change):
    path = write(tmp_path)
    listed()
    if change == "weights":
        file = path.read_bytes()
        write(tmp_path, value=2.0)
        assert path.read_bytes() == file
    elif change == "model":
        path.write_bytes(path.read_bytes() + b"\x12\x00")
    elif change == "query":
        (tmp_path / "q.vnnlib").write_text(QUERY + "\n")
    else:
        (tmp_path / "list.csv").write_text("net.onnx,q.vnnlib,61\n")
    code, _, err, asked = listed("--resume")
    assert (code, asked) == (3, [])
    assert "error[E-JOURNAL-MISMATCH]" in err


@pytest.mark.parametrize(("change", "kept"), [(None, True), ("network", False), ("query", False), ("unread", False)])
@pytest.mark.parametrize("least", [9.0, 0.5])
def test_an_answer_about_other_bytes_is_none(tmp_path, change, kept, least):
    """What a line was listed with and what is read for its answer: only where both are the same there is an answer, whatever it is."""
    write(tmp_path)
    (tmp_path / "q.vnnlib").write_text(QUERY.replace("9.0", str(least)))
    (tmp_path / "list.csv").write_text("net.onnx,q.vnnlib,60\n")
    analysis, run = resolve("query", QueryOptions(instances=tmp_path / "list.csv", domain="box", journal=tmp_path / "j"))
    (item,) = analysis.items(run)
    if change == "network":
        write(tmp_path, value=0.25)
    elif change == "query":
        (tmp_path / "q.vnnlib").write_text(QUERY + "\n")
    elif change == "unread":
        item = replace(item, payload=replace(item.payload, sha256=("", "")))
    (found,) = analysis.decide([item], run)
    assert isinstance(found, AnswerRecord) == kept
    if kept:
        assert (found.verdict, found.sha256) == ("unsat" if least == 9.0 else "sat", item.payload.sha256)
    else:
        assert isinstance(found, Failure)
        assert found.code == "E-INSTANCES-CHANGED"
        assert analysis.failed(item, found).verdict == "error"


# ---- front ends and data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("states", [False, True])
def test_a_front_end_of_somebody_else(tmp_path, monkeypatch, states):
    monkeypatch.setattr(FRONTENDS, "_entries", dict(FRONTENDS._entries))

    class Mine:
        suffixes = (".mine",)

        def read(self, source, **options):
            found = OnnxFrontEnd().read("net", content=Path(source).read_bytes(), check=False)
            object.__setattr__(found, "source", Source())
            return found

    if states:
        Mine.sha256 = lambda self, path: "all of them"
    FRONTENDS.add("mine", Mine)
    path = write(tmp_path, external=False).rename(tmp_path / "net.mine")
    assert load_model(path).source.sha256 == model_hash(path) == ("all of them" if states else sha256(path))


def test_a_file_of_labels_belongs_to_the_hash_of_the_data(tmp_path):
    inputs, labels = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(inputs, np.zeros((2, 3)))
    np.save(labels, np.array([0, 1]))
    alone, labelled = read_data(inputs).sha256, read_data(inputs, labels).sha256
    assert alone == sha256(inputs) != labelled
    np.save(labels, np.array([1, 0]))
    assert read_data(inputs, labels).sha256 not in (alone, labelled)


def test_labels_found_beside_the_images_belong_to_it(tmp_path):
    images, labels = tmp_path / "t-images-idx3-ubyte", tmp_path / "t-labels-idx1-ubyte"
    images.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7]))
    assert read_data(images).sha256 == sha256(images)
    found = set()
    for label in (1, 2):
        labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, label]))
        found.add(read_data(images).sha256)
    assert len(found | {sha256(images)}) == 3
