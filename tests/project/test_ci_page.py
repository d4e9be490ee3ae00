"""docs/ci.md: its jobs are YAML, its command runs and leaves the files that the jobs take, its fixture and codes exist."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from places import ROOT
from test_docs import blocks

from absint import samples

PAGE = "docs/ci.md"


def jobs():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return [yaml.safe_load(block) for block in blocks(PAGE, "yaml")]


def command(lines) -> list[str]:
    (line,) = (line for line in lines if line.startswith("absint "))
    return shlex.split(line)[1:]


def test_the_jobs_are_yaml_and_take_what_the_command_writes() -> None:
    github, gitlab = jobs()
    steps = github["jobs"]["verify"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    words = command(step["run"] for step in steps if "run" in step)
    taken = {step["with"]["sarif_file"] for step in steps if "sarif_file" in step.get("with", {})}
    taken |= {word for step in steps for word in step.get("run", "").split() if step.get("name") == "summary" and word.startswith("absint")}
    assert taken <= {words[place + 1] for place, word in enumerate(words) if word == "--out"}
    words = command(gitlab["verify"]["script"])
    files = {words[place + 1] for place, word in enumerate(words) if word == "--out"}
    assert {gitlab["verify"]["artifacts"]["reports"]["junit"], *gitlab["verify"]["artifacts"]["paths"]} == files
    assert gitlab["verify"]["allow_failure"]["exit_codes"] == [1]


def test_the_command_runs(cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(samples.network_path("mnist_relu_3x50").read_bytes())
    data = samples.data("mnist")
    np.savez(tmp_path / "test.npz", inputs=data.inputs[:2].reshape(-1, 1, 28, 28), labels=data.labels[:2])
    words = command(step["run"] for step in jobs()[0]["jobs"]["verify"]["steps"] if "run" in step)
    assert cli(*words, "--domain", "zonotope", "--attack", "none", "--quiet").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "test.npz", "absint.md", "absint.sarif", "absint.xml"}


def test_the_codes_and_words_of_the_fixture_are_those_of_the_plug_in() -> None:
    source = (ROOT / "absint" / "testing" / "pytest_plugin.py").read_text()
    page = (ROOT / PAGE).read_text()
    told = set(re.findall(r"E-TEST-[A-Z]+", page))
    assert told == set(re.findall(r"\"(E-TEST-[A-Z]+)\"", source)) - {"E-TEST-OPTION"}
    for word in ("allow_unknown", "unknown", "eps"):
        assert f"{word}:" in source
        assert word in page
