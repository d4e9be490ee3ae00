"""`absint doctor` on solvers and pinned versions: a missing solver is a note, a broken one a failure."""

from __future__ import annotations

import json

import pytest

from absint.numeric import kernels
from absint.numeric.kernels import KernelReport
from absint.solvers import SOLVERS, Claim, Presence, SolverError, Status, highs
from absint.solvers.highs import Highs


@pytest.fixture
def doctor(cli, monkeypatch):
    monkeypatch.setattr(kernels, "check_kernels", lambda device, *, full: [KernelReport("matmul", "float32", True, 0.1)])

    def run(*options):
        done = cli("doctor", "--format", "json", *options)
        return {check["name"]: check for check in json.loads(done.out)["checks"]}

    return run


def test_a_missing_solver_is_a_note(doctor, cli, monkeypatch):
    monkeypatch.setattr(Highs, "check", lambda self: Presence(False, "not installed", "pip install highspy", installed=False))
    found = doctor()["solver highs"]
    assert (found["ok"], found["note"], found["mend"]) == (True, True, "pip install highspy")
    assert "note  solver highs: not installed; optional\n      wanted? then: pip install highspy" in cli("doctor").out


@pytest.mark.parametrize("name", ["highs", "scipy", "pulp", "gurobi"])
def test_a_broken_solver_fails(doctor, monkeypatch, name):
    class Broken:
        def check(self):
            raise OSError("no library")

    monkeypatch.setitem(SOLVERS._entries, name, Broken)
    found = doctor()[f"solver {name}"]
    assert not found["ok"]
    assert "OSError: no library" in found["found"]
    assert "--force-reinstall" in found["mend"]


@pytest.mark.parametrize("claim", [Claim(Status.OPTIMAL, value=0.62), Claim(Status.OPTIMAL, value=1.0), Claim(Status.INFEASIBLE)])
def test_a_wrong_or_unproved_optimum_fails(doctor, monkeypatch, claim):
    monkeypatch.setattr(highs._HighsEngine, "run", lambda self, limits: claim)
    found = doctor()["solver highs"]
    assert not found["ok"]
    assert "small LP" in found["found"]


def test_a_solver_that_crashes_fails(doctor, monkeypatch):
    def crash(self, limits):
        raise SolverError("E-SOLVER-CRASH", "planted")

    monkeypatch.setattr(highs._HighsEngine, "run", crash)
    found = doctor()["solver highs"]
    assert not found["ok"]
    assert "E-SOLVER-CRASH" in found["found"]


def test_a_licence_that_is_missing_is_a_note(doctor, monkeypatch):
    monkeypatch.setattr(Highs, "check", lambda self: Presence(False, "but no licence", "grbgetkey KEY", limited=True))
    found = doctor()["solver highs"]
    assert (found["ok"], found["note"]) == (True, True)


def test_installed_solvers_work(doctor):
    for name, check in doctor().items():
        if name.startswith("solver ") and "not installed" not in check["found"]:
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
