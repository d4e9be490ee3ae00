"""A run on its way to several outputs: each gets all of it, whatever becomes of the others; what goes wrong has a code."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
from documents import DOCUMENT, HEADING, ROWS, Pipe

from absint.contract.document import Document
from absint.errors import InputError, PluginError, ResourceError, UnsupportedError, UsageError
from absint.reports.csv import Csv
from absint.reports.figures import Pictures
from absint.reports.interface import Format
from absint.reports.json import Json
from absint.reports.jsonl import JsonLines
from absint.reports.npz import Npz
from absint.reports.outputs import Outputs
from absint.reports.text import Text


class Stranger(Format):
    """Fails where it is told to."""

    at, error = "", RuntimeError("broken")

    def __init__(self, stream, suffix=""):
        super().__init__(stream, suffix)
        self._fail("made")

    def _fail(self, step):
        if step == self.at:
            raise self.error

    def begin(self, heading):
        self._fail("begun")

    def row(self, row):
        self._fail("written")

    def end(self, document):
        self._fail("ended")


def failing(at, error=Stranger.error):
    return type("Failing", (Stranger,), {"at": at, "error": error, "__module__": "stranger.module"})


def run(*wanted, document=DOCUMENT):
    with Outputs(wanted) as outputs:
        outputs.begin(HEADING)
        for row in ROWS:
            outputs.row(row)
        outputs.end(document)


def code(*wanted, kind=Exception):
    with pytest.raises(kind) as caught:
        run(*wanted)
    return caught.value


def test_every_output_gets_the_whole_run(tmp_path, capsys) -> None:
    run((None, Text), (tmp_path / "r.json", Json), (tmp_path / "r.csv", Csv), (tmp_path / "r.npz", Npz), (tmp_path / "r.SVG", Pictures))
    assert "longer than its column" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "r.json").read_text())["things"]) == 3
    assert len((tmp_path / "r.csv").read_text().splitlines()) >= 4
    assert (tmp_path / "r.npz").read_bytes().startswith(b"PK")
    assert (tmp_path / "r.SVG").read_bytes().startswith(b"<?xml")


def test_bytes_go_to_stdout_where_it_is_no_terminal(capfdbinary) -> None:
    run((None, Npz))
    assert capfdbinary.readouterr().out.startswith(b"PK")


@pytest.mark.parametrize("at", ["begun", "written", "ended"])
@pytest.mark.parametrize("first", [True, False])
def test_a_broken_output_costs_another_nothing(tmp_path, at: str, first: bool) -> None:
    wanted = [(tmp_path / "r.jsonl", JsonLines), (tmp_path / "r.txt", failing(at)), (tmp_path / "r.json", Json)]
    error = code(*(reversed(wanted) if first else wanted), kind=PluginError)
    assert (error.code, error.where) == ("E-PLUGIN-RAISED", "stranger.module")
    assert error.what == f"the report could not be {at}: RuntimeError: broken"
    assert all((tmp_path / name).exists() for name in ("r.jsonl", "r.json"))
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "r.json").read_text().endswith("}\n")
    assert len(json.loads((tmp_path / "r.json").read_text())["things"]) == 3


def test_a_run_whose_only_output_breaks_stops_there(tmp_path) -> None:
    with Outputs([(tmp_path / "a", failing("written")), (tmp_path / "b", failing("begun"))]) as outputs:
        outputs.begin(HEADING)
        with pytest.raises(PluginError, match="could not be written"):
            outputs.row(ROWS[0])


def test_a_broken_output_is_given_nothing_more(tmp_path) -> None:
    calls = []
    kind = failing("begun")
    kind.row = lambda self, row: calls.append(row)
    kind.end = lambda self, document: calls.append(document)
    code((tmp_path / "a", kind), (tmp_path / "b", JsonLines), kind=PluginError)
    assert calls == []


@pytest.mark.parametrize("error", [ValueError("x"), OSError(2, "no template"), KeyError("k"), MemoryError()])
def test_whatever_a_strangers_format_raises_has_one_code(tmp_path, error: Exception) -> None:
    assert code((tmp_path / "a", failing("written", error)), kind=PluginError).code == "E-PLUGIN-RAISED"
    assert code((tmp_path / "a", failing("made", error)), kind=PluginError).what.startswith("the report could not be made")


def test_coded_errors_and_interrupts_pass(tmp_path) -> None:
    mine = UnsupportedError("E-MINE", "not this")
    assert code((tmp_path / "a", failing("ended", mine))) is mine
    with pytest.raises(KeyboardInterrupt):
        run((tmp_path / "a", failing("written", KeyboardInterrupt())))


def test_a_format_that_has_no_pictures_to_draw_costs_another_nothing(tmp_path) -> None:
    with pytest.raises(UsageError) as caught:
        run((tmp_path / "p.png", Pictures), (tmp_path / "r.json", Json), document=Document())
    assert caught.value.code == "E-FORMAT-FIGURES"
    assert not (tmp_path / "p.png").exists()
    assert (tmp_path / "r.json").exists()
    assert (tmp_path / "r.json").read_text().endswith("}\n")


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


@needs_full
@pytest.mark.parametrize("kind", [Text, Json, JsonLines, Csv, Npz, failing("written", OSError(28, "No space left on device"))])
def test_a_full_disk_has_a_code_and_costs_another_nothing(tmp_path, kind) -> None:
    from pathlib import Path

    error = code((Path("/dev/full"), kind), (tmp_path / "r.json", Json), kind=ResourceError)
    assert (error.code, error.where) == ("E-OUT-WRITE", "/dev/full")
    assert len(json.loads((tmp_path / "r.json").read_text())["things"]) == 3


def test_a_closed_pipe_stays_what_it_is_and_costs_a_file_nothing(tmp_path, monkeypatch) -> None:
    class Closed(Pipe):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    code((None, Text), (tmp_path / "r.jsonl", JsonLines), kind=BrokenPipeError)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3


def test_two_results_never_go_to_one_place(tmp_path) -> None:
    assert code((None, Text), (None, Json), kind=UsageError).code == "E-OUT"
    (tmp_path / "r").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "r")
    for other in (tmp_path / "r", tmp_path / "." / "r", tmp_path / "link"):
        assert code((tmp_path / "r", Text), (other, Json), kind=UsageError).code == "E-OUT"
    assert (tmp_path / "r").read_text() == "kept"


def test_what_cannot_be_opened_leaves_the_others_as_they_were(tmp_path) -> None:
    (tmp_path / "r.json").write_text("kept")
    assert code((tmp_path / "r.json", Json), (tmp_path / "none" / "r.csv", Csv), kind=InputError).code == "E-OUT"
    assert code((tmp_path / "r.json", Json), (tmp_path / "p.bmp", Pictures), kind=UsageError).code == "E-PLOT-FORMAT"
    assert (tmp_path / "r.json").exists()
    assert (tmp_path / "r.json").read_text() == "kept"
    assert not (tmp_path / "p.bmp").exists()


def test_what_is_not_installed_is_said_before_anything_is_opened(tmp_path) -> None:
    class Missing(Json):
        @classmethod
        def check(cls):
            raise UnsupportedError("E-PLOT-MISSING", "none")

    assert code((tmp_path / "a.json", Json), (tmp_path / "b.json", Missing)).code == "E-PLOT-MISSING"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_a_json_file_empty_and_is_what_is_raised(tmp_path) -> None:
    def fails():
        with Outputs([(tmp_path / "r.json", Json), (tmp_path / "r.jsonl", JsonLines)]) as outputs:
            outputs.begin(HEADING)
            outputs.row(ROWS[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (tmp_path / "r.json").read_text() == ""
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 1


def test_files_are_locked_while_the_run_goes_on(tmp_path) -> None:
    with Outputs([(tmp_path / "r.jsonl", JsonLines)]), pytest.raises(InputError) as caught, Outputs([(tmp_path / "r.jsonl", JsonLines)]):
        pytest.fail("two at once")
    assert caught.value.code == "E-OUT-BUSY"


def test_a_terminal_gets_no_bytes_and_is_busy_with_rows(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "stdout", Pipe(terminal=True))
    assert code((None, Npz), kind=UsageError).code == "E-OUT"
    assert Outputs([(None, Text)]).busy
    assert not Outputs([(None, Json)]).busy
    assert not Outputs([(tmp_path / "r.txt", Text)]).busy
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not Outputs([(None, Text)]).busy


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_reader_of_a_named_pipe_gets_all_of_it(tmp_path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    os.mkfifo(tmp_path / "pipe.jsonl")
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((tmp_path / "pipe.jsonl").read_text)
        run((tmp_path / "pipe.jsonl", JsonLines))
        assert len(reader.result().splitlines()) == 3
