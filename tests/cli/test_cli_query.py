"""`absint verify QUERY.vnnlib`: the VNN-LIB standard's solver interface, and `absint supports`."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

pytestmark = pytest.mark.usefixtures("warm")

DECLARED = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "X_2", "Y_0", "Y_1"))
BOX = "".join(f"(assert (>= X_{k} 0))(assert (<= X_{k} 1))\n" for k in range(3))
UNSAFE = {"sat": "(assert (>= Y_0 Y_1))", "unsat": "(assert (>= Y_0 2))", "unknown": "(assert (>= Y_0 1.00000000000000000001))"}
TWO = """(vnnlib-version <2.0>)
(declare-network N (declare-input A float32 [1,3]) (declare-output B float32 [1,2]))
(assert (and (<= 0.0 A[0,0]) (<= A[0,0] 1.0) (<= 0.0 A[0,1]) (<= A[0,1] 1.0) (<= 0.0 A[0,2]) (<= A[0,2] 1.0)))
(assert (>= B[0,0] B[0,1]))
"""


@pytest.fixture
def query_run(tmp_path):
    def write(text, name="q.vnnlib"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.fixture
def ask(cli, small_net, query_run):
    """Answer a query about the small network: y = (x0, x1)."""

    def asking(text, *options, net=small_net):
        domain = () if "--domain" in options else ("--domain", "zonotope")
        return cli("verify", query_run(text), "--network", net, "--quiet", *domain, *options)

    return asking


@pytest.mark.parametrize("answer", UNSAFE)
def test_the_first_line_is_the_answer_and_the_exit_code_0(answer, ask):
    done = ask(DECLARED + BOX + UNSAFE[answer])
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == answer
    assert (done.out == f"{answer}\n") == (answer != "sat")


def test_the_assignment_has_every_variable_and_is_one(ask):
    done = ask(DECLARED + BOX + UNSAFE["sat"])
    assert re.fullmatch(r"sat\n\(\(\S+ \S+\)(\n \(\S+ \S+\)){4}\)\n", done.out)
    pairs = dict(re.findall(r"\(([XY]_\d) ([^\s()]+)\)", done.out))
    assert list(pairs) == ["X_0", "X_1", "X_2", "Y_0", "Y_1"]
    values = {name: float(value) for name, value in pairs.items()}
    assert all(0 <= values[f"X_{k}"] <= 1 for k in range(3))
    assert values["X_0"] >= values["X_1"]
    assert values["Y_0"] >= values["Y_1"]


def test_a_network_by_its_name(ask, small_net, query_run, cli):
    done = ask(TWO, net=f"N={small_net}")
    assert done.out.startswith("sat\n((A[0,0] ")
    assert ask(DECLARED + BOX + UNSAFE["unsat"], net=f"N={small_net}").out == "unsat\n"
    ask(TWO, net=f"M={small_net}").fails(2, "E-NETWORK")
    cli("verify", query_run(TWO), "--network", small_net, "--network", small_net).fails(4, "E-VNNLIB-NETWORKS")
    cli("verify", query_run(TWO)).fails(2, "E-NETWORK")


def test_json_tells_everything(ask, small_net):
    document = json.loads(ask(DECLARED + BOX + UNSAFE["sat"], "--format", "json").out)
    assert document["answer"] == "sat"
    assert document["query"]["version"] == "1.0"
    assert len(document["query"]["sha256"]) == len(document["model"]["sha256"]) == 64
    assert len(document["witness"]["inputs"]) == 3
    assert document["header"]["versions"]["vnnlib"]
    other = json.loads(ask(DECLARED + BOX + UNSAFE["unsat"], "--format", "json").out)
    assert (other["answer"], other["witness"]) == ("unsat", None)
    assert other["margin"] == pytest.approx(1.0, abs=1e-3)
    assert other["instances"][0]["verdict"] == "verified"


def test_assignments_as_tensors(ask, tmp_path):
    done = ask(TWO, "--serialise-assignments", tmp_path / "out")
    assert done.out == "sat\n"
    read = {}
    for name in ("A", "B"):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((tmp_path / "out" / f"{name}.pb").read_bytes())
        read[name] = numpy_helper.to_array(tensor)
    assert (read["A"].shape, read["A"].dtype, read["B"].shape) == ((1, 3), np.float32, (1, 2))
    assert read["B"][0, 0] >= read["B"][0, 1]
    assert ask(TWO, "--serialise-assignments", "/dev/null/x").code == 3


def test_contradictions_are_warned_of_and_never_unsat(ask):
    done = ask(DECLARED + BOX + "(assert (<= X_0 -1))" + UNSAFE["unsat"])
    assert (done.code, done.out) == (0, "unknown\n")
    assert "warning[E-VNNLIB-VACUOUS]" in done.err
    assert "q.vnnlib:9:9: " in done.err
    assert done.err.endswith("q.vnnlib:6:9\n")


def test_time_that_is_over_is_no_verdict(ask, monkeypatch):
    from absint.cli import main
    from absint.runs import command

    monkeypatch.setattr(main, "Invocation", _Late)
    monkeypatch.setattr(command, "_GRACE", 600.0)  # the watch would end this very process
    done = ask(DECLARED + BOX + UNSAFE["unsat"], "--timeout", "100")
    assert (done.code, done.out) == (0, "timed-out\n")


class _Late:
    """An invocation that began longer ago than its limit."""

    @staticmethod
    def of(words, begin):
        from absint.cli.clock import Invocation

        return Invocation.of(words, time.monotonic() - 100.01)


def test_a_hang_inside_a_library_is_answered_in_time(query_run, small_net, tmp_path):
    """The watch answers while the main thread sleeps in a plug-in; the process ends."""
    plugin = tmp_path / "hangs.py"
    woken = tmp_path / "woken"
    plugin.write_text(f"import time\ntime.sleep(60)\nopen({str(woken)!r}, 'w').close()\n")
    words = ["verify", query_run(DECLARED + BOX + UNSAFE["unsat"]), "--network", small_net, "--timeout", "4", "--plugin", plugin]
    done = subprocess.run([sys.executable, "-m", "absint", *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "timed-out\n"), done.stderr
    assert not woken.exists()


def test_the_watch_answers_in_every_format(query_run, small_net, tmp_path):
    """Where a format shows records alone, nothing would be an answer that nobody gave."""
    plugin = tmp_path / "hangs.py"
    plugin.write_text("import time\ntime.sleep(60)\n")
    files = [tmp_path / f"out.{end}" for end in ("csv", "jsonl", "json")]
    words = ["query", query_run(DECLARED + BOX + UNSAFE["unsat"]), "--network", f"N={small_net}", "--timeout", "3", "--plugin", plugin]
    words += [word for file in files for word in ("--out", file)]
    done = subprocess.run([sys.executable, "-m", "absint", *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (row,) = csv.DictReader(files[0].open())
    assert (row["verdict"], row["reason"], row["onnx"]) == ("timed-out", "timeout", str(small_net))
    assert json.loads(files[1].read_text())["verdict"] == "timed-out"
    assert [one["verdict"] for one in json.loads(files[2].read_text())["answers"]] == ["timed-out"]


@pytest.mark.parametrize(("text", "options", "code", "error"), [
    ("(assert", [], 3, "E-VNNLIB-PARENTHESIS"),
    (DECLARED + BOX + "(assert (<= X_0 Y_0))", [], 4, "E-VNNLIB-RELATION"),
    (DECLARED + "(assert (<= Y_0 0))", [], 3, "E-VNNLIB-UNBOUNDED"),
    ("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= Y_0 1))", [], 3, "E-VNNLIB-COUNT"),
    ("", [], 3, "E-VNNLIB-EMPTY"),
    (DECLARED + BOX + UNSAFE["sat"], ["--timeout", "0"], 2, "E-TIMEOUT"),
    (DECLARED + BOX + UNSAFE["sat"], ["--timeout", "nan"], 2, "E-TIMEOUT"),
    (DECLARED + BOX + UNSAFE["sat"], ["--format", "nothing"], 2, "E-FORMAT-UNKNOWN"),
    (DECLARED + BOX + UNSAFE["sat"], ["--executor", "processes"], 2, "E-USAGE"),
    (DECLARED + BOX + UNSAFE["sat"], ["--processes", "2"], 2, "E-USAGE"),
    (DECLARED + BOX + UNSAFE["sat"], ["--eps", "0.1"], 2, "E-USAGE"),
    (DECLARED + BOX + UNSAFE["sat"], ["--journal", "j"], 2, "E-USAGE"),
    (DECLARED + BOX + UNSAFE["sat"], ["--domain", "nothing"], 2, "E-DOMAIN-UNKNOWN"),
    (DECLARED + BOX + UNSAFE["sat"], ["--out", "/nowhere/x"], 3, "E-OUT"),
])
def test_bad_input_is_one_message(text, options, code, error, ask):
    ask(text, *options).fails(code, error)


def test_other_files_in_its_place(cli, small_net, query_run):
    cli("verify", "nowhere.vnnlib", "--network", small_net).fails(3, "E-VNNLIB-MISSING")
    cli("verify", query_run(DECLARED + BOX + UNSAFE["sat"]), "--network", "nowhere.onnx").fails(3, "E-MODEL-MISSING")
    cli("verify", small_net, "--network", small_net).fails(3, "E-VNNLIB-FORMAT")
    cli("verify").fails(2, "E-USAGE")
    cli("verify", small_net, "--serialise-assignments", "x").fails(2, "E-USAGE")


def test_the_answer_in_a_file(ask, tmp_path):
    out = tmp_path / "answer.txt"
    done = ask(DECLARED + BOX + UNSAFE["unsat"], "--out", out)
    assert (done.out, out.read_text()) == ("", "unsat\n")


def test_a_counterexample_as_files(ask, tmp_path):
    ask(DECLARED + BOX + UNSAFE["sat"], "--witness", tmp_path / "found")
    stored = np.load(next((tmp_path / "found").glob("*.npz")))
    assert stored["output"][0] >= stored["output"][1]


CAPABILITIES = {
    "--vnnlib-versions": ["1.0", "2.0"], "--onnx-element-types": ["real", "float32", "float64"], "--hidden-node-theories": ["NH"],
    "--multiple-input-output-theories": ["SIO", "MIO * several inputs; one output"],
    "--multiple-network-theories": ["SNET"], "--multiple-node-comparison-theories": ["SNC"],
    "--optimised-disjunctive-reasoning": ["true"], "--serialise-assignments": ["true"],
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_capability(capability, cli):
    done = cli("supports", capability)
    assert (done.code, done.out.splitlines()) == (0, CAPABILITIES[capability])


def test_operators_and_opsets_are_those_of_the_front_end(cli):
    from absint.frontends.onnx_file import OLDEST_OPSET
    from absint.frontends.onnx_fold import foldable
    from absint.model.op import OPS

    names = cli("supports", "--onnx-operators").out.splitlines()
    assert names == sorted({*OPS.names(), "Constant", "ConstantOfShape"})
    assert all(map(foldable, {*names} - {*OPS.names()}))
    low, high = map(int, cli("supports", "--onnx-opset-versions").out.split())
    assert (low, high) == (OLDEST_OPSET, onnx.defs.onnx_opset_version())
    assert [line.split()[0] for line in cli("supports", "--arithmetic-complexity-theories").out.splitlines()] == ["BND", "OUTC", "LIN"]


def test_one_capability_at_a_time(cli):
    cli("supports").fails(2, "E-USAGE")
    cli("supports", "--vnnlib-versions", "--onnx-operators").fails(2, "E-USAGE")
    assert cli("--name").out == "absint\n"
