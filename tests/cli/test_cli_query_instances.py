"""`absint verify --instances`: nothing that happens to a worker is lost, or becomes a verdict."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from journals import kept, killed
from test_cli_query import BOX, DECLARED, UNSAFE

from absint.analyses.query.record import ANSWERS, AnswerRecord
from absint.runs import processes
from absint.runs.resolve import resolve

pytestmark = pytest.mark.usefixtures("warm")


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


def table(text):
    """Row by query, whatever the order of decision."""
    return {row["vnnlib"]: row for row in csv.DictReader(io.StringIO(text))}


def verdicts(text):
    return {name: row["verdict"] for name, row in table(text).items()}


ALL = {"q0.vnnlib.gz": "sat", "q1.vnnlib.gz": "unsat", "q2.vnnlib.gz": "error", "q3.vnnlib.gz": "timed-out"}


def test_every_line_gets_its_row(benchmark, cli, tmp_path):
    listed = benchmark([(DECLARED + BOX + UNSAFE["sat"], 60), (DECLARED + BOX + UNSAFE["unsat"], 60), ("nonsense", 60),
                        (DECLARED + BOX + UNSAFE["unsat"], 0.01)])
    out, journal = tmp_path / "out.csv", tmp_path / "j.jsonl"
    options = ("verify", "--instances", listed, "--out", out, "--domain", "zonotope", "--journal", journal)
    done = cli(*options, "--processes", "2")
    assert done.code == 1, done.err     # an error is no answer
    rows = table(out.read_text())
    assert verdicts(out.read_text()) == ALL
    assert rows["q2.vnnlib.gz"]["reason"] == "E-VNNLIB-SYNTAX"
    assert rows["q1.vnnlib.gz"]["stage"] == "zonotope float32"
    assert float(rows["q1.vnnlib.gz"]["margin"]) == pytest.approx(1.0, abs=1e-3)
    assert out.read_text().splitlines()[0] == "onnx,vnnlib,verdict,time_s,stage,reason,margin,notes"
    assert "error[E-VNNLIB-SYNTAX]" in done.err
    # A torn last line, as a kill leaves it: the rest is kept, that instance is answered again; so is the one that met an error.
    lines = killed(journal)
    assert len(lines) == 1 + 3
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    again = cli(*options, "--processes", "2", "--resume")
    assert "answering 2 queries" in again.err
    assert verdicts(out.read_text()) == ALL
    assert len(kept(journal)) == 3
    assert cli(*options).code == 3
    # Answers belong to the contents of the files, not to their names.
    (tmp_path / "q1.vnnlib").write_text(DECLARED + BOX + UNSAFE["sat"])
    changed = cli(*options, "--processes", "2", "--resume")
    assert changed.code == 3
    assert "E-JOURNAL-MISMATCH" in changed.err
    cli(*(word if word != "zonotope" else "box" for word in options), "--processes", "2", "--resume").fails(3, "E-JOURNAL-MISMATCH")


def test_all_formats_say_it(benchmark, cli, tmp_path):
    listed = benchmark([(DECLARED + BOX + UNSAFE["sat"], 60), (DECLARED + BOX + UNSAFE["unknown"], 60)])
    words = ("query", "--instances", listed, "--domain", "zonotope", "--executor", "local", "--quiet")
    document = json.loads(cli(*words, "--format", "json").out)
    assert [row["verdict"] for row in document["answers"]] == ["sat", "unknown"]
    assert document["summary"]["counts"] == {"unsat": 0, "sat": 1, "unknown": 1, "timed-out": 0, "error": 0}
    assert [len(digest) for digest in document["answers"][0]["sha256"]] == [64, 64]
    found = cli(*words, "--out", tmp_path / "r.json", "--out", tmp_path / "r.jsonl")
    assert (found.code, found.out) == (0, "")
    assert [json.loads(line)["verdict"] for line in (tmp_path / "r.jsonl").read_text().splitlines()] == ["sat", "unknown"]
    assert json.loads((tmp_path / "r.json").read_text())["answers"][1]["reason"] == "ambiguous"
    text = cli(*words, "--format", "text").out
    assert "sat" in text
    assert "median_s" in text


def test_the_summary_is_told_beside_a_table(benchmark, cli):
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 60)])
    done = cli("verify", "--instances", listed, "--domain", "box", "--executor", "local")
    counts = {line.split()[0]: line.split()[1] for line in done.err.splitlines() if line.split()[:1] and line.split()[0] in ANSWERS}
    assert counts == {"unsat": "1", "sat": "0", "unknown": "0", "timed-out": "0", "error": "0"}


def test_the_default_limit_of_a_query_caps_no_line(benchmark):
    from absint.analyses.query.analysis import QueryAnalysis
    from absint.analyses.query.options import QueryOptions

    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 300)])
    limits = []
    for stated in ({}, {"timeout": "60"}, {"timeout": 7}):
        analysis, run = resolve("query", QueryOptions(instances=listed, **stated))
        assert isinstance(analysis, QueryAnalysis)
        limits += [item.limit for item in analysis.items(run)]
    assert limits == [300, 60, 7]


@pytest.mark.parametrize(("field", "value"), [("verdict", "verified"), ("verdict", None), ("assurance", "perfect"), ("time_s", "soon"),
                                              ("sha256", ["one"]), ("index", None), ("notes", None)])
def test_only_a_whole_record_is_believed(field, value):
    row = AnswerRecord(3, "n.onnx", "q.vnnlib", "unsat", 1.5, "box", None, 0.5, ("E-X: y",), sha256=("a", "b")).as_dict()
    assert AnswerRecord.from_dict(json.loads(json.dumps(row))).as_dict() == row
    with pytest.raises((ValueError, TypeError, KeyError)):
        AnswerRecord.from_dict({**row, field: value})


def in_workers(tmp_path, text):
    """A plug-in whose text runs in the processes of items alone."""
    file = tmp_path / "p.py"
    body = textwrap.indent(text, "    ")
    file.write_text(f"import os, signal, subprocess, sys, time\n"
                    f"if getattr(sys.modules['__main__'].__spec__, 'name', '') == 'absint.runs.worker':\n{body}\n")
    return file


def test_a_worker_that_dies_is_an_error(benchmark, cli, tmp_path):
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 60)])
    plugin = in_workers(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    done = cli("verify", "--instances", listed, "--domain", "box", "--plugin", plugin, "--quiet")
    assert done.code == 1
    (row,) = table(done.out).values()
    assert (row["verdict"], row["reason"]) == ("error", "E-WORKER-DIED")
    assert "SIGKILL" in row["notes"]


def test_a_worker_that_cannot_be_stopped_is_killed_with_its_children(benchmark, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.5)
    pid = tmp_path / "pid"
    plugin = in_workers(tmp_path, f"child = subprocess.Popen(['sleep', '100'])\nopen({str(pid)!r}, 'w').write(str(child.pid))\n"
                        "time.sleep(100)")
    listed = benchmark([(DECLARED + BOX + UNSAFE["unsat"], 4)])
    done = cli("verify", "--instances", listed, "--domain", "box", "--plugin", plugin, "--quiet")
    assert verdicts(done.out) == {"q0.vnnlib.gz": "timed-out"}
    assert done.code == 0, "its own limit is an answer"
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_end_leaves_orphans(number, benchmark, tmp_path):
    pids = tmp_path / "pids"
    plugin = in_workers(tmp_path, f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(100)")
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
    assert out == (b"" if number == signal.SIGKILL else b"onnx,vnnlib,verdict,time_s,stage,reason,margin,notes\n")
    if number != signal.SIGKILL:
        assert main.returncode == 130, err
        assert b"3 of 3 items are not decided" in err
    assert not any(running(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize(("text", "options", "code", "error"), [
    ("a.onnx,b.vnnlib\n", [], 3, "E-INSTANCES"),
    ("onnx,vnnlib,timeout\n", [], 3, "E-INSTANCES"),
    ("a.onnx,b.vnnlib,-1\n", [], 3, "E-INSTANCES"),
    ("a.onnx,b.vnnlib,inf\n", [], 3, "E-INSTANCES"),
    ("", [], 3, "E-INSTANCES"),
    ("a,b,1\n", ["--processes", "0"], 2, "E-PROCESSES"),
    ("a,b,1\n", ["--timeout", "0"], 2, "E-TIMEOUT"),
    ("a,b,1\n", ["--eps", "0.3"], 2, "E-USAGE"),
    ("a,b,1\n", ["--witness", "w"], 2, "E-USAGE"),
    ("a,b,1\n", ["--network", "n.onnx"], 2, "E-USAGE"),
    ("a,b,1\n", ["--resume"], 2, "E-USAGE"),
    ("a,b,1\n", ["--executor", "nothing"], 2, "E-EXECUTOR-UNKNOWN"),
])
def test_bad_lists(text, options, code, error, cli, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(text)
    cli("verify", "--instances", file, *options).fails(code, error)


def test_a_network_beside_a_list(cli, small_net):
    cli("verify", small_net, "--instances", "list.csv").fails(2, "E-USAGE")
    cli("verify", "--instances", "nowhere.csv").fails(3, "E-INSTANCES")
