"""Back ends by contract; solvers that lie, crash, hang or are missing; processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from math import inf
from pathlib import Path

import numpy as np
import pytest
from solver_contract import LIES, Lying, columns, context, evaluate, networks, points, usable

from absint.encode.network import encode
from absint.errors import AbsintError, PluginError
from absint.registry import load_plugin
from absint.solvers import SOLVERS, Claim, Engine, Limits, Model, Presence, Session, Solver, SolverError, Status, highs, solver
from absint.solvers.isolated_process import run_isolated
from absint.testing.kit import check_solver
from absint.testing.solver_checks import hard, problem, solver_checks

BUILT_IN = ("highs", "scipy", "pulp", "gurobi")
F = Fraction

# ---- back ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("check", [name for name, _ in solver_checks()])
def test_built_in_solvers_keep_the_contract(name, check):
    assert list(dict(solver_checks())[check](usable(name))) == []


def test_the_registry_knows_them_and_near_names():
    assert set(BUILT_IN) <= set(SOLVERS.names())
    with pytest.raises(AbsintError) as caught:
        solver("higs")
    assert caught.value.code == "E-SOLVER-UNKNOWN"
    assert "highs" in caught.value.hint


def test_a_name_that_pulp_does_not_know():
    with pytest.raises(SolverError) as caught, Session(problem(0)[0], ("pulp:NOSUCH",)) as session:
        session.solve()
    assert caught.value.code == "E-SOLVER-MISSING"
    assert "PULP_CBC_CMD" in caught.value.hint
    with pytest.raises(SolverError):
        solver("scipy:NOSUCH")


def test_a_small_licence_is_recognised_and_another_solver_takes_over():
    found = usable("gurobi").check()
    if not found.limited:
        pytest.skip("a full licence")
    assert "2000" in found.found
    n = 2500
    model = Model.of(np.ones((1, n)), (np.array([1.0]), np.array([inf])), (np.zeros(n), np.ones(n)), np.ones(n))
    with Session(model, ("gurobi",)) as session, pytest.raises(SolverError) as caught:
        session.solve()
    assert caught.value.code == "E-SOLVER-LICENCE"
    with Session(model, ("gurobi", "highs")) as session:
        assert session.solve().bound == pytest.approx(1.0)
        assert [n.code for n in session.notes] == ["E-SOLVER-LICENCE"]
        assert session.name == "highs"


def test_a_missing_package_is_a_coded_error(monkeypatch):
    import importlib.util

    from absint.solvers import gurobi, highs, pulp_solver

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for module in (highs, gurobi, pulp_solver):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    for name in ("highs", "gurobi", "pulp"):
        with Session(problem(0)[0], (name,)) as session, pytest.raises(SolverError) as caught:
            session.solve()
        assert caught.value.code == "E-SOLVER-MISSING"
        assert "pip install" in caught.value.hint
    with Session(problem(0)[0]) as session:
        assert session.solve().bound == pytest.approx(problem(0)[1])
        assert session.name == "scipy"


@pytest.mark.parametrize("bad", [
    {"cost": np.array([np.nan, 1.0])}, {"box": (np.array([np.nan, 0.0]), np.ones(2))}, {"box": (np.array([inf, 0.0]), np.full(2, inf))},
    {"rows": (np.array([0.0]), np.array([-inf]))}, {"matrix": [[inf, 1.0]]}, {"cost": np.ones(3)},
])
def test_bad_models_are_refused(bad):
    given = {"matrix": [[1.0, 1.0]], "rows": (np.zeros(1), np.ones(1)), "box": (np.zeros(2), np.ones(2)), "cost": np.ones(2), **bad}
    with pytest.raises(AbsintError) as caught:
        Model.of(**given)
    assert caught.value.code == "E-SOLVER-MODEL"


def test_changes_in_place_are_checked():
    with Session(problem(0)[0]) as session:
        for index, low, high in (([0], [np.nan], [1.0]), ([0], [-99.0], [0.0])):
            with pytest.raises(AbsintError):
                session.set_bounds(np.array(index), np.array(low), np.array(high))
        with pytest.raises(AbsintError):
            session.set_cost(np.full(8, np.nan))
        session.set_bounds(np.array([0]), session.model.upper[:1], session.model.lower[:1])
        assert session.solve().infeasible


# ---- solvers that lie, crash, hang ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", ["relu", "residual", "pool"])
def test_lies_never_move_a_bound_above_an_execution(lie, name):
    """Whatever is claimed, every bound is at most the objective of an exact execution, and none is proved impossible."""
    graph = networks(3)[name]
    ctx = context(graph, 3)
    encoding = encode(ctx, 0)
    functional = encoding.functional(np.array([1.0, -1.0]))
    for model in (encoding.model, encoding.mixed()):
        with Session(model, (Lying(LIES[lie]),)) as session:
            session.set_cost(np.concatenate([functional.cost, np.zeros(len(model.lower) - len(functional.cost))]))
            answer = session.solve()
        assert not answer.infeasible
        for x in points(ctx.region, 4, 0):
            point = columns(encoding, graph, evaluate(graph, x))
            assert F(answer.bound) <= sum(F(c) * v for c, v in zip(functional.cost.tolist(), point, strict=True))


@pytest.mark.parametrize(("lie", "code"), [
    ("optimal at +5", "E-SOLVER-UNPROVED"), ("infeasible with a ray", "E-SOLVER-UNPROVED"), ("NaN", "E-SOLVER-NAN"),
    ("infinity", "E-SOLVER-NAN"), ("flipped multipliers", "E-SOLVER-UNPROVED"),
])
def test_a_lie_is_reported(lie, code):
    model, _ = problem(0)
    with Session(model, (Lying(LIES[lie]),)) as session:
        assert code in {t.code for t in session.solve().troubles}


def test_an_optimum_below_what_is_proved_is_a_contradiction():
    model, truth = problem(0)
    with Session(model, (Lying(lambda c, m: Claim(Status.OPTIMAL, c.multipliers, None, c.point + 0.5, truth - 1)),)) as session:
        codes = [t.code for t in session.solve().troubles]
    assert codes.count("E-SOLVER-CONTRADICTION") == 2


def test_liars_fail_the_contract():
    for lie in ("infeasible", "wrong multipliers", "flipped multipliers", "NaN", "nothing"):
        with pytest.raises(PluginError) as caught:
            check_solver(LyingAboutLps(LIES[lie]))
        assert caught.value.code == "E-CONTRACT"


class LyingAboutLps(Lying):
    integers = False


def test_a_solver_without_integers_is_told_apart():
    with Session(hard(), (LyingAboutLps(LIES["nothing"]), "highs")) as session:
        session.solve(Limits(0.5))
        assert [n.code for n in session.notes] == ["E-SOLVER-INTEGERS"]


MINE = """
from absint.solvers import Claim, Engine, Presence, Solver, Status, register_solver
from absint.solvers.highs import Highs

@register_solver("mine")
class Mine(Solver):
    def check(self):
        return Presence(True, "mine 1.0")

    def start(self, model):
        return Highs().start(model)
"""


def test_a_plug_in_file_brings_a_solver(tmp_path):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    load_plugin(tmp_path / "mine.py")
    check_solver(solver("mine"))
    with Session(problem(2)[0], ("mine",)) as session:
        assert session.solve().bound == pytest.approx(problem(2)[1])


class Crashing(Solver):
    """Fails in `start` or in `run`."""

    def __init__(self, late):
        self.late = late

    def check(self):
        return Presence(True, "planted")

    def start(self, model):
        if not self.late:
            raise SolverError("E-SOLVER-CRASH", "planted")
        return CrashingEngine()


class CrashingEngine(Engine):
    def set_bounds(self, index, lower, upper):
        pass

    def set_cost(self, cost):
        pass

    def run(self, limits):
        raise SolverError("E-SOLVER-HANG", "planted")


@pytest.mark.parametrize("late", [False, True])
def test_after_a_crash_the_next_solver_goes_on_with_the_same_bounds_and_costs(late):
    model = Model.of([[1.0, 2.0]], (np.array([2.0]), np.array([inf])), (np.zeros(2), np.full(2, 3.0)), np.ones(2))
    with Session(model, (Crashing(late), "highs")) as session:
        session.set_bounds(np.array([0]), np.array([1.0]), np.array([1.0]))
        session.set_cost(np.array([1.0, 4.0]))
        assert session.solve().bound == pytest.approx(3.0)
        assert len(session.notes) == 1
    with Session(model, (Crashing(late),)) as session, pytest.raises(SolverError):
        session.solve()


# ---- processes --------------------------------------------------------------------------------------------------------


def test_a_program_past_its_limit_is_killed_with_its_children(tmp_path):
    script = f"sleep 60 & echo $! > {tmp_path}/grandchild; sleep 60; echo > {tmp_path}/over"
    with pytest.raises(SolverError) as caught:
        run_isolated(["sh", "-c", script], tmp_path, Limits(0.3), 0.2)
    assert caught.value.code == "E-SOLVER-HANG"
    assert not (tmp_path / "over").exists()
    assert gone(int((tmp_path / "grandchild").read_text()))


def test_a_program_that_crashes_or_is_missing(tmp_path):
    with pytest.raises(SolverError) as caught:
        run_isolated(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/grandchild; echo why >&2; exit 3"], tmp_path, Limits(5), 1)
    assert caught.value.code == "E-SOLVER-CRASH"
    assert caught.value.details == ("why",)
    assert gone(int((tmp_path / "grandchild").read_text()))
    with pytest.raises(SolverError) as caught:
        run_isolated([str(tmp_path / "nothing")], tmp_path, Limits(5), 1)
    assert caught.value.code == "E-SOLVER-MISSING"


def gone(pid, patience=5.0):
    """Whether the process ends (or is only waiting to be reaped) within the time."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


# Started in the background of a shell, tests inherit an ignored SIGINT; a user's terminal delivers it.
SOLVE = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n" \
        "from absint.solvers import *; from absint.testing.solver_checks import hard\n" \
        "with Session(hard(), (sys.argv[1],)) as s:\n    print('ready', flush=True); s.solve(Limits(60.0))"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", ["pulp", "highs"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_parent_leaves_no_process(name, sign):
    """Ctrl-C ends the solve in seconds with KeyboardInterrupt; a parent that is killed takes its solver along."""
    parent = subprocess.Popen([sys.executable, "-c", SOLVE, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = []
        end = time.monotonic() + 20
        while time.monotonic() < end and (name == "pulp" and len(children) < 2):
            children = descendants(parent.pid)
            time.sleep(0.05)
        time.sleep(0.5)
        assert name != "pulp" or len(children) >= 2
        os.kill(parent.pid, sign)
        _, errors = parent.communicate(timeout=20)
    finally:
        parent.kill()
    assert sign is signal.SIGKILL or "KeyboardInterrupt" in errors
    assert all(gone(child) for child in children)


def descendants(pid):
    """Processes below one, by /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found, stack = [], [pid]
    while stack:
        current = stack.pop()
        below = [child for child, parent in parents.items() if parent == current]
        found += below
        stack += below
    return found


def test_the_limit_of_cbc_is_no_optimum():
    """At the time limit PuLP's status says 'optimal'; only `sol_status` tells."""
    with Session(hard(), ("pulp",)) as session:
        answer = session.solve(Limits(1.0))
    assert answer.status is Status.LIMIT
    assert answer.claimed is None


def test_a_presolve_that_says_infeasible_without_a_ray_is_not_the_last_word(monkeypatch):
    """HiGHS's presolve has called a feasible relaxation infeasible: the simplex method is asked before anything is noted."""
    model, truth = problem(0)
    real, calls = highs._HighsEngine._status, []

    def status(self, interrupted):
        calls.append(self._highs.getOptionValue("presolve")[1])
        return Status.INFEASIBLE if len(calls) == 1 else real(self, interrupted)

    monkeypatch.setattr(highs._HighsEngine, "_status", status)
    with Session(model, ("highs",)) as session:
        answer = session.solve()
    assert answer.bound == pytest.approx(truth)
    assert answer.troubles == ()
    assert calls == ["choose", "off"]


def test_a_highs_that_hangs_is_left_to_its_thread(monkeypatch):
    """Neither its limit nor `cancelSolve` ends it: a coded error, and the next solver takes over while it still runs."""
    monkeypatch.setattr(highs, "_GRACE", 0.2)
    kind = highs._HighsEngine(problem(0)[0])._highs.__class__
    cancel, hung = kind.cancelSolve, []
    monkeypatch.setattr(kind, "cancelSolve", lambda self: hung.append(self) or None)
    monkeypatch.setattr(kind, "getRunTime", lambda self: 1e6)
    try:
        with Session(hard(), ("highs", Lying(LIES["nothing"]))) as session:
            monkeypatch.setattr(Lying, "start", lambda self, model: CrashingEngine())
            with pytest.raises(SolverError) as caught:
                session.solve(Limits(0.2))
            assert [n.code for n in session.notes] == ["E-SOLVER-HANG", "E-SOLVER-HANG"]
        assert caught.value.what == "planted"
        assert not hung[0].wait(0.0)[0]
    finally:
        cancel(hung[0])
        assert hung[0].wait(10.0)[0]


def test_a_killed_cbc_leaves_no_files(tmp_path, monkeypatch):
    """Its model file alone is as large as the model; it lies in the folder that goes with the solve."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    begin = time.monotonic()
    seen = []

    def stop():
        seen.extend(tmp_path.glob("absint-*/*.mps"))
        return bool(seen) and time.monotonic() - begin > 0.5

    with Session(hard(), ("pulp",)) as session:
        assert session.solve(Limits(20.0, stop=stop)).status is Status.INTERRUPTED
    assert seen
    assert list(tmp_path.iterdir()) == []
