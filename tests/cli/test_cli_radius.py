"""`absint radius`: its rows in every format, its journal, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from counting import until
from journals import kept as records

import absint
from absint import samples
from absint.analyses.radius import bisection

pytestmark = pytest.mark.usefixtures("warm")

NET = samples.network_path("mnist_relu_3x50")


@pytest.fixture
def radius(cli):
    def run(*arguments, net=NET):
        return cli("radius", net, "--quiet", *arguments)

    return run


def radii(done):
    return [{key: value for key, value in json.loads(line).items() if key != "time_s"} for line in done.out.splitlines()]


def test_a_page_draws_inputs_over_certified_radii(radius, tmp_path):
    radius("--index", "0,8", "--tolerance", "0.02", "--domain", "box", "--out", tmp_path / "r.html", "--out", tmp_path / "r.json")
    page = (tmp_path / "r.html").read_text()
    assert "Inputs by radius" in page
    assert "in raw input units" in page
    summary, rows = (json.loads((tmp_path / "r.json").read_text())[key] for key in ("summary", "radii"))
    exact = [Fraction(row["certified_exact"]) for row in rows]
    assert Fraction(summary["mean"]) <= sum(exact) / 2, "what is proved on average, rounded down"


def test_every_format_says_the_same(radius, tmp_path):
    options = ["--index", "0,8", "--attack", "pgd", "--tolerance", "0.02", "--domain", "deeppoly", "--journal", tmp_path / "j"]
    document = json.loads(radius(*options, "--format", "json").out)
    options.append("--resume")  # the same answers again: to search for them once is enough
    assert document["schema"] == "absint-radius/2"
    assert document["header"]["search"].items() >= {"upper": "0.256", "halvings": 4, "step": "0.016", "norm": "linf"}.items()
    rows = document["radii"]
    assert [row["index"] for row in rows] == [0, 8]
    assert (rows[1]["label"], rows[1]["predicted"]) == (5, 6), "the class kept is the predicted one"
    for row in rows:
        certified, refuted = Fraction(row["certified_exact"]), Fraction(row["refuted_exact"])
        assert 0 <= Fraction(row["certified"]) <= certified < refuted <= Fraction(row["refuted"])
        assert len(row["witness"]) == 784
    assert document["summary"].items() >= {"inputs": 2, "finished": True, "remaining": [], "cut_short": 0}.items()
    lines = radii(radius(*options, "--format", "jsonl"))
    assert [{k: v for k, v in row.items() if k not in ("time_s", "notes")} for row in rows] == [
        {k: v for k, v in line.items() if k != "notes"} for line in lines]
    table = list(csv.DictReader(io.StringIO(radius(*options, "--format", "csv").out)))
    assert [row["certified_exact"] for row in table] == [row["certified_exact"] for row in rows]
    text = radius(*options).out
    assert all(row["certified_exact"] in text and row["refuted_exact"] in text for row in rows)


def test_the_command_is_the_python_function(radius, data_file):
    sample = samples.data("mnist")
    data = data_file(images=sample.inputs[:3])
    rows = radii(radius("--data", data, "--format", "jsonl", "--norm", "l2", "--upper", "2", "--tolerance", "1/10", "--domain", "deeppoly"))
    found = absint.radius(NET, sample.inputs[:3].reshape(3, 1, 28, 28), upper=2, tolerance="1/10", norm="l2", domain="deeppoly")
    assert [Fraction(row["certified_exact"]) for row in rows] == [result.certified for result in found]
    assert all(row["label"] is None and row["predicted"] is not None and row["refuted"] is None for row in rows)


def test_ties_are_told(radius, small_net, data_file):
    done = radius("--data", data_file(x=np.array([[0.5, 0.5, 0.0], [1.0, 0.5, 0.0]])), net=small_net)
    assert done.code == 0
    assert done.out.splitlines()[1].split() == ["0", "0", "0", "tie"]
    assert "0.2495" in done.out.splitlines()[2]
    assert "1 of 2 are 0" in done.out


def test_an_endless_upper_and_no_range(radius, small_net, data_file):
    data = data_file(x=np.array([[5.0, -3.0, 0.0]]))
    radius("--data", data, net=small_net).fails(3, "E-DATA-RANGE]")
    (row,) = radii(radius("--data", data, "--clip", "none", "--upper", "100", "--format", "jsonl", net=small_net))
    assert Fraction("3.999") < Fraction(row["certified_exact"]) < 4
    (row,) = radii(radius("--data", data, "--clip=-4,6", "--upper", "100", "--format", "jsonl", net=small_net))
    assert Fraction("3.999") < Fraction(row["certified_exact"]) < 4


def test_what_is_refused(radius, data_file, tmp_path):
    broken = np.zeros((3, 28, 28))
    broken[1, 0, 0] = np.nan
    radius("--data", data_file(x=broken)).fails(3, "E-DATA-NAN]")
    for options, code in ((["--upper", "0"], "E-RADIUS]"), (["--tolerance", "x"], "E-EPS]"), (["--tolerance", "0"], "E-RADIUS]"),
                          (["--norm", "l3"], "E-NORM]"), (["--format", "xml"], "E-FORMAT-UNKNOWN]"), (["--resume"], "E-USAGE]"),
                          (["--fan", "9"], "E-RADIUS]"), (["--upper", "1e999", "--tolerance", "1e998"], "E-RADIUS]"),
                          (["--domain", "nothing"], "E-DOMAIN-UNKNOWN]"), (["--timeout", "0"], "E-TIMEOUT]")):
        radius("--index", "0", *options).fails(2, code)
    radius("--index", "0", "--out", tmp_path / "no" / "folder").fails(3, "E-OUT]")


def test_a_total_time_limit_is_exit_code_1_and_is_taken_up_again(radius, tmp_path):
    options = ["--index", "0:3", "--format", "jsonl", "--journal", tmp_path / "j"]
    cut = radius(*options, "--total-timeout", "1e-6")
    assert cut.code == 1
    assert {(row["reason"], row["certified_exact"]) for row in radii(cut)} == {("timeout", "0")}
    whole = radius(*options, "--resume")
    assert whole.code == 0
    assert radii(whole) == radii(radius(*options[:4]))


def test_a_resumed_run_repeats_nothing_and_rows_survive_exactly(radius, tmp_path, monkeypatch):
    options = ["--attack", "pgd", "--tolerance", "0.01", "--domain", "deeppoly", "--format", "jsonl", "--journal", tmp_path / "j"]
    seen, real = [], bisection.radii

    def counting(graph, center, *rest, **more):
        seen.append(len(center))
        return real(graph, center, *rest, **more)

    monkeypatch.setattr(bisection, "radii", counting)
    first = radius("--index", "0:2", *options)
    whole = radius("--index", "0:4", *options, "--resume")
    again = radius("--index", "0:4", *options, "--resume")
    assert seen == [2, 2]
    assert radii(first) == radii(whole)[:2]
    assert again.out == whole.out
    radius("--index", "0:4", *options).fails(3, "E-JOURNAL-EXISTS]")
    for other in (["--upper", "0.5"], ["--norm", "l2"], ["--tolerance", "0.02"], ["--domain", "box"], ["--clip", "none"]):
        kept = [word for pair in zip(options[::2], options[1::2], strict=True) if pair[0] != other[0] for word in pair]
        radius("--index", "0:4", *kept, *other, "--resume").fails(3, "E-JOURNAL-MISMATCH]")


def test_a_damaged_line_is_refused(radius, tmp_path):
    journal = tmp_path / "j"
    options = ["--index", "0", "--tolerance", "0.1", "--journal", journal]
    radius(*options)
    text = journal.read_text()
    journal.write_text(text.replace('"calls"', '"colls"'))
    radius(*options, "--resume").fails(3, "E-JOURNAL-CORRUPT]")


def test_an_interrupt_reports_what_is_done(radius, monkeypatch):
    real = bisection.radii

    def stopping(*given, **more):
        for result in real(*given, **more):
            if result.index == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(bisection, "radii", stopping)
    done = radius("--index", "0:4", "--tolerance", "0.1", "--format", "json", "--batch", "1")
    assert done.code == 130
    document = json.loads(done.out)
    assert [row["index"] for row in document["radii"]] == [0, 1]
    assert document["summary"].items() >= {"finished": False, "remaining": [2, 3]}.items()
    assert "2 of 4 items are not decided" in done.err


def test_a_killed_run_loses_no_finished_chunk(radius, tmp_path):
    journal = tmp_path / "j"
    options = ["--index", "0:24", "--batch", "2", "--domain", "deeppoly", "--format", "jsonl", "--threads", "1"]
    start = "from absint.cli.main import run; run()"
    command = [sys.executable, "-c", start, "radius", str(NET), "--quiet", *options, "--journal", str(journal)]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=one) as process:
        until(lambda: process.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n") >= 3))
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
    kept = len(records(journal))
    assert 2 <= kept < 24
    assert radii(radius(*options, "--journal", journal, "--resume")) == radii(radius(*options))
    assert len(records(journal)) == 24
