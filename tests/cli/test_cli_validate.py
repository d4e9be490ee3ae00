"""`absint validate` on the bundled network and images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import CONV, RELU

from absint import samples
from absint.cli.main import main

PROGRAM = """
import sys
from absint.cli.main import main
code = main(sys.argv[1:])
sys.exit(code or (9 if {"torch", "numpy", "onnx", "scipy"} & set(sys.modules) else 0))
"""


@pytest.fixture
def validate(cli):
    return lambda command, *arguments, net=RELU: cli("validate", command, net, "--quiet", *arguments)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrated") / "calibration.json"
    assert main(["validate", "calibrate", RELU, "--quiet", "--index", "0:60", "--rate", "0.05", "--calibration", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def calibrated(calibration, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_bytes(calibration)
    return path


def test_help_loads_no_engine():
    for words in ((), ("calibrate",), ("run",), ("evaluate",)):
        done = subprocess.run([sys.executable, "-c", PROGRAM, "validate", *words, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


def test_calibrate_shows_what_it_found(validate, tmp_path):
    path = tmp_path / "c.json"
    done = validate("calibrate", "--index", "0:60", "--rate", "0.05", "--calibration", path, "--format", "json")
    shown, kept = json.loads(done.out), json.loads(path.read_text())
    assert done.code == 0
    assert shown["calibration"] == kept
    assert kept["wrong"] == 1
    assert [Fraction(row["certified_exact"]) / Fraction(kept["rule"]["step"]) for row in shown["radii"]] == kept["radii"]
    assert [row["index"] for row in shown["radii"]] == [k for k in range(60) if k != 8], "input 8 is misclassified"
    assert kept["rejected"] <= 0.05 * 59


def test_run_accepts_and_rejects(validate, calibrated):
    done = validate("run", "--calibration", calibrated, "--index", "0:20", "--format", "json")
    whole = json.loads(done.out)
    rejected = [row["index"] for row in whole["decisions"] if not row["accepted"]]
    assert done.code == (1 if rejected else 0)
    assert whole["summary"] == {**whole["summary"], "inputs": 20, "rejected": len(rejected)}
    assert {row["basis"] for row in whole["decisions"]} == {"proof"}
    assert (whole["header"]["mode"], whole["header"]["domain"]["name"]) == ("threshold", "zonotope")
    text = validate("run", "--calibration", calibrated, "--index", "0:20")
    assert text.out.count("REJECTED") == len(rejected)


def test_run_rejects_noise_with_exit_code_one(validate, calibrated, data_file):
    noise = np.random.default_rng(0).random((6, 1, 28, 28))
    done = validate("run", "--calibration", calibrated, "--data", data_file(images=noise), "--format", "csv")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert done.code == 1
    assert sum(row["accepted"] == "False" for row in rows) >= 5


def test_a_window_goes_on_from_its_state(validate, calibrated, tmp_path):
    def run(file, index, *more):
        done = validate("run", "--calibration", file, "--mode", "distribution", "--index", index, "--format", "jsonl", *more)
        return [json.loads(line) for line in done.out.splitlines()]

    state = tmp_path / "state.json"
    whole = run(calibrated, "60:72")
    parts = [*run(calibrated, "60:65", "--state", state), *run(state, "65:72")]
    for row in (*whole, *parts):
        row.pop("time_s")
    assert parts == whole
    assert json.loads(state.read_text())["window"] != json.loads(calibrated.read_text())["window"]


def test_evaluate_writes_tables_sets_and_pictures(validate, tmp_path):
    pytest.importorskip("foolbox")
    sets, plots = tmp_path / "sets", tmp_path / "plots"
    done = validate("evaluate", "--count", "15", "--calibrate", "50", "--rate", "0.05", "--attack", "fgsm:eps=0.2", "--attack", "deepfool",
                    "--attack", "deepfool",
                    "--thresholds", "0.01,0.02", "--adversarial", sets, "--plots", plots, "--plot-format", "svg", "--format", "json")
    whole = json.loads(done.out)
    assert done.code == 0
    names = ["valid", "misclassified", "fgsm:eps=0.2", "deepfool"]
    assert [row["category"] for row in whole["categories"]] == ["calibration", *names]
    assert [row["category"] for row in whole["tables"]["detection"]] == names
    assert len(whole["tables"]["rejection"]) >= 2
    assert len(whole["tables"]["windows"]) == 11
    assert set(whole["roc"]) == set(names[1:])
    assert sorted(p.name for p in plots.iterdir()) == ["histograms.svg", "roc.svg"]
    assert sorted(p.name for p in sets.iterdir()) == ["deepfool.npz", "fgsm_eps=0.2.npz"]
    with np.load(sets / "deepfool.npz") as archive:
        assert len(archive["images"]) == 15


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_too_few_inputs_leave_no_file(validate, tmp_path):
    done = validate("calibrate", "--index", "0:20", "--calibration", tmp_path / "c.json")
    assert "34" in done.fails(3, "E-CALIBRATION-FEW]").err
    assert not (tmp_path / "c.json").exists()


def test_unlabelled_data_calibrates_and_does_not_evaluate(validate, data_file, tmp_path):
    path = data_file(images=samples.data("mnist").inputs[:40])
    assert validate("calibrate", "--data", path, "--calibration", tmp_path / "c.json").code == 0
    assert json.loads((tmp_path / "c.json").read_text())["wrong"] is None
    pytest.importorskip("foolbox")
    validate("evaluate", "--data", path, "--attack", "fgsm").fails(3, "E-DATA-UNLABELLED]")


def test_nan_images_are_refused(validate, calibrated, data_file, tmp_path):
    images = samples.data("mnist").inputs[:40].copy()
    images[3, 2, 1] = np.nan
    path = data_file(images=images)
    validate("run", "--calibration", calibrated, "--data", path).fails(3, "E-DATA-NAN]")
    validate("calibrate", "--data", path, "--calibration", tmp_path / "d.json").fails(3, "E-DATA-NAN]")


def test_another_model_or_normalisation_is_refused(validate, calibrated):
    validate("run", "--calibration", calibrated, net=CONV).fails(3, "E-CALIBRATION-MODEL]")
    validate("run", "--calibration", calibrated, "--mean", "0.1", "--std", "0.3").fails(3, "E-CALIBRATION-MODEL]")


def test_an_edited_file_is_refused(validate, calibrated):
    content = json.loads(calibrated.read_text())
    content["rule"]["threshold"] += 1
    calibrated.write_text(json.dumps(content))
    validate("run", "--calibration", calibrated).fails(3, "E-CALIBRATION-CHECKSUM]")


@pytest.mark.parametrize(("words", "exit_code", "code"), [
    (["run"], 2, "E-USAGE"), (["run", "--calibration", "none.json"], 3, "E-CALIBRATION-FILE"),
    (["run", "--format", "xml"], 2, "E-FORMAT-UNKNOWN"),
    (["calibrate", "--rate", "2"], 2, "E-RATE"), (["calibrate", "--domain", "zonotop"], 2, "E-DOMAIN-UNKNOWN"),
    (["calibrate", "--calibration", "nowhere/c.json"], 3, "E-OUT"), (["calibrate", "--calibration", "."], 3, "E-OUT"),
    (["calibrate", "--window", "3"], 2, "E-WINDOW"),
    (["calibrate", "--calibration", RELU], 2, "E-OUT"), (["calibrate", "--out", "calibration.json"], 2, "E-OUT"),
    (["evaluate", "--attack", "nonsense"], 2, "E-ATTACK-UNKNOWN"), (["evaluate", "--count", "0"], 2, "E-COUNT"),
    (["evaluate", "--thresholds", "a"], 2, "E-NUMBERS"), (["run", "--calibration", "c", "--state", RELU], 2, "E-OUT"),
    (["evaluate", "--plots", "p", "--plot-format", "gif"], 2, "E-PLOT-FORMAT"),
    (["evaluate", "--count", "90"], 3, "E-EVALUATION-FEW"), (["calibrate", "--epsilon", "1"], 2, "E-USAGE"),
])
def test_misuse_is_one_coded_message(validate, words, exit_code, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validate(*words).fails(exit_code, f"{code}]")
    assert not list(Path().glob("calibration.json"))
    assert not list(Path().glob("p"))


def test_the_file_of_another_command_is_no_calibration(validate, tmp_path):
    (tmp_path / "c.json").write_text('{"schema": "absint-radius/1"}')
    validate("run", "--calibration", tmp_path / "c.json").fails(3, "E-CALIBRATION-FORMAT]")
