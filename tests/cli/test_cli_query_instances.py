"""`absint verify --instances`: nothing that happens to a worker is lost, or becomes a verdict."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from test_cli_query import BOX, DECLARED, UNSAFE

from absint.cli import workers
from absint.cli.workers import Instance, result_of, word


@pytest.fixture
def benchmark(tmp_path, small_net):
    """A folder with queries and a list; lines: (query's text, timeout)."""

    def write(lines):
        rows = []
        for k, (text, timeout) in enumerate(lines):
            (tmp_path / f"q{k}.vnnlib").write_text(text)
            rows.append(f"{os.path.relpath(small_net, tmp_path)},q{k}.vnnlib.gz,{timeout}")
        file = tmp_path / "instances.csv"
        file.write_text("\n".join(rows) + "\n")
        return file

    return write


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_line_gets_its_row_in_order(benchmark, cli, tmp_path):
    listed = benchmark([(DECLARED + BOX + UNSAFE["sat"], 60), (DECLARED + BOX + UNSAFE["unsat"], 60), ("nonsense", 60),
                        (DECLARED + BOX + UNSAFE["unsat"], 0.01)])
    out, journal = tmp_path / "out.csv", tmp_path / "j.jsonl"
    options = ("verify", "--instances", listed, "--out", out, "--domain", "zonotope", "--journal", journal)
    done = cli(*options, "--processes", "2")
    assert done.code == 0, done.err
    rows = table(out)
    assert [row["verdict"] for row in rows] == ["sat", "unsat", "unknown", "timed-out"]
    assert rows[2]["reason"] == "E-VNNLIB-SYNTAX"
    assert rows[1]["stage"] == "zonotope float32"
    assert float(rows[1]["margin"]) == pytest.approx(1.0, abs=1e-3)
    assert [row["vnnlib"] for row in rows] == [f"q{k}.vnnlib.gz" for k in range(4)]
    assert done.err.count("/4  ") == 4
    # A torn last line, as a kill leaves it: the rest is kept, that instance is answered again.
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    again = cli(*options, "--processes", "2", "--resume")
    assert again.err.count("/4  ") == 1
    assert [row["verdict"] for row in table(out)] == ["sat", "unsat", "unknown", "timed-out"]
    assert cli(*options).code == 3
    # Answers belong to the contents of the files, not to their names.
    (tmp_path / "q1.vnnlib").write_text(DECLARED + BOX + UNSAFE["sat"])
    changed = cli(*options, "--processes", "2", "--resume")
    assert changed.code == 3
    assert "E-JOURNAL-MISMATCH" in changed.err
    cli(*(word_ if word_ != "zonotope" else "box" for word_ in options), "--processes", "2", "--resume").fails(3, "E-JOURNAL-MISMATCH")


INSTANCE = Instance(0, "a", "b", None, None, 5.0)


@pytest.mark.parametrize(("code", "out", "answer", "why"), [
    (0, b'{"answer": "unsat", "margin": 0.5, "stage": "box"}', "unsat", None),
    (0, b'{"answer": "timed-out", "reason": "timeout"}', "timed-out", "timeout"),
    (-9, b'{"answer": "unsat", "margin": 0.5}', "unknown", "killed by signal 9"),
    (1, b'{"answer": "unsat", "margin": 0.5}', "unknown", "exit code 1"),
    (0, b'{"answer": "uns', "unknown", "no answer"),
    (0, b'{"answer": "verified"}', "unknown", "no answer"),
    (0, b'["answer"]', "unknown", "no answer"),
    (0, b"", "unknown", "no answer"),
    (0, b"\xff\xfe", "unknown", "no answer"),
])
def test_only_a_whole_answer_is_believed(code, out, answer, why):
    result = result_of(INSTANCE, code, out, b"", 1.0)
    assert (word(result), result.detail) == (answer, why)


def test_the_code_of_an_error_is_the_reason():
    assert result_of(INSTANCE, 5, b"", b"x\nerror[E-MEMORY-OUT] memory ran out\n", 1.0).detail == "E-MEMORY-OUT"


def plugin_that(tmp_path, text):
    file = tmp_path / "p.py"
    file.write_text(text)
    return file


def test_a_worker_that_dies_is_unknown(benchmark, cli, tmp_path):
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 60)])
    plugin = plugin_that(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = cli("verify", "--instances", listed, "--domain", "box", "--plugin", plugin, "--quiet")
    assert done.code == 0
    assert done.out.splitlines()[1].split(",")[2:6:3] == ["unknown", "killed by signal 9"]


def test_a_worker_that_cannot_be_stopped_is_killed_with_its_children(benchmark, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE", 0.5)
    pid = tmp_path / "pid"
    plugin = plugin_that(tmp_path, "import os, signal, subprocess, threading, time\n"
                         f"child = subprocess.Popen(['sleep', '100'])\nopen({str(pid)!r}, 'w').write(str(child.pid))\n"
                         "os._exit = lambda code: time.sleep(100)\ntime.sleep(100)\n")
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 6)])
    done = cli("verify", "--instances", listed, "--domain", "box", "--plugin", plugin, "--quiet")
    assert done.out.splitlines()[1].split(",")[2] == "timed-out"
    assert not running(int(pid.read_text()))


def running(pid):
    for _ in range(50):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_rows_and_no_orphans(number, benchmark, tmp_path):
    pids = tmp_path / "pids"
    plugin = plugin_that(tmp_path, f"import os, time\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(100)\n")
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 90)] * 3)
    words = ["verify", "--instances", str(listed), "--domain", "box", "--plugin", str(plugin), "--processes", "2",
             "--journal", str(tmp_path / "j")]
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from absint.cli.main import run; run()"
    main = subprocess.Popen([sys.executable, "-c", start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while (not pids.exists() or len(pids.read_text().split()) < 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    main.send_signal(number)
    out, err = main.communicate(timeout=30)
    assert main.returncode == 130, err
    assert out == b"onnx,vnnlib,verdict,time_s,stage,reason,margin,notes\n"
    assert b"3 of 3 instances are not decided" in err
    assert not any(running(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize(("text", "options", "code", "error"), [
    ("a.onnx,b.vnnlib\n", [], 3, "E-INSTANCES"),
    ("onnx,vnnlib,timeout\n", [], 3, "E-INSTANCES"),
    ("a.onnx,b.vnnlib,-1\n", [], 3, "E-INSTANCES"),
    ("a.onnx,b.vnnlib,inf\n", [], 3, "E-INSTANCES"),
    ("", [], 3, "E-INSTANCES"),
    ("a,b,1\n", ["--processes", "0"], 2, "E-PROCESSES"),
    ("a,b,1\n", ["--timeout", "0"], 2, "E-TIMEOUT"),
    ("a,b,1\n", ["--total-timeout", "9"], 2, "E-USAGE"),
    ("a,b,1\n", ["--eps", "0.3"], 2, "E-USAGE"),
    ("a,b,1\n", ["--resume"], 2, "E-USAGE"),
    ("a,b,1\n", ["--format", "json"], 2, "E-USAGE"),
])
def test_bad_lists(text, options, code, error, cli, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(text)
    cli("verify", "--instances", file, *options).fails(code, error)


def test_a_network_beside_a_list(cli, small_net):
    cli("verify", small_net, "--instances", "list.csv").fails(2, "E-USAGE")
    cli("verify", "--instances", "nowhere.csv").fails(3, "E-INSTANCES")
