"""What absint starts imports what is installed, whatever lies in the working directory."""

from __future__ import annotations

import csv
import json
import os
import selectors
import subprocess
import sys
from io import StringIO

import numpy as np
import pytest
from test_cli_query import BOX, DECLARED, UNSAFE

from absint.contract.analysis import Item
from absint.runs import worker_process
from absint.solvers import Limits, Model, Status, isolated_process, solver
from absint.solvers.child_interpreter import python_command, python_environment

NAMES = ("numpy", "torch", "json", "onnx", "pulp", "typer", "sitecustomize", "usercustomize", "subprocess", "highspy")


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A working directory full of modules that leave a mark when they are imported; whether one did."""
    folder, marks = tmp_path / "benchmark", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    text = f"import os\nopen(os.path.join({str(marks)!r}, __name__), 'w').close()\nraise SystemExit(3)\n"
    for name in NAMES:
        (folder / f"{name}.py").write_text(text)
    (folder / "absint").mkdir()
    for name in ("__init__", "__main__"):
        (folder / "absint" / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    return lambda: sorted(os.listdir(marks))


def test_the_trap_works(planted):
    """Python as it is usually called falls into it."""
    done = subprocess.run([sys.executable, "-m", "absint"], capture_output=True, check=False, env=dict(os.environ))
    assert done.returncode != 0
    assert planted()


@pytest.mark.parametrize("path", [None, "", ":", ".", "./", "./../benchmark:", "sub", ":{lib}"])
def test_python_takes_nothing_from_the_working_directory(planted, monkeypatch, tmp_path, path):
    (tmp_path / "benchmark" / "sub").mkdir()
    (tmp_path / "benchmark" / "sub" / "json.py").write_text((tmp_path / "benchmark" / "json.py").read_text())
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "only_here.py").write_text("")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path.replace("{lib}", str(tmp_path / "lib")))
    inner = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {'import json'!r}]).returncode)"
    for words in (("-c", "import json"), ("-c", inner)):
        done = subprocess.run(python_command(*words), env=python_environment(), capture_output=True, check=False)
        assert (done.returncode, planted()) == (0, []), done.stderr
    if path is not None and "{lib}" in path:  # absolute entries are the user's word
        assert subprocess.run(python_command("-c", "import only_here"), env=python_environment(), check=False).returncode == 0


def test_the_environment_is_the_users_otherwise(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/a", "", "b", "/c"]))
    monkeypatch.setenv("ANYTHING", "1")
    found = python_environment(OMP_NUM_THREADS="3")
    assert (found["PYTHONPATH"], found["ANYTHING"], found["OMP_NUM_THREADS"]) == (f"/a{os.pathsep}/c", "1", "3")
    assert os.environ["PYTHONPATH"] != found["PYTHONPATH"]


def test_workers_of_a_list(planted, monkeypatch, cli, small_net, tmp_path):
    monkeypatch.setenv("PYTHONPATH", ":")
    (tmp_path / "q.vnnlib").write_text(DECLARED + BOX + UNSAFE["unsat"])
    (tmp_path / "list.csv").write_text(f"{os.path.relpath(small_net, tmp_path)},q.vnnlib,60\n")
    done = cli("verify", "--instances", tmp_path / "list.csv", "--domain", "box", "--attack", "none", "--quiet")
    assert [row["verdict"] for row in csv.DictReader(StringIO(done.out))] == ["unsat"], done.out + done.err
    assert planted() == []


def test_the_solver_in_a_process_of_its_own(planted, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":")
    model = Model.of([[1.0, 1.0]], ([1.0], [2.0]), ([0.0, 0.0], [1.0, 1.0]), [1.0, 2.0])
    claim = solver("pulp").start(model).run(Limits(60.0))
    assert claim.status is Status.OPTIMAL
    assert claim.value == pytest.approx(1.0)
    assert planted() == []


@pytest.mark.parametrize("module", [worker_process, isolated_process])
def test_both_starters_go_that_way(module, monkeypatch):
    """Seen from what is handed to the operating system, too: the command and the environment."""
    started = []

    class Stopped(Exception):
        pass

    def popen(command, **more):
        started.append((command, more.get("env") or {}))
        raise Stopped

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(module.subprocess, "Popen", popen)
    begin = {
        worker_process: lambda: worker_process.WorkerProcess(Item(0), (b"",), selectors.DefaultSelector(), attempt=1, deadline=5.0,
                                                             environment={}),
        isolated_process: lambda: solver("pulp").start(Model.of([[1.0]], ([0.0], [1.0]), ([0.0], [1.0]), [1.0])).run(Limits(5.0)),
    }[module]
    with pytest.raises(Stopped):
        begin()
    ((command, environment),) = started
    assert command[:2] == [sys.executable, "-P"]
    assert environment["PYTHONSAFEPATH"] == "1"
    assert "PYTHONPATH" not in environment


# ---- text out of files -----------------------------------------------------------------------------------------------------

ODD = "\x1b[31mred\x1b]8;;http://x\x07[bold][link=x]a[/link] \u202eb\r\x9b2J'$(touch x)`"


def test_names_from_files_do_not_steer_the_terminal(cli, tmp_path, monkeypatch):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def net(operator):
        graph = helper.make_graph([helper.make_node(operator, ["x", "w"], [ODD], name=ODD), helper.make_node("Relu", [ODD], ["y"])], "g",
                                  [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
                                  [numpy_helper.from_array(np.ones(3, np.float32), "w")])
        path = tmp_path / f"{operator}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    np.savez(tmp_path / "d.npz", images=np.zeros((1, 3)), labels=np.array([0]))
    outcomes = [cli("inspect", net("Add")), cli("inspect", net("Unheard")), cli("inspect", tmp_path / f"{ODD}.onnx".replace("/", "_")),
                cli("bounds", net("Add"), "--data", tmp_path / "d.npz", "--eps", "0.1", "--domain", "box")]
    assert [done.code for done in outcomes] == [0, 4, 3, 0]
    for done in outcomes:
        shown = done.out + done.err
        assert not set(shown) & set("\x1b\x07\x9b\r\u202e"), repr(shown)
        assert "Traceback" not in shown
    assert "\\x1b[31mred" in outcomes[0].out
    assert "[bold][link=x]a[/link]" in outcomes[0].out
    assert json.loads(cli("inspect", net("Add"), "--json").out)["nodes"]
