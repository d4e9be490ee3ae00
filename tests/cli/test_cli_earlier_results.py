"""A run that fails leaves no result of an earlier one in its own place, as if it were this run's; nothing is lost, nothing else moved."""

from __future__ import annotations

import fcntl
import io
import os
from pathlib import Path

import pytest
from reported_runs import WORDS, made, written

from absint.runs import output
from absint.runs.earlier_results import EarlierResults

OLD = b"<testsuites/>"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "r.xml"
    path.write_bytes(OLD)
    return path


def verify(cli, *more):
    return cli("verify", made().net, "--data", made().data, *WORDS, *more)


def test_a_refused_run_sets_the_earlier_result_aside(cli, tmp_path, old):
    pack = tmp_path / "p.zip"
    pack.write_bytes(b"earlier")
    done = cli("verify", made().net, "--data", tmp_path / "none.npz", *WORDS, "--out", old, "--bundle", pack)
    assert done.code == 3
    assert f"note: {old} is of an earlier run, and is now r.xml.earlier" in done.err
    assert not old.exists()
    assert (tmp_path / "r.xml.earlier").read_bytes() == OLD
    assert (tmp_path / "p.zip.earlier").read_bytes() == b"earlier"


def test_a_run_that_fails_on_the_way_leaves_an_earlier_pack_aside(cli, tmp_path, old, monkeypatch):
    from absint.runs import packs

    def fails(*given):
        raise OSError(28, "No space left on device")

    pack = tmp_path / "p.zip"
    pack.write_bytes(b"earlier")
    monkeypatch.setattr(packs, "_zipped", fails)
    verify(cli, "--out", old, "--bundle", pack)
    assert b"testcase" in old.read_bytes()       # its own result
    assert not (tmp_path / "r.xml.earlier").exists()
    assert (tmp_path / "p.zip.earlier").exists()


def test_a_refused_report_does_so_too(cli, tmp_path, old):
    broken = tmp_path / "j.jsonl"
    broken.write_bytes(b"no journal\n")
    assert cli("report", broken, "--out", old).code == 3
    assert not old.exists()
    assert broken.exists()


def test_what_a_run_reads_is_never_moved(cli, tmp_path, old):
    journal = written(tmp_path / "j.jsonl")
    before = journal.read_bytes()
    assert cli("report", journal, "--out", journal).code == 2
    assert cli("report", journal, "--bundle", journal).code == 2
    assert verify(cli, "--out", made().data).code == 2
    assert (made().data.exists(), journal.read_bytes()) == (True, before)
    with old.open("r+b") as writer:     # another run is at it
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert cli("report", journal, "--out", old).code == 3
        assert old.exists()
        assert old.read_bytes() == OLD


def test_a_run_that_succeeds_writes_over_it(cli, tmp_path, old):
    assert verify(cli, "--out", old).code == 1
    assert b"testcase" in old.read_bytes()
    assert not (tmp_path / "r.xml.earlier").exists()


def aside(path):
    """What the notes say."""
    earlier = EarlierResults()
    earlier.look_at([path])
    return list(earlier.set_aside())


def test_no_file_is_ever_replaced(tmp_path, old):
    taken = tmp_path / "r.xml.earlier"
    taken.write_bytes(b"the one before")
    (tmp_path / "r.xml.earlier-2").mkdir()
    assert "is now r.xml.earlier-3" in aside(old)[0]
    assert taken.read_bytes() == b"the one before"
    assert (tmp_path / "r.xml.earlier-3").read_bytes() == OLD


def test_a_link_stays_and_its_file_is_renamed(tmp_path, old):
    folder = tmp_path / "kept"
    folder.mkdir()
    old = old.rename(folder / "r.xml")
    link = tmp_path / "latest.xml"
    link.symlink_to(old)
    assert str(folder / "r.xml.earlier") in aside(link)[0]
    assert link.is_symlink()
    assert (folder / "r.xml.earlier").read_bytes() == OLD
    with output.opened_file(link) as stream:    # the next run
        stream.write(b"new")
    assert old.read_bytes() == b"new"


def test_what_stdout_or_a_descriptor_writes_to_is_no_earlier_result(tmp_path, old, monkeypatch):
    with old.open("ab") as stream:
        assert aside(Path(f"/dev/fd/{stream.fileno()}")) == []
        monkeypatch.setattr("absint.runs.earlier_results._STANDARD", (stream.fileno(),))
        assert aside(old) == []
    assert old.read_bytes() == OLD


def test_where_no_name_can_be_had_it_stays_and_is_told_of(tmp_path, old, monkeypatch):
    def fails(*given):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("absint.runs.earlier_results.os.open", fails)
    assert aside(old) == [f"note: {old} is of an earlier run: this one wrote nothing there"]
    assert old.read_bytes() == OLD


def test_a_refused_run_leaves_no_empty_file_and_no_link_is_lost(cli, tmp_path):
    link = tmp_path / "d.json"
    link.symlink_to(tmp_path / "nowhere")
    pack = tmp_path / "p.zip"
    pack.symlink_to(tmp_path / "no_pack")
    places = ("--out", tmp_path / "fresh.csv", "--out", link, "--bundle", pack)
    assert cli("verify", made().net, "--data", tmp_path / "none.npz", *WORDS, *places).code == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["d.json", "p.zip"]
    assert link.is_symlink()


def test_a_run_that_fails_before_its_first_record_leaves_no_empty_file(cli, tmp_path, monkeypatch):
    from absint.runs.session import RunSession

    def fails(session):
        raise MemoryError
        yield

    monkeypatch.setattr(RunSession, "decided", fails)
    assert verify(cli, "--out", tmp_path / "fresh.csv").code == 5
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lost_its_name_before_it_was_locked_is_opened_anew(tmp_path, old, monkeypatch):
    moved, claim = tmp_path / "r.xml.earlier", output.claim

    def late(file, busy):
        if not moved.exists():
            os.rename(old, moved)       # by another run, between opening and locking
        claim(file, busy)

    monkeypatch.setattr(output, "claim", late)
    with output.opened_file(old) as stream:
        assert isinstance(stream, io.BufferedWriter)
        stream.write(b"new")
    assert (old.read_bytes(), moved.read_bytes()) == (b"new", OLD)
