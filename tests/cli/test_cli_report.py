"""`absint report`: the result of a run from its journal, the same as the run gave it, or what can be said of what is there."""

from __future__ import annotations

import fcntl
import json
from weakref import ref

import pytest
from journals import killed
from reported_runs import FALSIFIED, WORDS, changed, lines, made, timeless, written

from absint.analyses.verify.analysis import Verify
from absint.cli.main import main
from absint.reports import spool
from absint.reports.outputs import Outputs
from absint.runs import reported
from absint.runs.gathered import Gathered
from absint.runs.reported import Reported


def document(cli, *words):
    done = cli("report", *words, "--format", "json")
    return done.code, json.loads(done.out), done


def test_a_run_that_ended_is_shown_as_it_was(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl")
    code, found, _ = document(cli, journal)
    assert code == made().code == 1
    assert timeless(found) == timeless(made().document)
    assert found["summary"]["seconds"] == made().document["summary"]["seconds"]
    assert [one["records"] for one in found["header"]["journals"]] == [6]


def test_every_format_has_it(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl")
    outs = [tmp_path / f"r.{suffix}" for suffix in ("json", "csv", "jsonl", "txt", "npz")]
    assert cli("report", journal, *(word for out in outs for word in ("--out", out))).code == 1
    assert [len(out.read_bytes().splitlines()) for out in outs[1:3]] == [7, 6]
    text = outs[3].read_text()
    assert "3 of 6 correctly classified instances verified" in text
    assert "command" in text


def test_a_killed_run_is_summed_up_and_says_so(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl", lines(lambda row: row["index"] < 4))
    code, found, _ = document(cli, journal)
    summary = found["summary"]
    assert code == 1
    assert (summary["complete"], summary["remaining"]) == (False, [4, 5])
    assert (summary["counts"]["verified"], summary["counts"]["falsified"], summary["counts"]["unknown"]) == (2, 2, 2)
    assert any("whose run did not end" in note for note in found["notes"])


def test_an_end_that_does_not_know_all_records_does_not_count(cli, tmp_path):
    """The run went on after it, and was killed."""
    whole = made().journal.splitlines(keepends=True)
    early = [*lines(lambda row: row["index"] < 4), whole[-1], *lines()[5:]]
    _, found, _ = document(cli, written(tmp_path / "j.jsonl", early))
    assert any("whose run did not end" in note for note in found["notes"])
    _, found, _ = document(cli, written(tmp_path / "j.jsonl", [*lines(lambda row: row["index"] != 2), whole[-1]]))
    assert found["summary"]["remaining"] == [2]


def test_what_the_journal_leaves_to_be_tried_again_is_shown_too(tmp_path, monkeypatch, cli):
    monkeypatch.setattr(Verify, "cut", lambda self, record: record.index == 1)
    out, journal = tmp_path / "r.json", tmp_path / "j.jsonl"
    main(["verify", str(made().net), "--data", str(made().data), *WORDS, "--out", str(out), "--journal", str(journal)])
    assert [row["index"] for row in json.loads(out.read_text())["instances"]] == list(range(6))
    _, found, _ = document(cli, journal)
    assert timeless(found) == timeless(json.loads(out.read_text()))
    assert len(killed(journal)) == 6
    assert document(cli, journal)[1]["summary"]["remaining"] == [1]


def test_many_records_are_counted_and_the_report_says_so(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(reported, "_MOST", 2)
    code, found, _ = document(cli, written(tmp_path / "j.jsonl", lines()))
    assert code == 1
    assert found["summary"]["counts"] == {"falsified": 3, "verified": 3}
    assert found["summary"]["complete"] is True
    assert any("records are counted" in note for note in found["notes"])
    good = lines(lambda row: row["index"] not in FALSIFIED)
    assert document(cli, written(tmp_path / "j.jsonl", good))[0] == 1, "three items have no record"


def test_rows_on_disk_are_the_same_rows(cli, tmp_path, monkeypatch):
    journal = written(tmp_path / "j.jsonl", lines())
    whole = cli("report", journal, "--format", "json").out
    monkeypatch.setattr(spool, "_MOST", 300)
    assert cli("report", journal, "--format", "json").out == whole


def grown(path, count):
    first, line = json.loads(lines()[0]), json.loads(lines()[1])
    first["run"]["asked"] = [[0, count]]
    path.write_text("\n".join([json.dumps(first), *(json.dumps({**line, "index": k}) for k in range(count))]) + "\n")
    return path


def test_a_row_is_gone_before_the_next_but_one(tmp_path, monkeypatch):
    """So that memory does not grow with the records, in any format that says so."""
    monkeypatch.setattr(reported, "_MOST", 2)
    monkeypatch.setattr(spool, "_MOST", 2_000)
    seen, alive, kept = [], [], []
    real, add = Outputs.row, spool.RowSpool.add

    def row(self, one):
        seen.append(ref(one))
        real(self, one)
        alive.append(sum(place() is not None for place in seen))

    monkeypatch.setattr(Outputs, "row", row)
    monkeypatch.setattr(spool.RowSpool, "add", lambda self, one: (add(self, one), kept.append(len(self._kept))))
    outs = [word for suffix in ("json", "csv", "jsonl", "txt") for word in ("--out", str(tmp_path / f"r.{suffix}"))]
    main(["report", str(grown(tmp_path / "j.jsonl", 60)), *outs])
    assert len(alive) == 60 == len(json.loads((tmp_path / "r.json").read_text())["instances"])
    assert max(alive) <= 2
    assert max(kept) < 20


def test_an_older_journal_is_shown_without_a_claim_of_completeness(cli, tmp_path):
    first, *rest = lines()
    old = json.dumps({"absint_journal": 2, "binding": json.loads(first)["binding"]}).encode() + b"\n"
    code, found, _ = document(cli, written(tmp_path / "j.jsonl", [old, *rest]))
    assert code == 1
    assert found["summary"]["complete"] is None
    assert len(found["instances"]) == 6
    assert any("older format" in note for note in found["notes"])


def test_rows_are_counted_by_the_words_of_the_run(tmp_path):
    with Gathered([written(tmp_path / "j.jsonl")]) as gathered:
        shown = Reported(gathered)
        words = {row.word for record in gathered.records() for row in shown.rows(record)}
    assert words == {one["verdict"] for one in made().document["instances"]}


def test_what_the_limit_of_the_whole_run_ended_is_an_error_for_machines(cli, tmp_path):
    limits = ("--total-timeout", "1e-6", "--journal", str(tmp_path / "j.jsonl"))
    ran = cli("verify", str(made().net), "--data", str(made().data), *WORDS, *limits, "--format", "junit")
    assert (ran.code, ran.out.count("<error ")) == (1, 6)
    assert cli("report", str(tmp_path / "j.jsonl"), "--format", "junit").out.count("<error ") == 6


def test_a_torn_line_is_dropped_with_a_word(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl", [*lines()[:4], lines()[4][:-9]])
    _, found, _ = document(cli, journal)
    assert found["summary"]["remaining"] == [3, 4, 5]
    assert any("a last line without an end was dropped" in note for note in found["notes"])
    assert found["header"]["journals"][0]["torn_line"]


def test_a_journal_that_is_being_written_is_shown_as_it_is_now(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl", lines()[:3])
    with journal.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        _, found, _ = document(cli, journal)
    assert any("a run is still writing it" in note for note in found["notes"])


def test_rows_that_need_the_network_are_the_records_and_it_is_said(cli, tmp_path):
    journal = tmp_path / "b.jsonl"
    assert cli("bounds", made().net, "--data", made().data, "--index", "0:2", "--domain", "box", "--quiet", "--journal", journal).code == 0
    code, found, done = document(cli, journal)
    assert code == 0, done.err
    assert [row["index"] for row in found["bounds"]] == [0, 1]
    assert any("needs the network" in note for note in found["notes"])


def test_what_a_run_ended_with_is_raised_again(cli, tmp_path, unsupported_net):
    journal = tmp_path / "i.jsonl"
    run = cli("inspect", unsupported_net, "--journal", journal)
    again = cli("report", journal)
    assert run.code == again.code == 4
    assert again.err.splitlines()[:2] == run.err.splitlines()[:2]
    assert "Det" in again.out


@pytest.mark.parametrize(("content", "code", "said"), [
    ([], "E-JOURNAL-EMPTY", "no run has begun"),
    ([b'{"absint_jour'], "E-JOURNAL-EMPTY", "no run has begun"),
    ([b"my notes\n"], "E-JOURNAL-FORMAT", "not a journal"),
    ([b"my notes"], "E-JOURNAL-FORMAT", "not a journal"),
    ([b'{"absint_journal": 3, "binding": {"analysis": "verify"}}\n'], "E-JOURNAL-FORMAT", "not a journal"),
    ([b'{"absint_journal": 99, "binding": {"analysis": "verify"}}\n'], "E-JOURNAL-MISMATCH", "format 99"),
    ([b'{"absint_journal": 2, "binding": {"analysis": "noise"}}\n'], "E-JOURNAL-ANALYSIS", "'noise'"),
    (lambda: [*lines()[:2], b"{\n", *lines()[3:]], "E-JOURNAL-CORRUPT", "line 3 is damaged"),
    (lambda: [*lines()[:2], b"\n", *lines()[3:]], "E-JOURNAL-CORRUPT", "line 3 is damaged"),
    (lambda: [*lines(), b'{"absint_end": {}}\n'], "E-JOURNAL-CORRUPT", "line 8 is damaged"),
    (lambda: [*lines(), changed(lines()[1], index=77)], "E-JOURNAL-CORRUPT", "line 8 answers item 77"),
    (lambda: [*lines(), changed(lines()[1], verdict="falsified")], "E-JOURNAL-CONFLICT", "verdict: "),
])
def test_what_is_no_journal_is_refused(cli, tmp_path, content, code, said):
    journal = written(tmp_path / "j.jsonl", content() if callable(content) else content)
    assert said in cli("report", journal).fails(3, f"{code}]").err


def test_places_are_looked_at_before_anything_is_written(cli, tmp_path):
    journal = written(tmp_path / "j.jsonl")
    cli("report", tmp_path).fails(3, "E-JOURNAL-PATH]")
    cli("report", tmp_path / "none").fails(3, "E-JOURNAL-PATH]")
    cli("report", journal, "--out", tmp_path).fails(3, "E-OUT]")
    cli("report", journal, "--out", journal).fails(2, "E-OUT]")
    cli("report", journal, "--bundle", journal).fails(2, "E-OUT]")
    cli("report", journal, "--bundle-model", "none").fails(2, "E-USAGE]")
    cli("report").fails(2, "E-USAGE]")
    cli("report", journal, "--check", journal).fails(2, "E-USAGE]")
    assert journal.read_bytes() == made().journal


def test_what_a_kill_left_of_an_end_is_shown_once(cli, tmp_path):
    """Killed between what it shows besides and its end, then resumed: the item has a record."""
    whole = made().journal.splitlines(keepends=True)
    left = json.dumps({"absint_unkept": json.loads(lines()[2])}).encode() + b"\n"
    _, found, _ = document(cli, written(tmp_path / "j.jsonl", [*lines()[:2], left, *lines()[2:], whole[-1]]))
    assert [one["index"] for one in found["instances"]] == list(range(6))


@pytest.mark.parametrize("line", [b'{"index"', b"[" * 100_000, b'{"absint_end": {"asked": [[0, 6]], "records": 1e999}}'])
def test_lines_that_trip_a_reader_are_damaged(cli, tmp_path, line):
    row = changed(lines()[1], index=10**30) if line.startswith(b'{"index"') else line + b"\n"
    cli("report", written(tmp_path / "j.jsonl", [lines()[0], row])).fails(3, "E-JOURNAL-CORRUPT")
