"""What every format promises of every document: text, JSON, JSON lines, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from importlib.util import find_spec
from math import inf, nan

import numpy as np
import pytest
from documents import ARRAYS, CAVEAT, COLUMNS, DOCUMENT, HEADING, HOSTILE, ROWS, WARNED, Pipe, row, written
from places import ROOT

from absint.contract.document import Document, Facts, Row, Section
from absint.reports.csv import Csv
from absint.reports.interface import FORMATS, format_of
from absint.reports.json import Json
from absint.reports.jsonl import JsonLines
from absint.reports.text import Text

TEXTS = (Text, Json, JsonLines, Csv)
PARQUET = pytest.param("parquet", marks=pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed"))
WRITERS = ("text", "json", "jsonl", "csv", "npz", "junit", "sarif", "markdown", PARQUET)
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # what a terminal obeys
SHOWN = "a\\x1b[2J|\\u202e\\n,\"é漢\\t\\r$x_1^2$\\ud800"


def coloured(monkeypatch):
    """An environment whose terminals have colours."""
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "COLORTERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("LANG", "en_US.UTF-8"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def terminal(monkeypatch):
    return coloured(monkeypatch)


def json_of(document: Document = DOCUMENT, rows=ROWS, heading=HEADING):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(written(Json, document, rows, heading), parse_constant=refuse)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_format_is_known_by_name_and_suffix() -> None:
    suffixes = {name: format_of(name).suffixes for name in FORMATS}
    assert suffixes == {"text": (".txt",), "json": (".json",), "jsonl": (".jsonl", ".ndjson"), "csv": (".csv",), "npz": (".npz",),
                        "pictures": (".png", ".svg", ".pdf", ".jpg", ".jpeg"), "html": (".html", ".htm"), "junit": (".xml",),
                        "sarif": (".sarif",), "markdown": (".md", ".markdown"), "parquet": (".parquet",)}
    assert len({suffix for several in suffixes.values() for suffix in several}) == sum(map(len, suffixes.values()))


def test_the_page_on_formats_has_each_of_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|.*\| (.*?) \|$", (ROOT / "docs" / "formats.md").read_text(), re.MULTILINE)
    told = {name: (tuple(re.findall(r"`(\.\w+)`", suffixes)), when == "as decided") for name, suffixes, when in rows}
    assert told == {name: (format_of(name).suffixes, format_of(name).streams) for name in FORMATS}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_ends_a_run_that_was_interrupted_at_once(name: str) -> None:
    written(format_of(name), Document(), ())


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("value", [nan, inf, -inf, np.float32(2), np.int64(3), np.ones(2), object(), {nan: 1}, {(1, 2): {3}}, 2**70])
def test_no_value_stops_a_report(name: str, value: object) -> None:
    """What slips in at the end of a long run is shown somehow; numbers come out as such."""
    written(format_of(name), replace(DOCUMENT, values={"v": value}, summary={"s": value}), (row(0, margin=value), row(1)))


# ---- streaming ------------------------------------------------------------------------------------------------------


def test_a_row_is_visible_before_the_next_is_decided() -> None:
    for kind in (Text, JsonLines, Csv):
        assert kind.streams
        stream = Pipe()
        made = kind(stream)
        made.begin(HEADING)
        before = stream.seen
        for one in ROWS:
            made.row(one)
            assert one.values["verdict"] in stream.seen[len(before):], kind
            assert stream.seen == stream.getvalue()
            assert stream.seen.endswith("\n")
            before = stream.seen


def test_a_run_that_fails_before_its_end_leaves_nothing() -> None:
    for kind in (Json, format_of("npz")):
        assert not kind.streams
        stream = io.BytesIO() if kind.binary else io.StringIO()
        made = kind(stream)
        made.begin(HEADING)
        made.row(ROWS[0])
        assert not stream.getvalue()


# ---- text -----------------------------------------------------------------------------------------------------------


def test_rows_stand_in_columns_and_long_cells_are_not_cut() -> None:
    lines = written(Text).splitlines()
    assert lines[0] == "index  name      verdict    margin"
    assert lines[1] == f"2      {SHOWN}  verified   0.5"
    assert lines[2] == "0      much longer than its column is  falsified  -1.25"
    assert lines[3] == "1                unknown"


def test_text_shows_what_files_hold_and_obeys_none_of_it() -> None:
    text = written(Text)
    assert not COMMANDS.search(text)
    assert text.count(SHOWN) == 6          # a row, a fact, a title, a column, a cell, a note
    text.encode("utf-8")


def test_sections_follow_the_rows() -> None:
    text = written(Text)
    assert "\n\nresult         1 of 3\nmodel          a\\x1b" in text      # names of one width in the whole document
    assert f"\na longer name  linf\n\n{SHOWN}\nlayer" in text               # untitled facts are one block; a title starts another
    assert "\nb\n\ndomain         box\n\nunnamed\ncell\n\nnote           first note\n" in text


def test_notes_are_said_once_and_at_most_five() -> None:
    lines = [line.split(None, 1)[1] for line in written(Text).splitlines() if line.startswith("note ")]
    assert lines == ["first note", SHOWN, "third", "fourth", "fifth", "2 others; --format json has them all"]
    assert json_of()["notes"] == ["first note", HOSTILE, "third", "fourth", "fifth", "sixth", "seventh"]
    few = written(Text, replace(DOCUMENT, notes=("b", "a", "b")), ())
    assert [line.split()[1] for line in few.splitlines() if line.startswith("note ")] == ["b", "a"]


def test_a_lead_comes_first_and_alone() -> None:
    heading = replace(HEADING, lead=True)
    assert written(Text, replace(DOCUMENT, lead="sat\n((X_0 1))\n"), ROWS, heading) == "sat\n((X_0 1))\n"
    assert written(Text, replace(DOCUMENT, lead="unsat"), (), heading) == "unsat\n"


def test_without_a_lead_or_rows_the_sections_are_printed() -> None:
    small = Document(sections=(Section("", (Facts((("result", "none"),)),)),))
    assert written(Text, small, (), replace(HEADING, lead=True)) == "result  none\n"
    assert written(Text, small, ROWS, replace(HEADING, shown={})) == "result  none\n"
    assert written(Text, small, ()) == "index  name      verdict    margin\n\nresult  none\n"


def test_a_terminal_shows_tones(terminal) -> None:
    stream = Pipe(terminal=True)
    written(Text, stream=stream)
    lines = stream.getvalue().splitlines()
    starts = [re.match("(\x1b\\[[0-9;]*m)?", line)[0] for line in lines[:4]]
    assert starts == ["\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[33m"]
    assert not COMMANDS.search(re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()))
    assert "\x1b[32m" in stream.getvalue().split("domain")[0].split("layer")[1]      # the tones of a table, too


def test_a_long_row_on_a_narrow_terminal_stays_one_line(terminal) -> None:
    terminal.setenv("COLUMNS", "20")
    stream = Pipe(terminal=True)
    written(Text, Document(), ROWS, stream=stream)
    assert len(stream.getvalue().splitlines()) == 4


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("LC_ALL", "C"), ("NO_COLOR", "1")])
def test_a_terminal_that_wants_none_gets_no_colours(terminal, name: str, value: str) -> None:
    terminal.setenv(name, value)
    stream = Pipe(terminal=True)
    written(Text, stream=stream)
    assert not re.search("\x1b\\[[0-9;]*3[0-9]m", stream.getvalue())
    if name != "NO_COLOR":
        assert "\x1b" not in stream.getvalue()


# ---- JSON -----------------------------------------------------------------------------------------------------------


def test_the_document_has_every_part_for_machines() -> None:
    whole = json_of()
    assert list(whole) == ["schema", "header", "seconds", "roc", "values", "summary", "things", "tables", "notes"]
    assert whole["schema"] == "absint-demo/2"
    assert whole["header"] == HEADING.header
    assert whole["seconds"] == 1.5
    assert whole["tables"] == {"layers": [{"layer": HOSTILE, HOSTILE: 0.25}, {"layer": "b", HOSTILE: None}]}
    assert [thing["index"] for thing in whole["things"]] == [0, 1, 2]
    assert whole["things"][0] == ROWS[1].values


def test_numbers_that_json_has_no_word_for_are_text() -> None:
    whole = json_of()
    assert whole["summary"] == {"verified": 1, "least": "-inf"}
    assert whole["roc"]["one"] == {"x": [0.0, 1.0], "y": ["nan", "inf"]}
    assert json_of(Document(), (row(0, margin=np.array([1.0, nan])),))["things"][0]["margin"] == [1.0, "nan"]
    line = json.loads(written(JsonLines, Document(), (row(0, margin=nan),)), parse_constant=pytest.fail)
    assert line["margin"] == "nan"


def test_rows_of_one_index_stay_as_they_came() -> None:
    names = [thing["name"] for thing in json_of(Document(), [row(1, "c"), row(0, "b"), row(1, "a"), row(0, "d")])["things"]]
    assert names == ["b", "d", "c", "a"]
    odd = Row({"index": None, "name": "last"}, {})
    assert [thing["name"] for thing in json_of(Document(), [odd, row(5, "first")])["things"]] == ["first", "last"]


def test_what_an_analysis_names_like_a_part_is_not_lost() -> None:
    whole = json_of(replace(DOCUMENT, values={"notes": "mine", "header": 1, "things": 2, "own": 3}))
    assert whole["values"] == {"notes": "mine", "header": 1, "things": 2}
    assert whole["own"] == 3
    assert len(whole["things"]) == 3


# ---- JSON lines and CSV ---------------------------------------------------------------------------------------------


def test_json_lines_are_the_rows_and_nothing_else() -> None:
    lines = written(JsonLines).splitlines()
    assert [json.loads(line) for line in lines] == [one.values for one in ROWS]


def test_csv_says_every_column() -> None:
    text = written(Csv, Document(), [row(3, "".join(map(chr, range(1, 128))), witness=[0.5, None]), row(4, "\r", margin=None), row(5, "")])
    found = read_csv(text)
    assert tuple(found[0]) == COLUMNS
    assert found[0]["name"] == "".join(map(chr, range(1, 128)))
    assert json.loads(found[0]["witness"]) == [0.5, None]
    assert json.loads(found[0]["more"]) == {"k": [1, 2]}
    assert [one["name"] for one in found[1:]] == ["\r", ""]
    assert found[1]["margin"] == ""
    assert text.splitlines(keepends=True)[0] == "index,name,verdict,margin,witness,more\n"


def test_a_csv_of_one_empty_column_has_a_line_for_each_row() -> None:
    one = replace(HEADING, columns=("name",))
    assert read_csv(written(Csv, Document(), [row(0, ""), row(1, "b")], one)) == [{"name": ""}, {"name": "b"}]


def test_rows_that_stand_alone_say_what_is_to_be_known_of_the_model() -> None:
    assert [json.loads(line)["notes"] for line in written(JsonLines, heading=WARNED).splitlines()] == [CAVEAT] * 3
    assert [found["notes"] for found in read_csv(written(Csv, heading=WARNED))] == [CAVEAT] * 3
    told = replace(WARNED, columns=(*COLUMNS, "notes"))
    mine = Row({**row(0).values, "notes": "the record's own"}, {})
    assert [found["notes"] for found in read_csv(written(Csv, Document(), [mine], told))] == ["the record's own"]


def test_arrays_may_have_any_name() -> None:
    """np.savez takes these for its own arguments."""
    stream = io.BytesIO(written(format_of("npz"), replace(DOCUMENT, arrays=ARRAYS)))
    with np.load(stream, allow_pickle=False) as found:
        told = SHOWN.replace("\\n", "\n").replace("\\t", "\t")
        assert set(found) == {"header", "x", "file", "allow_pickle", "objects", "ragged", f"{told}.lower"}
        assert found["x"].tolist() == ARRAYS["x"].tolist()
        assert json.loads(str(found["objects"])) == [{"a": 1}, None]
        assert json.loads(str(found["ragged"])) == [[1], [1, 2]]
        assert json.loads(str(found["header"])) == HEADING.header


def test_columns_become_arrays() -> None:
    given = ((2, HOSTILE, 0.5), (0, "b", None), (1, "", "inf"))
    rows = [row(k, name, margin=margin, witness=[[1, k], [2, 3]]) for k, name, margin in given]
    with np.load(io.BytesIO(written(format_of("npz"), Document(), rows)), allow_pickle=False) as found:
        assert set(found) == {"header", *COLUMNS}
        assert found["index"].dtype == np.int64
        assert found["index"].tolist() == [0, 1, 2]
        assert found["margin"].dtype == np.float64
        assert np.array_equal(found["margin"], [nan, inf, 0.5], equal_nan=True)
        assert found["name"].tolist() == ["b", "", HOSTILE]
        assert found["witness"].dtype == np.int64
        assert found["witness"].tolist() == [[[1, 0], [2, 3]], [[1, 1], [2, 3]], [[1, 2], [2, 3]]]
        assert [json.loads(text) for text in found["more"]] == [{"k": [1, 2]}] * 3


def test_columns_of_several_kinds_lose_nothing() -> None:
    from absint.reports.npz import column

    assert column([True, False]).dtype == np.bool_
    assert column([1, None]).tolist()[0] == 1.0
    assert column([None, [1.5, 2]]).tolist()[1] == [1.5, 2.0]
    assert np.isnan(column([None, [1.5, 2]])[0]).all()
    assert column([]).shape == (0,)
    assert column([[], []]).shape == (2, 0)
    for values in ([1, "a"], [[1], [1, 2]], [2**60 + 1, None], [2**64], [True, None], [[[1], 2], None], [["a"], None], [1, [1]], [{}, 1]):
        found = column(values)
        assert found.dtype.kind == "U"
        assert [json.loads(text) for text in found] == values
