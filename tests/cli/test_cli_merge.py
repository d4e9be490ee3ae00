"""`absint merge`: journals of one run as one, and never of two."""

from __future__ import annotations

import fcntl
import json

import pytest
from reported_runs import WORDS, changed, lines, made, timeless, written

from absint.contract.spans import Spans


def part(path, indices):
    """What a machine has whose items were these."""
    first = json.loads(lines()[0])
    first["run"]["asked"] = [list(pair) for pair in Spans.of(indices).pairs]
    rows = lines(lambda row: row["index"] in indices)[1:]
    return written(path, [json.dumps(first).encode() + b"\n", *rows])


@pytest.fixture
def parts(tmp_path):
    return part(tmp_path / "a.jsonl", {0, 1, 2}), part(tmp_path / "b.jsonl", {2, 3, 5})


def test_parts_are_one_journal_with_what_is_missing(cli, tmp_path, parts):
    out = tmp_path / "m.jsonl"
    done = cli("merge", *parts, "--out", out)
    assert done.code == 0, done.err
    assert "5 records of 5 items from 2 journals, all there are" in done.err
    assert [json.loads(line)["index"] for line in out.read_text().splitlines()[1:]] == [0, 1, 2, 3, 5]
    found = json.loads(cli("report", out, "--format", "json").out)
    assert (found["summary"]["items"], found["summary"]["complete"]) == (5, True)
    assert found["summary"]["counts"]["falsified"] == 3
    assert [one["records"] for one in found["header"]["merged"]] == [3, 3]
    both = json.loads(cli("report", *parts, "--format", "json").out)
    assert both["instances"] == found["instances"]
    assert both["summary"] == found["summary"]


def test_a_merged_journal_is_resumed(cli, tmp_path, parts):
    out, whole = tmp_path / "m.jsonl", tmp_path / "r.json"
    cli("merge", *parts, "--out", out)
    done = cli("verify", made().net, "--data", made().data, *WORDS, "--journal", out, "--resume", "--out", whole)
    assert done.code == 1
    assert timeless(json.loads(whole.read_text())) == timeless(made().document)
    assert timeless(json.loads(cli("report", out, "--format", "json").out)["instances"]) == timeless(made().document["instances"])


def test_nothing_is_called_complete_that_is_not(cli, tmp_path):
    """An end of one part says nothing of all of them."""
    a, b = part(tmp_path / "a.jsonl", {0, 1}), part(tmp_path / "b.jsonl", {2, 3, 4})
    b.write_bytes(b"".join(b.read_bytes().splitlines(keepends=True)[:-1]))
    done = cli("merge", a, b, "--out", tmp_path / "m.jsonl")
    assert "1 are left to --resume" in done.err
    found = json.loads(cli("report", tmp_path / "m.jsonl", "--format", "json").out)
    assert (found["summary"]["complete"], found["summary"]["remaining"]) == (False, [4])


def test_the_same_answer_is_kept_once_whatever_the_clock_says(cli, tmp_path, parts):
    a, b = parts
    first, *rows = b.read_bytes().splitlines(keepends=True)
    written(b, [first, changed(rows[0], time_s=99.0), *rows[1:]])
    out = tmp_path / "m.jsonl"
    assert cli("merge", a, b, "--out", out).code == 0
    assert "99.0" not in out.read_text()
    assert out.read_text().count('"index": 2') == 1


@pytest.mark.parametrize(("values", "said"), [({"verdict": "falsified"}, "verdict: "), ({"margin": 9.0}, "margin: "),
                                              ({"label": 0}, "label: ")])
def test_two_answers_of_one_item_are_refused(cli, tmp_path, parts, values, said):
    a, b = parts
    first, *rows = b.read_bytes().splitlines(keepends=True)
    written(b, [first, changed(rows[0], **values), *rows[1:]])
    for words in (("merge", a, b, "--out", tmp_path / "m.jsonl"), ("report", a, b)):
        error = cli(*words).fails(3, "E-JOURNAL-CONFLICT]").err
        assert "item 2" in error
        assert "a.jsonl line 4" in error
        assert "b.jsonl line 2" in error
        assert said in error
    assert not (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize(("name", "value"), [("eps", "0.2"), ("model_sha256", "0" * 64), ("absint", "9.9.9"), ("analysis", "radius"),
                                             ("more", 1)])
def test_journals_of_different_runs_are_refused(cli, tmp_path, parts, name, value):
    a, b = parts
    first, *rows = b.read_bytes().splitlines(keepends=True)
    head = json.loads(first)
    head["binding"][name] = value
    written(b, [json.dumps(head).encode() + b"\n", *rows])
    for words in (("merge", a, b, "--out", tmp_path / "m.jsonl"), ("report", a, b)):
        error = cli(*words).fails(3, "E-JOURNAL-MISMATCH]").err
        assert f"  {name}: " in error
        assert error.count("jsonl") >= 3
    assert not (tmp_path / "m.jsonl").exists()


def test_places(cli, tmp_path, parts):
    a, b = parts
    cli("merge", a, b, "--out", a).fails(2, "E-OUT]")
    cli("merge", a, b, "--out", tmp_path).fails(3, "E-OUT]")
    there = written(tmp_path / "there.jsonl")
    cli("merge", a, b, "--out", there).fails(3, "E-JOURNAL-EXISTS]")
    assert there.read_bytes() == made().journal
    with a.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        cli("merge", a, b, "--out", tmp_path / "m.jsonl").fails(3, "E-JOURNAL-BUSY]")
    with (tmp_path / "m.jsonl").open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        cli("merge", a, b, "--out", tmp_path / "m.jsonl").fails(3, "E-OUT-BUSY]")


def test_a_torn_line_is_dropped_with_a_word_and_an_old_journal_refused(cli, tmp_path, parts):
    a, b = parts
    b.write_bytes(b.read_bytes()[:-5])
    assert "b.jsonl: a last line without an end was dropped" in cli("merge", a, b, "--out", tmp_path / "m.jsonl").err
    head = json.loads(lines()[0])
    old = written(tmp_path / "old.jsonl", [json.dumps({"absint_journal": 2, "binding": head["binding"]}).encode() + b"\n"])
    assert "format 2" in cli("merge", a, old, "--out", tmp_path / "n.jsonl").fails(3, "E-JOURNAL-MISMATCH]").err
