"""A format in one file of a stranger's shows the document of any analysis, and is chosen by its name or suffix."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

import pytest
from documents import DOCUMENT, HEADING, HOSTILE, ROWS, written
from places import ROOT

from absint.contract.document import Document
from absint.errors import PluginError
from absint.registry import load_plugin
from absint.reports.interface import FORMATS, Format, format_for, format_of, register_format
from absint.reports.outputs import Outputs

FILE = ROOT / "tests" / "plugins" / "files" / "markdown_table.py"


@pytest.fixture
def markdown() -> type[Format]:
    load_plugin(FILE)
    return format_of("markdown")


def test_it_is_short() -> None:
    assert len(FILE.read_text().splitlines()) <= 40


def test_it_is_found_by_name_and_suffix(markdown) -> None:
    assert format_for(PurePath("r.MD")) is markdown


def test_it_shows_every_part(markdown) -> None:
    text = written(markdown)
    lines = text.splitlines()
    assert lines[:2] == ["| index | name | verdict | margin |", "| --- | --- | --- | --- |"]
    assert lines[3] == "| 0 | much longer than its column is | falsified | -1.25 |"
    for cells in (("result", "1 of 3"), ("note", "seventh"), ("unnamed",), ("b", "")):
        assert f"| {' | '.join(cells)} |" in lines


def test_a_cell_ends_where_its_column_does(markdown) -> None:
    text = written(markdown)
    for block in re.split(r"\n\n", text.strip()):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
    assert "\x1b" not in text
    assert "a\\x1b[2J\\|" in text
    assert HOSTILE not in text


def test_an_answer_in_the_words_of_a_standard_is_shown(markdown) -> None:
    assert "| answer | sat |" in written(markdown, Document(lead="sat\n"), (), replace(HEADING, shown={}))


def test_it_goes_to_a_file_of_a_run(markdown, tmp_path) -> None:
    with Outputs([(tmp_path / "r.md", markdown)]) as outputs:
        outputs.begin(HEADING)
        outputs.row(ROWS[1])
        assert "| 0 | much" in (tmp_path / "r.md").read_text()
        outputs.end(DOCUMENT)


def test_what_is_no_format_is_refused_by_name() -> None:
    FORMATS.add("odd", object)  # type: ignore[arg-type]
    with pytest.raises(PluginError) as caught:
        format_of("odd")
    assert caught.value.code == "E-PLUGIN-CONTRACT"
    register_format("fine")(type("Fine", (Format,), {"end": lambda self, document: None}))
    assert issubclass(format_of("fine"), Format)
