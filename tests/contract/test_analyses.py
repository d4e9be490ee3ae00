"""Every analysis through every format and every executor: the same records, whatever carries them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from small_runs import NAMES, words_of

from absint.contract.analysis import ANALYSES, analysis_of
from absint.reports.interface import FORMATS, format_of
from absint.runs.executors import EXECUTORS

CLOCK = ("time_s",)


def rows_of(text):
    return [{key: value for key, value in json.loads(line).items() if key not in CLOCK} for line in text.splitlines()]


def test_every_analysis_has_a_small_run():
    assert set(NAMES) == set(ANALYSES)


@pytest.mark.parametrize("name", NAMES)
def test_every_format_shows_every_analysis(cli, tmp_path, name):
    """One run, all formats: the records of each are those of the JSON lines."""
    formats = [one for one in FORMATS.names() if not format_of(one).draws]
    files = {one: tmp_path / f"result{format_of(one).suffixes[0]}" for one in formats}
    done = cli(*words_of(name, tmp_path), "--quiet", *(word for file in files.values() for word in ("--out", file)))
    assert done.code in (0, 1), done.err
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


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("validate") and name != "train"])
def test_every_executor_decides_the_same(cli, tmp_path, name):
    found = {}
    for executor in EXECUTORS.names():
        done = cli(*words_of(name, tmp_path, few=True), "--quiet", "--format", "jsonl", "--executor", executor)
        assert done.code in (0, 1), done.err
        found[executor] = sorted((_bare(row) for row in rows_of(done.out)), key=lambda row: row["index"])
    assert all(rows == found["local"] for rows in found.values())


def _bare(row):
    """Without what the clock says, and rounding of margins and of float32 values, which may differ between batches."""
    return {key: value for key, value in row.items() if key not in ("margin", "over", "calls", "radius_calls", "seconds")}


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_what_has_none_is_refused(cli, tmp_path, name):
    done = cli(*words_of(name, tmp_path), "--quiet", "--out", tmp_path / "r.png")
    assert done.code in (0, 1, 2)
    assert done.code != 2 or "E-FORMAT-FIGURES" in done.err
