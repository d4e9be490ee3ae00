"""Every analysis through every format and every executor: the same records, whatever carries them."""

from __future__ import annotations

import csv
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from small_runs import NAMES, words_of

from absint.contract.analysis import ANALYSES, analysis_of
from absint.errors import UnsupportedError
from absint.reports.interface import FORMATS, format_of
from absint.runs.executors import EXECUTORS

CLOCK = ("time_s",)


def rows_of(text):
    return [{key: value for key, value in json.loads(line).items() if key not in CLOCK} for line in text.splitlines()]


def installed(name):
    try:
        format_of(name).check()
    except UnsupportedError:
        return False
    return True


def test_every_analysis_has_a_small_run():
    assert set(NAMES) == set(ANALYSES)


@pytest.mark.parametrize("name", NAMES)
def test_every_format_shows_every_analysis(cli, tmp_path, name):
    """One run, all formats: the records of each are those of the JSON lines. A picture of what has none is refused, after all others."""
    formats = [one for one in FORMATS.names() if not format_of(one).draws and installed(one)]
    files = {one: tmp_path / f"result{format_of(one).suffixes[0]}" for one in formats}
    done = cli(*words_of(name, tmp_path), "--quiet", *(word for file in files.values() for word in ("--out", file)), "--out",
               tmp_path / "r.png")
    assert done.code in (0, 1) or (done.code == 2 and "error[E-FORMAT-FIGURES]" in done.err), done.err
    assert done.code == 2 or (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    lines = rows_of(files["jsonl"].read_text())
    document = json.loads(files["json"].read_text())
    key = analysis_of(name).records     # empty where a document says all of its one record by itself
    assert len(lines) == len(document[key] if key else lines) > 0
    assert document["summary"]["complete"] is True
    assert document["header"]["versions"]["absint"]
    table = list(csv.reader(files["csv"].open(newline="")))
    assert len(table) > len(lines), "a record may be several lines, such as an entry each"
    assert {len(line) for line in table} == {len(table[0])}
    assert "Traceback" not in files["text"].read_text()
    assert files["text"].read_text().strip()
    with np.load(files["npz"], allow_pickle=False) as arrays:
        assert arrays.files
    assert len(list(ElementTree.parse(files["junit"]).iter("testcase"))) == len(lines)
    (log,) = json.loads(files["sarif"].read_text())["runs"]
    assert len(log["results"]) <= len(lines)
    assert log["invocations"][0]["exitCode"] == done.code or done.code == 2     # of the picture alone
    assert files["markdown"].read_text().startswith(f"### absint {name.replace('.', ' ').replace('_', chr(92) + '_')}")
    if "parquet" in files:
        assert pytest.importorskip("pyarrow.parquet").read_metadata(files["parquet"]).num_rows == len(lines)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("validate") and name != "train"])
def test_every_executor_decides_the_same(cli, tmp_path, name):
    _same(cli, tmp_path, name, [executor for executor in EXECUTORS.names() if executor != "ray"])


# A cluster of one's own takes seconds to start: one analysis stands for the others, whose runs travel in the same way.
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "sweep" else pytest.mark.slow) for name in NAMES
                                  if not name.startswith("validate") and name != "train"])
def test_a_cluster_decides_the_same(cli, tmp_path, name):
    pytest.importorskip("ray", reason="absint[ray] is not installed")
    _same(cli, tmp_path, name, ["local", "ray"])


def _same(cli, tmp_path, name, executors):
    found = {}
    for executor in executors:
        done = cli(*words_of(name, tmp_path, few=True), "--quiet", "--format", "jsonl", "--executor", executor)
        assert done.code in (0, 1), done.err
        found[executor] = sorted((_bare(row) for row in rows_of(done.out)), key=lambda row: row["index"])
    assert all(rows == found["local"] for rows in found.values())


def _bare(row):
    """Without what the clock says, and rounding of margins and of float32 values, which may differ between batches."""
    return {key: value for key, value in row.items() if key not in ("margin", "over", "calls", "radius_calls", "seconds")}
