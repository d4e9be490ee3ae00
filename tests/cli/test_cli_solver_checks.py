"""`absint doctor` on solvers and pinned versions: a missing solver is a note, a broken one a failure."""

from __future__ import annotations

import json

import pytest

from absint import kernels
from absint.cli import solver_checks
from absint.kernels import KernelReport


@pytest.fixture
def doctor(cli, monkeypatch):
    monkeypatch.setattr(kernels, "check_kernels", lambda device: [KernelReport("matmul", "float32", True, 0.1)])

    def run(*options):
        done = cli("doctor", "--format", "json", *options)
        return {check["name"]: check for check in json.loads(done.out)["checks"]}

    return run


def test_a_missing_solver_is_a_note(doctor, cli, monkeypatch):
    monkeypatch.setattr(solver_checks, "find_spec", lambda name: None)
    found = doctor()["solver highspy"]
    assert (found["ok"], found["note"], found["mend"]) == (True, True, "pip install highspy")
    assert "note  solver gurobipy: not installed; optional\n      wanted? then: pip install gurobipy" in cli("doctor").out


@pytest.mark.parametrize(("probe", "name"), [("_highs", "solver highspy"), ("_cbc", "solver CBC (PuLP)"), ("_gurobi", "solver gurobipy")])
def test_a_broken_solver_fails(doctor, monkeypatch, probe, name):
    def broken(name):
        raise OSError("no library")

    monkeypatch.setattr(solver_checks, "find_spec", lambda name: True)
    monkeypatch.setattr(solver_checks, probe, broken)
    found = doctor()[name]
    assert not found["ok"]
    assert "OSError: no library" in found["found"]
    assert "--force-reinstall" in found["mend"]


def test_a_wrong_optimum_fails():
    assert solver_checks._right("x", 1.0, "1.0", "mend", "free").ok
    assert not solver_checks._right("x", 0.62, "1.0", "mend", "free").ok


def test_installed_solvers_work(doctor):
    for name, check in doctor().items():
        if name.startswith("solver") and "not installed" not in check["found"]:
            assert check["ok"], check
            assert "small LP" in check["found"] or "no licence" in check["found"]


def test_another_version_is_a_note(doctor, tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# tested\nnumpy==0.1\nnot-installed-at-all==3\n", encoding="utf-8")
    found = doctor("--constraints", pins)["versions"]
    assert found["ok"]
    assert found["note"]
    assert "(tested: 0.1)" in found["found"]
    assert str(pins) in found["mend"]


def test_no_such_constraints(cli):
    cli("doctor", "--constraints", "nowhere.txt").fails(3, "E-CONSTRAINTS]")
