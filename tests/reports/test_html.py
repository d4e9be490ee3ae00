"""A page for people: every part is there, names are text whatever they hold, nothing comes from elsewhere, and it stays small."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from math import nan
from struct import unpack

import numpy as np
import pytest
from documents import COLUMNS, DOCUMENT, HEADING, ROWS, row, written
from pages import COLOUR, GREY, HOSTILE_HEADING, HOSTILE_ROWS, SHOWN, TAG, Page, page
from pages import row as tagged

from absint.contract.document import Document, Facts, Figure, Panel, Picture, Row, Section, Series, Strip, Table
from absint.errors import UnsupportedError
from absint.reports import html, html_parts
from absint.reports.html import Html
from absint.reports.html_parts import trimmed
from absint.reports.json import Json
from absint.reports.seen_rows import SeenRows
from absint.reports.text import Text

LOADS = ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "background", "formaction")
GREY_STRIP = Strip("strip", (GREY,))


@pytest.fixture(scope="module")
def hostile() -> str:
    return page()


def test_names_are_text_whatever_they_hold(hostile: str) -> None:
    made = Page(hostile)
    assert made.count("script") == 1
    assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
    assert made.count("img") == 2
    assert "{{7*7}}" in made.text
    assert made.text.count("<script>window.hacked=1</script>") >= 20
    assert made.count("html") == made.count("head") == made.count("body") == made.count("title") == made.count("main") == 1


def test_nothing_is_loaded_from_elsewhere(hostile: str) -> None:
    made = Page(hostile)
    found = [value for _, attributes in made.tags for name, value in attributes.items() if name in LOADS]
    assert found
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in found)
    assert not made.count("link")
    assert not made.count("iframe")
    assert not re.search(r"@import|url\((?!#)", hostile)
    policy = next(attributes["content"] for _, attributes in made.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_every_part_is_shown() -> None:
    pictures = Section("details", (GREY_STRIP,), detail=True)
    source = page(replace(DOCUMENT, sections=(*DOCUMENT.sections, pictures)), ROWS, HEADING)
    made = Page(source)
    for word in ("absint demo", "1 of 3", "a longer name", "linf", "layer", "cell", "third", "seventh", "much longer than its column is",
                 "undecided, %", "radius", "seconds", "verified", "width $", "grey", "details"):
        assert word in made.text, word
    assert made.count("svg") == len(DOCUMENT.figures)
    assert made.text.count("first note") == 1
    assert made.text.count(r"a\x1b[2J|\u202e\n") >= 5
    assert not {"\x1b", "\u202e"} & set(source)


def test_what_must_not_be_overlooked_comes_first() -> None:
    failures = {"failures": [{"index": 3, "name": "input 3", "code": "E-LOST", "what": "its process died"}]}
    text = Page(page(replace(SHOWN, sections=(), figures=(), values=failures, warnings=("W-ONE: a warning\n  hint: mend it",)))).text
    assert "E-LOST input 3 its process died" in text
    assert "1 of 3 items are not decided" in text
    assert text.index("1 of 3 items are not decided") < text.index("W-ONE: a warning") < text.index("unsat")
    assert "E-DEMO" in text


def test_tones_have_marks_and_words_of_their_own() -> None:
    text = re.sub(r"\s+", " ", Page(page(Document(), HOSTILE_ROWS)).text)
    for said in ("✓2 verified", "✗1 falsified", "?1 unknown", "–1 misclassified"):
        assert said in text
    assert "in every row: eps 0.01" in text


def test_rows_stand_by_index_where_they_are_all_there_are() -> None:
    cells = re.findall(r'<tbody class="(\w+)">', page(Document()))
    assert cells == ["bad", "open", "good", "other", "good"]


def seen(rows, most: int = 3) -> SeenRows:
    made = SeenRows(HOSTILE_HEADING, most)
    for one in rows:
        made.add(one)
    return made


def test_the_worst_rows_are_kept_and_all_are_counted() -> None:
    tones = ["good"] * 40 + ["open", "bad", "", "bad"] + ["good"] * 40
    made = seen(tagged(k, tone, margin=float(k)) for k, tone in enumerate(tones))
    assert [one.values["index"] for one in made.kept()] == [41, 43, 40]
    assert made.tones == {"bad": 2, "open": 1, "": 1, "good": 80}
    margin = made.columns["margin"]
    assert (margin.count, margin.least, margin.most, margin.total / margin.count) == (84, 0.0, 83.0, 41.5)
    assert made.columns["verdict"].counts == {"verified": 80, "unknown": 1, "falsified": 2, "misclassified": 1}


def test_memory_does_not_grow_with_the_number_of_rows() -> None:
    made = seen(tagged(k, "good" if k % 2 else "bad", name=f"name {k}") for k in range(500))
    assert sum(len(rows) for rows in made._first.values()) == 6
    assert made.columns[TAG].words is None
    assert max(len(column.words or {}) for column in made.columns.values()) <= 12


def test_long_cells_and_many_lines_are_cut() -> None:
    long = Row({"index": 0, "witness": [0.5] * 784, "verdict": "x" * 5000, "big": 10**400, "margin": float("nan")},
               {"index": "0", "witness": "0.5; " * 784, "verdict": "x" * 5000}, "bad", tuple({"verdict": f"line {k}"} for k in range(5000)))
    made = SeenRows(replace(HOSTILE_HEADING, columns=("index", "witness", "verdict", "big", "margin")))
    made.add(long)
    made.add(long)
    kept, later = made.kept()
    assert later.more == ({"verdict": "... 5000 more lines"},)
    assert kept.cells["witness"] == "784 values"
    assert len(kept.cells["verdict"]) < 300
    assert len(kept.more) == 2001
    assert kept.more[-1] == {"verdict": "... 3000 more lines"}
    assert made.columns["margin"].count == made.columns["big"].count == 0


def test_a_page_of_a_thousand_rows_is_small() -> None:
    rows = [Row(dict.fromkeys(COLUMNS, k), dict.fromkeys(COLUMNS, "a cell of usual length"), "bad") for k in range(1200)]
    pixels = Picture("noise", (224, 224), bytes((k * k * 7919 + k) % 251 for k in range(224 * 224 * 3)))
    lines = Figure("f", "f", (Panel((Series("s", tuple(range(400)), tuple(float(k % 17) for k in range(400))),)),))
    document = Document(sections=(Section("s", (Strip("t", (pixels,) * 8), lines, lines), detail=True),))
    made = page(document, rows, HEADING)
    assert len(made.encode()) < 3_000_000
    assert "The worst 1,000 of 1,200 are shown" in made


@pytest.mark.parametrize("picture", [GREY, COLOUR])
def test_a_picture_is_the_pixels(picture: Picture) -> None:
    content = html_parts.png_of(picture)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, colours = unpack(">IIBB", content[16:26])
    assert (width, height, depth, colours) == (*picture.size, 8, 2 if picture is COLOUR else 0)
    start = content.index(b"IDAT") + 4
    size = unpack(">I", content[start - 8 : start - 4])[0]
    lines = zlib.decompress(content[start : start + size])
    step = len(lines) // height
    assert b"".join(lines[k * step + 1 : (k + 1) * step] for k in range(height)) == picture.pixels


@pytest.mark.parametrize(("size", "count"), [((2, 2), 5), ((0, 3), 0), ((2, 2), 16)])
def test_pixels_of_another_number_are_none(size: tuple[int, int], count: int) -> None:
    with pytest.raises(ValueError, match="pixels"):
        Picture("p", size, bytes(count))


def test_figures_take_the_ink_of_the_page(hostile: str) -> None:
    figures = "".join(re.findall(r"<svg.*?</svg>", hostile, re.DOTALL))
    assert "currentColor" in figures
    assert "#000000" not in figures
    assert "#ffffff" not in figures
    assert "http" not in figures


def test_without_matplotlib_the_page_says_how_to_get_the_figures(monkeypatch) -> None:
    monkeypatch.setattr(html, "can_draw", lambda: False)
    made = Page(page(DOCUMENT, ROWS, HEADING))
    assert made.text.count("pip install 'absint[reports]'") == len(DOCUMENT.figures)
    assert not made.count("svg")


def test_without_jinja_the_page_is_refused_before_any_work(monkeypatch) -> None:
    monkeypatch.setattr(html, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="E-REPORT-MISSING"):
        Html.check()


def test_a_folder_is_no_page(cli, tmp_path) -> None:
    (tmp_path / "report.html").mkdir()
    done = cli("inspect", "absint/samples/mnist_relu_3x50.onnx", "--out", tmp_path / "report.html")
    assert done.code == 3
    assert "E-OUT" in done.err
    assert "a folder" in done.err


def test_details_are_left_out_of_lines_and_kept_as_data() -> None:
    spare = Section("spare", (Table(("a",), (("b",),), "spared"), GREY_STRIP), detail=True)
    document = replace(DOCUMENT, sections=(*DOCUMENT.sections, spare))
    assert written(Text, document) == written(Text)
    assert '"spared": [\n   {"a": "b"}' in written(Json, document)


@pytest.mark.parametrize(("value", "said"), [
    ({"a": None, "b": True}, {"a": "none", "b": "true"}), ([1, 2.5], "1, 2.5"), (["x", {"y": 1}], ["x", {"y": "1"}]), ("t", "t"),
    (float("inf"), '"inf"'),
])
def test_mappings_are_said_as_text(value: object, said: object) -> None:
    assert trimmed(value) == said


@pytest.mark.parametrize("value", [nan, np.float32(2), np.ones(2), object(), {nan: 1}, {(1, 2): {3}}, 2**70, None, [None]])
def test_no_value_stops_a_page(value: object) -> None:
    page(Document({"s": value}, values={"v": value}), (row(0, margin=value), row(1)), replace(HEADING, header={"h": value}))


def test_long_values_are_cut() -> None:
    deep: object = "end"
    for _ in range(50):
        deep = {"k": deep}
    assert len(str(trimmed({"many": list(range(10**5)), "words": ["w"] * 10**4, "text": "t" * 10**6, "deep": deep}))) < 10**4


def test_a_run_without_rows_is_a_page() -> None:
    made = Page(page(Document(), (), HEADING))
    assert made.count("table") == 0
    assert "absint demo" in made.text


def test_rows_without_a_word_are_told_by_their_tone() -> None:
    assert "✓1 good" in re.sub(r"\s+", " ", Page(page(Document(), (row(0),), HEADING)).text)


def test_lists_that_are_lines_of_their_own_are_shown() -> None:
    made = SeenRows(HOSTILE_HEADING)
    made.add(Row({"margin": [0.5] * 100}, {"margin": "0.5"}, "", ({"margin": "0.25"},)))
    assert [line["margin"] for line in (made.kept()[0].cells, *made.kept()[0].more)] == ["0.5", "0.25"]


CLAIMED = {"property": {"text": "y[label] > y[j]", "norm": "linf", "eps": "0.02", "clip": [0.0, 1.0]}, "assurance": "sound here",
           "assumptions": ["one thing", "another thing"]}


def test_a_first_look_tells_what_is_claimed_and_what_it_rests_on() -> None:
    first = Section("", (Facts((("result", "3 of 4"),)),))
    rest = Section("details", (Facts((("rest", "and so on"),)),))
    heading = replace(HEADING, header={**HEADING.header, **CLAIMED})
    text = Page(page(Document(sections=(first, rest)), ROWS, heading)).text
    said = ["3 of 4", "y[label] > y[j], linf eps 0.02, data range [0, 1]", "sound here", "one thing", "another thing", "and so on"]
    places = [text.index(word) for word in said]
    assert places == sorted(places)
    told = replace(first, parts=(Facts((("property", "told above"),)),))
    assert "linf eps 0.02, data range" not in Page(page(Document(sections=(told,)), ROWS, heading)).text
    assert "another thing" in Page(page(Document(), ROWS, heading)).text


def test_columns_that_say_nothing_are_named_and_not_shown() -> None:
    rows = (row(0, verdict="unknown", margin=None, tone="open"), row(1, "", "unknown", None, "open"))
    table = Section("t", (Table(("word", "nothing"), (("a", None), ("b", "")), "t"),))
    made = Page(page(Document(sections=(table,)), rows, replace(HEADING, shown={"index": 5, "verdict": 9, "margin": 8})))
    text = re.sub(r"\s+", " ", made.text)
    assert "in no row: margin" in text
    assert "nothing" not in text
    assert text.count("margin") == 1


def test_what_columns_add_up_to_is_said_as_their_rows_say_it() -> None:
    made = SeenRows(HOSTILE_HEADING)
    for value, said in ((0.123456, "0.1234"), (0.999999, "0.9999"), (0.5, "0.5")):
        made.add(Row({"margin": value}, {"margin": said}))
    assert made.columns["margin"].shown == ("0.1234", "0.9999")
    made.add(Row({"margin": 1.23456789}, {}))
    assert made.columns["margin"].shown[1] == "1.235"


def test_a_share_of_nearly_all_rows_is_not_all_of_them() -> None:
    rows = [Row({"verdict": "verified" if k else "unknown"}, {"verdict": "verified" if k else "unknown"}) for k in range(4000)]
    text = Page(page(Document(), rows, replace(HEADING, columns=("verdict",), shown={"verdict": 9}))).text
    assert "99.98 %" in text
    assert "100.0" not in text
    assert "0.0 %" not in text
