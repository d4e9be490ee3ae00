"""Ctrl-C and SIGKILL while a solver works: what was decided is kept, and no process, thread or file stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from counting import until
from journals import kept
from test_refinement import EASY, HARD, NET

from absint.solvers import Limits, Session, highs, solver
from absint.testing import solver_checks

pytestmark = pytest.mark.usefixtures("warm")

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
RUN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from absint.cli.main import run; run()"
MARK = "ABSINT_TEST_RUN"


class Run:
    """`absint verify` on an image that is decided and one that takes hours, in a process that can be told by its mark."""

    def __init__(self, domain, folder):
        self.mark, self.folder = uuid.uuid4().hex, folder
        self.journal = folder / f"{self.mark}.jsonl"
        (folder / self.mark).mkdir()
        command = [sys.executable, "-c", RUN, "verify", NET, "--domain", domain, "--index", f"{EASY},{HARD}", "--batch", "1",
                   "--eps", "0.05", "--dtype", "float64", "--attack", "none", "--format", "jsonl", "--journal", str(self.journal)]
        settings = {**os.environ, MARK: self.mark, "TMPDIR": str(folder / self.mark)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)

    def wait_for_the_solver(self, patience=60.0):
        """Until the first result is there and the second instance is with the solver (a program of its own for PuLP)."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=30)[1]
        self.shown = json.loads(line)
        until(lambda: not self.programs or len(marked(self.mark)) >= 2, patience)
        time.sleep(0.7)
        assert self.process.poll() is None

    programs = False

    def end(self, number):
        """Exit code and stderr after a signal; what is left of the run gets a few seconds to go."""
        self.process.send_signal(number)
        try:
            rest, errors = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
        end = time.monotonic() + 10
        while marked(self.mark) and time.monotonic() < end:
            time.sleep(0.05)
        return self.process.returncode, rest, errors

    @property
    def kept(self):
        return kept(self.journal)

    @property
    def files(self):
        return [str(p) for p in (self.folder / self.mark).rglob("absint*")]


def marked(mark):
    """pid and command line of the processes that carry a mark in their environment; those only waiting to be reaped have none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append((int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]))
        except OSError:
            continue
    return found


def started(domain, folder):
    name = domain.partition("solver=")[2].partition(",")[0]
    if name and not solver(name).check().usable:
        pytest.skip(f"{name} is not usable here")
    run = Run(domain, folder)
    run.programs = name == "pulp"
    return run


def interrupted(domain, folder):
    """One run, interrupted while it branches; its mark."""
    run = started(domain, folder)
    run.wait_for_the_solver()
    code, rest, errors = run.end(signal.SIGINT)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert run.shown["index"] == EASY
    assert run.kept == [run.shown, *map(json.loads, rest.splitlines())]
    assert marked(run.mark) == []
    assert run.files == []
    return run.mark


def test_an_interrupt_as_a_solve_starts_leaves_it_its_model(monkeypatch):
    """Ctrl-C may come before the wait for HiGHS's thread: its model is not taken from under it."""
    kind = highs._HighsEngine(solver_checks.problem(0)[0])._highs.__class__
    real, started_ones, cleared = kind.startSolve, [], []

    def start(self):
        real(self)
        started_ones.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "startSolve", start)
    monkeypatch.setattr(kind, "clear", lambda self: cleared.append(self.wait(0.0)[0]))
    try:
        with pytest.raises(KeyboardInterrupt), Session(solver_checks.hard(), ("highs",)) as session:
            session.solve(Limits(20.0))
        assert cleared in ([], [True])
    finally:
        started_ones[0].cancelSolve()
        assert started_ones[0].wait(20.0)[0]


@linux
@pytest.mark.parametrize("domain", ["exact:solver=highs", "exact:solver=pulp", "bab:base=deeppoly"])
def test_ctrl_c_while_it_branches(domain, tmp_path):
    interrupted(domain, tmp_path)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("domain", [
    "exact:solver=scipy", "exact:solver=gurobi", "milp:solver=highs", "milp:solver=gurobi", "milp:solver=pulp",
    "milp:solver=scipy,timeout_milp=5", "refine:solver=pulp,timeout_milp=5", "refine:solver=highs,timeout_milp=5",
])
def test_ctrl_c_in_every_solver(domain, tmp_path):
    interrupted(domain, tmp_path)


@linux
@pytest.mark.parametrize("domain", ["exact:solver=pulp", pytest.param("milp:solver=highs", marks=pytest.mark.slow)])
def test_a_killed_run_leaves_no_solver(domain, tmp_path):
    run = started(domain, tmp_path)
    run.wait_for_the_solver()
    code, _, _ = run.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert marked(run.mark) == []
    assert run.kept == [run.shown]


@linux
@pytest.mark.slow
def test_twenty_interrupted_runs_leave_nothing(tmp_path):
    """Of twenty runs in a row, with every installed solver in turn, no process and no file is left."""
    mixed = [f"{domain}:solver={name}" for name in ("highs", "pulp", "gurobi") for domain in ("exact", "milp")] + ["exact:solver=scipy"]
    usable = [d for d in mixed if solver(d.partition("solver=")[2]).check().usable]
    marks = [interrupted(usable[k % len(usable)], tmp_path) for k in range(20)]
    left = [line for mark in marks for line in marked(mark)]
    sys.stdout.write(f"left of {len(set(marks))} interrupted runs ({', '.join(usable)}): {left}\n")  # seen with pytest -s
    assert len(set(marks)) == 20
    assert left == []
