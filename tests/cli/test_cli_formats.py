"""What the formats write, and what the exit code says."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from absint import samples
from absint.runs.command import chosen_outputs
from absint.verdict import Verdict

CONV, RELU = (str(samples.network_path(name)) for name in ("mnist_conv_small", "mnist_relu_3x50"))
ROW = {"index", "label", "predicted", "verdict", "reason", "margin", "assurance", "eps", "domain", "time_s"}


def test_all_verified_is_success(verify):
    done = verify("--index", "0:3")
    assert done.code == 0
    assert done.err == ""
    assert "3 of 3 correctly classified instances verified" in done.out
    assert "bundled sample mnist" in done.out
    assert "99 of 100" in done.out


def test_something_open_is_not_success(verify):
    done = verify("--index", "7,8", "--eps", "0.2", net=RELU)
    assert done.code == 1
    assert "0 of 1 correctly classified" in done.out
    assert "misclassified" in done.out


def test_misclassified_instances_do_not_count(verify):
    assert verify("--index", "7,8", net=RELU).code == 0


def test_nothing_verified_is_not_success(verify):
    assert verify("--index", "8", net=RELU).code == 1


def test_no_rounding_proves_nothing(verify):
    done = verify("--index", "0:2", "--no-rounding", "--format", "jsonl")
    assert done.code == 1
    assert {json.loads(line)["verdict"] for line in done.out.splitlines()} == {"likely"}


def test_jsonl_rows(verify):
    done = verify("--index", "7,8,3", "--format", "jsonl", "--eps", "2/255", "--domain", "zonotope", net=RELU)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {row["index"] for row in rows} == {3, 7, 8}
    assert all(set(row) >= ROW for row in rows)
    assert {row["eps"] for row in rows} == {"2/255"}
    assert {row["domain"] for row in rows} == {"zonotope"}
    assert {row["verdict"] for row in rows} <= {verdict.value for verdict in Verdict}


def test_csv_rows(verify):
    done = verify("--index", "0:2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["index"] for row in rows] == ["0", "1"]
    assert set(rows[0]) >= ROW
    assert float(rows[0]["margin"]) > 0


def test_a_witness_survives_csv_and_json(verify):
    options = ["--index", "7", "--eps", "0.25"]
    row = next(csv.DictReader(io.StringIO(verify(*options, "--format", "csv", net=RELU).out)))
    document = json.loads(verify(*options, "--format", "json", net=RELU).out)
    assert row["verdict"] == document["instances"][0]["verdict"] == "falsified"
    assert json.loads(row["witness"]) == document["instances"][0]["witness"]
    assert row["assurance"] == "replayed"


def test_json_document(verify):
    done = verify("--index", "1,0", "--format", "json", "--max-generators", "900")
    document = json.loads(done.out)
    assert set(document) == {"schema", "header", "instances", "summary", "tables", "notes"}
    assert document["schema"].startswith("absint-verify/")
    assert [row["index"] for row in document["instances"]] == [0, 1]
    header, summary = document["header"], document["summary"]
    assert header["model"]["path"] == CONV
    assert len(header["model"]["sha256"]) == len(header["data"]["sha256"]) == 64
    assert header["versions"].keys() >= {"absint", "torch", "onnxruntime", "python"}
    assert header["numerics"].items() >= {"device": "cpu", "dtype": "auto", "semantics": "real", "rounding": True}.items()
    assert header["domain"]["options"]["max_generators"] == 900
    assert "Singh" in header["domain"]["source"]
    assert header["assumptions"]
    assert header["command"].startswith("absint verify ")
    assert header["property"].items() >= {"eps": "0.01", "clip": [0, 1], "target": None}.items()
    assert header["data"]["accuracy"] == {"correct": 99, "of": 100}
    assert summary["counts"]["verified"] == summary["correctly_classified"] == summary["instances"] == 2
    assert summary["complete"] is True
    assert summary["median_margin"] == pytest.approx(sum(row["margin"] for row in document["instances"]) / 2)


def test_out_takes_the_result(verify, tmp_path):
    out = tmp_path / "result.json"
    done = verify("--index", "0:2", "--format", "json", "--out", out)
    assert done.out == ""
    assert json.loads(out.read_text())["summary"]["instances"] == 2


def test_progress_and_warnings_go_to_stderr(cli, data_file):
    data = data_file(images=np.zeros((4, 28, 28)), labels=np.array([0, 1, 2, 3]))
    done = cli("verify", CONV, "--data", data, "--format", "jsonl")
    assert len(done.out.splitlines()) == 4
    assert "verifying 4 instances" in done.err
    assert "warning: the network classifies only" in done.err
    assert "--mean and --std" in done.err
    assert "--layout" in done.err


def test_label_and_target(verify, data_file):
    data = data_file(images=np.zeros((2, 28, 28)))
    rows = verify("--data", data, "--label", "3", "--target", "4", "--format", "jsonl").out.splitlines()
    assert [json.loads(row)["label"] for row in rows] == [3, 3]


def test_normalisation_keeps_eps_in_raw_units(verify):
    """The network after x -> 2 (x - 0) sees a ball of twice the radius, so margins shrink."""
    plain = json.loads(verify("--index", "0", "--format", "jsonl").out)
    scaled = json.loads(verify("--index", "0", "--format", "jsonl", "--std", "0.9999").out)
    assert scaled["margin"] < plain["margin"] + 1e-2
    assert scaled["margin"] == pytest.approx(plain["margin"], rel=0.05)


def test_total_timeout_leaves_unknowns(verify):
    done = verify("--index", "0:4", "--total-timeout", "1e-9", "--format", "jsonl")
    assert done.code == 1
    assert {json.loads(row)["reason"] for row in done.out.splitlines()} == {"timeout"}


def test_float32_semantics_runs(verify):
    assert verify("--index", "0:2", "--semantics", "float32").code == 0


@pytest.mark.parametrize(("format_", "names", "held", "out"), [
    (None, ["a.csv", "b.json"], ["csv", "json"], ""),
    (None, ["a.dat"], ["text"], ""),
    ("json", ["a.csv", "b.md"], ["csv", "markdown"], "json"),
    ("json", ["a.csv"], ["csv"], "json"),
    ("text", ["a.json"], ["json"], "text"),
    ("json", ["a.dat", "b.csv"], ["json", "csv"], ""),
    ("json", ["a.json"], ["json"], ""),
    ("junit:unknown=failure", ["a.xml"], ["junit"], ""),
    ("jsonl", ["a.json"], ["json"], "jsonl"),
    ("sarif", ["a.json", "b.csv"], ["sarif", "csv"], ""),
    ("json", ["a.sarif"], ["sarif"], "json"),
    ("json", ["a.npz"], ["npz"], "json"),
    ("npz", ["a.json", "b"], ["json", "npz"], ""),
    (None, ["a.npz"], ["npz"], "text"),
    ("npz", ["a.npz"], ["npz"], "text"),
])
def test_each_file_follows_its_ending(tmp_path, format_, names, held, out):
    files = [tmp_path / name for name in names]
    chosen = chosen_outputs(files, format_, "text", {})
    beside = [kind.__module__ for path, kind in chosen if path is None]
    assert beside == ([f"absint.reports.{out}"] if out else [])
    found = {path: kind for path, kind in chosen if path is not None}
    assert [found[file].__module__ for file in files] == [f"absint.reports.{kind}" for kind in held]
    if format_ is not None and ":" in format_:
        assert found[files[0]].options.unknown.value == "failure"


def test_a_format_that_no_file_takes_is_for_stdout(verify, tmp_path):
    done = verify("--index", "0:2", "--format", "json", "--out", tmp_path / "a.csv", "--out", tmp_path / "b.md")
    assert json.loads(done.out)["summary"]["instances"] == 2
    assert (tmp_path / "a.csv").read_text().startswith("index,")
    assert (tmp_path / "b.md").read_text().startswith("### absint verify")
