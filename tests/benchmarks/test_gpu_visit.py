"""One visit to a card: whatever a stage does, what was found is written and the rest goes on. Rehearsed without a card."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from math import inf
from types import SimpleNamespace

import pytest
import torch
from places import ROOT

from absint.engine.domain import DOMAINS
from absint.numeric import kernels
from absint.numeric.kernels import KernelReport
from absint.numeric.rounding import Numerics
from absint.search.strategy import Stage as ProofStage

MODULES = ("gpu", "gpu_nets", "gpu_speed", "gpu_stages", "gpu_training")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("gpu")
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def stages(gpu):
    return importlib.import_module("gpu_stages")


@pytest.fixture
def visited(gpu, monkeypatch, tmp_path):
    """Run these stages on the CPU; the exit code and what was written."""

    def visit(*made, seconds=30.0):
        monkeypatch.setitem(sys.modules, "gpu_stages", SimpleNamespace(STAGES=made))
        code = gpu.main(["--device", "cpu", "--out", str(tmp_path / "out"), "--seconds", str(seconds)])
        return code, json.loads((tmp_path / "out" / "gpu.json").read_text())["stages"], (tmp_path / "out" / "gpu.md").read_text()

    return visit


def finds(visit):
    visit.found.update(head=("a", "b"), rows=[(1, "x|y")], said="one row")


def fails(visit):
    visit.found["said"] = "half of it"
    raise ValueError("a stage's own fault")


def lasts(visit):
    visit.found["said"] = "as far as it came"
    while True:
        time.sleep(0.01)
        visit.check()


def hangs(visit):
    while True:
        time.sleep(0.05)


def test_a_stage_that_fails_is_told_and_the_rest_goes_on(gpu, visited):
    code, found, page = visited(gpu.Stage("first", 9, fails), gpu.Stage("second", 9, finds))
    assert code == 1
    assert found["first"]["state"] == "failed"
    assert found["first"]["error"] == "ValueError: a stage's own fault"
    assert found["first"]["said"] == "half of it"
    assert found["second"]["state"] == "done"
    assert "| 1 | x/y |" in page
    assert "a stage's own fault; half of it" in page


@pytest.mark.parametrize("late", [lasts, hangs])
def test_a_stage_ends_at_its_deadline(gpu, visited, late):
    code, found, _ = visited(gpu.Stage("first", 4.8, late), gpu.Stage("second", 4.8, finds), seconds=10.0)     # 0.1 s each
    assert code == 0
    assert (found["first"]["state"], found["second"]["state"]) == ("late", "done")
    if late is lasts:
        assert found["first"]["said"] == "as far as it came"


def test_absint_makes_no_coded_error_of_a_deadline(gpu):
    """Its own guards take every Exception for a fault of theirs."""
    assert not issubclass(gpu.LateError, Exception)


def test_what_was_found_is_written_after_each_stage(gpu, visited, tmp_path):
    def reads(visit):
        visit.found["before"] = json.loads((tmp_path / "out" / "gpu.json").read_text())["stages"]

    _, found, _ = visited(gpu.Stage("first", 9, finds), gpu.Stage("second", 9, reads))
    assert list(found["second"]["before"]) == ["first"]
    assert found["second"]["before"]["first"]["rows"] == [[1, "x|y"]]


def test_nothing_more_is_asked_of_a_card_that_is_lost(gpu, visited):
    def loses(visit):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    code, found, _ = visited(gpu.Stage("first", 9, loses), gpu.Stage("second", 9, finds))
    assert code == 1
    assert list(found) == ["first"]
    assert found["first"]["lost"] is True


def test_a_violation_is_the_exit_code(gpu, visited):
    code, _, page = visited(gpu.Stage("first", 9, lambda visit: visit.found.update(violations=["a bound is wrong"])))
    assert code == 1
    assert "- violation: a bound is wrong" in page


def test_a_device_that_is_not_there_is_told_at_once(gpu, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "E-DEVICE" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


# ---- the stages find what they are there for ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["box", "deeppoly"])
def test_a_wrong_bound_violates_the_contract(stages, monkeypatch, name):
    subject = ProofStage(DOMAINS.get(name)())
    num = Numerics() if subject.domain.traits.mixed else Numerics().single()
    assert not list(stages.violations(subject, "relu", 1.0, num))
    real = stages.kept_bounds

    def narrowed(*arguments):
        return {name: type(box)(box.lower + 1e-3, box.upper) for name, box in real(*arguments).items()}

    monkeypatch.setattr(stages, "kept_bounds", narrowed)
    assert any("node" in text for text in stages.violations(subject, "relu", 1.0, num))


def test_a_kernel_that_errs_and_one_that_raises_are_violations(gpu, stages, monkeypatch):
    def check(cases, device, **more):
        if cases[0].kernel == "addmm":
            raise RuntimeError("CUDA error: invalid configuration argument")
        return [KernelReport(f"{cases[0].name}, 1 thread: error", "float32", cases[0].kernel != "sum", 7.0)]

    for name, stub in {"check_cases": check, "check_entries": lambda device: [KernelReport("add: bits", "float32", True, 0.0)],
                       "check_functions": lambda device: [KernelReport("exp: ulps", "float64", True, 0.5)]}.items():
        monkeypatch.setattr(kernels, name, stub)
    visit = gpu.Visit("cpu", None, end=inf)
    stages.check_the_kernels(visit)
    assert [text.partition(" ")[0] for text in visit.found["violations"]] == ["addmm", "addmm", "sum", "sum"]
    assert "invalid configuration" in visit.found["violations"][0]


def test_another_verdict_on_the_device_is_a_violation(gpu, stages, monkeypatch):
    """Where the device says unknown of everything."""
    from absint.verdict import InstanceResult, Verdict

    def verify(graph, inputs, labels, eps, *, device, **options):
        verdict = Verdict.UNKNOWN if device == "there" else Verdict.VERIFIED
        return [InstanceResult(k, verdict, margin=1.0) for k in range(len(inputs))]

    monkeypatch.setattr(stages.absint, "verify", verify)
    visit = gpu.Visit("there", None, end=inf)
    stages.agreement(visit)
    assert len(visit.found["violations"]) == 3 * len(visit.found["rows"])


# ---- rehearsals, each in a process of its own --------------------------------------------------------------------------


def rehearse(out, *words):
    return subprocess.run([sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(out), *words], capture_output=True, text=True,
                          check=False, timeout=120)


def test_a_rehearsal_on_the_cpu(tmp_path):
    done = rehearse(tmp_path, "--device", "cpu", "--seconds", "40", "--only", "facts,training,memory")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())["stages"]
    assert {name: one["state"] for name, one in found.items()} == dict.fromkeys(("facts", "training", "memory"), "done")
    assert found["facts"]["facts"]["device"] == "cpu"
    assert "4 verified of 4" in found["memory"]["said"]
    assert done.stdout.rstrip().endswith((tmp_path / "gpu.md").read_text().rstrip())


def test_a_rehearsal_on_the_second_device_of_the_tests(tmp_path):
    done = rehearse(tmp_path, "--device", "fakegpu", "--seconds", "2", "--only", "contract,throughput")
    if done.returncode == 2:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr      # no stage failed, none found a violation
    found = json.loads((tmp_path / "gpu.json").read_text())["stages"]
    assert list(found) == ["contract", "throughput"]
    assert not found["contract"]["violations"]


def test_the_pack_takes_every_file_of_the_visit():
    copied = re.search(r"cp (benchmarks/gpu\.py .*) \$\(GPU\)/\n", (ROOT / "Makefile").read_text())[1].split()
    assert set(copied) == {f"benchmarks/{file.name}" for file in (ROOT / "benchmarks").glob("gpu*") if file.is_file()}
